"""token_file_out, on_change, on_authorization_required."""

import os
import stat
import time

from harness import EndToEnd, eventually, fingerprint, main, new_token


class Hooks(EndToEnd):
    def sections(self):
        self.file = self.directory / "out" / "token"
        self.file.parent.mkdir()
        self.ran = self.directory / "ran"
        script = self.directory / "hook"
        script.write_text(f"#!/bin/sh\nprintf '%s%s\\n' \"$(env | sort | tr '\\n' '|')\" \"$1\" >>{self.ran}\necho heard >&2\n")
        script.chmod(0o755)
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[credential filed]\n{developer}token_file_out = {self.file}\ntoken_file_mode = 0640\n"
                f"[credential told]\n{developer}on_change = {script} 'a b'\n"
                f"[credential mine]\nprovider = coze-test\ntype = pat\ntoken_file_out = {self.file}-mine\n"
                f"on_authorization_required = {script} \"\"\n"
                f"[credential slow]\n{developer}on_change = /bin/sh -c \"echo begins >>{self.ran}-slow; "
                f"read x <{self.directory}/fifo; echo ends >>{self.ran}-slow\"\n"
                f"[credential broken]\n{developer}on_change = /nonexistent/program\n")

    def runs(self):
        """What each run of the hook had: its environment and its argument."""
        text = self.ran.read_text() if self.ran.exists() else ""
        found = []
        for line in text.splitlines():
            *variables, argument = line.split("|")
            found.append(({k: v for k, _, v in (x.partition("=") for x in variables)}, argument))
        return found

    def test_token_file(self):
        """There without a caller, replaced as a whole, and only if it is another."""
        token = eventually(lambda: self.file.exists() and self.file.read_text(), "the file")
        self.assertEqual(token, self.daemon.token("filed").token)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o640)
        self.assertEqual(os.listdir(self.file.parent), ["token"])
        before = self.file.stat().st_ino
        self.daemon.get(f"/v1/token/filed?rejected={fingerprint(token)}")
        eventually(lambda: self.file.read_text() != token, "the next token")
        self.assertNotEqual(self.file.stat().st_ino, before)

    def test_token_file_of_a_static_token(self):
        file = self.file.with_name("token-mine")
        self.assertFalse(file.exists())
        token = new_token()
        self.daemon.set("mine", token)
        self.assertEqual(file.read_text(), token)
        before = file.stat()
        self.daemon.restart()
        self.assertEqual(file.read_text(), token)
        self.assertEqual((file.stat().st_ino, file.stat().st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        self.assertStatus(self.daemon.ask("DELETE", "/v1/credentials/mine/grant"), 204)
        self.assertFalse(file.exists())

    def test_token_file_that_cannot_be(self):
        eventually(self.file.exists, "the file")
        self.file.unlink()
        self.file.parent.rmdir()
        token = self.daemon.token("filed").token
        self.daemon.get(f"/v1/token/filed?rejected={fingerprint(token)}")
        eventually(lambda: "event=token_file_failed" in self.daemon.log, "it is said")
        self.daemon.token("filed")

    def test_on_change(self):
        o = self.daemon.token("told", "?subject=alice").json
        variables, argument = eventually(lambda: [r for r in self.runs() if r[0]["BEARERD_CREDENTIAL"] == "told"],
                                         "it runs")[0]
        self.assertEqual(argument, "a b")
        self.assertEqual({k: v for k, v in variables.items() if k.startswith("BEARERD_")},
                         {"BEARERD_EVENT": "token", "BEARERD_CREDENTIAL": "told", "BEARERD_SUBJECT": "alice",
                          "BEARERD_FINGERPRINT": o["fingerprint"], "BEARERD_SOCKET": self.daemon.socket})
        self.assertNotIn(o["access_token"], str(variables))
        eventually(lambda: "\nheard\n" in self.daemon.log, "its output is in the log")

    def test_on_authorization_required(self):
        """At start, and when the token has run out; not when somebody has thrown it away."""
        variables, argument = eventually(self.runs, "at start")[0]
        self.assertEqual((variables["BEARERD_EVENT"], variables["BEARERD_CREDENTIAL"], argument),
                         ("authorization_required", "mine", ""))
        self.assertIn("bearerctl set mine", variables["BEARERD_REASON"])
        self.daemon.set("mine", new_token())
        self.assertStatus(self.daemon.ask("DELETE", "/v1/credentials/mine/grant"), 204)
        self.daemon.set("mine", new_token(), expires_at=int(time.time()) + 2)
        eventually(lambda: len(self.runs()) > 1, "it has run out")
        self.assertIn("has expired", self.runs()[1][0]["BEARERD_REASON"])

    def test_one_at_a_time(self):
        os.mkfifo(self.directory / "fifo")
        slow = self.directory / "ran-slow"
        self.daemon.token("slow")
        eventually(slow.exists, "it begins")
        for _ in range(3):
            for subject in ("alice", "bob"):
                self.daemon.get(f"/v1/token/slow?subject={subject}")
        self.assertEqual(slow.read_text(), "begins\n")
        for n in range(1, 4):
            with open(self.directory / "fifo", "w") as f:
                f.write("x\n")
            eventually(lambda: slow.read_text().count("ends") == n, "it ends")
        self.assertEqual(slow.read_text(), "begins\nends\n" * 3)

    def test_stop_does_not_wait(self):
        os.mkfifo(self.directory / "fifo")
        self.daemon.token("slow")
        eventually((self.directory / "ran-slow").exists, "it begins")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()

    def test_one_that_is_not_there(self):
        self.daemon.token("broken")
        eventually(lambda: "event=hook_failed hook=on_change" in self.daemon.log, "it is said")


if __name__ == "__main__":
    main()
