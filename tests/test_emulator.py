"""The provider emulator, checked by a third reading of coze-oauth.md: neither its own code nor bearerd's.

usage: test_emulator.py EMULATOR [unittest's arguments]

Every grant works when asked as documented; every deviation is refused and recorded; every fault does what
`emulator --help` says of it.
"""

import base64
import email.utils
import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

EMULATOR = ""  # set by the first argument
OAUTH = "/api/permission/oauth2"
TOKEN = OAUTH + "/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
ENTERPRISE = OAUTH + "/enterprise_id/volcano_2101950000/token"
CLOSED = (ConnectionError, http.client.HTTPException, ssl.SSLError)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def der(data, at):
    """The contents of the DER value at an offset, and where the next one begins."""
    size = data[at + 1]
    at += 2
    if size & 0x80:
        n = size & 0x7F
        size = int.from_bytes(data[at : at + n], "big")
        at += n
    return data[at : at + size], at + size


def der_sequence(data):
    values, at = [], 0
    while at < len(data):
        value, at = der(data, at)
        values.append(value)
    return values


class Key:
    """An RSA key that signs, from PKCS#8 PEM: RFC 8017 section 8.2.1."""

    def __init__(self, pem):
        data = base64.b64decode("".join(line for line in pem.split("\n") if "--" not in line))
        pkcs1 = der_sequence(der(data, 0)[0])[2]
        numbers = [int.from_bytes(v, "big") for v in der_sequence(der(pkcs1, 0)[0])]
        self.n, self.d, self.size = numbers[1], numbers[3], len(der_sequence(der(pkcs1, 0)[0])[1]) - 1

    def sign(self, message):
        info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
        padded = b"\x00\x01" + b"\xff" * (self.size - 3 - len(info)) + b"\x00" + info
        return pow(int.from_bytes(padded, "big"), self.d, self.n).to_bytes(self.size, "big")


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Emulator:
    def __init__(self, directory, *arguments):
        self.directory = directory
        command = [EMULATOR, "--directory", directory, "--exit-with-parent", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        if not self.line:
            raise RuntimeError("the emulator did not start: status %d" % self.process.wait())
        self.port = int(self.read("port"))
        self.host = "localhost:%d" % self.port
        self.tls = None
        if "--plain-http" not in arguments:
            self.tls = ssl.create_default_context(cafile=os.path.join(directory, "ca.pem"))
        self.applications = {
            name: json.loads(self.read(name, "coze_oauth_config.json"))
            for name in ("developer", "channel", "enterprise", "web", "pkce", "device")
        }
        self.keys = {}
        self.local = threading.local()

    def read(self, *path):
        with open(os.path.join(self.directory, *path), encoding="utf-8") as f:
            return f.read()

    def stop(self):
        if "connection" in self.local.__dict__:
            self.local.connection.close()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait()
        self.process.stdout.close()
        return status

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=60)
        return http.client.HTTPConnection("localhost", self.port, timeout=60)

    def request(self, method, path, body=None, headers=()):
        """`headers` is a list of pairs: any of them may come twice. Connections are kept, one a thread."""
        connection = self.local.__dict__.setdefault("connection", self.connect())
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return Answer(connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def raw(self, data):
        """Sends bytes as they are; returns the bytes of the answer."""
        with socket.create_connection(("localhost", self.port), timeout=60) as plain:
            stream = self.tls.wrap_socket(plain, server_hostname="localhost") if self.tls else plain
            with stream:
                stream.sendall(data)
                answer = b""
                while True:
                    try:
                        more = stream.recv(65536)
                    except ssl.SSLEOFError:
                        return answer
                    if not more:
                        return answer
                    answer += more

    def control(self, name, body=None, method="POST"):
        data = None if body is None else json.dumps(body).encode()
        answer = self.request(method, "/emulator/" + name, data)
        if answer.status != 200:
            raise AssertionError("control %s: %s" % (name, answer.body))
        return answer.json

    def state(self):
        return self.control("state", method="GET")

    def post(self, path, body, authorization=None, headers=()):
        pairs = [("Content-Type", "application/json")]
        if authorization is not None:
            pairs.append(("Authorization", authorization))
        return self.request("POST", path, json.dumps(body).encode(), [*pairs, *headers])

    def jwt(self, app="developer", header=None, claims=None, drop=()):
        """A good JWT of an application, with some members changed or dropped."""
        conf, now = self.applications[app], int(time.time())
        good_header = {"alg": "RS256", "typ": "JWT", "kid": conf["public_key_id"], **(header or {})}
        good_claims = {
            "iss": conf["client_id"],
            "aud": self.host,
            "iat": now,
            "exp": now + 600,
            "jti": secrets.token_hex(32),
            **(claims or {}),
        }
        for name in drop:
            good_header.pop(name, None)
            good_claims.pop(name, None)
        return self.sign(app, json.dumps(good_header), json.dumps(good_claims))

    def sign(self, app, header, claims):
        if app not in self.keys:
            self.keys[app] = Key(self.applications[app]["private_key"])
        text = base64url(header.encode()) + "." + base64url(claims.encode())
        return text + "." + base64url(self.keys[app].sign(text.encode()))

    def jwt_token(self, app="developer", path=None, jwt=None, **members):
        path = path or (ENTERPRISE if app == "enterprise" else TOKEN)
        jwt = jwt if jwt is not None else self.jwt(app)
        return self.post(path, {"grant_type": JWT_BEARER, **members}, "Bearer " + jwt)

    def users_me(self, token):
        return self.request("GET", "/v1/users/me", headers=[("Authorization", "Bearer " + token)])

    def authorize_url(self, app, workspace=None, **parameters):
        query = {
            "response_type": "code",
            "client_id": self.applications[app]["client_id"],
            "redirect_uri": redirect_uri(app),
            "state": "a b&c",
        }
        if app == "pkce":
            query |= {"code_challenge": challenge(VERIFIER), "code_challenge_method": "S256"}
        query |= parameters
        query = {k: v for k, v in query.items() if v is not None}
        middle = "/workspace_id/%s" % workspace if workspace else ""
        return OAUTH + middle + "/authorize?" + urllib.parse.urlencode(query)

    def code(self, app, **parameters):
        answer = self.request("GET", self.authorize_url(app, **parameters))
        assert answer.status == 302, answer.body
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.headers["Location"]).query))["code"]

    def secret(self, app):
        return "Bearer " + self.applications[app]["client_secret"] if app == "web" else None

    def exchange(self, app, code, drop=(), **members):
        body = {
            "grant_type": "authorization_code",
            "client_id": self.applications[app]["client_id"],
            "redirect_uri": redirect_uri(app),
            "code": code,
        }
        if app == "pkce":
            body["code_verifier"] = VERIFIER
        body |= members
        for name in drop:
            del body[name]
        return self.post(TOKEN, body, self.secret(app))

    def refresh(self, app, refresh_token):
        body = {
            "grant_type": "refresh_token",
            "client_id": self.applications[app]["client_id"],
            "refresh_token": refresh_token,
        }
        return self.post(TOKEN, body, self.secret(app))

    def start_device(self, path=OAUTH + "/device/code"):
        return self.post(path, {"client_id": self.applications["device"]["client_id"]})

    def poll_device(self, device_code):
        body = {
            "grant_type": DEVICE_CODE,
            "client_id": self.applications["device"]["client_id"],
            "device_code": device_code,
        }
        return self.post(TOKEN, body)


VERIFIER = "0123456789abcdef" * 4


def challenge(verifier):
    return base64url(hashlib.sha256(verifier.encode()).digest())


def redirect_uri(app):
    return {"web": "http://127.0.0.1:18080/callback", "pkce": "http://127.0.0.1:18081/callback"}[app]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="emulator-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.emulator = Emulator(cls.directory)
        cls.addClassCleanup(cls.emulator.stop)

    def setUp(self):
        self.reset()

    def reset(self):
        self.emulator.control("reset")
        self.emulator.control("clock", {"offset": 0})
        self.emulator.control("lifetime", {"access": 0, "refresh": 0, "device": 0, "interval": 0})
        self.emulator.control("consent", {"mode": "approve"})

    def fault(self, name, times=1, **parameters):
        self.emulator.control("faults", {"fault": name, "times": times, **parameters})

    def violations(self):
        return [v["what"] for v in self.emulator.state()["violations"]]

    def assert_good(self, answer, prefix="czs_", lifetime=900, refresh=False):
        self.assertEqual(answer.status, 200, answer.body)
        self.assertTrue(answer.json["access_token"].startswith(prefix))
        self.assertEqual(len(answer.json["access_token"]), 68)
        self.assertAlmostEqual(answer.json["expires_in"], time.time() + lifetime, delta=30)
        self.assertEqual("refresh_token" in answer.json, refresh)
        self.assertEqual(answer.headers.get_content_type(), "application/json")

    def assert_refused(self, answer, status, error, *whats):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.json["error_code"], error)
        self.assertEqual(answer.json["error"], error)
        self.assertTrue(answer.json["error_message"])
        recorded = self.violations()
        self.assertEqual(len(recorded), len(whats), recorded)
        for what, violation in zip(whats, recorded):
            self.assertIn(what, violation)


class TestGrants(Case):
    def test_jwt(self):
        for app in ("developer", "channel", "enterprise"):
            with self.subTest(app):
                answer = self.emulator.jwt_token(app)
                self.assert_good(answer)
                self.assertEqual(self.emulator.users_me(answer.json["access_token"]).json["code"], 0)
        self.assertEqual(self.violations(), [])

    def test_jwt_options(self):
        scope = {
            "account_permission": {"permission_list": ["Connector.botChat"]},
            "attribute_constraint": {"connector_bot_chat_attribute": {"bot_id_list": ["7361"]}},
            "workspace_permission": {"workspace_id_list": ["1"], "permission_list": ["x"]},
            "workflow_permission": {"workflow_id_list": ["1", "2"], "permission_list": ["x"]},
        }
        session = {"session_name": "user 7", "session_context": {"device_info": {"device_id": "1"}}}
        for duration in (1, 900, 86399):
            answer = self.emulator.jwt_token(duration_seconds=duration)
            self.assert_good(answer, lifetime=duration)
        self.assert_good(self.emulator.jwt_token("channel", scope=scope))
        self.assert_good(self.emulator.jwt_token(jwt=self.emulator.jwt(claims=session)))
        self.assert_good(self.emulator.jwt_token(path=OAUTH + "/account/2101950000000001/token"))
        self.assertEqual(self.violations(), [])

    def test_code(self):
        for app in ("web", "pkce"):
            for workspace in (None, "7361000000000000001"):
                with self.subTest(app, workspace=workspace):
                    answer = self.emulator.request("GET", self.emulator.authorize_url(app, workspace))
                    self.assertEqual(answer.status, 302)
                    base, query = answer.headers["Location"].split("?")
                    self.assertEqual(base, redirect_uri(app))
                    query = dict(urllib.parse.parse_qsl(query))
                    self.assertEqual(query["state"], "a b&c")
                    self.assertTrue(query["code"].startswith("code_"))
                    first = self.emulator.exchange(app, query["code"])
                    self.assert_good(first, "czu_", refresh=True)
                    second = self.emulator.refresh(app, first.json["refresh_token"])
                    self.assert_good(second, "czu_", refresh=True)
                    third = self.emulator.refresh(app, second.json["refresh_token"])
                    self.assert_good(third, "czu_", refresh=True)
                    for name in ("access_token", "refresh_token"):
                        self.assertEqual(len({a.json[name] for a in (first, second, third)}), 3)
        self.assertEqual(self.violations(), [])

    def test_consent(self):
        self.emulator.control("consent", {"mode": "deny"})
        location = self.emulator.request("GET", self.emulator.authorize_url("web")).headers["Location"]
        query = dict(urllib.parse.parse_qsl(location.split("?")[1]))
        self.assertEqual((query["error"], query["state"]), ("access_denied", "a b&c"))
        self.assertNotIn("code", query)
        self.emulator.control("consent", {"mode": "hold"})
        answer = self.emulator.request("GET", self.emulator.authorize_url("web"))
        self.assertEqual((answer.status, answer.headers.get_content_type()), (200, "text/html"))

    def test_redirect_uris(self):
        uri = "http://127.0.0.1:9/cb?keep=1"
        client_id = self.emulator.applications["web"]["client_id"]
        self.emulator.control("app", {"client_id": client_id, "redirect_uris": [uri]})
        try:
            answer = self.emulator.request("GET", self.emulator.authorize_url("web", redirect_uri=uri))
            self.assertTrue(answer.headers["Location"].startswith(uri + "&code=code_"))
            answer = self.emulator.request("GET", self.emulator.authorize_url("web"))
            self.assert_refused(answer, 400, "invalid_request", "redirect_uri")
        finally:
            uris = [redirect_uri("web")]
            self.emulator.control("app", {"client_id": client_id, "redirect_uris": uris})

    def test_device(self):
        for path in ("/device/code", "/workspace_id/7361/device/code"):
            with self.subTest(path):
                start = self.emulator.start_device(OAUTH + path)
                self.assertEqual(start.status, 200)
                self.assertEqual((start.json["expires_in"], start.json["interval"]), (300, 5))
                self.assertRegex(start.json["user_code"], r"^[A-Z]{4}-[A-Z]{4}$")
                self.assertTrue(start.json["verification_uri"].startswith("https://localhost:"))
                self.assertNotIn("verification_uri_complete", start.json)
                self.emulator.control(
                    "device", {"user_code": start.json["user_code"], "action": "approve"}
                )
                answer = self.emulator.poll_device(start.json["device_code"])
                self.assert_good(answer, "czu_", refresh=True)
                self.assert_good(
                    self.emulator.refresh("device", answer.json["refresh_token"]), "czu_", refresh=True
                )
        self.assertEqual(self.violations(), [])

    def test_device_outcomes(self):
        for action, error in (
            (None, "authorization_pending"),
            ("deny", "access_denied"),
            ("expire", "expired_token"),
        ):
            with self.subTest(action):
                start = self.emulator.start_device().json
                if action:
                    self.emulator.control("device", {"action": action})
                self.assert_refused(self.emulator.poll_device(start["device_code"]), 400, error)

    def test_device_runs_out(self):
        start = self.emulator.start_device().json
        self.emulator.control("clock", {"offset": 301})
        self.assert_refused(self.emulator.poll_device(start["device_code"]), 400, "expired_token")

    def test_device_in_a_hurry(self):
        start = self.emulator.start_device().json
        self.assertEqual(self.emulator.poll_device(start["device_code"]).json["error"], "authorization_pending")
        self.emulator.control("device", {"action": "approve"})
        answer = self.emulator.poll_device(start["device_code"])
        self.assert_refused(answer, 400, "slow_down", "polled too fast")

    def test_device_pace(self):
        self.emulator.control("lifetime", {"interval": 1})
        start = self.emulator.start_device().json
        self.assertEqual(start["interval"], 1)
        self.emulator.poll_device(start["device_code"])
        self.emulator.control("device", {"action": "approve"})
        time.sleep(1)  # the interval itself is what is tested: a poll after it is not too fast
        self.assert_good(self.emulator.poll_device(start["device_code"]), "czu_", refresh=True)

    def test_static_tokens(self):
        for name in ("pat", "sat"):
            token = self.emulator.read(name).strip()
            self.assertTrue(token.startswith(name + "_"))
            self.assertEqual(self.emulator.users_me(token).status, 200)
        self.emulator.control("revoke", {"all": True})
        self.assertEqual(self.emulator.users_me(token).status, 401)

    def test_dead_tokens(self):
        token = self.emulator.jwt_token(duration_seconds=100).json["access_token"]
        other = self.emulator.jwt_token().json["access_token"]
        self.emulator.control("clock", {"offset": 101})
        answer = self.emulator.users_me(token)
        self.assertEqual((answer.status, answer.json["code"]), (401, 4100))
        self.assertEqual(answer.json["msg"], "authentication is invalid")
        self.assertEqual(self.emulator.users_me(other).status, 200)
        self.emulator.control("revoke", {"token": other})
        self.assertEqual(self.emulator.users_me(other).status, 401)
        self.assertEqual(self.violations(), [])

    def test_deactivated(self):
        token = self.emulator.jwt_token().json["access_token"]
        app = {"client_id": self.emulator.applications["developer"]["client_id"]}
        self.emulator.control("app", {**app, "deactivated": True})
        try:
            self.assert_refused(self.emulator.jwt_token(), 400, "access_deny")
            self.assertEqual(self.emulator.users_me(token).status, 401)
        finally:
            self.emulator.control("app", {**app, "deactivated": False})
        self.assertEqual(self.emulator.users_me(token).status, 200)
        self.assert_good(self.emulator.jwt_token())

    def test_lifetimes(self):
        self.emulator.control("lifetime", {"access": 60, "device": 7, "refresh": 100})
        self.assert_good(self.emulator.jwt_token(duration_seconds=3600), lifetime=60)
        self.assert_good(self.emulator.jwt_token(duration_seconds=30), lifetime=30)
        self.assertEqual(self.emulator.start_device().json["expires_in"], 7)
        pair = self.emulator.exchange("web", self.emulator.code("web"))
        self.assert_good(pair, "czu_", lifetime=60, refresh=True)
        self.emulator.control("clock", {"offset": 101})
        self.assert_refused(self.emulator.refresh("web", pair.json["refresh_token"]), 400, "invalid_grant")

    def test_clock(self):
        self.emulator.control("clock", {"offset": 100000})
        now = int(time.time()) + 100000
        answer = self.emulator.jwt_token(jwt=self.emulator.jwt(claims={"iat": now, "exp": now + 60}))
        self.assert_good(answer, lifetime=100900)
        date = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertAlmostEqual(date, now, delta=30)
        self.assert_refused(self.emulator.jwt_token(), 401, "invalid_client", "iat")

    def test_counts(self):
        self.emulator.jwt_token()
        pair = self.emulator.exchange("web", self.emulator.code("web")).json
        self.emulator.refresh("web", pair["refresh_token"])
        self.emulator.poll_device(self.emulator.start_device().json["device_code"])
        self.emulator.users_me("czs_none")
        state = self.emulator.state()
        expected = {
            "token": 4,
            "jwt": 1,
            "refresh": 1,
            "authorization_code": 1,
            "device_poll": 1,
            "device_start": 1,
            "authorize": 1,
            "users_me": 1,
        }
        self.assertEqual(state["requests"], expected)
        self.assertEqual((state["tokens"], state["violations"]), (3, []))

    def test_last_keeps_no_secret(self):
        jwt = self.emulator.jwt(claims={"session_name": "x"})
        self.emulator.jwt_token(jwt=jwt, duration_seconds=77)
        last = self.emulator.state()["last"]
        self.assertEqual(last["path"], TOKEN)
        self.assertEqual((last["header"]["alg"], last["claims"]["session_name"]), ("RS256", "x"))
        self.assertEqual(last["body"], {"grant_type": JWT_BEARER, "duration_seconds": 77})
        pair = self.emulator.exchange("web", self.emulator.code("web")).json
        self.emulator.refresh("web", pair["refresh_token"])
        self.assertEqual(self.emulator.state()["last"]["body"]["refresh_token"], 64)

    def test_logid(self):
        answers = [self.emulator.jwt_token(), self.emulator.users_me("x"), self.emulator.start_device()]
        self.fault("html502")
        answers.append(self.emulator.jwt_token())
        self.assertEqual(len({a.headers["X-Tt-Logid"] for a in answers} - {None}), len(answers))


class TestStrictness(Case):
    def check(self, rows):
        for name, send, status, error, what in rows:
            with self.subTest(name):
                self.emulator.control("reset")
                self.assert_refused(send(), status, error, *([what] if what else []))

    def test_jwt(self):
        e, now = self.emulator, int(time.time())

        def bad(**changes):
            return lambda: e.jwt_token(jwt=e.jwt(**changes))

        def text(jwt):
            return lambda: e.jwt_token(jwt=jwt)

        good = e.jwt()
        head, body, signature = good.split(".")
        flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
        not_json = base64url(b"{'alg':'RS256'}") + "." + body + "." + signature
        none = base64url(b'{"alg":"none","typ":"JWT"}') + "." + body + "."
        foreign = e.sign("channel", json.dumps({"alg": "RS256", "typ": "JWT",
                                                "kid": e.applications["developer"]["public_key_id"]}), "{}")
        rows = [
            ("two parts", text("a.b"), "three parts"),
            ("four parts", text(good + ".x"), "three parts"),
            ("padding", text(head + "=." + body + "." + signature), "header"),
            ("not base64url", text("!" + good), "header"),
            ("stray bits", text(head + "." + body + "." + signature[:-1] + "_"), "signature"),
            ("lenient JSON", text(not_json), "header"),
            ("alg none", text(none), "alg"),
            ("alg HS256", bad(header={"alg": "HS256"}), "alg"),
            ("no typ", bad(drop=["typ"]), "typ"),
            ("typ in lower case", bad(header={"typ": "jwt"}), "typ"),
            ("unknown header", bad(header={"cty": "JWT"}), "header member cty"),
            ("no kid", bad(drop=["kid"]), "kid is missing"),
            ("unknown kid", bad(header={"kid": "x" * 43}), "kid not been registred"),
            ("changed signature", text(head + "." + body + "." + flipped), "signature"),
            ("changed claims", text(head + "." + e.jwt().split(".")[1] + "." + signature), "signature"),
            ("signed by another", text(foreign), "signature"),
            ("no signature", text(head + "." + body + "."), "signature"),
            ("iss of another app", bad(claims={"iss": "1127900106118"}), "iss"),
            ("iss as a number", bad(claims={"iss": 1127900106117}), "iss"),
            ("aud as a list", bad(claims={"aud": [e.host]}), "aud"),
            ("aud as a URL", bad(claims={"aud": "https://" + e.host}), "aud"),
            ("aud without port", bad(claims={"aud": "localhost"}), "aud"),
            ("no aud", bad(drop=["aud"]), "aud"),
            ("iat with a fraction", bad(claims={"iat": now + 0.5}), "iat"),
            ("iat as text", bad(claims={"iat": str(now)}), "iat"),
            ("no iat", bad(drop=["iat"]), "iat"),
            ("iat too early", bad(claims={"iat": now - 400}), "iat"),
            ("iat too late", bad(claims={"iat": now + 2000, "exp": now + 2600}), "iat"),
            ("no exp", bad(drop=["exp"]), "exp"),
            ("exp as text", bad(claims={"exp": str(now + 9)}), "exp"),
            ("exp in the past", bad(claims={"iat": now - 100, "exp": now - 1}), "exp"),
            ("exp not after iat", bad(claims={"iat": now + 250, "exp": now + 250}), "exp"),
            ("exp too far", bad(claims={"iat": now, "exp": now + 86401}), "exp"),
            ("no jti", bad(drop=["jti"]), "jti"),
            ("short jti", bad(claims={"jti": "x" * 31}), "jti"),
            ("jti as a number", bad(claims={"jti": 7}), "jti"),
            ("sub", bad(claims={"sub": "x"}), "claim sub"),
            ("nbf", bad(claims={"nbf": now}), "claim nbf"),
            ("null session_name", bad(claims={"session_name": None}), "session_name"),
            ("empty session_name", bad(claims={"session_name": ""}), "session_name"),
            ("session_context as text", bad(claims={"session_context": "{}"}), "session_context"),
        ]
        self.check([(n, send, 401, "invalid_client", what) for n, send, what in rows])

    def test_jwt_is_single_use(self):
        jwt = self.emulator.jwt()
        self.assert_good(self.emulator.jwt_token(jwt=jwt))
        answer = self.emulator.jwt_token(jwt=jwt)
        self.assert_refused(answer, 401, "invalid_client", "jti was used before")

    def test_jwt_shown_to_a_broken_gateway_is_used(self):
        self.fault("html502")
        jwt = self.emulator.jwt()
        self.assertEqual(self.emulator.jwt_token(jwt=jwt).status, 502)
        self.assert_refused(self.emulator.jwt_token(jwt=jwt), 401, "invalid_client", "jti")

    def test_authorization(self):
        e = self.emulator
        body = {"grant_type": JWT_BEARER}
        web = {
            "grant_type": "refresh_token",
            "client_id": e.applications["web"]["client_id"],
            "refresh_token": "x",
        }
        pkce = web | {"client_id": e.applications["pkce"]["client_id"]}
        device = {"client_id": e.applications["device"]["client_id"]}
        self.check(
            [
                ("jwt: none", lambda: e.post(TOKEN, body), 401, "invalid_client", "empty"),
                ("jwt: basic", lambda: e.post(TOKEN, body, "Basic eA=="), 401, "invalid_client", "empty"),
                ("jwt: lower case", lambda: e.post(TOKEN, body, "bearer " + e.jwt()), 401,
                 "invalid_client", "empty"),
                ("jwt: two words", lambda: e.post(TOKEN, body, "Bearer " + e.jwt() + " x"), 401,
                 "invalid_client", "empty"),
                ("web: none", lambda: e.post(TOKEN, web), 400, "invalid_request", "client_secret"),
                ("web: wrong", lambda: e.post(TOKEN, web, "Bearer x"), 401, "invalid_client", "secret"),
                ("pkce: sent", lambda: e.post(TOKEN, pkce, "Bearer x"), 400, "invalid_request",
                 "where none is due"),
                ("device: sent", lambda: e.post(OAUTH + "/device/code", device, "Bearer x"), 400,
                 "invalid_request", "where none is due"),
                ("authorize: sent", lambda: e.request("GET", e.authorize_url("web"),
                                                      headers=[("Authorization", "Bearer x")]),
                 400, "invalid_request", "where none is due"),
            ]
        )

    def test_empty_authorization(self):
        for value in ("", "Bearer", "Bearer "):
            with self.subTest(value):
                self.emulator.control("reset")
                answer = self.emulator.post(TOKEN, {"grant_type": JWT_BEARER}, value)
                self.assertIn(answer.status, (400, 401))
                self.assertNotEqual(self.violations(), [])
        self.emulator.control("reset")
        answer = self.emulator.request("GET", "/v1/users/me")
        self.assertEqual((answer.status, answer.json["code"]), (401, 4100))
        self.assertEqual(self.violations(), [], "that is how one asks whether this is the API")

    def test_body(self):
        e = self.emulator

        def send(body, content_type="application/json", path=TOKEN):
            headers = [("Authorization", "Bearer " + e.jwt())]
            if content_type is not None:
                headers.append(("Content-Type", content_type))
            return lambda: e.request("POST", path, body, headers)

        def member(**members):
            return lambda: e.jwt_token(**members)

        good = json.dumps({"grant_type": JWT_BEARER}).encode()
        form = urllib.parse.urlencode({"grant_type": JWT_BEARER}).encode()
        ranges = "duration_seconds"
        rows = [
            ("form", send(form, "application/x-www-form-urlencoded"), "Content-Type"),
            ("form that lies", send(form), "no JSON object"),
            ("no type", send(good, None), "Content-Type"),
            ("text", send(good, "text/json"), "Content-Type"),
            ("type with more", send(good, "application/json-patch"), "Content-Type"),
            ("another charset", send(good, "application/json; charset=latin1"), "Content-Type"),
            ("empty", send(b""), "no JSON object"),
            ("a list", send(b"[]"), "no JSON object"),
            ("trailing text", send(good + b"x"), "no JSON object"),
            ("two objects", send(good + good), "no JSON object"),
            ("a comment", send(b"/* */" + good), "no JSON object"),
            ("cut", send(good[:-1]), "no JSON object"),
            ("invalid UTF-8", send(b'{"grant_type":"\xff"}'), "no JSON object"),
            ("a query", send(good, path=TOKEN + "?a=b"), "query"),
            ("too large", send(b" " * 2000000), "too large"),
            ("no grant type", send(b"{}"), "grant_type"),
            ("grant type as a number", send(b'{"grant_type":1}'), "grant_type"),
            ("empty grant type", send(b'{"grant_type":""}'), "grant_type"),
            ("null scope", member(scope=None), "scope is null"),
            ("null duration", member(duration_seconds=None), "duration_seconds is null"),
            ("assertion", member(assertion="x"), "unknown member assertion"),
            ("client_secret", member(client_secret="x"), "unknown member client_secret"),
            ("client_id", member(client_id="x"), "unknown member client_id"),
            ("duration 0", member(duration_seconds=0), ranges),
            ("negative duration", member(duration_seconds=-1), ranges),
            ("duration too long", member(duration_seconds=86400), ranges),
            ("duration as text", member(duration_seconds="900"), ranges),
            ("duration with a fraction", member(duration_seconds=900.0), ranges),
            ("scope as text", member(scope="Connector.botChat"), "scope"),
            ("scope as a list", member(scope=[]), "scope"),
            ("empty scope", member(scope={}), "scope"),
            ("unknown part", member(scope={"x": {}}), "unknown member x"),
            ("null part", member(scope={"account_permission": None}), "account_permission"),
            ("empty part", member(scope={"account_permission": {}}), "account_permission"),
            ("unknown list", member(scope={"account_permission": {"x": ["a"]}}), "unknown member x"),
            ("no list", member(scope={"account_permission": {"permission_list": "a"}}), "permission_list"),
            ("empty list", member(scope={"account_permission": {"permission_list": []}}), "permission_list"),
            ("numbers", member(scope={"account_permission": {"permission_list": [1]}}), "permission_list"),
            ("empty names", member(scope={"account_permission": {"permission_list": [""]}}), "permission_list"),
            ("wrong attribute", member(scope={"attribute_constraint": {"bot_id_list": ["1"]}}), "bot_id_list"),
            ("attribute", member(scope={"attribute_constraint": {"connector_bot_chat_attribute": []}}), "no object"),
        ]
        self.check([(n, s, 400, "invalid_request", what) for n, s, what in rows])
        self.emulator.control("reset")
        self.assert_refused(e.post(TOKEN, {"grant_type": "password"}, "Bearer x"), 400,
                            "unsupported_grant_type", "password")

    def test_good_content_types(self):
        for value in ("application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"):
            headers = [("Authorization", "Bearer " + self.emulator.jwt()), ("Content-Type", value)]
            body = json.dumps({"grant_type": JWT_BEARER}).encode()
            self.assert_good(self.emulator.request("POST", TOKEN, body, headers))

    def test_headers(self):
        e = self.emulator

        def with_headers(*headers):
            return lambda: e.post(TOKEN, {"grant_type": JWT_BEARER}, "Bearer " + e.jwt(), headers)

        rows = [
            ("duplicate", with_headers(("Accept", "a"), ("accept", "b")), "duplicate header"),
            ("two bearers", with_headers(("Authorization", "Bearer x")), "duplicate header Authorization"),
            ("two types", with_headers(("Content-Type", "application/json")), "duplicate header"),
            ("empty", with_headers(("X-Empty", "")), "empty header X-Empty"),
            ("Expect", with_headers(("Expect", "miracles")), "unknown Expect"),
        ]
        self.check([(n, s, 400, "invalid_request", what) for n, s, what in rows])

    def test_raw(self):
        e = self.emulator
        for name, request, what in (
            ("HTTP/1.0", "GET /v1/users/me HTTP/1.0\r\nHost: %s\r\nAuthorization: Bearer x\r\n\r\n" % e.host,
             "instead of HTTP/1.1"),
            ("another host", "GET /v1/users/me HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer x\r\n"
             "Connection: close\r\n\r\n", "Host"),
            ("no version", "GET /v1/users/me\r\n\r\n", "no valid HTTP"),
            ("HTTP/2.0", "GET /v1/users/me HTTP/2.0\r\nHost: %s\r\n\r\n" % e.host, "no valid HTTP"),
            ("junk line", "GET /v1/users/me HTTP/1.1\r\nHost: %s\r\njunk\r\n\r\n" % e.host, "no valid HTTP"),
            ("length", "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: x\r\n\r\n" % (TOKEN, e.host),
             "no valid HTTP"),
        ):
            with self.subTest(name):
                e.control("reset")
                self.assertRegex(e.raw(request.encode()), b"^HTTP/1.[01] [45][0-9][0-9] ")
                self.assertTrue(any(what in v for v in self.violations()), self.violations())

    def test_paths(self):
        e = self.emulator
        rows = [
            ("unknown", lambda: e.jwt_token(path="/oauth/token"), 404, "invalid_request", "no such path"),
            ("slash", lambda: e.jwt_token(path=TOKEN + "/"), 404, "invalid_request", "no such path"),
            ("no account", lambda: e.jwt_token(path=OAUTH + "/account//token"), 404, "invalid_request", "path"),
            ("account of letters", lambda: e.jwt_token(path=OAUTH + "/account/x/token"), 404,
             "invalid_request", "no such path"),
            ("GET", lambda: e.request("GET", TOKEN), 405, "invalid_request", "GET"),
            ("app type", lambda: e.jwt_token("enterprise", path=TOKEN), 400, "access_deny", "app type"),
            ("privilege", lambda: e.jwt_token("developer", path=ENTERPRISE), 400, "access_deny", "app type"),
            ("another enterprise", lambda: e.jwt_token("enterprise", path=ENTERPRISE.replace("95", "96")), 400,
             "access_deny", "enterprise"),
            ("code at an account", lambda: e.post(OAUTH + "/account/1/token", {
                "grant_type": "authorization_code", "client_id": e.applications["web"]["client_id"],
                "redirect_uri": redirect_uri("web"), "code": "x"}, e.secret("web")), 400,
             "unsupported_grant_type", "only jwt"),
        ]
        self.check(rows)
        self.assertEqual(e.request("GET", TOKEN).headers["Allow"], "POST")

    def test_authorize(self):
        e = self.emulator

        def go(app="web", tail="", **parameters):
            return lambda: e.request("GET", e.authorize_url(app, **parameters) + tail)

        rows = [
            ("response_type", go(response_type="token"), "response_type"),
            ("no response_type", go(response_type=None), "response_type"),
            ("no state", go(state=None), "state"),
            ("empty state", go(state=""), "state"),
            ("no redirect_uri", go(redirect_uri=None), "redirect_uri"),
            ("another redirect_uri", go(redirect_uri="http://127.0.0.1:18080/callback/"), "redirect_uri"),
            ("scope", go(scope="x"), "unknown parameter scope"),
            ("twice", go(tail="&state=x"), "duplicate parameter state"),
            ("challenge of web", go(code_challenge="x"), "code_challenge"),
            ("no method", go("pkce", code_challenge_method=None), "code_challenge_method"),
            ("plain", go("pkce", code_challenge_method="plain"), "S256"),
            ("no challenge", go("pkce", code_challenge=None), "code_challenge"),
            ("short challenge", go("pkce", code_challenge="x" * 42), "code_challenge"),
            ("padded challenge", go("pkce", code_challenge=challenge(VERIFIER)[:42] + "="), "code_challenge"),
        ]
        self.check([(n, s, 400, "invalid_request", what) for n, s, what in rows])
        self.check(
            [
                ("client", go(client_id="x"), 401, "invalid_client", "client_id"),
                ("app type", go(client_id=e.applications["device"]["client_id"]), 400, "access_deny", "app type"),
            ]
        )

    def test_exchange(self):
        e, other = self.emulator, "0" * 64

        def exchange(app, **members):
            return lambda: e.exchange(app, e.code(app), **members)

        rows = [
            ("redirect_uri", exchange("web", redirect_uri=redirect_uri("web") + "?"), "redirect_uri"),
            ("no redirect_uri", exchange("web", drop=["redirect_uri"]), "redirect_uri"),
            ("no code", exchange("web", drop=["code"]), "code"),
            ("verifier of web", exchange("web", code_verifier=VERIFIER), "code_verifier"),
            ("no verifier", exchange("pkce", drop=["code_verifier"]), "code_verifier"),
            ("another verifier", exchange("pkce", code_verifier=other), "code_verifier"),
            ("short verifier", exchange("pkce", code_verifier="x" * 42), "43 to 128"),
            ("long verifier", exchange("pkce", code_verifier="x" * 129), "43 to 128"),
            ("alphabet", exchange("pkce", code_verifier="+" * 43), "43 to 128"),
        ]
        self.check([(n, s, 400, "invalid_request", what) for n, s, what in rows])
        self.emulator.control("reset")
        self.assert_refused(e.exchange("web", "code_" + other), 400, "invalid_grant")
        self.assert_refused(e.exchange("pkce", e.code("web")), 400, "invalid_grant", "another client_id")

    def test_code_is_single_use(self):
        code = self.emulator.code("web")
        self.emulator.exchange("web", code)
        self.assert_refused(self.emulator.exchange("web", code), 400, "invalid_grant", "used before")

    def test_code_expires(self):
        code = self.emulator.code("web")
        self.emulator.control("clock", {"offset": 601})
        self.assert_refused(self.emulator.exchange("web", code), 400, "invalid_grant")

    def test_spent_refresh_token(self):
        pair = self.emulator.exchange("web", self.emulator.code("web")).json
        new = self.emulator.refresh("web", pair["refresh_token"]).json
        for n in (1, 2):
            self.assert_refused(
                self.emulator.refresh("web", pair["refresh_token"]), 400, "invalid_grant",
                *["spent refresh token presented"] * n
            )
            self.assertEqual(self.emulator.state()["spent_presented"], n)
        self.assert_good(self.emulator.refresh("web", new["refresh_token"]), "czu_", refresh=True)

    def test_device_code_is_single_use(self):
        device_code = self.emulator.start_device().json["device_code"]
        self.emulator.control("device", {"action": "approve"})
        self.emulator.poll_device(device_code)
        self.assert_refused(self.emulator.poll_device(device_code), 400, "invalid_grant", "used before")

    def test_device_start(self):
        e = self.emulator
        path = OAUTH + "/device/code"
        web = e.applications["web"]["client_id"]
        self.check(
            [
                ("client", lambda: e.post(path, {"client_id": "x"}), 401, "invalid_client", "client_id"),
                ("no client", lambda: e.post(path, {}), 400, "invalid_request", "client_id"),
                ("scope", lambda: e.post(path, {"client_id": e.applications["device"]["client_id"],
                                                "scope": "x"}), 400, "invalid_request", "scope"),
                ("app type", lambda: e.post(path, {"client_id": web}, e.secret("web")), 400,
                 "access_deny", "app type"),
            ]
        )


class TestFaults(Case):
    def lost(self, send):
        with self.assertRaises(CLOSED):
            send()

    def test_times_and_order(self):
        self.fault("html502", 2)
        self.fault("invalid_client")
        statuses = [self.emulator.jwt_token().status for _ in range(4)]
        self.assertEqual(statuses, [502, 502, 401, 200])
        self.fault("html502", 0)
        self.assertEqual([self.emulator.jwt_token().status for _ in range(3)], [502] * 3)
        self.emulator.control("faults", method="DELETE")
        self.assert_good(self.emulator.jwt_token())
        self.assertEqual(self.violations(), [])

    def test_endpoints(self):
        self.fault("html502", endpoint="device")
        self.assert_good(self.emulator.jwt_token())
        self.assertEqual(self.emulator.start_device().status, 502)
        self.fault("html502", endpoint="authorize")
        self.assertEqual(self.emulator.request("GET", self.emulator.authorize_url("web")).status, 502)
        self.fault("html502", endpoint="users_me")
        self.assertEqual(self.emulator.users_me("x").status, 502)
        self.fault("html502", 2, endpoint="any")
        self.assertEqual(self.emulator.users_me("x").status, 502)
        self.assertEqual(self.emulator.jwt_token().status, 502)

    def test_statuses(self):
        rows = (
            ("status", {"status": 418, "body": "<tea>", "content_type": "text/xml"}, 418, "text/xml", b"<tea>"),
            ("status", {"status": 503}, 503, None, b""),
            ("html502", {}, 502, "text/html", b"<html>"),
            ("html200", {}, 200, "text/html", b"<!DOCTYPE"),
            ("empty200", {}, 200, None, b""),
        )
        for name, parameters, status, content_type, body in rows:
            with self.subTest(name, **parameters):
                self.fault(name, **parameters)
                answer = self.emulator.jwt_token()
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["Content-Type"] and answer.headers.get_content_type(), content_type)
                self.assertTrue(answer.body.startswith(body) and bool(answer.body) == bool(body))

    def test_errors(self):
        oauth = (
            ("internal_error", {}, 500, "internal_error"),
            ("internal_error", {"status": 200}, 200, "internal_error"),
            ("invalid_client", {}, 401, "invalid_client"),
            ("invalid_grant", {}, 400, "invalid_grant"),
            ("deactivated", {"status": 403}, 403, "access_deny"),
        )
        for name, parameters, status, error in oauth:
            with self.subTest(name, **parameters):
                self.fault(name, **parameters)
                self.assert_refused(self.emulator.jwt_token(), status, error)
        self.fault("numeric_code_200")
        answer = self.emulator.jwt_token()
        self.assertEqual((answer.status, answer.json["code"]), (200, 4100))
        self.fault("error_object")
        answer = self.emulator.jwt_token()
        self.assertEqual(answer.json["code"], 4100)
        self.assertIn("logid", answer.json["error"])
        self.fault("rfc_error", error="temporarily_unavailable", status=503)
        answer = self.emulator.jwt_token()
        self.assertEqual((answer.status, answer.json["error"]), (503, "temporarily_unavailable"))
        self.assertEqual(set(answer.json), {"error", "error_description"})

    def test_rate_limit(self):
        self.fault("rate_limit")
        answer = self.emulator.jwt_token()
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (429, None))
        self.fault("rate_limit", retry_after=7)
        self.assertEqual(self.emulator.jwt_token().headers["Retry-After"], "7")
        self.fault("rate_limit", retry_after=3600, retry_after_date=True)
        answer = self.emulator.jwt_token()
        at, date = (email.utils.parsedate_to_datetime(answer.headers[h]) for h in ("Retry-After", "Date"))
        self.assertAlmostEqual((at - date).total_seconds(), 3600, delta=5)

    def test_redirect_loop(self):
        self.fault("redirect_loop")
        answer = self.emulator.jwt_token()
        self.assertEqual((answer.status, answer.headers["Location"]), (302, TOKEN))

    def test_truncated(self):
        self.fault("truncated")
        body = self.emulator.jwt_token().body
        self.assertTrue(body.startswith(b'{"access_token"'))
        with self.assertRaises(ValueError):
            json.loads(body)

    def test_truncated_length(self):
        self.fault("truncated_length")
        with self.assertRaises(CLOSED) as caught:
            self.emulator.jwt_token()
        if isinstance(caught.exception, http.client.IncompleteRead):
            self.assertGreater(caught.exception.expected, 0)
            self.assertIn("access_token", json.loads(caught.exception.partial))
        self.assertEqual(self.emulator.state()["tokens"], 1)

    def test_drops(self):
        pair = self.emulator.exchange("web", self.emulator.code("web")).json
        self.fault("drop_before")
        self.lost(lambda: self.emulator.refresh("web", pair["refresh_token"]))
        self.assertEqual(self.emulator.state()["tokens"], 1)
        self.fault("drop_after_commit")
        self.lost(lambda: self.emulator.refresh("web", pair["refresh_token"]))
        self.assertEqual(self.emulator.state()["tokens"], 2)
        answer = self.emulator.refresh("web", pair["refresh_token"])
        self.assert_refused(answer, 400, "invalid_grant", "spent")
        self.assertEqual(self.emulator.state()["requests"]["refresh"], 3)

    def test_faults_without_effect_spend_nothing(self):
        token = self.emulator.exchange("web", self.emulator.code("web")).json["refresh_token"]
        for name in ("html502", "empty200", "invalid_grant", "rate_limit", "numeric_code_200", "redirect_loop"):
            self.fault(name)
            self.emulator.refresh("web", token)
        self.assert_good(self.emulator.refresh("web", token), "czu_", refresh=True)
        self.assertEqual(self.violations(), [])

    def test_huge_body(self):
        self.fault("huge_body")
        answer = self.emulator.jwt_token()
        self.assertGreater(len(answer.body), 10 * 1024 * 1024)
        self.assert_good(answer)

    def hanging(self, send):
        """A request in a thread that is known to have arrived; returns a function that gives its end."""
        ends = []

        def run():
            try:
                ends.append(send())
            except CLOSED as e:
                ends.append(e)
            self.emulator.local.connection.close()

        before = self.emulator.state()["requests"]["token"]
        thread = threading.Thread(target=run)
        thread.start()
        while self.emulator.state()["requests"]["token"] == before:
            pass

        def end():
            thread.join()
            return ends[0]

        return end

    def test_hang_blocks_nobody(self):
        for release in (lambda: self.emulator.control("reset"),
                        lambda: self.emulator.control("faults", method="DELETE")):
            self.fault("hang")
            end = self.hanging(self.emulator.jwt_token)
            self.assert_good(self.emulator.jwt_token())
            release()
            self.assertIsInstance(end(), CLOSED)

    def test_latency_blocks_nobody(self):
        self.fault("latency", ms=1000)
        begin = time.monotonic()
        end = self.hanging(self.emulator.jwt_token)
        self.assert_good(self.emulator.jwt_token())
        self.assert_good(end())
        self.assertGreaterEqual(time.monotonic() - begin, 1)

    def test_latency_and_an_error(self):
        self.fault("latency", ms=50)
        self.fault("html502")
        self.assertEqual(self.emulator.jwt_token().status, 502)

    def test_expires_in(self):
        now = time.time()
        self.fault("no_access_token")
        self.assertEqual(list(self.emulator.jwt_token().json), ["expires_in"])
        self.fault("null_expires_in")
        self.assertIsNone(self.emulator.jwt_token().json["expires_in"])
        self.fault("expired_token")
        self.assertLess(self.emulator.jwt_token().json["expires_in"], now)
        self.fault("relative_expires_in")
        self.assertEqual(self.emulator.jwt_token(duration_seconds=77).json["expires_in"], 77)
        self.fault("absolute_device_expires_in")
        self.assertAlmostEqual(self.emulator.start_device().json["expires_in"], now + 300, delta=30)

    def test_date(self):
        self.fault("date_offset", seconds=-300)
        answer = self.emulator.jwt_token()
        date = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertAlmostEqual(date, time.time() - 300, delta=30)
        self.assert_good(answer)
        self.fault("no_date")
        self.assertIsNone(self.emulator.jwt_token().headers["Date"])
        self.assertIsNotNone(self.emulator.jwt_token().headers["Date"])

    def test_refresh(self):
        token = self.emulator.exchange("web", self.emulator.code("web")).json["refresh_token"]
        self.fault("same_refresh_token")
        self.assertEqual(self.emulator.refresh("web", token).json["refresh_token"], token)
        self.fault("no_refresh_token")
        self.assert_good(self.emulator.refresh("web", token), "czu_")
        self.assert_refused(self.emulator.refresh("web", token), 400, "invalid_grant", "spent")

    def test_reuse_revokes_all(self):
        self.fault("reuse_revokes_all", 0)
        other = self.emulator.exchange("web", self.emulator.code("web")).json
        old = self.emulator.exchange("web", self.emulator.code("web")).json
        new = self.emulator.refresh("web", old["refresh_token"]).json
        self.assertEqual(self.emulator.users_me(new["access_token"]).status, 200)
        self.emulator.refresh("web", old["refresh_token"])
        for pair in (old, new):
            self.assertEqual(self.emulator.users_me(pair["access_token"]).status, 401)
        self.assertEqual(self.emulator.refresh("web", new["refresh_token"]).status, 400)
        self.assertEqual(self.emulator.state()["spent_presented"], 1)
        self.assertEqual(self.emulator.users_me(other["access_token"]).status, 200)

    def test_device_style(self):
        for style, status, members in (
            ("a", 400, {"error_code", "error", "error_message"}),
            ("b", 200, {"error_code", "error_message"}),
            ("c", 400, {"error", "error_description"}),
        ):
            with self.subTest(style):
                self.fault("device_style", style=style)
                answer = self.emulator.poll_device(self.emulator.start_device().json["device_code"])
                self.assertEqual((answer.status, set(answer.json)), (status, members))
                self.assertIn("authorization_pending", answer.json.values())

    def test_user_code(self):
        self.fault("number_user_code")
        self.assertIsInstance(self.emulator.start_device().json["user_code"], int)
        self.emulator.control("device", {"action": "approve"})
        self.fault("string_user_code")
        self.assertRegex(self.emulator.start_device().json["user_code"], r"^[A-Z]{3}-[A-Z]{3}-[A-Z]{3}$")

    def test_more_members(self):
        self.fault("token_type")
        self.assertEqual(self.emulator.jwt_token().json["token_type"], "Bearer")
        self.fault("extra_members")
        answer = self.emulator.jwt_token()
        self.assert_good(answer)
        self.assertGreater(len(answer.json), 5)

    def test_help_names_each(self):
        text = subprocess.run([EMULATOR, "--help"], capture_output=True, text=True, check=True).stdout
        with open(__file__, encoding="utf-8") as f:
            tests = f.read()
        names = [line.split()[0] for line in text.split("parentheses")[1].split("\n")[1:]
                 if line.startswith("  ") and not line.startswith("   ")]
        self.assertGreater(len(names), 30)
        for name in names:
            self.assertIn('"%s"' % name, tests)

    def test_bad_controls(self):
        rows = (
            ("faults", {"fault": "nonsense"}),
            ("faults", {}),
            ("faults", {"fault": "html502", "seconds": 1}),
            ("faults", {"fault": "html502", "times": -1}),
            ("faults", {"fault": "html502", "times": "1"}),
            ("faults", {"fault": "html502", "endpoint": "nowhere"}),
            ("faults", {"fault": "status"}),
            ("faults", {"fault": "status", "status": 99}),
            ("faults", {"fault": "latency", "ms": "1"}),
            ("faults", {"fault": "device_style", "style": "d"}),
            ("revoke", {}),
            ("revoke", {"token": "czs_none"}),
            ("device", {"action": "approve"}),
            ("device", {"action": "nonsense"}),
            ("consent", {"mode": "nonsense"}),
            ("clock", {"offset": "1"}),
            ("clock", {"ofset": 1}),
            ("lifetime", {"access": -1}),
            ("app", {"client_id": "x", "deactivated": True}),
            ("app", {"client_id": self.emulator.applications["web"]["client_id"], "redirect_uris": [1]}),
            ("nonsense", {}),
        )
        for name, body in rows:
            with self.subTest(name, **body):
                answer = self.emulator.request("POST", "/emulator/" + name, json.dumps(body).encode())
                self.assertIn(answer.status, (400, 404))
                self.assertTrue(answer.json["error"])
        self.assert_good(self.emulator.jwt_token())


class TestDirectory(unittest.TestCase):
    def setUp(self):
        self.parent = tempfile.mkdtemp(prefix="emulator-")
        self.addCleanup(shutil.rmtree, self.parent)
        self.directory = os.path.join(self.parent, "made")

    def files(self):
        found = {}
        for folder, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    found[os.path.relpath(path, self.directory)] = f.read()
        return found

    def mode(self, *path):
        return stat.S_IMODE(os.stat(os.path.join(self.directory, *path)).st_mode)

    def test_layout(self):
        emulator = Emulator(self.directory)
        try:
            self.assertEqual(emulator.line, "emulator: https://%s (%s)\n" % (emulator.host, self.directory))
            self.assertEqual(self.mode(), 0o700)
            for secret in ("pat", "sat", "server.key", "developer/private_key.pem", "web/coze_oauth_config.json"):
                self.assertEqual(self.mode(secret), 0o600)
            developer = emulator.applications["developer"]
            self.assertEqual(developer["client_id"], "1127900106117")
            self.assertEqual(developer["private_key"], emulator.read("developer", "private_key.pem"))
            self.assertTrue(developer["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n"))
            self.assertRegex(developer["public_key_id"], r"^[A-Za-z0-9_-]{43}$")
            self.assertEqual(emulator.applications["device"]["client_type"], "device")
            self.assertTrue(emulator.applications["device"]["client_id"].isdigit())
            for app in emulator.applications.values():
                self.assertEqual(app["coze_api_base"], "https://" + emulator.host)
            conf = emulator.read("bearerd.conf")
            for name in ("developer", "channel", "enterprise", "web", "pkce", "device", "pat", "sat"):
                self.assertIn("[credential %s]\nprovider = coze-test\n" % name, conf)
            self.assertNotIn("[daemon]", conf)
        finally:
            self.assertEqual(emulator.stop(), 0)

    def test_restart_keeps_everything(self):
        emulator = Emulator(self.directory)
        port, files = str(emulator.port), self.files()
        self.assertEqual(emulator.stop(), 0)
        again = Emulator(self.directory, "--port", port)
        self.assertEqual(self.files(), files)
        self.assertEqual(again.jwt_token().status, 200)
        self.assertEqual(again.users_me(files["pat"].strip()).status, 200)
        self.assertEqual(again.stop(), 0)

    def test_another_address_keeps_the_secrets(self):
        emulator = Emulator(self.directory)
        before = emulator.applications
        emulator.stop()
        again = Emulator(self.directory, "--plain-http")
        self.assertEqual(again.applications["web"]["coze_api_base"], "http://" + again.host)
        self.assertEqual(again.applications["web"]["client_secret"], before["web"]["client_secret"])
        self.assertEqual(again.applications["channel"]["private_key"], before["channel"]["private_key"])
        conf = again.read("bearerd.conf")
        self.assertIn("allow_http = yes\n", conf)
        self.assertIn("api_url = http://%s\n" % again.host, conf)
        self.assertEqual(again.jwt_token().status, 200)
        self.assertEqual(again.stop(), 0)

    def test_every_name_of_the_server_is_certified(self):
        emulator = Emulator(self.directory)
        try:
            with socket.create_connection(("127.0.0.1", emulator.port)) as plain:
                with emulator.tls.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
                    certificate = tls.getpeercert()
            names = {value for _, value in certificate["subjectAltName"]}
            self.assertEqual(names, {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"})
            years = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 365 / 86400
            self.assertGreater(years, 9.9)
        finally:
            emulator.stop()

    def test_stops_at_once_while_a_request_hangs(self):
        emulator = Emulator(self.directory)
        emulator.control("faults", {"fault": "hang"})
        connection = emulator.connect()
        connection.request("POST", TOKEN, "{}", {"Content-Type": "application/json"})
        while emulator.state()["requests"]["token"] == 0:
            pass
        self.assertEqual(emulator.stop(), 0)
        connection.close()

    def test_ends_with_its_parent(self):
        command = '"$0" --directory "$1" --exit-with-parent & read line'
        parent = subprocess.Popen(
            ["sh", "-c", command, EMULATOR, self.directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.assertTrue(parent.stdout.readline().startswith("emulator: "))
        parent.stdin.close()
        self.assertEqual(parent.stdout.read(), "")  # its end: nobody holds the pipe any longer
        parent.stdout.close()
        parent.wait()

    def test_usage(self):
        for arguments in ([], ["--nonsense"], ["--directory", self.directory, "more"]):
            done = subprocess.run([EMULATOR, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertTrue(done.stderr)
        done = subprocess.run([EMULATOR, "--directory", self.directory, "--port", "65536"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("65536", done.stderr)


if __name__ == "__main__":
    EMULATOR = os.path.abspath(sys.argv.pop(1))
    unittest.main()
