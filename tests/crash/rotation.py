#!/usr/bin/env python3
"""kill -9 at every system call of a rotation: no login is lost.

rotation.py start       the first token after a start
rotation.py rejection   a token that the API refused
rotation.py group       three subjects at once, whose changes share commits

Each point is one run of the daemon, killed right before the n-th call of that name in that thread, counted
from the request that makes it refresh. All calls but those that only wait, all n. Then the state directory is
looked at, the daemon started again, and the judge (rig.py) speaks.
"""

import sys

import rig


def start(directory):
    with rig.Site(directory / "site", ["alice"]) as site:
        rig.Sweep(site, "first token after a start").run()


def rejection(directory):
    with rig.Site(directory / "site", [""]) as site:
        rig.Sweep(site, "token that the API refused", rejected=True).run()


def group(directory):
    with rig.Site(directory / "site", ["alice", "bob", "carol"]) as site:
        rig.Sweep(site, "three subjects, changes share commits", rejected=True, gather=True).run()


if __name__ == "__main__":
    rig.main({"start": start, "rejection": rejection, "group": group}[sys.argv[-1]])
