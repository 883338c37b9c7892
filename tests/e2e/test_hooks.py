"""token_file_out, on_change, on_authorization_required."""

import http.server
import json
import os
import pathlib
import queue
import stat
import threading
import time

from harness import EndToEnd, LIMIT_S, eventually, fingerprint, main, new_token


NOTIFY = pathlib.Path(__file__).resolve().parents[2] / "client" / "examples" / "notify.sh"


class Chat(http.server.BaseHTTPRequestHandler):
    """What a chat's webhook takes, {path: ...} each, and what it answers."""

    said = queue.Queue()
    answers = {"/open-apis/bot/v2/hook/refuses": b'{"code":19024,"msg":"Key Words Not Found"}'}

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.said.put((self.path, self.headers["Content-Type"], body))
        answer = self.answers.get(self.path, b'{"code":0,"errcode":0}')
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Notify(EndToEnd):
    """client/examples/notify.sh, as a hook of the real daemon."""

    PATHS = {"feishu": "/open-apis/bot/v2/hook/f00d-secret-1", "ding": "/robot/send?access_token=f00d-secret-2",
             "wecom": "/cgi-bin/webhook/send?key=f00d-secret-3", "slack": "/services/T0/B0/f00d-secret-4",
             "refuses": "/open-apis/bot/v2/hook/refuses"}

    def sections(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        text = ""
        for name, path in self.PATHS.items():
            file = self.directory / f"{name}.url"
            file.write_text(f"http://127.0.0.1:{self.server.server_port}{path}\n")
            file.chmod(0o600)
            text += (f"[credential {name}]\nprovider = coze-test\ntype = pat\n"
                     f"on_authorization_required = {NOTIFY} {file}\n")
        return text

    def test_each_chat(self):
        """At start none of them has a token: each is told so, in its own form."""
        said = {path: (kind, body) for path, kind, body in (Chat.said.get(timeout=LIMIT_S) for _ in self.PATHS)}
        self.assertEqual(set(said), set(self.PATHS.values()))
        texts = {"feishu": lambda b: b["content"]["text"], "ding": lambda b: b["text"]["content"],
                 "wecom": lambda b: b["text"]["content"], "slack": lambda b: b["text"]}
        for name, find in texts.items():
            kind, body = said[self.PATHS[name]]
            self.assertEqual(kind, "application/json")
            self.assertIn(f"bearerd on {os.uname().nodename}, {name}: \"{name}\" hands out no token", find(body))
            self.assertIn(f"bearerctl set {name}", find(body))
        eventually(lambda: "credential=refuses event=hook_failed" in self.daemon.log, "a refusal is seen")
        self.assertIn("the webhook refuses: ", self.daemon.log)
        self.assertNotIn("credential=feishu event=hook_failed", self.daemon.log)
        self.assertNotIn("f00d-secret", self.daemon.log)


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

    def test_reload(self):
        """A file that is new is there at once, and one that is not wanted any more is gone."""
        token = self.daemon.token("told").token
        eventually(self.file.exists, "the file")
        text = self.daemon.conf.read_text()
        new = self.directory / "out" / "new"
        self.daemon.conf.write_text(text.replace(f"token_file_out = {self.file}\n", "")
                                    .replace("[credential told]\n", f"[credential told]\ntoken_file_out = {new}\n"))
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)
        self.assertEqual(new.read_text(), token)
        self.assertFalse(self.file.exists())
        self.daemon.conf.write_text(text.replace("[credential filed]", "[credential renamed]"))
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)
        self.assertFalse(new.exists())
        eventually(self.file.exists, "that of the new credential")

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
