#!/usr/bin/env python3
"""Canaries: no secret can be read in the state directory, in the log at debug level, in argv or the environment.

A provider of ours hands out tokens that it remembers, and remembers what it is given: codes, verifiers, refresh
tokens, client secrets, device codes. Grants of each type are made, used, refused, spoilt, killed and forgotten.
Then everything is searched for any piece of any of them: plain, in hexadecimal, in base64.
"""

import base64
import contextlib
import http.server
import json
import pathlib
import secrets
import threading
import urllib.parse

import rig
from harness import LIMIT_S, WINDOW, Daemon, eventually
from rig import REDIRECT, require

SUBJECT = "subject-of-no-secrecy"  # is found where secrets must not be: the search works
LIFETIME_S = 900
ECHO = b"ECHO"
SINGLE_USE = ("code", "refresh_token", "device_code")


class Provider(http.server.ThreadingHTTPServer):
    """Speaks as much OAuth as it takes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.secrets = set()
        self.trouble = None  # (status, body) instead of an answer; ECHO in it stands for what was presented
        self.hang = threading.Event()
        self.hang.set()
        self.requests = 0
        self.approved = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def make(self, kind):
        secret = f"{kind}{secrets.token_urlsafe(33)}"
        self.secrets.add(secret)
        return secret

    def answer(self, path, body):
        if path.endswith("/device/code"):
            code = self.make("dev_")
            return 200, {"device_code": code, "user_code": self.make("")[:9], "expires_in": 300,
                         "verification_uri": "https://app.example/", "interval": 1}
        if self.trouble:
            status, text = self.trouble
            presented = next(body[member] for member in SINGLE_USE if member in body)
            return status, text.replace(ECHO, presented.encode())
        if body["grant_type"].endswith("device_code") and not self.approved:
            return 400, {"error": "authorization_pending"}
        return 200, {"access_token": self.make("czu_"), "refresh_token": self.make("LBEP"), "expires_in": LIFETIME_S}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.secrets.update(body[member] for member in (*SINGLE_USE, "code_verifier") if member in body)
        if "Authorization" in self.headers:
            self.server.secrets.add(self.headers["Authorization"].removeprefix("Bearer "))
        self.server.requests += 1
        self.server.hang.wait(LIMIT_S)
        status, answer = self.server.answer(self.path, body)
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        with contextlib.suppress(OSError):  # it may have been killed
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *_):
        pass


def configuration(directory, provider):
    for name in ("web", "key"):
        path = directory / name
        path.write_text(provider.make("sec_"))
        path.chmod(0o600)
    url = f"http://127.0.0.1:{provider.server_port}"
    common = "provider = canary\nclient_id = 1127900106117\n"
    browser = f"{common}redirect_uri = {REDIRECT}\n"
    return (f"[daemon]\nsocket = {directory}/bearerd.sock\nstate_dir = {directory}/state\nlog_level = debug\n\n"
            f"[provider canary]\ndialect = coze\napi_url = {url}\nwww_url = {url}\nallow_http = yes\n\n"
            f"[credential web]\ntype = authorization_code\n{browser}client_secret_file = {directory}/web\n\n"
            f"[credential pkce]\ntype = pkce\n{browser}\n[credential device]\ntype = device_code\n{common}\n"
            f"[credential pat]\nprovider = canary\ntype = pat\n\n"
            f"[credential sat]\nprovider = canary\ntype = sat\ntoken_file = {directory}/key\n")


class Life:
    """What happens to the grants."""

    def __init__(self, daemon, provider):
        self.daemon = daemon
        self.provider = provider

    def begin(self, credential, subject):
        answer = self.daemon.post(f"/v1/credentials/{credential}/authorizations", {"subject": subject})
        require(answer.status == 201, answer)
        if "user_code" in answer.json:
            self.provider.secrets.add(answer.json["user_code"])
            return answer.json["id"], None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.json["authorization_url"]).query)
        self.provider.secrets.add(query["state"][0])
        return answer.json["id"], query["state"][0]

    def come_back(self, state, code=None):
        code = code or self.provider.make("code_")
        return self.daemon.post("/v1/callback", {"url": f"{REDIRECT}?code={code}&state={state}"})

    def token(self, credential, subject, **query):
        query = urllib.parse.urlencode({"subject": subject, **query})
        return self.daemon.get(f"/v1/token/{credential}?{query}")

    def run(self):
        for credential in ("web", "pkce"):
            self.browser(credential)
        self.device()
        self.static()
        for credential in ("web", "pkce", "device"):
            self.renewals(credential)
        self.killed()
        answer = self.daemon.ask("DELETE", f"/v1/credentials/pkce/grant?subject={SUBJECT}")
        require(answer.status == 204, answer)

    def browser(self, credential):
        _, state = self.begin(credential, SUBJECT)
        require(self.come_back("no-such-state").status == 404, "a state of nobody's")
        require(self.come_back(state).json["state"] == "succeeded", "no grant")
        require(self.come_back(state).status == 404, "a state used twice")
        _, state = self.begin(credential, "cancelled")
        self.begin(credential, "cancelled")  # takes its place
        require(self.come_back(state).status == 404, "a state of an authorization that is over")
        self.provider.trouble = 400, b'{"error_code": "invalid_request", "error_message": "bad code ECHO"}'
        _, state = self.begin(credential, "refused")
        require(self.come_back(state).json["state"] == "failed", "the provider has refused")
        self.provider.trouble = None

    def device(self):
        number, _ = self.begin("device", SUBJECT)
        eventually(lambda: self.provider.requests and self.daemon.get(f"/v1/authorizations/{number}").status == 200,
                   "it is polled")
        self.provider.approved = True
        answer = self.daemon.get(f"/v1/authorizations/{number}?wait=30")
        require(answer.json["state"] == "succeeded", answer)

    def static(self):
        self.daemon.set("pat", self.provider.make("pat_"))
        for credential in ("pat", "sat"):
            require(self.token(credential, "").status == 200, credential)

    def renewals(self, credential):
        """One that works, then trouble of all kinds, each on a daemon that has only just started."""
        first = self.token(credential, SUBJECT)
        require(self.token(credential, SUBJECT, rejected=first.json["fingerprint"]).status == 200, "no renewal")
        for status, text in ((500, b'{"error_code": "internal_error", "error_message": "trouble with ECHO"}'),
                             (400, b'{"error_code": "invalid_request", "error_message": "ECHO is no good"}'),
                             (400, b'{"error_code": "access_deny", "error_message": "deactivated by the owner"}'),
                             (502, b"<html>ECHO</html>"), (200, b"<html>a portal</html>"), (200, b""),
                             (200, b'{"access_token": "czu_' + self.provider.make("").encode())):
            self.provider.trouble = status, text
            self.daemon.restart()
            require(self.token(credential, SUBJECT, wait=1).status >= 500, f"{status} {text}")
        self.provider.trouble = None
        self.daemon.restart()
        require(self.token(credential, SUBJECT).status == 200, "it recovers")

    def killed(self):
        """In the middle of a refresh."""
        self.daemon.restart()
        self.provider.hang.clear()
        before = self.provider.requests
        caller = self.daemon.send("GET", f"/v1/token/web?subject={SUBJECT}")
        eventually(lambda: self.provider.requests > before, "it asks")
        self.daemon.kill()
        self.provider.hang.set()
        caller.connection.close()
        self.daemon.start()
        require(self.token("web", SUBJECT).status == 200, "in doubt, tried, good")


def spellings(secret):
    """Each piece of it as it may stand somewhere."""
    for piece in {secret[i:i + WINDOW] for i in range(max(1, len(secret) - WINDOW + 1))}:
        raw = piece.encode()
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for before, foreign in ((0, 0), (1, 2), (2, 3)):  # bytes before it, characters that these decide
            yield base64.b64encode(bytes(before) + raw)[foreign:(before + len(raw)) * 8 // 6]


def places(daemon):
    """{name: bytes}: what an attacker may read."""
    found = {str(p): p.read_bytes() for p in daemon.state_dir.rglob("*") if p.is_file()}
    found["the log"] = daemon.log.encode()
    if daemon.process:
        process = pathlib.Path(f"/proc/{daemon.process.pid}")
        found.update({name: (process / name).read_bytes() for name in ("cmdline", "environ")})
        for path in ("/v1/credentials", "/v1/credentials/web/subjects", "/healthz", "/readyz"):
            found[path] = daemon.get(path).body
    return found


def search(daemon, provider):
    found = places(daemon)
    for name, text in found.items():
        for secret in provider.secrets:
            for spelling in spellings(secret):
                require(spelling not in text, f"{spelling!r}, of {secret[:4]}..., is in {name}")
    return found


def run(directory):
    provider = Provider()
    daemon = Daemon(directory, configuration(directory, provider))
    daemon.start()
    try:
        Life(daemon, provider).run()
        running = search(daemon, provider)
        require(daemon.stop() == 0, "exit code")
        stopped = search(daemon, provider)
    except BaseException:
        print(f"--- bearerd's log, its end\n{daemon.log[-8000:]}---")
        raise
    finally:
        if daemon.process:
            daemon.kill()
    for text in (running[f"{daemon.state_dir}/bearerd.db-wal"], stopped[f"{daemon.state_dir}/bearerd.db"],
                 running["the log"], running["/v1/credentials/web/subjects"]):
        require(SUBJECT.encode() in text, "the search does not find what is there")
    print(f"{len(provider.secrets)} secrets, no piece of which is in {len(running)} places")


if __name__ == "__main__":
    rig.main(run)
