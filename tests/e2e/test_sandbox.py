"""The daemon's own sandbox: what is in force, and that it works within it."""

import functools
import os
import re
import subprocess
from unittest import mock

from harness import EndToEnd, eventually, main


class Sandbox(EndToEnd):
    def sections(self):
        self.out = self.directory / "out"
        self.out.mkdir()
        self.out.chmod(0o700)
        return (f"[socket second]\npath = {self.directory}/second/bearerd.sock\n\n"
                f"[credential filed]\ntoken_file_out = {self.out}/token\n"
                + self.emulator.configuration.split("[credential developer]\n", 1)[1].split("\n[", 1)[0] + "\n")

    def hardened(self):
        return re.findall(r"event=hardened (.*)", self.daemon.log)[-1]

    def test_works_within(self):
        """State, a socket in a directory that was still to be made, and the file of a token are written."""
        said = self.hardened()
        self.assertIn("seccomp=yes", said)
        if "landlock=0" not in said:
            self.assertRegex(said, r"landlock=[1-9]")
        token = self.daemon.token("filed")
        eventually(lambda: (self.out / "token").exists() and (self.out / "token").read_text() == token.token, "the file")
        second = self.daemon.token("filed", f"?rejected={token.json['fingerprint']}").token
        eventually(lambda: (self.out / "token").read_text() == second, "the file again")
        self.assertEqual(self.daemon.get("/healthz", socket=f"{self.directory}/second/bearerd.sock").status, 200)
        self.daemon.restart()

    def test_off(self):
        self.daemon.stop()
        text = self.daemon.conf.read_text()
        self.daemon.conf.write_text(text.replace("[daemon]\n", "[daemon]\nsandbox = no\n", 1))
        self.daemon.start()
        self.assertIn("landlock=0 seccomp=no", self.hardened())
        self.assertNotIn("sandbox_incomplete", self.daemon.log)

    def test_descriptors_are_not_inherited(self):
        """Nor what somebody left open in the shell that started it."""
        self.daemon.stop()
        marker = self.directory / "marker"
        marker.write_text("")
        fd = os.open(marker, os.O_RDONLY)
        os.set_inheritable(fd, True)
        try:
            with mock.patch("subprocess.Popen", functools.partial(subprocess.Popen, pass_fds=(fd,))):
                self.daemon.start()
        finally:
            os.close(fd)
        links = [os.readlink(f"/proc/{self.daemon.process.pid}/fd/{n}")
                 for n in os.listdir(f"/proc/{self.daemon.process.pid}/fd")]
        self.assertNotIn(str(marker), links)
        self.assertIn(str(self.daemon.log_file), links)


if __name__ == "__main__":
    main()
