#!/usr/bin/env python3
"""One token for each process: bearerctl get beside the least a program can do. See README.md."""

import argparse
import os
import shutil
import statistics
import time

import rig

SECONDS = 1.5  # for each command
PATH = "/v1/token/developer"


def commands(r):
    """(label, program and arguments, says a token): from the floor upwards."""
    yield "/bin/true", ["/bin/true"], False
    yield "roundtrip.c", [rig.program(r.build, "roundtrip"), r.socket, PATH], True
    yield "bearerctl get", [rig.program(r.build, "bearerctl"), "get", "developer"], True
    curl = shutil.which("curl")
    if curl:
        yield "curl", [curl, "-s", "-f", "-H", "Accept: text/plain", "--unix-socket", r.socket,
                       f"http://localhost{PATH}"], True


def once(command, environment, output):
    """Runs it with nothing around: (exit status, seconds)."""
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment,
                         file_actions=[(os.POSIX_SPAWN_DUP2, output, 1)])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, time.perf_counter() - begin


def says(command, environment):
    """(exit status, what it prints)."""
    reader, writer = os.pipe()
    status, _ = once(command, environment, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as f:
        return status, f.read()


def check(label, command, environment, token):
    status, text = says(command, environment)
    if status != 0 or text.strip() != token:
        raise rig.Broken(f"{label}: exit status {status}, prints {len(text)} characters that are "
                         f"{'' if text.strip() == token else 'not '}the token")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    arguments = parser.parse_args()

    with rig.Rig(arguments.build) as r:
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "BEARERD_SOCKET": r.socket}
        rows = list(commands(r))
        token = rig.ask(r.socket, PATH, "text/plain")[2]
        for label, command, says_token in rows:
            if says_token:
                check(label, command, environment, token)

        times = {label: [] for label, _, _ in rows}
        sink = os.open("/dev/null", os.O_WRONLY)
        end = time.monotonic() + SECONDS * len(rows)
        while time.monotonic() < end:  # in turn, so that a disturbance meets all of them
            for label, command, _ in rows:
                status, seconds = once(command, environment, sink)
                if status != 0:
                    raise rig.Broken(f"{label}: exit status {status}")
                times[label].append(seconds)

        floor = statistics.median(times["roundtrip.c"])
        print(f"One process for each token, {len(times['/bin/true'])} runs of each in turn.\n\n"
              "                     p50 us    p90 us   to roundtrip.c   to /bin/true")
        for label, taken in times.items():
            p50 = statistics.median(taken)
            p90 = statistics.quantiles(taken, n=10)[-1]
            print(f"{label:15} {p50 * 1e6:11,.0f} {p90 * 1e6:9,.0f} {p50 / floor:16.2f} "
                  f"{p50 / statistics.median(times['/bin/true']):14.2f}")
    return []


if __name__ == "__main__":
    rig.run(main)
