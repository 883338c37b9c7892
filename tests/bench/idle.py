"""An idle daemon: it makes no system call but for its deadlines.

It holds a fresh token of an hour that it keeps, and nobody asks. `strace -c -f` counts for so long; the settling after
the last call to the provider, and after the last token (the audit's interval), is left out. --seconds 600 for the ten minutes that are promised.
"""

import argparse
import pathlib
import re
import signal
import subprocess
import time

import rig

SETTLE_S = 75   # by then connections are closed, and the repeats of the last audit line are told
GLANCE_S = 2    # what strace itself costs, by interrupting calls when it comes and goes, shows in so long


class Idle(rig.Rig):
    def configuration(self):
        return re.sub(r"^(\[credential developer\]\n)", r"\1token_lifetime = 12h\nkeep_fresh = always\n",
                      super().configuration(), flags=re.MULTILINE)


def count(pid, seconds, directory):
    """{system call: how often} within so many seconds, of all threads."""
    report = pathlib.Path(directory) / "strace"
    tracer = subprocess.Popen(["strace", "-c", "-f", "-o", str(report), "-p", str(pid)], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        raise rig.Broken(f"strace cannot attach: {line.strip()}")
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=rig.STOP_S)
    rows = [line.split() for line in report.read_text().splitlines()]
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with Idle(options.build) as r:
        time.sleep(SETTLE_S)
        glance = count(r.bearerd.pid, GLANCE_S, r.directory)
        calls = count(r.bearerd.pid, options.seconds, r.directory)
    counted = {name: n - glance.get(name, 0) for name, n in calls.items() if n > glance.get(name, 0)}
    print(f"idle for {options.seconds:g} s: {sum(counted.values())} system calls (besides {sum(glance.values())} that "
          f"come of looking) {' '.join(f'{name}={n}' for name, n in sorted(counted.items()))}".rstrip())
    return [f"an idle daemon has made {sum(counted.values())} system calls: {counted}"] if counted else []


if __name__ == "__main__":
    rig.run(main)
