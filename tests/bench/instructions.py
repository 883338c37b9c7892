#!/usr/bin/env python3
"""What a cached token takes, counted by valgrind: bearerd beside a bare libmicrohttpd server. README.md says how to read it."""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess

import rig

PATH = "/v1/token/developer"
CASES = (("text/plain", 1), ("text/plain", 64), ("application/json", 64))
ANSWERS = 6400
WARMUP = 640
RATIO_AIM = 1.4
ALLOCATIONS_MAX = 0.05  # more than bare's: connections come, answers take none
WHAT = ("instructions", "system calls", "allocations")
SYSTEM_CALLS = ("epoll_ctl", "epoll_wait", "poll", "read", "recv", "sendmsg", "write", "syscall")
ALLOCATIONS = ("malloc", "calloc", "realloc")
# memset() by "rep stosb" is counted as one instruction for each byte
PLAIN_MEMSET = "GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=1000000000"


class Counted(rig.Rig):
    """Both servers under callgrind, which counts what their threads do outside of the kernel."""

    def start(self, name, *arguments, core=None, nice=0, log=None, wrapper=()):
        if name in ("bearerd", "bare"):
            core = None  # nothing is timed
            wrapper = ["env", PLAIN_MEMSET, "valgrind", "--quiet", "--tool=callgrind",
                       f"--callgrind-out-file={self.directory}/{name}.%p"]
        return super().start(name, *arguments, core=core, nice=nice, log=log, wrapper=wrapper)

    def dump(self, name, process):
        """The counts since the last time."""
        subprocess.run(["callgrind_control", "--dump", str(process.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        files = self.directory.glob(f"{name}.{process.pid}.*")
        return counts(max(files, key=lambda file: int(file.suffix[1:])).read_text())


def counts(text):
    """(instructions, system calls, allocations) of a file in callgrind's format."""
    total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    names = dict(re.findall(r"^c?fn=\((\d+)\) (\S+)", text, re.MULTILINE))
    calls = collections.Counter()
    for called, n in re.findall(r"^cfn=\((\d+)\).*\ncalls=(\d+)", text, re.MULTILINE):
        calls[names[called].partition("@")[0]] += int(n)
    return int(total[1]), *(sum(calls[name] for name in of) for of in (SYSTEM_CALLS, ALLOCATIONS))


def measure(r, accept, connections):
    """{server: [of each answer]}."""
    results = {}
    for name, process, path in (("bearerd", r.bearerd, r.socket), ("bare", r.bare, r.bare_socket)):
        for answers in (WARMUP, ANSWERS):
            result = r.load(path, "--path", PATH, "--header", f"Accept: {accept}", "--connections",
                            str(connections), "--requests", str(answers))
            if result["errors"] or result["answers"] != answers:
                raise rig.Broken(f"{name}, {accept}: {result['errors']} bad answers")
            total = r.dump(name, process)
        results[name] = [n / ANSWERS for n in total]
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    arguments = parser.parse_args()
    missing = [name for name in ("valgrind", "callgrind_control") if not shutil.which(name)]
    if missing:
        print(f"skipped: {' and '.join(missing)} not found (apt-get install valgrind)")
        return []

    problems = []
    rig.START_S *= 3
    with Counted(arguments.build) as r:
        r.start_bare()
        print(f"GET {PATH}, cached: what one answer takes outside of the kernel\n\n"
              "accept            conns                 bearerd     bare  bearerd / bare")
        for accept, connections in CASES:
            results = measure(r, accept, connections)
            for what, ours, bare in zip(WHAT, results["bearerd"], results["bare"]):
                ratio = f"{ours / bare:8.2f}" if bare >= 0.1 else "       -"
                mark = f"  above {RATIO_AIM}" if what == WHAT[0] and ours > RATIO_AIM * bare else ""
                print(f"{accept:16} {connections:6} {what:>14} {ours:9,.2f} {bare:8,.2f} {ratio}{mark}")
            allocations = results["bearerd"][2] - results["bare"][2]
            if allocations > ALLOCATIONS_MAX:
                problems.append(f"{accept}: an answer takes {allocations:.2f} allocations")
    return problems


if __name__ == "__main__":
    rig.run(main)
