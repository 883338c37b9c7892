#!/usr/bin/env python3
"""The power fails at every system call of a rotation: what a caller was shown is still good.

power.py rotation     every call of the first rotation after a start
power.py checkpoint   every call on the disk of a rotation that makes the store fold in its log

As rotation.py, on an ext4 file system of its own, which is shut down without its log at the moment the daemon
dies: what was not synced is gone, and the journal is recovered at the next mount.
"""

import contextlib
import http.client
import pathlib
import secrets
import sys

import rig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import test_store_crash as store  # noqa: E402

LOG_HEADER, LOG_FRAME = 32, 24 + 4096  # bytes: sqlite.org/fileformat2.html, section 4
LOG_FULL = 1000  # frames: WRITER_CHECKPOINT_PAGES of daemon/store/writer.c


class PowerCuts(rig.Sweep):
    name = "first token after a start, power cut"

    def __init__(self, site, disk):
        super().__init__(site, self.name)
        self.disk = disk

    def disturb(self):
        self.disk.cut_power()


class Checkpoint(PowerCuts):
    """The log is so full of static tokens that it is folded in once the successor is in it; then begun anew."""

    name = "rotation with a checkpoint, power cut"
    threads = ("store-writer",)
    calls = ("pwrite64", "pread64", "fdatasync", "fsync", "ftruncate")

    def begin(self):
        super().begin()
        while self.frames() < LOG_FULL - 40:
            self.put(15000)
        while self.frames() < LOG_FULL - 2:  # the mark, and the successor
            self.put(10)
        rig.require(self.frames() == LOG_FULL - 2, f"{self.frames()} frames")
        return self.site.rows()

    def act(self):
        result = super().act()
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.put(10)  # waits for its turn
        return result

    def put(self, size):
        answer = self.site.daemon.set("spare", f"pat_{secrets.token_hex(size // 2)}")
        rig.require(answer.status == 200, answer)

    def record(self):
        recorded = super().record()
        rig.require(recorded["store-writer", "fdatasync"] > 3, f"no checkpoint: {recorded}")
        return recorded

    def frames(self):
        return ((self.site.state_dir / "bearerd.db-wal").stat().st_size - LOG_HEADER) // LOG_FRAME


def run(directory):
    sweep = {"rotation": PowerCuts, "checkpoint": Checkpoint}[sys.argv[-1]]
    disk = store.Disk(str(directory))
    try:
        disk.mount()
        with rig.Site(directory / "site", ["alice"], state_dir=f"{disk.dir}/state") as site:
            sweep(site, disk).run()
    finally:
        disk.close()


if __name__ == "__main__":
    if not store.can_cut_power():
        print("NOT TESTED: no root, no loop device or no mkfs.ext4 here", file=sys.stderr)
        sys.exit(rig.SKIP)
    rig.main(run, mount=True)
