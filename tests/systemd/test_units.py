#!/usr/bin/env python3
"""The units, looked at without a system that runs them: they are valid, and the system's service is locked in.

Usage: test_units.py DIRECTORY, where `meson install` would put lib/systemd and its neighbours
"""

import os
import pathlib
import shutil
import subprocess
import sys
import unittest

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
INSTALLED = pathlib.Path(sys.argv[1])
EXPOSURE_MAX = 12  # tenths, of 100
UNITS = {"system": {"bearerd.service", "bearerd.socket", "bearerd-units.socket"}, "user": {"bearerd.service", "bearerd.socket"}}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@unittest.skipUnless(shutil.which("systemd-analyze"), "NOT TESTED: there is no systemd-analyze on this machine")
class Units(unittest.TestCase):
    def unit(self, manager, name):
        return INSTALLED / "lib/systemd" / manager / name

    def test_exposure(self):
        """At most 1.2 of 10, and no directive that this systemd does not know."""
        done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}",
                   str(self.unit("system", "bearerd.service")))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("Overall exposure level for bearerd.service", done.stdout)
        self.assertEqual(done.stderr, "")

    def test_threshold(self):
        """The test above can fail."""
        done = run("systemd-analyze", "security", "--offline=yes", "--threshold=8", str(self.unit("system", "bearerd.service")))
        self.assertEqual(done.returncode, 1, done.stdout)

    def test_examples(self):
        for name in "bearerd-job", "bearerd-worker":
            done = run("systemd-analyze", "verify", str(TREE / "client/examples" / f"{name}.service"))
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_installed(self):
        for manager, names in UNITS.items():
            self.assertEqual({f.name for f in self.unit(manager, ".").iterdir()}, names)
            for name in names:
                self.assertNotIn("@", self.unit(manager, name).read_text().split("[Service]")[-1].split("\n[")[0]
                                 .replace("@system-service", "").replace("@privileged", "").replace("@resources", "")
                                 .replace("@chown", ""), "nothing was left to be filled in")

    def test_recipes_are_installed(self):
        """All, so that none is forgotten."""
        here = {f.name for f in (TREE / "client/examples").iterdir()} - {"notify.sh"}
        installed = INSTALLED / "share/doc/bearerd/examples"
        self.assertEqual({f.name for f in installed.iterdir()}, here)
        for name in here:
            self.assertEqual(os.access(installed / name, os.X_OK), name.endswith(".sh"), name)

    def test_sysusers_and_tmpfiles(self):
        for program, directory in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
            self.assertTrue((INSTALLED / "lib" / directory / "bearerd.conf").is_file(), program)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
