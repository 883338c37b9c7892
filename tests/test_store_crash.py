#!/usr/bin/env python3
"""The store under kill -9, failing system calls and power cuts: nothing reported is ever lost.

test_store_crash.py STORE_CRASH calls|power   (the helper built from store_crash.c)

"calls" runs the helper once for each of its system calls that touch the disk (a first start that
writes, a database of an old schema that is taken up, a change of the key), and ends it with SIGKILL
just before that call, or makes that call fail with EIO or ENOSPC. "power" puts the state directory
on an ext4 of its own and cuts the power (the file system's shutdown ioctl: what was not synced is
gone): while rows are written, at each call of a change of the key, and at each call of the start
that finishes such a change after it was killed. After each, the store must open, every row that was
there or was reported as durable must be there, and no row may be damaged.

Needs strace; "power" also root and loop devices. Says what is missing here and exits with 77.
"""
import collections
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

CALLS = ("openat mkdir unlink link rename write pwrite64 fsync fdatasync ftruncate chmod "
         "fchmod").split()
CALL = re.compile(r"^\d+ +(\w+)\(")
KILL, FAIL = ("signal=KILL",), ("signal=KILL", "error=EIO", "error=ENOSPC")
ROWS = 4
TIMEOUT = 60  # seconds for one run: a store that hangs is a failure, too
EXT4_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
SKIP = 77


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def check(helper, state, expected, where):
    found = run(helper, "check", state, *expected)
    if found.returncode != 0:
        sys.exit(f"{where}: expected {expected}, but afterwards:\n{found.stderr}")


def trace(helper, verb, state, *strace):
    """Runs the helper under strace; which rows it reported."""
    command = [helper, verb, state, str(ROWS)]
    return run("strace", "-f", "-qq", *strace, *command).stdout.split()


def inject(helper, verb, state, point, fault):
    call, i = point
    return trace(helper, verb, state, "-o", "/dev/null", "-e", f"trace={call}",
                 "-e", f"inject={call}:{fault}:when={i}")


def points(helper, verb, state, log):
    """Each call that is not the loader's, as (name, how many of that name so far)."""
    trace(helper, verb, state, "-o", log, "-e", "trace=" + ",".join(CALLS))
    count, found = collections.Counter(), []
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            match = CALL.match(line)
            if not match:
                continue
            count[match[1]] += 1
            if not re.search(r"\.so\b|/proc/|openssl\.cnf", line):
                found.append((match[1], count[match[1]]))
    assert len(found) > 20, found
    return found


class Scene:
    """What is there before the helper does what `verb` says."""

    def __init__(self, helper, name, verb, before, write_fails):
        self.helper, self.name, self.verb, self.before = helper, name, verb, before
        self.write_fails = write_fails  # False: write also goes to eventfds, which do not fail
        self.there = []

    def set(self, state):
        shutil.rmtree(state, ignore_errors=True)
        if self.before:
            made = run(self.helper, self.before, state, str(ROWS))
            assert made.returncode == 0, made.stderr
            self.there = made.stdout.split() or ["0", "1", "2"]  # what store_version_1.h holds

    def sweep(self, top):
        state, log = os.path.join(top, "state"), os.path.join(top, "trace")
        self.set(state)
        faults = 0
        for point in points(self.helper, self.verb, state, log):
            for fault in FAIL if point[0] != "write" or self.write_fails else KILL:
                self.set(state)
                reported = inject(self.helper, self.verb, state, point, fault)
                check(self.helper, state, self.there + reported,
                      f"{self.name}, {fault} at {point}")
                faults += 1
        print(f"{self.name}: {faults} faults at system calls, nothing was lost", flush=True)


class Disk:
    """An ext4 file system on a loop device, mounted in a namespace of ours."""

    def __init__(self, top):
        self.image, self.dir = os.path.join(top, "image"), os.path.join(top, "disk")
        os.mkdir(self.dir)
        with open(self.image, "wb") as f:
            f.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=4", self.image], check=True)
        self.loop = subprocess.run(["losetup", "-f", "--show", self.image], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.strip()

    def mount(self):
        subprocess.run(["mount", self.loop, self.dir], check=True)

    def unmount(self):
        subprocess.run(["umount", self.dir], check=True)

    def sync(self):
        subprocess.run(["sync", "-f", self.dir], check=True)

    def cut_power(self):
        fd = os.open(self.dir, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)
        self.unmount()
        self.mount()

    def close(self):
        subprocess.run(["umount", "-q", self.dir], check=False)
        subprocess.run(["losetup", "-d", self.loop], check=False)


def write_until(helper, state, reports):
    """Lets the helper report so many changes, then kills it; what it reported."""
    command = [helper, "write", state, str(reports + 50)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as p:
        reported = [p.stdout.readline().strip() for _ in range(reports)]
        p.kill()
        return reported + p.stdout.read().split()


def cut_while_writing(helper, disk):
    for reports in (1, 2, 3, 5, 20, 200):
        for fresh in (True, False):  # a first start, then one more on what that left
            state = os.path.join(disk.dir, f"new/state-{reports}")
            reported = write_until(helper, state, reports)
            disk.cut_power()
            check(helper, state, reported, f"power cut, {reports} reports, fresh={fresh}")
    print("12 power cuts while rows are written: nothing reported was lost", flush=True)


def cut_while_rekeying(scene, disk, log):
    """At each call; and where the change may be made but not synced, at each of the next start."""
    state, cuts = os.path.join(disk.dir, "rekeyed"), 0
    helper = scene.helper

    def rekey_until(point):
        scene.set(state)
        disk.sync()
        inject(helper, "rekey", state, point, "signal=KILL")

    scene.set(state)
    for point in points(helper, "rekey", state, log):
        rekey_until(point)
        if point[0] == "fdatasync":
            for after in points(helper, "check", state, log):
                rekey_until(point)
                inject(helper, "check", state, after, "signal=KILL")
                disk.cut_power()
                check(helper, state, scene.there, f"rekey cut at {point}, start cut at {after}")
                cuts += 1
            rekey_until(point)
        disk.cut_power()
        check(helper, state, scene.there, f"rekey cut at {point}")
        cuts += 1
    print(f"{cuts} power cuts while the key is changed: nothing was lost", flush=True)


def cut_power(helper, top):
    disk = Disk(top)
    try:
        disk.mount()
        cut_while_writing(helper, disk)
        cut_while_rekeying(Scene(helper, "change of the key", "rekey", "write", True), disk,
                           os.path.join(top, "trace"))
    finally:
        disk.close()


def can_cut_power():
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not shutil.which("losetup"):
        return False
    probe = run("unshare", "--mount", "sh", "-c", "losetup -f && mount -t tmpfs probe /mnt")
    return probe.returncode == 0


def main():
    helper = os.path.abspath(sys.argv[1])
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0"  # LeakSanitizer does not work under ptrace
    if not shutil.which("strace"):
        print("SKIPPED: strace is not installed", file=sys.stderr)
        return SKIP
    if sys.argv[2] == "power" and not can_cut_power():
        print("SKIPPED: no root, no loop device or no mkfs.ext4 here", file=sys.stderr)
        return SKIP
    if sys.argv[2] == "power":
        command = ["unshare", "--mount", sys.executable, __file__, helper, "power, mounts apart"]
        return subprocess.run(command, check=False).returncode
    if sys.argv[2] == "power, mounts apart":
        with tempfile.TemporaryDirectory(prefix="bearerd-power-") as top:
            cut_power(helper, top)
        return 0
    for scene in (Scene(helper, "first start", "write", None, False),
                  Scene(helper, "old schema", "write", "version-1", False),
                  Scene(helper, "change of the key", "rekey", "write", True),
                  Scene(helper, "change of the key, old schema", "rekey", "version-1", True)):
        with tempfile.TemporaryDirectory(prefix="bearerd-crash-") as top:
            scene.sweep(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
