"""bearerctl from the outside: exact output, exit codes, and a daemon that misbehaves.

usage: test_bearerctl.py BEARERCTL [unittest arguments]

The daemon is a thread that answers by script, so every answer that the real one could ever give,
and those that it must never give, can be played.
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unicodedata
import unittest

BEARERCTL = ""  # set by main
MANUAL = pathlib.Path(__file__).resolve().parent.parent / "client" / "bearerctl.1.scd"
TOKEN = "czs_7Zx0.token-of_the~bot+/="
NOBODY = 65534
TIMEOUT = 60  # seconds; only a test that would hang gets there


def width(text):
    """Columns on a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def answer(status=200, body=b"", kind="application/json", headers=()):
    if isinstance(body, dict):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def token_answer(token=TOKEN):
    return answer(body=token, kind="text/plain; charset=utf-8",
                  headers=["Bearer-Expires-At: 1795400000", "Bearer-Fingerprint: 9f86d081884c7d65"])


def error_answer(status, error, description, upstream=None, headers=()):
    body = {"error": error, "error_description": description}
    if upstream:
        body["upstream"] = upstream
    return answer(status, body, headers=headers)


class Request:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.line = lines[0]
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = dict(line.split(": ", 1) for line in lines[1:])


class Daemon:
    """Answers "METHOD /path?query" from `routes`; a list of bytes is sent piece by piece."""

    def __init__(self, path, routes):
        self.path, self.routes, self.requests = path, routes, []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.answer(connection)
                except OSError:
                    pass  # the client has seen enough

    def answer(self, connection):
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += connection.recv(65536) or self.gone()
        length = re.search(rb"Content-Length: (\d+)", raw)
        while length and len(raw.split(b"\r\n\r\n", 1)[1]) < int(length[1]):
            raw += connection.recv(65536) or self.gone()
        request = Request(raw)
        self.requests.append(request)
        reply = self.routes.get(f"{request.method} {request.target}",
                                error_answer(404, "not_found", "no such path"))
        for piece in reply if isinstance(reply, list) else [reply]:
            connection.sendall(piece)

    def gone(self):
        raise OSError("the client hung up")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(TIMEOUT)


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ctl-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)
        self.socket = os.path.join(self.dir, "s")
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "BEARERD_SOCKET": self.socket,
                    "TZ": "UTC"}
        for name in os.environ:
            if name.endswith("SAN_OPTIONS"):
                self.env[name] = os.environ[name]

    def daemon(self, routes, path=None):
        daemon = Daemon(path or self.socket, routes)
        self.addCleanup(daemon.close)
        return daemon

    def run_ctl(self, *args, stdin=b"", env=None, program=None, **more):
        done = subprocess.run([program or BEARERCTL, *args], input=stdin, capture_output=True,
                              env={**self.env, **(env or {})}, timeout=TIMEOUT, **more)
        self.assertNotIn(b"Sanitizer", done.stderr)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def expect(self, args, code, out="", err="", **more):
        self.assertEqual(self.run_ctl(*args, **more), (code, out, err), args)

    def expect_error(self, args, code, *fragments, **more):
        """Fails with the code, prints nothing, and says all fragments."""
        got, out, err = self.run_ctl(*args, **more)
        self.assertEqual((got, out), (code, ""), (args, err))
        self.assertTrue(err.startswith("bearerctl: "), err)
        for fragment in fragments:
            self.assertIn(fragment, err, args)
        return err


class Get(Case):
    def test_forms(self):
        as_json = json.dumps({"access_token": TOKEN, "expires_at": 1795400000})
        daemon = self.daemon({"GET /v1/token/bot": token_answer(),
                              "GET /v1/credentials/bot": answer(
                                  body={"name": "bot", "api_url": "https://api.coze.cn"})})
        self.expect(["get", "bot"], 0, TOKEN + "\n")
        self.assertEqual(daemon.requests[0].line, "GET /v1/token/bot HTTP/1.1")
        self.assertEqual(daemon.requests[0].headers,
                         {"Host": "localhost", "Accept": "text/plain", "Connection": "close"})
        self.expect(["get", "--header", "bot"], 0, f"Authorization: Bearer {TOKEN}\n")
        self.expect(["get", "bot", "--env"], 0,
                    f"COZE_API_TOKEN='{TOKEN}'\nCOZE_API_BASE=https://api.coze.cn\n")
        daemon.routes["GET /v1/token/bot"] = answer(body=as_json)
        versioned = as_json.replace("{", '{"version":1,', 1) + "\n"
        self.expect(["get", "bot", "--json"], 0, versioned)
        self.assertEqual(daemon.requests[-1].headers["Accept"], "application/json")
        daemon.routes["GET /v1/token/bot"] = answer(body=as_json + "\n")
        self.expect(["get", "bot", "--json"], 0, versioned)
        for body in "[]", "null", "{", "}", "", "czs_x", '{"access_token":':
            daemon.routes["GET /v1/token/bot"] = answer(body=body)
            self.expect_error(["get", "bot", "--json"], 1, "not a token")

    def test_env_is_safe_in_a_shell(self):
        for token in "pat_plain", "a'b$(false)`x`", "-n", "a;b", "~root", "*", "a=b":
            self.daemon_socket = os.path.join(self.dir, f"s{abs(hash(token))}")
            self.daemon({"GET /v1/token/bot": token_answer(token)}, self.daemon_socket)
            _, out, _ = self.run_ctl("get", "bot", "--env", "--socket", self.daemon_socket)
            shown = subprocess.run(["sh", "-c", out + 'printf %s "$COZE_API_TOKEN"'],
                                   capture_output=True, check=True).stdout.decode()
            self.assertEqual(shown, token)
        self.assertNotIn("COZE_API_BASE", out)  # nobody told
        self.assertEqual(out, "COZE_API_TOKEN=a=b\n")

    def test_query(self):
        routes = {"GET /v1/token/bot?" + query: token_answer(query.split("=")[0])
                  for query in ("subject=%E6%89%A3%20%26%3D%2F", "min_ttl=90", "min_ttl=5400",
                                "min_ttl=1", "min_ttl=0", "wait=120",
                                "rejected=9f86d081884c7d65",
                                "subject=a&min_ttl=60&wait=0&rejected=0123456789abcdef")}
        self.daemon({**routes, "GET /v1/token/bot": token_answer("none")})
        for args, out in (
                (["--subject", "扣 &=/"], "subject"), (["--subject=扣 &=/"], "subject"),
                (["--subject="], "none"), (["--subject", ""], "none"),
                (["--min-ttl", "90s"], "min_ttl"), (["--min-ttl=1h30min"], "min_ttl"),
                (["--min-ttl", "1ms"], "min_ttl"), (["--min-ttl", "0s"], "min_ttl"),
                (["--wait", "2min"], "wait"), (["--rejected", "9f86d081884c7d65"], "rejected"),
                (["--wait", "0s", "--rejected=0123456789abcdef", "--min-ttl", "1min",
                  "--subject", "x", "--subject", "a"], "subject")):
            self.expect(["get", *args, "bot"], 0, out + "\n")
            self.expect(["get", "bot", *args], 0, out + "\n")

    def test_largest_token_and_subject(self):
        token = "t" * 16384
        subject = "扣" * 85 + "x"
        target = "GET /v1/token/bot?subject=" + "%E6%89%A3" * 85 + "x"
        self.daemon({"GET /v1/token/bot": token_answer(token), target: token_answer("s")})
        self.expect(["get", "bot"], 0, token + "\n")
        self.expect(["get", "bot", "--header"], 0, f"Authorization: Bearer {token}\n")
        self.expect(["get", "bot", "--env"], 0, f"COZE_API_TOKEN={token}\n")
        self.expect(["get", "bot", "--subject", subject], 0, "s\n")
        self.expect_error(["get", "bot", "--subject", subject + "x"], 2, "at most 256 bytes")

    def test_answers_in_pieces(self):
        whole = token_answer()
        chunked = (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
                   b"\r\n4;x\r\nczs_\r\n5\r\ntoken\r\n0\r\n\r\n")
        daemon = self.daemon({})
        for reply, out in (([whole[i:i + 1] for i in range(len(whole))], TOKEN),
                           (chunked, "czs_token"),
                           ([chunked[i:i + 1] for i in range(len(chunked))], "czs_token"),
                           (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nczs", "czs")):
            daemon.routes["GET /v1/token/bot"] = reply
            self.expect(["get", "bot"], 0, out + "\n")

    def test_broken_answers(self):
        whole = token_answer()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        hung_up, foreign, large = "hung up", "not an answer of bearerd", "too large"
        no_token = "not a token"
        daemon = self.daemon({})
        for reply, code, fragment in (
                (b"", 3, hung_up), (whole[:-1], 3, hung_up), (whole[:20], 3, hung_up),
                (head + b"Transfer-Encoding: chunked\r\n\r\n5\r\ntok", 3, hung_up),
                (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n", 1, foreign),
                (bytes(range(256)) * 10 + b"\r\n\r\n", 1, foreign),
                (head + b"X: " + b"x" * 100000, 1, large),
                (head + b"Content-Length: 999999999\r\n\r\n", 1, large),
                (head + b"\r\n" + b"x" * (1 << 21), 1, large),
                (head + b"Content-Length: 3\r\n\r\nfour", 1, foreign),
                (answer(body=TOKEN, kind="text/html"), 1, no_token),
                (answer(body={"access_token": TOKEN}), 1, no_token),
                (token_answer(""), 1, no_token), (token_answer(TOKEN + "\n"), 1, no_token),
                (token_answer("a b"), 1, no_token), (token_answer('a"b'), 1, no_token),
                (token_answer("a\\b"), 1, no_token), (token_answer("扣"), 1, no_token),
                (token_answer("a\x1b[2J"), 1, no_token), (token_answer("a\0b"), 1, no_token),
                (token_answer("t" * 16385), 1, no_token)):
            daemon.routes["GET /v1/token/bot"] = reply
            for form in [], ["--header"], ["--env"]:
                err = self.expect_error(["get", "bot", *form], code, fragment)
                self.assertNotIn(TOKEN, err)

    def test_errors(self):
        daemon = self.daemon({})
        for status, error, code in (
                (400, "invalid_request", 1), (400, "invalid_scope", 1), (403, "access_denied", 4),
                (404, "not_found", 1), (405, "invalid_request", 1), (413, "invalid_request", 1),
                (409, "authorization_required", 5), (429, "slow_down", 1), (500, "server_error", 1),
                (502, "upstream_error", 6), (503, "temporarily_unavailable", 6),
                (504, "upstream_timeout", 6), (302, "moved", 1), (418, "teapot", 1)):
            daemon.routes["GET /v1/token/bot"] = error_answer(status, error, f"Do {error}.")
            self.expect(["get", "bot"], code, "", f"bearerctl: bot: Do {error}.\n")
        for reply, code, err in (
                (error_answer(502, "upstream_error", "The app was refused.",
                              {"status": 401, "error": "invalid_client", "message": "bad kid",
                               "logid": "20240101X"}), 6,
                 "bearerctl: bot: The app was refused.\n"
                 "bearerctl: the provider said: "
                 "HTTP 401 invalid_client: bad kid; logid 20240101X\n"),
                (error_answer(502, "upstream_error", "Nonsense.", {"status": 500}), 6,
                 "bearerctl: bot: Nonsense.\nbearerctl: the provider said: HTTP 500\n"),
                (error_answer(502, "upstream_error", "Nonsense.", {"message": "no"}), 6,
                 "bearerctl: bot: Nonsense.\nbearerctl: the provider said: no\n"),
                (error_answer(502, "upstream_error", "Nonsense.", {"status": None, "error": 7}), 6,
                 "bearerctl: bot: Nonsense.\n"),
                (error_answer(503, "temporarily_unavailable", "It fails for now.",
                              headers=["Retry-After: 90"]), 6,
                 "bearerctl: bot: It fails for now.\nbearerctl: try again in 1min 30s\n"),
                (error_answer(409, "authorization_required", 'The token of "bot" ran out.'), 5,
                 'bearerctl: The token of "bot" ran out.\n'),
                (error_answer(400, "x", "\x1b[31mred\r\n\x07\x9b2J"), 1,
                 "bearerctl: bot:  [31mred    2J\n"),
                (answer(403, {"error": "access_denied"}), 4,
                 "bearerctl: bot: HTTP 403: access_denied; see journalctl -u bearerd\n"),
                (answer(502, "<html>Bad Gateway</html>", "text/html"), 6,
                 "bearerctl: bot: HTTP 502: the daemon says no more; "
                 "see journalctl -u bearerd\n"),
                (answer(409, "[" * 100000), 5,
                 "bearerctl: bot: HTTP 409: the daemon says no more; "
                 "see journalctl -u bearerd\n")):
            daemon.routes["GET /v1/token/bot"] = reply
            self.expect(["get", "bot"], code, "", err)

    def test_standard_output_that_fails(self):
        self.daemon({"GET /v1/token/bot": token_answer()})
        with open("/dev/full", "w") as full:
            done = subprocess.run([BEARERCTL, "get", "bot"], stdout=full, stderr=subprocess.PIPE,
                                  env=self.env, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write to standard output: No space left", done.stderr)

    def test_process_cannot_be_inspected(self):
        """While it waits, files of /proc/PID belong to root: no debugger, no core dump."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(self.socket)
        listener.listen(1)
        os.chmod(self.socket, 0o777)
        program = shutil.copy(BEARERCTL, self.dir)
        os.chmod(program, 0o755)
        user = {"user": NOBODY} if os.geteuid() == 0 else {}
        process = subprocess.Popen([program, "get", "bot"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL,
                                   env={**self.env, "ASAN_OPTIONS": "detect_leaks=0"}, **user)
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                self.assertEqual(os.stat(f"/proc/{process.pid}/mem").st_uid, 0)
        finally:
            process.kill()
            process.wait(TIMEOUT)


class Reaching(Case):
    def test_no_daemon(self):
        err = self.expect_error(["get", "bot"], 3, self.socket, "No such file or directory",
                                "systemctl start bearerd", "bearerd --user", "BEARERD_SOCKET")
        for args in (["list"], ["status"], ["status", "bot"], ["health"], ["exec", "bot", "true"]):
            self.expect(args, 3, "", err)
        self.expect(["set", "bot"], 3, "", err, stdin=b"pat_x")

    def test_stale_socket(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(self.socket)
        self.expect_error(["list"], 3, self.socket, "Connection refused", "systemctl start bearerd")

    def test_no_socket(self):
        file = os.path.join(self.dir, "file")
        pathlib.Path(file).touch()
        for path in file, self.dir, "/dev/null":
            self.expect(["list", "--socket", path], 3, "", f"bearerctl: {path} is not a socket\n")

    def test_closed_streams(self):
        """Nothing takes the place of a closed stream: no output goes to the daemon, no descriptor to a command."""
        daemon = self.daemon({"GET /v1/token/bot": token_answer(), "GET /v1/credentials": answer(body={"credentials": []}),
                              "GET /healthz": answer(), "GET /v1/events": b"HTTP/1.0 200 OK\r\nContent-Type: "
                              b"text/event-stream\r\n\r\nevent: state\ndata: {}\n\n"})
        for args in ["get", "bot"], ["status", "--json"], ["watch"], ["list", "--help"]:
            done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", BEARERCTL, *args], env=self.env, capture_output=True,
                                  timeout=TIMEOUT)
            self.assertEqual((done.returncode, done.stderr.decode()),
                             (1, "bearerctl: cannot write to standard output: Bad file descriptor\n"), args)
        done = subprocess.run(["sh", "-c", '"$@" <&- 2>&-', "sh", BEARERCTL, "exec", "bot", "ls", "/proc/self/fd"],
                              env=self.env, capture_output=True, timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stdout.split()), (0, [b"0", b"1"]), "0: the directory")
        for request in daemon.requests:
            self.assertEqual(request.body, b"")

    def test_which_socket(self):
        runtime = os.path.join(self.dir, "run")
        os.makedirs(os.path.join(runtime, "bearerd"))
        sockets = {"option": os.path.join(self.dir, "option"), "variable": self.socket,
                   "user": os.path.join(runtime, "bearerd", "bearerd.sock")}
        for name, path in sockets.items():
            self.daemon({"GET /v1/token/bot": token_answer(name)}, path)
        env = {"XDG_RUNTIME_DIR": runtime}
        self.expect(["get", "bot", "--socket", sockets["option"]], 0, "option\n", env=env)
        self.expect(["--socket=" + sockets["option"], "get", "bot"], 0, "option\n", env=env)
        self.expect(["get", "bot"], 0, "variable\n", env=env)
        self.expect(["get", "bot"], 0, "user\n", env={**env, "BEARERD_SOCKET": ""})
        long = "/" + "x" * 107
        self.expect_error(["list"], 2, "BEARERD_SOCKET", "107 bytes", env={"BEARERD_SOCKET": long})
        self.expect_error(["list", "--socket", long], 2, "1 to 107 bytes")

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_socket_of_others(self):
        self.daemon({"GET /v1/token/bot": token_answer()})
        os.chmod(self.socket, 0o600)
        program = shutil.copy(BEARERCTL, self.dir)
        os.chmod(program, 0o755)
        self.expect_error(["get", "bot"], 4, self.socket, "group", program=program, user=NOBODY,
                          group=NOBODY, extra_groups=[], env={"ASAN_OPTIONS": "detect_leaks=0"})


class Usage(Case):
    def test_mistakes(self):
        """Exit code 2, a sentence that helps, and nobody is asked anything."""
        daemon = self.daemon({"GET /v1/token/bot": token_answer()})
        for args, fragment in (
                ([], "which verb? bearerctl --help"), (["--"], "which verb?"),
                (["gte", "bot"], 'unknown verb "gte": did you mean get?'),
                (["stauts"], "did you mean status?"), (["lst"], "did you mean list?"),
                (["xyzzy"], "bearerctl --help lists them"), ([""], "unknown verb"),
                (["help", "sett"], "did you mean set?"),
                (["get"], "bearerctl get NAME"), (["set"], "bearerctl set NAME"),
                (["exec"], "bearerctl exec NAME -- COMMAND..."),
                (["exec", "bot"], "COMMAND"), (["exec", "bot", "--"], "COMMAND"),
                (["get", "bot", "site"], '"site" is one argument too many'),
                (["list", "bot"], '"bot" is one argument too many'),
                (["health", "x"], "too many"), (["status", "a", "b"], "too many"),
                (["get", "a/b"], "not the name of a credential"), (["get", ""], "not the name"),
                (["get", "bot?x=1"], "not the name"), (["get", "-x"], "unknown option -x"),
                (["get", "--", "-x"], "not the name"), (["get", "x" * 65], "not the name"),
                (["get", "--heder", "bot"], "unknown option --heder: did you mean --header?"),
                (["get", "--min_ttl", "5s", "bot"], "did you mean --min-ttl?"),
                (["get", "--frobnicate", "bot"], "bearerctl help get lists them"),
                (["--josn", "status"], "did you mean --json?"),
                (["--json", "status"], "--json comes after the verb"),
                (["list", "--json"], "list takes no --json: bearerctl help list"),
                (["set", "bot", "--subject", "x"], "set takes no --subject"),
                (["get", "bot", "--json=yes"], "--json takes no value"),
                (["get", "bot", "--header=1"], "--header takes no value"),
                (["get", "bot", "--subject"], "--subject needs a value: --subject S"),
                (["get", "bot", "--json", "--header"], "not two"),
                (["get", "bot", "--env", "--json"], "not two"),
                (["get", "bot", "--min-ttl", "90"], "write it with a unit, as 90s"),
                (["get", "bot", "--min-ttl="], "not a time span"),
                (["get", "bot", "--min-ttl=-5s"], "not a time span"),
                (["get", "bot", "--min-ttl=5 parsecs"], "not a time span"),
                (["get", "bot", "--min-ttl=99999999w"], "too long"),
                (["get", "bot", "--wait", "121s"], "--wait: 121s is too long: at most 2min"),
                (["exec", "bot", "--wait", "121s", "true"], "at most 2min"),
                (["login", "bot", "--wait", "2d"], "--wait: 2d is too long: at most 1d"),
                (["login"], "bearerctl login NAME"), (["login", "bot", "tv"], "too many"),
                (["logout"], "bearerctl logout NAME"), (["logni", "bot"], "did you mean login?"),
                (["get", "bot", "--no-browser"], "get takes no --no-browser"),
                (["login", "bot", "--nobrowser"], "did you mean --no-browser?"),
                (["authorizations", "--cancel"], "--cancel needs a value: --cancel ID"),
                (["authorizations", "--cancel", "../x"], "is not the id of an authorization"),
                (["authorizations", "--cancel", ""], "is not the id of an authorization"),
                (["authorizations", "bot", "--cancel", "a"], "not the name of a credential"),
                (["status", "--subjects"], "bearerctl status NAME --subjects"),
                (["get", "bot", "--rejected", TOKEN], "never the token itself"),
                (["get", "bot", "--rejected", "9F86D081884C7D65"], "16 hex digits"),
                (["--socket", "", "list"], "--socket: a path"),
                (["set", "bot", "--expires-at", "soon"], "is no date"),
                (["set", "bot", "--expires-at", "2001-01-01"], "has passed"),
                (["set", "bot", "--expires-at", "1"], "has passed"),
                (["set", "bot", "--expires-at", "2099-02-30"], "is no date"),
                (["set", "bot", "--expires-at", str(int(time.time()) * 1000)], "milliseconds")):
            err = self.expect_error(args, 2, fragment)
            self.assertNotIn(TOKEN, err)
        self.assertEqual(daemon.requests, [])

    def test_help(self):
        code, out, err = self.run_ctl("--help")
        self.assertEqual((code, err), (0, ""))
        texts = [out]
        for alias in (["-h"], ["help"], ["--help", "get", "bot"]):
            self.expect(alias, 0, out)
        verbs = re.findall(r"^  (\w+)(?: .*?)?  +\w", out, re.M)
        self.assertEqual(verbs, ["get", "exec", "set", "login", "logout", "authorizations", "list",
                                 "status", "watch", "explain", "check", "reload", "rekey", "health",
                                 "help"])
        for verb in verbs:
            code, text, err = self.run_ctl("help", verb)
            self.assertEqual((code, err), (0, ""))
            self.assertIn(f"Usage: bearerctl {verb}", text)
            self.expect([verb, "--help"], 0, text)
            self.expect([verb, "-h"], 0, text)
            texts.append(text)
        for text in texts:
            self.assertLessEqual(len(text.splitlines()), 24, text)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)
                self.assertEqual(line, line.rstrip())

    def test_help_into_a_full_disk(self):
        with open("/dev/full", "w") as full:
            for args in (["--help"], ["help", "get"], ["--version"]):
                done = subprocess.run([BEARERCTL, *args], stdout=full, stderr=subprocess.PIPE,
                                      timeout=TIMEOUT)
                self.assertEqual(done.returncode, 1)

    def test_version(self):
        for option in "--version", "-V":
            code, out, err = self.run_ctl(option)
            self.assertEqual((code, err), (0, ""))
            self.assertRegex(out, r"^bearerctl \d+\.\d+\.\d+\n$")

    def test_manual_is_complete(self):
        manual = MANUAL.read_text()
        _, out, _ = self.run_ctl("--help")
        for verb in re.findall(r"^  (\w+)(?: .*?)?  +\w", out, re.M):
            self.assertRegex(manual, rf"(?m)^\*{verb}\*")
            for option in re.findall(r"^  (--[\w-]+)", self.run_ctl("help", verb)[1], re.M):
                self.assertRegex(manual, rf"(?m)^(\*-\w\*, )?\*{option}\*", verb)
        for code in range(7):
            self.assertIn(f"*{code}*", manual)
        examples = manual.partition("# EXAMPLES")[2]
        for verb in set(re.findall(r"^  (\w+)(?: .*?)?  +\w", out, re.M)) - {"help", "list", "rekey"}:
            self.assertIn(f"bearerctl {verb}", examples)

    def test_libraries(self):
        """It is started in loops: libc and nothing else; a sanitizer brings its own."""
        out = subprocess.run(["readelf", "-d", BEARERCTL], capture_output=True, check=True).stdout
        needed = set(re.findall(r"NEEDED.*\[(.*)\]", out.decode()))
        self.assertIn("libc.so.6", needed)
        brought = r"|lib\w*san|libgcc_s|libm|libdl|libpthread|librt|libresolv"
        if not re.search(rb"__(asan|ubsan|tsan|msan)_", pathlib.Path(BEARERCTL).read_bytes()):
            brought = ""
        for library in needed:
            self.assertRegex(library, rf"^(libc|ld-linux[\w-]*{brought})\.so")


class Set(Case):
    ROUTE = "PUT /v1/credentials/bot/secret"

    def test_bodies(self):
        daemon = self.daemon({self.ROUTE: answer(204)})
        far = int(time.time()) + 10 ** 8
        for args, stdin, body in (
                ([], b"pat_x", {"token": "pat_x"}), ([], b"pat_x\n", {"token": "pat_x"}),
                ([], b" \r\n\tpat_x \r\n\n", {"token": "pat_x"}),
                ([], b"p" * 16384 + b"\r\n", {"token": "p" * 16384}),
                (["--expires-at", str(far)], b"x", {"token": "x", "expires_at": far}),
                (["--expires-at", "2096-02-29"], b"x", {"token": "x", "expires_at": 3981312000}),
                (["--expires-at=2096-02-29 18:30"], b"x",
                 {"token": "x", "expires_at": 3981378600}),
                (["--expires-at=2096-02-29T18:30:01Z"], b"x",
                 {"token": "x", "expires_at": 3981378601}),
                (["--expires-at=2096-02-29T18:30+08:00"], b"x",
                 {"token": "x", "expires_at": 3981349800}),
                (["--expires-at=2096-02-29 18:30:00-0330"], b"x",
                 {"token": "x", "expires_at": 3981391200})):
            self.expect(["set", "bot", *args], 0, stdin=stdin)
            request = daemon.requests[-1]
            self.assertEqual(json.loads(request.body), body)
            self.assertEqual(request.headers["Content-Type"], "application/json")
        self.expect(["set", "bot", "--expires-at", "2096-02-29 08:00"], 0, stdin=b"x",
                    env={"TZ": "Asia/Shanghai"})
        self.assertEqual(json.loads(daemon.requests[-1].body)["expires_at"], 3981312000)

    def test_bad_input(self):
        daemon = self.daemon({self.ROUTE: answer(204)})
        for stdin, fragment in ((b"", "no token on standard input"), (b" \n\n", "no token"),
                                (b"Bearer pat_x", 'without "Bearer"'), (b"pat\nx", "one word"),
                                (b'"pat_x"', "quotes"), (b"pat\\x", "one word"),
                                (b"pat\0", "one word"),
                                ("扣子".encode(), "one word"), (b"p" * 16385, "16384"),
                                (b"p" * 1000000, "16384 bytes")):
            err = self.expect_error(["set", "bot"], 2, fragment, stdin=stdin)
            self.assertNotIn("pat", err)
        self.assertEqual(daemon.requests, [])

    def test_errors(self):
        self.daemon({self.ROUTE: error_answer(403, "access_denied", "Only an admin may."),
                     "PUT /v1/credentials/jwt/secret":
                         error_answer(400, "invalid_request", "It makes its own tokens.")})
        self.expect(["set", "bot"], 4, "", "bearerctl: bot: Only an admin may.\n", stdin=b"pat_x")
        self.expect(["set", "jwt"], 1, "", "bearerctl: jwt: It makes its own tokens.\n",
                    stdin=b"pat_x")
        closed = subprocess.run(["sh", "-c", 'exec "$0" set bot <&-', BEARERCTL], env=self.env,
                                capture_output=True, timeout=TIMEOUT)
        self.assertEqual(closed.returncode, 1)
        self.assertIn(b"cannot read standard input: Bad file descriptor", closed.stderr)

    def at_terminal(self):
        process, terminal = pty.fork()
        if process == 0:
            os.execve(BEARERCTL, [BEARERCTL, "set", "bot"], self.env)
        shown = b""
        while b"not shown): " not in shown:
            shown += os.read(terminal, 1024)
        self.assertEqual(shown, b"Token for bot (it is not shown): ")
        self.assertFalse(termios.tcgetattr(terminal)[3] & termios.ECHO)
        return process, terminal

    def read_to_end(self, terminal):
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 1024)
            except OSError:  # EIO: the other end is closed
                piece = b""
            if not piece:
                return shown
            shown += piece

    def test_terminal(self):
        daemon = self.daemon({self.ROUTE: answer(204)})
        process, terminal = self.at_terminal()
        os.write(terminal, b"pat_typed\n")
        shown = self.read_to_end(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), 0)
        os.close(terminal)
        self.assertEqual(shown, b"\r\nbot has its new token.\r\n")
        self.assertEqual(json.loads(daemon.requests[0].body), {"token": "pat_typed"})

    def test_terminal_interrupted(self):
        daemon = self.daemon({self.ROUTE: answer(204)})
        process, terminal = self.at_terminal()
        os.write(terminal, b"pat_ty\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), -signal.SIGINT)
        self.assertTrue(termios.tcgetattr(terminal)[3] & termios.ECHO)
        self.assertNotIn(b"pat", self.read_to_end(terminal))
        os.close(terminal)
        self.assertEqual(daemon.requests, [])


class Status(Case):
    def setUp(self):
        super().setUp()
        now = int(time.time())
        half_min, minute, hour, day = 30, 60, 3600, 86400
        self.bot = {"name": "bot", "provider": "coze.cn", "type": "jwt", "state": "ready",
                    "fingerprint": "9f86d081884c7d65", "expires_at": now + 53 * minute + half_min,
                    "renews_at": now + 2 * hour + 41 * minute + half_min, "grant_expires_at": None,
                    "last_error": None, "subjects": 12, "api_url": "https://api.coze.cn"}
        self.all = [
            self.bot,
            {"name": "idle", "provider": "coze.cn", "type": "device_code", "state": "idle"},
            {"name": "mypat", "provider": "coze.com", "type": "pat", "state": "ready",
             "fingerprint": "0123456789abcdef", "expires_at": now + 3 * day + 4 * hour + half_min,
             "warning": "expires in 3d 4h: make a new one in Coze's console and hand it over "
                        "with bearerctl set mypat"},
            {"name": "old", "provider": "coze.cn", "type": "sat", "state": "expired",
             "fingerprint": "0123456789abcdef", "expires_at": now - 2 * day - half_min},
            {"name": "site", "provider": "coze.cn", "type": "authorization_code",
             "state": "authorization_required", "last_error": "the refresh token was refused"},
            {"name": "forever", "provider": "coze.cn", "type": "sat", "state": "ready",
             "fingerprint": "0123456789abcdef", "last_error": "the disk was full"},
            {"name": "down", "provider": "coze.cn", "type": "jwt", "state": "failing",
             "last_error": {"status": 503, "message": "busy", "logid": "2024X",
                            "at": now - 2 * hour - half_min, "advice": "Wait."}},
        ]

    TABLE = """\
NAME     PROVIDER  TYPE                STATE         EXPIRES
bot      coze.cn   jwt                 ready         in 53min 30s
idle     coze.cn   device_code         idle          -
mypat    coze.com  pat                 ready         in 3d 4h
old      coze.cn   sat                 expired       2d ago
site     coze.cn   authorization_code  unauthorized  -
forever  coze.cn   sat                 ready         never
down     coze.cn   jwt                 failing       -

mypat: expires in 3d 4h: make a new one in Coze's console and hand it over with
    bearerctl set mypat
old: make a new token in Coze's console, then: bearerctl set old
site: the refresh token was refused. To authorize again: bearerctl login site
down: HTTP 503: busy; logid 2024X (2h ago). Wait.
"""

    def test_table(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.all})})
        code, out, err = self.run_ctl("status")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(re.sub(r"53min \d+s", "53min 30s", out), self.TABLE)

    def outage(self):
        """coze.cn is down, coze.com is not; pat would do without it, none has no token."""
        now = int(time.time())
        down = {"provider": "coze.cn", "type": "jwt", "provider_state": "open", "provider_down_since": now - 12 * 60,
                "provider_retry_at": now + 3 * 86400 + 3630}
        up = {"provider": "coze.com", "type": "jwt", "provider_state": "closed"}
        busy = {"status": 503, "message": "busy", "at": now - 2 * 3600 - 30}
        return [
            {**down, "name": "bot", "state": "ready", "survives_seconds": 4 * 3600 + 5},
            {**down, "name": "site", "state": "ready", "survives_seconds": 53 * 60},
            {**down, "name": "none", "state": "idle", "survives_seconds": 0},
            {**down, "name": "pat", "type": "pat", "state": "ready", "survives_seconds": 60},
            {**down, "name": "endless", "state": "ready", "survives_seconds": None},
            *({**down, "name": f"f{i}", "state": "failing", "last_error": {**busy, "logid": f"L{i}"}} for i in range(5)),
            {**down, "name": "other", "state": "failing", "last_error": {**busy, "message": "no"}},
            {**up, "name": "far", "state": "ready", "survives_seconds": 86399}]

    def notes(self, credentials):
        body = {"credentials": credentials}
        if not getattr(self, "server", None):
            self.server = self.daemon({})
        self.server.routes["GET /v1/credentials"] = answer(body=body)
        code, out, err = self.run_ctl("status")
        self.assertEqual((code, err), (0, ""))
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80)
        return re.sub(r"12min \d+s", "12min", out.partition("\n\n")[2])

    def test_outage(self):
        """How each provider is, once; then what fails, once for all that fail in the same way."""
        credentials = self.outage()
        self.assertEqual(self.notes(credentials), """\
coze.cn: down for 12min, the next try is in 3d 1h; the first token ends in 53min
    (site)
coze.com: up; without it, the first token would end in 23h 59min (far)
f0, f1, f2 and 2 more: HTTP 503: busy; logid L0 (2h ago)
other: HTTP 503: no (2h ago)
""")
        self.assertEqual(self.notes(credentials[2:5] + credentials[5:9]), """\
coze.cn: down for 12min, the next try is in 3d 1h; no token is left
f0, f1, f2, f3: HTTP 503: busy; logid L0 (2h ago)
""")
        for provider, said in (({"provider_retry_at": 1}, "down for 12min, the next try is due"),
                               ({"provider_state": "half_open"}, "down for 12min, the next try is under way"),
                               ({"provider_down_since": None, "provider_retry_at": 0}, "down, the next try is due")):
            self.assertEqual(" ".join(self.notes([{**credentials[1], **provider}]).split()),
                             f"coze.cn: {said}; the first token ends in 53min (site)")
        self.assertEqual(self.notes([credentials[3]]), "")  # a static token does without
        self.assertEqual(self.notes([{**credentials[11], "survives_seconds": 0}]), "")

    def test_outage_of_one(self):
        self.daemon({f"GET /v1/credentials/{o['name']}": answer(body=o) for o in self.outage()})
        code, out, _ = self.run_ctl("status", "bot")
        self.assertRegex(out, r"(?m)^outage    down for 12min( \d+s)?, the next try is in 3d 1h\n"
                              r"lasts     4h without the provider$")
        self.assertNotIn("lasts", self.run_ctl("status", "pat")[1])

    def test_widths(self):
        """Whatever the terminal's, and that of the characters, no line of the table is wider."""
        wide = {"name": "客服机器人" * 12, "provider": "提供者" * 20, "type": "authorization_code", "state": "ready"}
        self.daemon({"GET /v1/credentials": answer(body={"credentials": [*self.all, *self.outage(), wide]})})
        for columns in 20, 30, 40, 60, 79, 80, 132, 300:
            out = self.on_terminal(columns, "status")
            table, _, notes = out.partition("\n\n")
            for line in table.splitlines():
                self.assertLessEqual(width(line), max(columns, 34), out)
            self.assertRegex(table, r"(?m)^NAME .* EXPIRES$")
            self.assertEqual("TYPE" in table, columns >= 60, out)
            self.assertEqual("PROVIDER" in table, columns > 40, out)
            for line in notes.splitlines():
                self.assertLessEqual(width(line), max(min(columns, 80), 27), out)  # f0, f1, f2 and 2 more: HTTP
        self.assertIn(wide["name"], out)
        for columns in range(36, 80):  # a column is there, or not, but never too narrow to be read
            titles = self.on_terminal(columns, "status").splitlines()[0]
            self.assertNotRegex(titles, r"(?<!\w)\w{0,2}~", columns)

    def test_chinese_is_wrapped(self):
        """Between characters, but not before punctuation."""
        sentence = "访问令牌已经过期，请在控制台中创建一个新的令牌，然后运行命令 bearerctl set bot 交给它。"
        self.daemon({"GET /v1/credentials": answer(body={"credentials": [{"name": "bot", "warning": sentence}]})})
        for columns in range(20, 90):
            notes = self.on_terminal(columns, "status").partition("\n\n")[2].splitlines()
            for line in notes:
                self.assertLessEqual(width(line), min(columns, 80))
                self.assertNotRegex(line, r"^ *[，。]")
            for line in notes[:-1]:  # none is much shorter than it has to be
                self.assertGreater(width(line), min(columns, 80) - 14)
            words = notes[0] + "".join(line[4:] for line in notes[1:])
            self.assertEqual(words.replace(" ", ""), f"bot:{sentence}".replace(" ", ""))

    def test_unauthorized(self):
        """It is said how to log in, once."""
        daemon = self.daemon({})
        for trouble, said in (
                (None, "a person must authorize it: bearerctl login tv"),
                ("it was refused.", "it was refused. To authorize again: bearerctl login tv"),
                ("authorize again (bearerctl login)",
                 "authorize again (bearerctl login). To authorize again: bearerctl login tv"),
                ("it was refused: bearerctl login tv", "it was refused: bearerctl login tv")):
            tv = {"name": "tv", "type": "pkce", "state": "authorization_required",
                  "last_error": trouble}
            daemon.routes["GET /v1/credentials"] = answer(body={"credentials": [tv]})
            daemon.routes["GET /v1/credentials/tv"] = answer(body=tv)
            self.assertTrue(self.run_ctl("status")[1].endswith(f"\n\ntv: {said}\n"), said)
            self.assertIn("\nnote      a person must authorize it: bearerctl login tv\n",
                          self.run_ctl("status", "tv")[1])

    def test_list(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.all})})
        self.expect(["list"], 0, "bot\nidle\nmypat\nold\nsite\nforever\ndown\n")

    def test_json(self):
        everything = {"credentials": self.all}
        self.daemon({"GET /v1/credentials": answer(body=" " + json.dumps(everything, indent=1)),
                     "GET /v1/credentials/bot": answer(body=self.bot),
                     "GET /v1/credentials/new": answer(body=" { } \n")})
        for args, o in ([], everything), (["bot"], self.bot), (["new"], {}):
            code, out, err = self.run_ctl("status", "--json", *args)
            self.assertEqual((code, err, out[-2:]), (0, "", "}\n"))
            self.assertEqual(list(json.loads(out).items()), [("version", 1), *o.items()])

    def test_one(self):
        bot = {**self.bot, "grant_expires_at": int(time.time()) + 86400 * 29 + 1800,
               "last_error": "the provider is down",
               "warning": "renewal has failed for " + "long " * 12}
        self.daemon({"GET /v1/credentials/bot": answer(body=bot),
                     "GET /v1/credentials/idle": answer(body=self.all[1]),
                     "GET /v1/credentials/forever": answer(body=self.all[5]),
                     "GET /v1/credentials/down": answer(body=self.all[6])})
        code, out, err = self.run_ctl("status", "bot")
        self.assertEqual((code, err), (0, ""))
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80)
        self.assertEqual(re.sub(r"\d+s |\(20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+0000\)", "", out), """\
name      bot
provider  coze.cn
API       https://api.coze.cn
type      jwt
state     ready
token     9f86d081884c7d65
expires   in 53min\x20
renews    in 2h 41min\x20
grant     expires in 29d\x20
subjects  12
trouble   the provider is down
note      renewal has failed for long long long long long long long long long
          long long long
""")
        self.expect(["status", "idle"], 0, "name      idle\nprovider  coze.cn\n"
                                           "type      device_code\nstate     idle\n")
        self.expect(["status", "forever"], 0,
                    "name      forever\nprovider  coze.cn\ntype      sat\nstate     ready\n"
                    "token     0123456789abcdef, never expires\n"
                    "trouble   the disk was full\n")
        self.expect(["status", "down"], 0,
                    "name      down\nprovider  coze.cn\ntype      jwt\nstate     failing\n"
                    "trouble   HTTP 503: busy; logid 2024X (2h ago). Wait.\n")

    def test_eighty_columns(self):
        wide = {"name": "n" * 64, "provider": "p" * 64, "type": "authorization_code",
                "state": "authorization_required", "fingerprint": "0123456789abcdef",
                "expires_at": int(time.time()) + 364 * 86400 + 23 * 3600 + 1800,
                "warning": "word " * 40}
        self.daemon({"GET /v1/credentials": answer(body={"credentials": [wide, self.bot]})})
        code, out, _ = self.run_ctl("status")
        self.assertEqual(code, 0)
        lines = out.splitlines()
        self.assertIn("n~ ", lines[1])
        self.assertIn("in 364d 23h", lines[1])
        for line in lines[:3]:
            self.assertLessEqual(len(line), 80)
        for line in lines[5:]:
            self.assertLessEqual(len(line), 80)

    def test_hostile_text(self):
        bad = {"name": "\x1b[2J", "provider": "\r\n", "type": 7, "state": "\x9bnew",
               "warning": "a\x1bb"}
        self.daemon({"GET /v1/credentials": answer(body={"credentials": [bad, "text", None, 5]}),
                     "GET /v1/credentials/bot": answer(body=bad)})
        for args in (["status"], ["status", "bot"], ["list"]):
            code, out, err = self.run_ctl(*args)
            self.assertEqual((code, err), (0, ""))
            self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), out)

    def test_nothing(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": []})})
        self.expect(["list"], 0)
        code, out, err = self.run_ctl("status")
        self.assertEqual((code, out), (0, ""))
        self.assertIn("no credential that you may use", err)

    def test_answers_of_something_else(self):
        daemon = self.daemon({})
        for body, kind in (("[]", "application/json"), ("{}", "application/json"),
                           ('{"credentials":{}}', "application/json"),
                           ('{"credentials":[]} x', "application/json"),
                           ("", "application/json"), ('{"credentials":[', "application/json"),
                           ('{"credentials":[]}', "text/plain"),
                           ('{"credentials":' + "[" * 100 + "]" * 100 + "}", "application/json")):
            daemon.routes["GET /v1/credentials"] = answer(body=body, kind=kind)
            for args in (["list"], ["status"], ["status", "--json"]):
                self.expect_error(args, 1, "not a list of credentials")
        daemon.routes["GET /v1/credentials/bot"] = answer(body="[]")
        self.expect_error(["status", "bot"], 1, "not a state")

    def test_many(self):
        names = [f"credential-{i:05}" for i in range(10000)]
        body = {"credentials": [{**self.bot, "name": name} for name in names]}
        reply = answer(body=body)
        self.assertGreater(len(reply), 2 << 20)
        self.daemon({"GET /v1/credentials": reply})
        self.expect(["list"], 0, "\n".join(names) + "\n")

    def on_terminal(self, columns, *args):
        """What somebody sees there, without colours."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([BEARERCTL, *args], stdin=slave, stdout=slave, stderr=slave,
                                   env={**self.env, "TERM": "xterm"})
        os.close(slave)
        out = Set.read_to_end(self, master)
        os.close(master)
        self.assertEqual(process.wait(TIMEOUT), 0)
        return re.sub(r"\x1b\[\d+m", "", out.decode()).replace("\r\n", "\n")

    def colours(self, **env):
        process, terminal = pty.fork()
        if process == 0:
            os.execve(BEARERCTL, [BEARERCTL, "status"], {**self.env, **env})
        out = Set.read_to_end(self, terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), 0)
        os.close(terminal)
        return out

    def test_colour(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.all})})
        shown = self.colours(TERM="xterm", NO_COLOR="")
        self.assertIn(b"\x1b[32mready\x1b[0m  ", shown)
        self.assertIn(b"\x1b[31mexpired\x1b[0m  ", shown)
        self.assertNotIn(b"\x1b", self.colours(TERM="xterm", NO_COLOR="1"))
        self.assertNotIn(b"\x1b", self.colours(TERM="dumb"))
        plain = re.sub(rb"\x1b\[\d+m", b"", shown).replace(b"\r\n", b"\n").decode()
        self.assertEqual(re.sub(r"53min \d+s", "53min 30s", plain), self.TABLE)

    def test_into_a_full_disk(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.all})})
        with open("/dev/full", "w") as full:
            for verb in "list", "status":
                done = subprocess.run([BEARERCTL, verb], stdout=full, stderr=subprocess.PIPE,
                                      env=self.env, timeout=TIMEOUT)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"No space left", done.stderr)


class Json(Case):
    """Each object that a program reads tells its version first, whatever verb it is of."""

    ID = "AbCdEf0123456789_-xyzA"
    EVENT = {"event": "state", "reason": "connected", "credentials": []}
    ANSWERS = {  # of the daemon; and how many objects are printed for it
        "get bot": ({"access_token": TOKEN}, 1),
        "status": ({"credentials": [{"name": "bot"}]}, 1),
        "status bot": ({"name": "bot", "state": "ready"}, 1),
        "status bot --subjects": ({"subjects": [{"subject": "a"}, {"subject": "b"}]}, 2),
        "explain bot": ({"connect": {"allowed": True}, "use": {"allowed": True}}, 1),
        "authorizations": ({"authorizations": [{"id": ID}]}, 1),
        "reload": ({"credentials": {"added": ["bot"]}, "warnings": []}, 1),
        "login bot": ({"id": ID, "state": "succeeded"}, 2),
    }
    PATHS = ["GET /v1/token/bot", "GET /v1/credentials", "GET /v1/credentials/bot",
             "GET /v1/credentials/bot/subjects?limit=100", "GET /v1/credentials/bot/access",
             "GET /v1/authorizations", "POST /v1/reload", "POST /v1/credentials/bot/authorizations"]

    def check(self, line):
        self.assertEqual(list(json.loads(line).items())[0], ("version", 1), line)

    def test_every_verb(self):
        daemon = self.daemon({"GET /healthz": answer()})
        for words, (body, n) in self.ANSWERS.items():
            daemon.routes.update({path: answer(body=body) for path in self.PATHS})
            code, out, err = self.run_ctl(*words.split(), "--json")
            self.assertEqual((code, err, len(out.splitlines())), (0, "", n), words)
            for line in out.splitlines():
                self.check(line)
        with_json = {verb for verb in re.findall(r"^  (\w+)(?: .*?)?  +\w", self.run_ctl("help")[1], re.M)
                     if "--json" in self.run_ctl("help", verb)[1]}
        self.assertEqual({words.split()[0] for words in self.ANSWERS} | {"watch", "check"}, with_json)

    def test_watch(self):
        stream = f"event: state\ndata: {json.dumps(self.EVENT)}\n\n".encode()
        self.daemon({"GET /healthz": answer(),
                     "GET /v1/events": b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream})
        with subprocess.Popen([BEARERCTL, "watch", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env=self.env) as process:
            line = process.stdout.readline()
            process.kill()
        self.check(line)
        self.assertEqual(json.loads(line), {"version": 1, **self.EVENT})

    def test_watch_ends_with_its_reader(self):
        """As tail -f does, without waiting for the next event."""
        stream = f"event: state\ndata: {json.dumps(self.EVENT)}\n\n".encode()
        stay = threading.Event()

        class Pieces(list):
            def __iter__(self):
                yield b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream
                stay.wait(TIMEOUT)

        self.daemon({"GET /healthz": answer(), "GET /v1/events": Pieces()})
        self.addCleanup(stay.set)
        with subprocess.Popen([BEARERCTL, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.env) as process:
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual((process.wait(TIMEOUT), process.stderr.read()), (1, b""))

    def test_nothing_on_an_error(self):
        """A mistake is a sentence on standard error, never half an object."""
        daemon = self.daemon({"GET /healthz": answer()})
        for words in self.ANSWERS:
            daemon.routes.update({path: error_answer(403, "access_denied", "No.") for path in self.PATHS})
            self.expect_error([*words.split(), "--json"], 4, "No.")
            daemon.routes.update({path: answer(body="[1]") for path in self.PATHS})
            self.expect_error([*words.split(), "--json"], 1)


class Exec(Case):
    def setUp(self):
        super().setUp()
        self.routes = {"GET /v1/token/bot": token_answer(),
                       "GET /v1/token/bot?subject=alice&min_ttl=1800": token_answer("of-alice"),
                       "GET /v1/credentials/bot": answer(
                           body={"name": "bot", "api_url": "https://api.coze.cn"})}
        self.daemon(self.routes)

    SHOW = ["sh", "-c", 'echo "$COZE_API_TOKEN $COZE_API_BASE $*"', "x"]

    def test_environment_and_arguments(self):
        base = "https://api.coze.cn"
        self.expect(["exec", "bot", "--", *self.SHOW, "--json", "--", "-h"], 0,
                    f"{TOKEN} {base} --json -- -h\n")
        self.expect(["exec", "bot", *self.SHOW, "--subject", "x"], 0,
                    f"{TOKEN} {base} --subject x\n")
        self.expect(["exec", "--subject", "alice", "bot", "--min-ttl", "30min", "--", *self.SHOW],
                    0, f"of-alice {base} \n")
        self.expect(["exec", "--", "bot", *self.SHOW], 0, f"{TOKEN} {base} \n")
        self.expect(["exec", "bot", "--", "cat"], 0, "in", stdin=b"in")
        del self.routes["GET /v1/credentials/bot"]
        self.expect(["exec", "bot", *self.SHOW], 0, f"{TOKEN}  \n")

    def test_hostile_base(self):
        for url in ("https://a b", "x\n", "", 5, "https://" + "x" * 2000):
            self.routes["GET /v1/credentials/bot"] = answer(body={"api_url": url})
            self.expect(["exec", "bot", *self.SHOW], 0, f"{TOKEN}  \n")

    def test_it_becomes_the_command(self):
        self.expect(["exec", "bot", "sh", "-c", "exit 42"], 42)
        self.expect(["exec", "bot", "sh", "-c", "kill -TERM $$"], -signal.SIGTERM)
        code, out, _ = self.run_ctl("exec", "bot", "ls", "/proc/self/fd")
        self.assertEqual((code, out.split()), (0, ["0", "1", "2", "3"]))  # 3: the directory
        process = subprocess.Popen([BEARERCTL, "exec", "bot", "sh", "-c", "echo $$"],
                                   stdout=subprocess.PIPE, env=self.env)
        self.assertEqual(int(process.communicate(timeout=TIMEOUT)[0]), process.pid)

    def test_the_command_can_be_debugged(self):
        code, out, _ = self.run_ctl(
            "exec", "bot", sys.executable, "-c",
            "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")  # PR_GET_DUMPABLE
        self.assertEqual((code, out), (0, "1\n"))

    def test_no_command(self):
        self.expect(["exec", "bot", "--", "no-such-command"], 127, "",
                    "bearerctl: no-such-command: cannot run it: No such file or directory\n")
        self.expect(["exec", "bot", "--", self.dir], 126, "",
                    f"bearerctl: {self.dir}: cannot run it: Permission denied\n")

    def test_no_token_no_command(self):
        self.routes["GET /v1/token/bot"] = error_answer(409, "authorization_required", "Log in.")
        self.expect(["exec", "bot", "echo", "ran"], 5, "", "bearerctl: bot: Log in.\n")


class Check(Case):
    def install(self, directory, code, facts=False):
        os.makedirs(directory, exist_ok=True)
        program = os.path.join(directory, "bearerd")
        with open(program, "w") as f:
            f.write(f'#!/bin/sh\necho "$@"\nexit {code}\n' if not facts else
                    f'#!/bin/sh\nprintf \'{{"check":"configuration","result":"fail","problem":"mistake","message":"%s"}}\\n\''
                    f' "$*"\nexit {code}\n')
        os.chmod(program, 0o755)

    def said(self, *arguments, code=0, env=None, program=None):
        """What check makes of the one fact, which is bearerd's arguments."""
        found, out, err = self.run_ctl("check", *arguments, program=program, env=env)
        self.assertEqual((found, err), (code, ""))
        return out

    def test_arguments(self):
        beside = os.path.join(self.dir, "bin")
        self.install(beside, 0, facts=True)
        program = shutil.copy(BEARERCTL, beside)
        self.install(os.path.join(self.dir, "path"), 9)
        env = {"PATH": os.path.join(self.dir, "path") + ":" + self.env["PATH"]}
        for args, out in (([], ""), (["x.conf"], " --config x.conf"), (["--user"], " --user"),
                          (["--user", "--", "-x"], " --config -x --user")):
            text = self.said(*args, code=1, program=program, env=env)
            self.assertIn(f"FAIL  configuration  --diagnose{out}\n", text)
        self.assertIn("--diagnose --offline\n", self.said("--offline", code=1, program=program, env=env))
        self.install(beside, 0)
        for args, out in (([], "--rekey"), (["x.conf"], "--rekey --config x.conf"), (["--user"], "--rekey --user")):
            self.expect(["rekey", *args], 0, out + "\n", program=program, env=env)

    def test_json(self):
        beside = os.path.join(self.dir, "bin")
        self.install(beside, 0, facts=True)
        o = json.loads(self.said("--json", code=1, program=shutil.copy(BEARERCTL, beside)))
        self.assertEqual((o["version"], o["result"], len(o["checks"])), (1, "fail", 1))
        self.assertEqual(o["checks"][0], {"check": "configuration", "result": "fail", "problem": "mistake",
                                          "message": "--diagnose", "causes": []})

    def test_bearerd_fails(self):
        """What it has found out is told, but nobody takes it for all there is."""
        beside = os.path.join(self.dir, "bin")
        self.install(beside, 3, facts=True)
        program = shutil.copy(BEARERCTL, beside)
        self.assertNotIn("Failures", self.said(code=1, program=program))
        self.assertEqual(self.said("--json", code=1, program=program), "")

    def test_name(self):
        """A credential is no file."""
        self.expect_error(["check", "bot"], 2, "there is no file bot", "all its credentials")

    def test_nonsense(self):
        beside = os.path.join(self.dir, "bin")
        self.install(beside, 0)
        program = shutil.copy(BEARERCTL, beside)
        self.expect_error(["check"], 1, "older or newer", program=program)

    def test_path_comes_last(self):
        alone = os.path.join(self.dir, "alone")
        os.makedirs(alone)
        program = shutil.copy(BEARERCTL, alone)
        path = os.path.join(self.dir, "path")
        self.install(path, 7)
        code, out, err = self.run_ctl("check", "--help", program=program)
        self.assertEqual(code, 0)
        bindir = subprocess.run(["strings", program], capture_output=True).stdout.decode()
        if any(os.path.exists(line) for line in bindir.splitlines() if line.endswith("/bearerd")):
            self.skipTest("bearerd is installed in the configured directory")
        self.expect(["rekey"], 7, "--rekey\n", program=program,
                    env={"PATH": path + ":" + self.env["PATH"]})
        for verb in ("rekey", "check"):
            self.expect_error([verb], 1, "cannot run bearerd: No such file", program=program,
                              env={"PATH": self.dir})

    def test_damaged_sibling_is_not_passed_over(self):
        beside = os.path.join(self.dir, "bin")
        self.install(beside, 0)
        os.chmod(os.path.join(beside, "bearerd"), stat.S_IRUSR)
        program = shutil.copy(BEARERCTL, beside)
        self.expect_error(["check"], 1, "cannot run bearerd: Permission denied", program=program)


class Health(Case):
    def test_ready(self):
        daemon = self.daemon({"GET /healthz": answer(body="ok\n", kind="text/plain"),
                              "GET /readyz": answer(body="ok\n", kind="text/plain")})
        self.expect(["health"], 0, "ready\n")
        self.assertEqual([r.target for r in daemon.requests], ["/healthz", "/readyz"])

    def test_not_ready(self):
        daemon = self.daemon({"GET /healthz": answer(),
                              "GET /readyz": error_answer(503, "temporarily_unavailable",
                                                          "bot has no good token yet.")})
        self.expect(["health"], 6, "", "bearerctl: bot has no good token yet.\n")
        for body, missing in (({"missing": ["bot", "si\x1bte"]}, "bot, si te"),
                              ({"missing": []}, "a credential that you may not use"),
                              ({"missing": [7, None]}, "7, ?")):
            daemon.routes["GET /readyz"] = answer(503, body)
            self.expect(["health"], 6, "", f"bearerctl: not ready: no good token yet of {missing}: "
                                           "bearerctl status tells why\n")
        daemon.routes["GET /readyz"] = answer(503, {"missing": ["n" * 64] * 1000})
        self.expect_error(["health"], 6, "n" * 64)
        daemon.routes["GET /healthz"] = error_answer(500, "server_error", "no memory")
        self.expect(["health"], 1, "", "bearerctl: no memory\n")


if __name__ == "__main__":
    BEARERCTL = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
