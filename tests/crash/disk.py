#!/usr/bin/env python3
"""Disks that refuse: no grant is lost, no half row, callers are served, and the operator is told.

disk.py errors   ENOSPC, EIO and EROFS at each write and each sync of the state directory during a rotation:
                 once, and from there on until the next one. A successor that the disk does not take is used
                 from memory, and is on the disk as soon as that works again. Reads fail, too.
disk.py full     a file system that really is full, while bearerd rotates, is stopped, is started
"""

import shutil
import subprocess
import sys

import rig
from harness import LIMIT_S, eventually
from rig import Strace, require

ERRORS = ("ENOSPC", "EIO", "EROFS")
STORED, NOT_STORED = "event=stored\n", "event=not_stored "


class Faulty(rig.Sweep):
    """One error at each point, instead of the end."""

    def __init__(self, site, error, when, threads, calls, rejected=False):
        super().__init__(site, f"{error} {when or 'once'}", rejected)
        self.error = error
        self.when = "+" if when else ""
        self.threads = threads
        self.calls = calls
        self.trace = site.directory / "trace"

    def strike(self, point):
        site = self.site
        before = self.begin()
        logged = len(site.daemon.log)
        tracer = Strace(site.threads()[point.thread], "-o", str(self.trace), "-e", f"trace={point.call}",
                        "-e", f"inject={point.call}:error={self.error}:when={point.n}{self.when}")
        shown, refused = site.rotate(self.rejected)
        rows = site.rows()
        tracer.detach()
        require(site.daemon.is_alive(), "it did not live through it")
        self.check(before, shown, refused, rows, site.daemon.log[logged:])
        reached = "(INJECTED)" in self.trace.read_text()
        self.shown += len(shown) if reached else 0
        return reached


class Writes(Faulty):
    def __init__(self, site, error, when):
        super().__init__(site, error, when, ["store-writer"], ["pwrite64", "fsync", "fdatasync", "ftruncate"])

    def check(self, before, shown, refused, rows, log):
        site = self.site
        require(shown == set(site.subjects), f"not served in spite of the disk: {refused}")
        for subject, row in rows.items():
            is_new = row.sealed != before[subject].sealed
            require(is_new or NOT_STORED in log, f"{subject!r} is in memory only, but the log says\n{log}")
            require(not (is_new and row.in_doubt), f"{subject!r}: a new row in doubt")
        # the disk works again: the next rotation takes the successor from wherever it is
        shown, refused = site.rotate(rejected=True)
        require(shown == set(site.subjects), f"the successor is not used: {refused}")
        rows = site.rows()
        for subject, row in rows.items():
            require(row.sealed != before[subject].sealed and not row.in_doubt, f"{subject!r} is not on the disk")
        site.daemon.kill()
        require(site.judge(before, shown, rows) == 0, "a grant was lost")

    def report(self):
        print(f"{self.name}: {self.points} writes and syncs failed, {self.shown} tokens shown, no grant lost",
              flush=True)


class Reads(Faulty):
    def __init__(self, site):
        # a token that was refused: what had been read before does for the first one
        super().__init__(site, "EIO", "", ["bearerd"], ["pread64"], rejected=True)

    def check(self, before, shown, refused, rows, log):
        require(all(answer.status >= 500 for answer in refused), f"a read failed, and the answers were {refused}")
        self.site.daemon.kill()
        require(self.site.judge(before, shown, rows) == 0, "a grant was lost")

    def report(self):
        print(f"{self.name}: {self.points} reads failed, {self.shown} tokens shown, no grant lost", flush=True)


def errors(directory):
    with rig.Site(directory / "site", ["alice"]) as site:
        for error in ERRORS:
            for when in ("", "from there on"):
                Writes(site, error, when).run()
        Reads(site).run()


class Full:
    """A small tmpfs, and a file that takes what room is left."""

    def __init__(self, path):
        self.path = path
        self.filler = path / "filler"

    def __enter__(self):
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "full", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.path], check=True)

    def fill(self):
        with open(self.filler, "ab", buffering=0) as f:
            try:
                while f.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def empty(self):
        self.filler.unlink()


def rotate_in_memory(site, disk):
    """Serves; the successors are in memory only, which is said once for each."""
    before = site.rows()
    logged = len(site.daemon.log)
    disk.fill()
    shown, refused = site.rotate(rejected=True)
    require(shown == set(site.subjects), f"not served on a full disk: {refused}")
    require(site.rows() == before, "the disk was not full")
    require(site.daemon.log[logged:].count(NOT_STORED) == len(site.subjects), "the operator is not told")
    return before, logged, shown


def check_stored(site, before, logged, shown):
    rows = site.rows()
    require(all(rows[s].sealed != before[s].sealed for s in rows), "not on the disk yet")
    require(site.daemon.log[logged:].count(STORED) == len(site.subjects), "the operator is not told")
    require(site.judge(before, shown, rows) == 0, "a grant was lost")


def start_when_full(site):
    """It starts, or says what to do."""
    site.daemon.launch()
    eventually(lambda: site.daemon.process.poll() is not None or site.daemon.is_alive(), "it starts or ends")
    if site.daemon.process.poll() is None:
        site.daemon.kill()
    else:
        require("make room" in site.daemon.log.splitlines()[-1], site.daemon.log)


def full(directory):
    path = directory / "full"
    with Full(path) as disk, rig.Site(directory / "site", ["alice", "bob"], state_dir=path / "state") as site:
        before, logged, shown = rotate_in_memory(site, disk)
        disk.empty()
        eventually(lambda: site.daemon.log[logged:].count(STORED) == 2, "written without being asked for")
        site.daemon.kill()
        check_stored(site, before, logged, shown)
        print("full disk: served, and written as soon as there was room", flush=True)

        before, logged, shown = rotate_in_memory(site, disk)
        site.daemon.process.terminate()
        eventually(lambda: "event=stopping" in site.daemon.log[logged:], "it hears of its end")
        disk.empty()
        require(site.daemon.process.wait(LIMIT_S) == 0, "exit code")
        check_stored(site, before, logged, shown)
        print("full disk: the end waits for room", flush=True)

        site.daemon.stop()
        disk.fill()
        rows = site.rows()
        start_when_full(site)
        require(site.rows() == rows, "something was changed")
        disk.empty()
        require(site.judge(rows, set(), rows) == 0, "a grant was lost")
        print("full disk: started, nothing was lost", flush=True)


if __name__ == "__main__":
    rig.main({"errors": errors, "full": full}[sys.argv[-1]], mount=sys.argv[-1] == "full")
