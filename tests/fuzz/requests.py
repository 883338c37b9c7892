#!/usr/bin/env python3
"""Raw bytes at the sockets of a real daemon: whatever comes, it lives, serves others, and no sanitizer reports anything.

    requests.py [--seconds N] [--seed N]

Requests of a corpus are mutated, cut, joined, sent in pieces on connections that are left half-way, closed or read from.
What is sent in a round follows from the seed and the round's number alone: a finding names them. For hours by hand: build
with -Db_sanitize=address,undefined, and give it --seconds.
"""

import argparse
import pathlib
import random
import select
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import harness  # noqa: E402

PIECES_PER_ROUND = 40
CONNECTIONS_MAX = 64
CHECK_EVERY = 20
TOKENS = (b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"?", b"&", b"=", b"%", b"%00", b"%2f", b"%ff",
          b"/", b"//", b"/../", b"#", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\xc0\x80",
          b"\xed\xa0\x80", b"-1", b"0", b"99999999999999999999", b"1e999", b"null", b"chunked", b"Content-Length: 5\r\n",
          b"Content-Length: -1\r\n", b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: chunked\r\n",
          b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
          b"Accept: text/plain\r\n", b"Host: x\r\n", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1", b"A" * 300,
          b"A" * 9000, b"[" * 5000, b'{"a":' * 500, b"x: y\r\n" * 400)
PATHS = ("/v1/token/me", "/v1/token/me?subject=a&min_ttl=5&wait=0", "/v1/token/developer?wait=0&rejected=0123456789abcdef",
         "/v1/credentials", "/v1/credentials/me", "/v1/credentials/site/subjects?limit=2&after=a", "/v1/authorizations",
         "/v1/authorizations/00112233445566778899aabbccddeeff?wait=0", "/v1/events?credential=me", "/healthz", "/readyz",
         "/metrics", "/v1/nothing", "/")
BODIES = (("POST", "/v1/token/developer", b'{"subject":"a","min_ttl":5,"wait":0,"duration_seconds":60,"scope":{"a":["b"]},'
           b'"session_context":{"c":{"d":1}}}'),
          ("PUT", "/v1/credentials/spare/secret", b'{"token":"pat_0123456789","expires_at":1795400000}'),
          ("POST", "/v1/credentials/site/authorizations", b'{"subject":"someone"}'),
          ("POST", "/v1/callback", b'{"url":"http://localhost:1/back?code=abc&state=def"}'),
          ("POST", "/v1/callback", b'{"code":"abc","state":"def","error":"x","error_description":"y"}'),
          ("POST", "/v1/explain", b"{}"))


def corpus():
    for path in PATHS:
        yield f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()
    yield b"DELETE /v1/credentials/me/grant?subject=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"HEAD /healthz HTTP/1.0\r\n\r\n"
    for method, path, body in BODIES:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
        yield head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        yield head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


class Mutator:
    def __init__(self, seed, corpus_of):
        self.random = random.Random(seed)
        self.corpus = corpus_of

    def mutate(self, data):
        r = self.random
        kind = r.randrange(8)
        at = r.randrange(len(data) + 1)
        upto = min(len(data), at + r.choice((1, 1, 2, 4, 16, 200)))
        if kind == 0:
            return data[:at] + bytes(r.randrange(256) for _ in range(r.choice((1, 1, 2, 8)))) + data[upto:]
        if kind == 1:
            return data[:at] + data[upto:]
        if kind == 2:
            return data[:at] + data[at:upto] * r.choice((2, 3, 50)) + data[upto:]
        if kind == 3 and at < len(data):
            return data[:at] + bytes([data[at] ^ (1 << r.randrange(8))]) + data[at + 1:]
        if kind == 4:
            other = r.choice(self.corpus)
            return data[:at] + other[r.randrange(len(other)):]
        if kind == 5:
            return data[:at]
        return data[:at] + r.choice(TOKENS) + data[at if kind == 6 else upto:]

    def request(self):
        data = self.random.choice(self.corpus)
        for _ in range(self.random.choice((0, 1, 1, 2, 3, 8))):
            data = self.mutate(data)
        return data

    def plan(self):
        """[(connection, bytes or what to do with it)]"""
        r = self.random
        for _ in range(PIECES_PER_ROUND):
            number = r.randrange(CONNECTIONS_MAX)
            if r.random() < 0.25:
                yield number, r.choice(("close", "shut", "read", "reset"))
                continue
            data = b"".join(self.request() for _ in range(r.choice((1, 1, 1, 2, 5))))
            while data:
                n = len(data) if r.random() < 0.7 else r.randrange(1, len(data) + 1)
                yield number, data[:n]
                data = data[n:]


class Fuzzer:
    def __init__(self, path, seed):
        self.path = path
        self.seed = seed
        self.corpus = list(corpus())
        self.connections = {}
        self.sent = 0

    def connection(self, number):
        if number not in self.connections:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(harness.LIMIT_S)
            s.connect(self.path)
            s.setblocking(False)
            self.connections[number] = s
        return self.connections[number]

    def drop(self, number):
        s = self.connections.pop(number, None)
        if s:
            s.close()

    @staticmethod
    def read(s):
        while select.select([s], [], [], 0)[0]:
            if not s.recv(1 << 16):
                raise ConnectionResetError

    def act(self, number, what):
        s = self.connection(number)
        if what == "close":
            self.read(s)
            self.drop(number)
        elif what == "reset":
            self.drop(number)  # with answers unread
        elif what == "shut":
            s.shutdown(socket.SHUT_WR)
        elif what == "read":
            self.read(s)
        else:
            self.read(s)
            self.sent += s.send(what)

    def round(self, number):
        for connection, what in Mutator(f"{self.seed}/{number}", self.corpus).plan():
            try:
                self.act(connection, what)
            except BlockingIOError:
                pass  # it does not read, because we do not
            except OSError:
                self.drop(connection)

    def close(self):
        for number in list(self.connections):
            self.drop(number)


def judge(daemon, where):
    """A sentence about what is wrong, or None."""
    if daemon.process.poll() is not None:
        return f"bearerd ended with {daemon.process.returncode} {where}"
    try:
        alive = daemon.is_alive()
    except Exception as e:  # whatever it answered, it was no answer
        return f"bearerd does not serve {where}: {e!r}"
    return None if alive else f"bearerd does not serve {where}"


def run(seconds, seed, directory, emulator):
    daemon = harness.Daemon(directory, f"[daemon]\nsocket = {directory}/bearerd.sock\nstate_dir = {directory}/state\n"
                            f"log_level = debug\nrequest_timeout = 5s\n\n{emulator.configuration}\n"
                            "[credential me]\nprovider = coze-test\ntype = pat\n\n"
                            "[credential spare]\nprovider = coze-test\ntype = pat\n\n"
                            "[credential site]\nprovider = coze-test\ntype = pkce\nclient_id = 1\n"
                            "redirect_uri = https://app.example/back\n")
    daemon.start()
    fuzzer = Fuzzer(daemon.socket, seed)
    problem, number, end = None, 0, time.monotonic() + seconds
    try:
        while not problem and time.monotonic() < end:
            fuzzer.round(number)
            number += 1
            if number % CHECK_EVERY == 0:
                problem = judge(daemon, f"in or before round {number} of seed {seed}")
        fuzzer.close()
        problem = problem or judge(daemon, f"after {number} rounds of seed {seed}")
        token = harness.new_token()
        if not problem and (daemon.set("me", token).status != 200 or daemon.token("me").token != token):
            problem = "it does not hand out what is set"
    finally:
        code = daemon.stop() if daemon.process and daemon.process.poll() is None else None
    report = harness.SANITIZER_REPORTS.search(daemon.log)
    if not problem and code != 0:
        problem = f"bearerd ended with {code} when it was stopped, after {number} rounds of seed {seed}"
    if report:
        problem = f"a sanitizer reports, in {number} rounds of seed {seed}:\n{daemon.log[report.start():][:4000]}"
    if any(secret in daemon.log for secret in daemon.secrets):
        problem = "a token is in the log"
    print(f"{number} rounds, {fuzzer.sent:,} bytes, seed {seed}: {problem or 'nothing found'}")
    if problem:
        print(daemon.log[-3000:])
    return problem is None and number > 0 and fuzzer.sent > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bearerd-fuzz-") as directory:
        good = run(arguments.seconds, arguments.seed, pathlib.Path(directory), harness.Emulator.shared())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
