#!/usr/bin/env python3
"""The same two containers, made by a real engine (podman, runc), where the machine has with-sidecar: see there.

Environment: BEARERD, BEARERCTL: the programs. Usage: test_podman.py TREE, as root
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

WITH_SIDECAR = pathlib.Path(sys.argv[1]).resolve().parent / "shared/tools/with-sidecar"
BEARERD, BEARERCTL = os.environ["BEARERD"], os.environ["BEARERCTL"]
TOKEN = "pat_" + "0123456789abcdef" * 3

# In the application's container: PID 1 there, on a read-only root.
APP = """
set -eu
curl --silent --fail --unix-socket /run/bearerd/bearerd.sock -H 'Accept: text/plain' http://localhost/v1/token/me
echo
bearerctl health
bearerctl get me
bearerctl --socket /run/bearerd/app1/bearerd.sock list
bearerctl get hers || echo refused $?
echo pat_later | bearerctl set later || echo refused $?
"""


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if not WITH_SIDECAR.exists():
        return f"there is no {WITH_SIDECAR.name} on this machine"
    missing = [p for p in ("podman", "runc", "busybox", "curl") if not shutil.which(p)]
    return f"there is no {' and no '.join(missing)} on this machine" if missing else None


@unittest.skipIf(why_not(), f"NOT TESTED: {why_not()}")
class Podman(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-podman-"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "secrets").mkdir()
        (self.directory / "secrets/token").write_text(TOKEN)
        (self.directory / "secrets/token").chmod(0o444)  # as engines make them
        (self.directory / "bearerd.conf").write_text(
            "[daemon]\nsocket_mode = 0666\nstate_dir = /var/lib/bearerd/state\n"
            "[credential me]\nprovider = coze.cn\ntype = pat\ntoken_file = %d/token\n"
            "[credential hers]\nprovider = coze.cn\ntype = pat\nallow_users = 1234\n"
            "[credential later]\nprovider = coze.cn\ntype = pat\n"
            "[socket app1]\npath = /run/bearerd/app1/bearerd.sock\ncredentials = me\n")

    def run_pair(self, *options):
        log = self.directory / "log"
        done = subprocess.run(
            [str(WITH_SIDECAR), "--shell", "--shared=/run/bearerd", "--wait-for=bearerd.sock", f"--sidecar-log={log}",
             f"--add={BEARERD}:/usr/bin/bearerd", f"--add={BEARERCTL}:/usr/bin/bearerctl", "--add=/usr/bin/curl",
             f"--add={self.directory}/bearerd.conf:/etc/bearerd/bearerd.conf", f"--add={self.directory}/secrets:/run/secrets",
             "--sidecar-opt=--env=CREDENTIALS_DIRECTORY=/run/secrets", "--sidecar-opt=--tmpfs=/var/lib/bearerd",
             "--sidecar=/usr/bin/bearerd", *options, "--", "/bin/sh", "-c", APP],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr + log.read_text())  # that of bearerd at SIGTERM, too
        self.assertEqual(done.stdout.split("\n"), [TOKEN, "ready", TOKEN, "me", "refused 4", "refused 4", ""], done.stderr)
        self.assertIn("event=stopped", log.read_text())
        return log.read_text()

    def test_users(self):
        """Neither has an entry in passwd."""
        log = self.run_pair("--sidecar-opt=--user=4711:4711", "--app-opt=--user=2000:2000")
        self.assertIn("outcome=handed_out uid=2000 gid=2000 pid=0 unit=- credential=me", log)

    def test_user_namespace(self):
        log = self.run_pair("--app-opt=--uidmap=0:100000:65536", "--app-opt=--gidmap=0:100000:65536")
        self.assertIn("outcome=handed_out uid=100000 gid=100000 pid=0 unit=- credential=me", log)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
