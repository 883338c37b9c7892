#!/usr/bin/env python3
"""A token from libbearer's memory: nanoseconds of a hit, and what other threads cost. See README.md."""

import argparse
import statistics
import subprocess

import rig

THREADS = (1, 2, 4, 16)
ROUNDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    arguments = parser.parse_args()

    with rig.Rig(arguments.build) as r:
        times = {n: [] for n in THREADS}
        for _ in range(ROUNDS):  # in turn, so that a disturbance meets all of them
            for n in THREADS:
                done = subprocess.run([rig.program(r.build, "bearer_hit"), r.socket, "developer", str(n)],
                                      capture_output=True, text=True, check=True)
                times[n].append(float(done.stdout))
        one = statistics.median(times[1])
        print("bearer_get() and bearer_token_unref() of a token in memory, processor time of each thread.\n\n"
              "threads   ns   to one thread")
        for n, taken in times.items():
            print(f"{n:7} {statistics.median(taken):6.1f} {statistics.median(taken) / one:9.2f}")
    return []


if __name__ == "__main__":
    rig.run(main)
