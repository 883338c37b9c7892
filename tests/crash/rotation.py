#!/usr/bin/env python3
"""kill -9 at every system call of a rotation, or of a login: no login is lost.

rotation.py start       the first token after a start
rotation.py rejection   a token that the API refused
rotation.py group       three subjects at once, whose changes share commits
rotation.py login       a first grant: who was told that it succeeded has it
rotation.py logout      its end: who was told that it is forgotten is not served any more

Each point is one run of the daemon, killed right before the n-th call of that name in that thread, counted
from the request that makes it refresh. All calls but those that only wait, all n. Then the state directory is
looked at, the daemon started again, and the judge (rig.py) speaks.
"""

import http.client
import sys

import rig
from rig import require


def start(directory):
    with rig.Site(directory / "site", ["alice"]) as site:
        rig.Sweep(site, "first token after a start").run()


def rejection(directory):
    with rig.Site(directory / "site", [""]) as site:
        rig.Sweep(site, "token that the API refused", rejected=True).run()


def group(directory):
    with rig.Site(directory / "site", ["alice", "bob", "carol"]) as site:
        rig.Sweep(site, "three subjects, changes share commits", rejected=True, gather=True).run()


class Login(rig.Sweep):
    def begin(self):
        self.site.forget()
        self.back = self.site.consent(self.site.subjects[0])
        return self.site.rows()

    def act(self):
        try:
            self.site.come_back(self.back)
        except (OSError, http.client.HTTPException):
            return set(), []
        return set(self.site.subjects), []

    def judge(self, before, shown, at_fault):
        require(before == {}, before)
        require(shown <= set(at_fault), f"{shown} succeeded, but is not on the disk")
        self.site.daemon.start()
        for subject in self.site.subjects:
            answer = self.site.daemon.get(self.site.path(subject))
            require(answer.status == (200 if subject in at_fault else 409), f"{subject!r}: {answer}")
        self.site.check_provider(spent=0)
        return 0


class Logout(Login):
    def begin(self):
        self.site.settle()
        return self.site.rows()

    def act(self):
        try:
            self.site.forget()
        except (OSError, http.client.HTTPException):
            return set(), []
        return set(self.site.subjects), []

    def judge(self, before, shown, at_fault):
        require(not shown & set(at_fault), f"{shown} was forgotten, but is on the disk")
        require(set(before) == set(self.site.subjects), before)
        return super().judge({}, set(), at_fault)


def login(directory):
    with rig.Site(directory / "site", ["alice"]) as site:
        Login(site, "login").run()


def logout(directory):
    with rig.Site(directory / "site", ["alice"]) as site:
        Logout(site, "logout").run()


if __name__ == "__main__":
    rig.main({f.__name__: f for f in (start, rejection, group, login, logout)}[sys.argv[-1]])
