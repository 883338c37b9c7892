#!/usr/bin/env python3
"""The power fails at every system call of a rotation: what a caller was shown is still good.

As rotation.py, on an ext4 file system of its own, which is shut down without its log at the moment the daemon
dies: what was not synced is gone, and the journal is recovered at the next mount.
"""

import pathlib
import sys

import rig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import test_store_crash as store  # noqa: E402


class PowerCuts(rig.Sweep):
    def __init__(self, site, disk):
        super().__init__(site, "first token after a start, power cut")
        self.disk = disk

    def disturb(self):
        self.disk.cut_power()


def run(directory):
    disk = store.Disk(str(directory))
    try:
        disk.mount()
        with rig.Site(directory / "site", ["alice"], state_dir=f"{disk.dir}/state") as site:
            PowerCuts(site, disk).run()
    finally:
        disk.close()


if __name__ == "__main__":
    if not store.can_cut_power():
        print("NOT TESTED: no root, no loop device or no mkfs.ext4 here", file=sys.stderr)
        sys.exit(rig.SKIP)
    rig.main(run, mount=True)
