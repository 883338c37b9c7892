#!/usr/bin/env python3
"""The Debian package, in a system that booted for it (see boot): installed, used, upgraded, removed, purged.

Environment: EMULATOR, the program. Usage: test_package.py DEB, as root, inside boot.
"""

import pathlib
import subprocess
import sys
import unittest

import test_service as service
from test_service import run, show

DEB = sys.argv[1]
PLACES = ("/etc", "/usr", "/var", "/run")


def paths():
    """Whatever has our name, but for the records of others: dpkg's log, the journal's cursor and the like."""
    found = subprocess.run(["find", *PLACES, "-xdev", "-name", "*bearer*", "-not", "-path", "/var/log/*"],
                           capture_output=True, text=True, timeout=60, check=False)
    return set(found.stdout.split())


class Package(service.Booted):
    def test_life(self):
        before = paths()
        run("dpkg", "--install", DEB)

        # the first start is useful
        for unit in ("bearerd.service", "bearerd.socket"):
            self.assertEqual(show(unit, "ActiveState"), "active", self.log())
            self.assertEqual(show(unit, "UnitFileState"), "enabled")
        self.assertEqual(show("bearerd-units.socket", "UnitFileState"), "disabled")
        [event] = service.journal(f"MESSAGE_ID={service.UNCONFIGURED}")
        self.assertIn("/etc/bearerd/bearerd.conf", event["BEARERD_ADVICE"])
        explained = run("journalctl", "--no-pager", "--catalog", f"MESSAGE_ID={service.UNCONFIGURED}").stdout
        self.assertIn("bearerd has no credential yet", explained)
        self.assertIn("no credential", run("bearerctl", "list", check=False).stderr + self.log())

        # a credential, and its token for somebody who is not root
        run("usermod", "--append", "--groups", "bearerd", "alice")
        self.configure()
        run("systemctl", "restart", "bearerd.service")
        self.token(*service.as_user("alice", "bearerctl", "get", "bot"))

        # an upgrade: nobody notices
        pid = show("bearerd.service", "MainPID")
        with service.Load(service.SOCKET) as load:
            run("dpkg", "--install", DEB)
            self.token()
        self.assertEqual(load.failures, [])
        self.assertNotEqual(show("bearerd.service", "MainPID"), pid)

        # removed: what the operator wrote and what the daemon keeps stays
        run("dpkg", "--remove", "bearerd")
        self.assertEqual(run("systemctl", "is-active", "bearerd.service", check=False).stdout.strip(), "inactive")
        self.assertFalse(pathlib.Path(service.SOCKET).exists())
        for kept in ("/etc/bearerd/bearerd.conf", "/var/lib/bearerd/bearerd.key"):
            self.assertTrue(pathlib.Path(kept).exists(), kept)
        run("dpkg", "--install", DEB)
        self.token()

        # purged: nothing stays
        run("dpkg", "--purge", "bearerd")
        run("rm", "-r", str(service.DROP_INS))  # ours, not the package's
        run("systemctl", "daemon-reload")
        self.assertEqual(paths() - before, set())
        for database in ("passwd", "group"):
            self.assertNotIn("bearerd", run("getent", database).stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
