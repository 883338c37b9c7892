"""Canaries: a secret that enters by any door is found nowhere it does not belong, nor in memory once it was released."""

import os
import pathlib
import unittest
import urllib.parse

from harness import WRAPPER, EndToEnd, eventually, main, new_token

PIECE = 20  # bytes of a secret: fewer could be there by chance
WIPES = not WRAPPER and b"__asan" not in pathlib.Path(os.environ["BEARERD"]).read_bytes()


def pieces(secret):
    return [secret[i:i + PIECE].encode() for i in range(0, max(1, len(secret) - PIECE + 1), 8)]


@unittest.skipUnless(os.geteuid() == 0, "needs root, to read the daemon's memory")
class Canary(EndToEnd):
    def sections(self):
        (self.directory / "file.token").write_text(self.make("pat_file_"))
        (self.directory / "file.token").chmod(0o600)
        return (f"[credential file]\nprovider = coze-test\ntype = pat\ntoken_file = {self.directory}/file.token\n\n"
                "[credential set]\nprovider = coze-test\ntype = pat\n\n")

    def make(self, prefix):
        """A secret that is planted."""
        secret = new_token(prefix)
        self.planted.append(secret)
        return secret

    def setUp(self):
        self.planted = []
        self.released = []
        super().setUp()

    def memory(self):
        """All that the daemon could write to, and so could hold a secret in."""
        process = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        found = []
        with open(process / "mem", "rb", buffering=0) as memory:
            for line in (process / "maps").read_text().splitlines():
                span, mode, *rest = line.split()
                if not mode.startswith("rw") or rest[-1] in ("[vvar]", "[vsyscall]"):
                    continue
                begin, end = (int(n, 16) for n in span.split("-"))
                try:
                    memory.seek(begin)
                    found.append((line, memory.read(end - begin)))
                except OSError:
                    pass  # nothing there: a guard page, a reservation
        return found

    def where_in_memory(self, secret):
        return [line for line, text in self.memory() if any(piece in text for piece in pieces(secret))]

    def plant_static(self):
        for _ in range(3):
            self.released.append(self.make("pat_old_"))
            self.assertStatus(self.daemon.set("set", self.released[-1]), 200)
            self.daemon.token("set")
            self.assertEqual(self.daemon.get("/v1/token/set", {"Accept": "text/plain"}).text, self.released[-1])
        self.daemon.set("set", self.make("pat_new_"))
        self.daemon.token("file")

    def plant_tokens(self):
        for application in ("developer", "channel"):
            first = self.daemon.token(application)
            self.planted.append(first.token)
            self.released.append(first.token)
            fingerprint = first.json["fingerprint"]
            self.planted.append(self.daemon.token(application, f"?rejected={fingerprint}").token)

    def plant_browser(self):
        """A person authorizes; the code, the state and the URL are secrets as long as they are good."""
        answer = self.assertStatus(self.daemon.post("/v1/credentials/web/authorizations", {}), 201)
        back = self.emulator.browse(answer.json["authorization_url"])
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)
        done = self.daemon.post("/v1/callback", {"url": back})
        self.assertEqual(done.json["state"], "succeeded", done)
        for name in ("code", "state"):
            self.planted.append(query[name][0])
            self.released.append(query[name][0])
        first = self.daemon.token("web")
        self.planted.append(first.token)
        self.released.append(first.token)
        self.planted.append(self.daemon.token("web", f"?rejected={first.json['fingerprint']}").token)

    def plant_refused(self):
        """What is refused was a secret all the same."""
        for path, member in (("/v1/callback", "code"), ("/v1/credentials/set/secret", "tokem"),
                             ("/v1/token/developer", "subject_token")):
            secret = self.make("czs_refused_")
            self.released.append(secret)
            body = {member: secret, "state": "none"}
            answer = self.daemon.put(path, body) if "secret" in path else self.daemon.post(path, body)
            self.assertGreaterEqual(answer.status, 400)
            self.assertNotIn(secret, answer.text)
        for where in ({"Authorization": "Bearer {}"}, {"Cookie": "session={}"}):
            secret = self.make("czs_header_")
            self.released.append(secret)
            self.assertStatus(self.daemon.get("/v1/nothing", {k: v.format(secret) for k, v in where.items()}), 404)

    def places(self):
        """{name: bytes} of all that anybody gets to see, or that stays behind."""
        process = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        found = {"the log": self.daemon.log_file.read_bytes()}
        for name in ("cmdline", "environ", "comm", "status"):
            found[name] = (process / name).read_bytes()
        for path in ("/metrics", "/healthz", "/readyz", "/v1/credentials", "/v1/authorizations"):
            found[path] = self.daemon.get(path).body
        with self.daemon.connect() as s:
            s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found["events"] = b""
            while b"event: state" not in found["events"]:
                found["events"] += s.recv(65536)
        found["bearerctl status"] = self.bearerctl("status", "--json").stdout.encode()
        for file in self.daemon.state_dir.iterdir():
            found[f"state_dir/{file.name}"] = file.read_bytes()
        return found

    def test_canary(self):
        self.plant_static()
        self.plant_tokens()
        self.plant_browser()
        self.plant_refused()
        secrets = set(self.planted) | self.emulator.secrets()
        self.assertGreater(len(secrets), 20)
        for place, text in self.places().items():
            for secret in secrets:
                for piece in pieces(secret):
                    self.assertFalse(piece in text, f"{piece!r}, part of a secret, is in {place}")
        self.assertIn(b"fingerprint=", self.daemon.log_file.read_bytes())  # so it does say something of tokens
        self.no_core()
        if WIPES:
            self.no_traces()

    def no_core(self):
        limits = pathlib.Path(f"/proc/{self.daemon.process.pid}/limits").read_text()
        self.assertRegex(limits, r"Max core file size +0 +0 ")
        status = pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")
        owner = os.stat(f"/proc/{self.daemon.process.pid}/mem").st_uid
        self.assertEqual(owner, 0)

    def no_traces(self):
        """Of what was released; what is in use is there, or the search would prove nothing."""
        self.assertTrue(self.where_in_memory(self.planted[0]), "the token of token_file is in use")
        self.daemon.get("/healthz")
        for secret in self.released:
            eventually(lambda s=secret: not self.where_in_memory(s),
                       f"{secret[:12]}... is gone from memory, and not in {self.where_in_memory(secret)}")


if __name__ == "__main__":
    main()
