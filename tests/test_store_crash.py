#!/usr/bin/env python3
"""The store under kill -9, failing system calls and power cuts: nothing reported is ever lost.

test_store_crash.py STORE_CRASH   (the helper built from store_crash.c)

Part 1 runs the helper once for each of its system calls that touch the disk, and ends it with
SIGKILL just before that call, or makes that call fail with EIO or ENOSPC. Part 2 puts the state
directory on an ext4 of its own and cuts the power (the file system's shutdown ioctl: what was not
synced is gone). After each, the store must open, every row that was reported as durable must be
there, and no row may be damaged.

Needs strace; part 2 root and loop devices. It says what it cannot run here; with nothing left to
run it exits with 77.
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

CALLS = "openat mkdir unlink link write pwrite64 fsync fdatasync ftruncate chmod fchmod".split()
KILL, FAIL = ("signal=KILL",), ("signal=KILL", "error=EIO", "error=ENOSPC")
ONLY_KILLED = ("write",)  # also goes to eventfds and pipes, which do not fail
ROWS = 4
TIMEOUT = 60  # seconds for one run: a store that hangs is a failure, too
EXT4_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
SKIP = 77


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def check(helper, state, reported, where):
    found = run(helper, "check", state, *reported)
    if found.returncode != 0:
        sys.exit(f"{where}: reported {reported}, but afterwards:\n{found.stderr}")


def trace(helper, state, *strace):
    """Runs the helper under strace; which rows it reported."""
    return run("strace", "-f", "-qq", *strace, helper, "write", state, str(ROWS)).stdout.split()


def count_calls(helper, top):
    log = os.path.join(top, "trace")
    state = os.path.join(top, "probe")
    reported = trace(helper, state, "-o", log, "-e", "trace=" + ",".join(CALLS))
    assert reported == [str(i) for i in range(ROWS)], reported
    with open(log, encoding="utf-8", errors="replace") as f:
        return collections.Counter(m[1] for m in re.finditer(r"^\d+ +(\w+)\(", f.read(), re.M))


def sweep_calls(helper, top):
    points = 0
    for call, n in count_calls(helper, top).items():
        # the loader's own calls come first and have no part in this, but cost little
        for i in range(1, n + 1):
            for fault in KILL if call in ONLY_KILLED else FAIL:
                state = os.path.join(top, "state")
                where = f"{fault} at {call} {i}"
                reported = trace(helper, state, "-o", "/dev/null", "-e", f"trace={call}",
                                 "-e", f"inject={call}:{fault}:when={i}")
                check(helper, state, reported, where)
                shutil.rmtree(state)
                points += 1
    print(f"{points} faults at system calls: nothing reported was lost", flush=True)


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
    """Lets the helper report so many rows, then kills it; what it reported."""
    command = [helper, "write", state, str(reports + 50)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as p:
        reported = [p.stdout.readline().strip() for _ in range(reports)]
        p.kill()
        return reported + p.stdout.read().split()


def cut_power(helper, top):
    disk = Disk(top)
    try:
        disk.mount()
        for reports in (1, 2, 3, 5, 20, 200):
            for fresh in (True, False):  # a first start, then one more on what that left
                state = os.path.join(disk.dir, f"new/state-{reports}")
                reported = write_until(helper, state, reports)
                disk.cut_power()
                check(helper, state, reported, f"power cut, {reports} reports, fresh={fresh}")
        print("12 power cuts: nothing reported was lost")
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
    done = False
    if sys.argv[2:] == ["--power"]:  # in its own mount namespace, see below
        with tempfile.TemporaryDirectory(prefix="bearerd-power-") as top:
            cut_power(helper, top)
        return 0
    if shutil.which("strace"):
        with tempfile.TemporaryDirectory(prefix="bearerd-crash-") as top:
            sweep_calls(helper, top)
        done = True
    else:
        print("SKIPPED: system calls: strace is not installed", file=sys.stderr)
    if can_cut_power():
        command = ["unshare", "--mount", sys.executable, __file__, helper, "--power"]
        subprocess.run(command, check=True)
        done = True
    else:
        print("SKIPPED: power cuts: no root, no loop device or no mkfs.ext4 here", file=sys.stderr)
    return 0 if done else SKIP


if __name__ == "__main__":
    sys.exit(main())
