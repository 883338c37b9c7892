"""What one user may take: connections, time, descriptors. Others are served meanwhile."""

import contextlib
import http.client
import os
import pathlib
import re
import resource
import unittest

from harness import LIMIT_S, WRAPPER, EndToEnd, connect, eventually, main

HOSTILE, OTHER = 61001, 61002
SHARE = 40
WAITING = 4
LINE = b"GET /healthz HTTP/1.1\r\n"
GOOD = LINE + b"Host: localhost\r\n\r\n"
BODY = b"POST /v1/token/developer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{"


def answer_of(s):
    """(status, headers) of the next answer, or None: it hung up."""
    response = http.client.HTTPResponse(s)
    try:
        response.begin()
        response.read()
    except (http.client.RemoteDisconnected, ConnectionError):
        return None
    return response


def hung_up(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be several users")
class Users(EndToEnd):
    """Connections of several users."""

    def setUp(self):
        super().setUp()
        self.exits = contextlib.ExitStack()
        self.addCleanup(self.exits.close)

    def open(self, uid=HOSTILE, data=b""):
        os.seteuid(uid)  # what the kernel tells of this end for ever
        try:
            s = connect(self.daemon.socket)
        finally:
            os.seteuid(0)
        self.exits.enter_context(s)
        if data:  # else it may have been closed already
            s.sendall(data)
        return s

    def serves(self, uid):
        s = self.open(uid, GOOD)
        response = answer_of(s)
        s.close()
        return response is not None and response.status == 200

    def occupy(self, data, n=SHARE):
        """Connections that have something under way for certain: the daemon has read all of it."""
        held = [self.open(data=data) for _ in range(n)]
        self.assertTrue(self.serves(OTHER))  # who came later is served, so all of it has been read
        return held


class Bodies(Users):
    def test_one_user_takes_no_more(self):
        """On all its connections together; others are served, and so is who sends less."""
        head = BODY.replace(b"Content-Length: 5", b"Content-Length: 65536")
        held = self.occupy(head, 8 * 1024 // 64)
        one_more = BODY + b"   }"
        late = answer_of(self.open(data=one_more))
        self.assertEqual((late.status, late.headers["Retry-After"]), (429, "1"))
        self.assertEqual(answer_of(self.open(OTHER, one_more)).status, 200)
        self.assertTrue(self.serves(HOSTILE), "without a body there is nothing to be kept")
        held.pop().close()
        eventually(lambda: answer_of(self.open(data=one_more)).status == 200, "there is room again")


class Limits(Users):
    daemon_keys = f"connections_per_user = {SHARE}\nrequest_timeout = 2s\n"

    def test_idle_give_way(self):
        held = [self.open(data=GOOD) for _ in range(SHARE)]
        for s in held:
            self.assertEqual(answer_of(s).status, 200)
        late = [self.open(data=GOOD) for _ in range(SHARE // 2)]
        for s in late:
            self.assertEqual(answer_of(s).status, 200)
        for s in held[:len(late)]:
            self.assertTrue(hung_up(s), "an old one gives way")
        for s in held[len(late):]:
            s.sendall(GOOD)
            self.assertEqual(answer_of(s).status, 200)

    def test_surplus_is_told(self):
        self.emulator.fault("hang")
        waiting = self.occupy(b"GET /v1/token/developer?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        surplus = [self.open(data=GOOD) for _ in range(5)]
        for s in surplus:
            response = answer_of(s)
            self.assertEqual(response.status, 429)
            self.assertGreater(int(response.headers["Retry-After"]), 0)
            self.assertEqual(response.headers["Cache-Control"], "no-store")
            self.assertTrue(hung_up(s))
        silent = self.open()
        self.assertTrue(hung_up(silent), "it cannot stay without a word")
        flood = [self.open() for _ in range(300)]
        self.assertTrue(self.serves(OTHER))
        for s in flood:
            self.assertTrue(hung_up(s))
        self.assertEqual(self.daemon.log.count("event=too_many_connections"), 1)
        self.emulator.heal()
        for s in waiting:
            self.assertIsNotNone(answer_of(s), "who waited has got an answer")

    def test_slow_writers_are_cut(self):
        for data in (b"", b"GET /he", LINE + b"Host: loc", BODY):
            with self.subTest(data=data):
                s = self.open(data=data)
                self.assertTrue(hung_up(s))
        self.assertTrue(self.serves(HOSTILE))

    def test_half_closed_are_cut(self):
        s = self.open(data=BODY)
        s.shutdown(1)
        self.assertTrue(hung_up(s))

    def test_slow_readers_are_cut(self):
        """Who does not take its answers does not keep its place."""
        s = self.open()
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            while True:
                s.sendall(GOOD * 100)
        self.assertTrue(self.serves(HOSTILE))

    def test_waiting_is_not_slow(self):
        """Who waits for the provider longer than request_timeout gets an answer."""
        self.emulator.fault("hang")
        s = self.open(data=b"GET /v1/token/developer?wait=4 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(answer_of(s).status, 504)
        self.emulator.heal()


class Waiting(Users):
    daemon_keys = f"waiting_per_user = {WAITING}\n"

    def test_flood_is_told(self):
        ask = b"GET /v1/token/developer?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
        self.emulator.fault("hang")
        waiting = self.occupy(ask, WAITING)
        for _ in range(3):
            response = answer_of(self.open(data=ask))
            self.assertEqual(response.status, 429)
            self.assertGreater(int(response.headers["Retry-After"]), 0)
        waiting.append(self.open(OTHER, ask))
        self.emulator.heal()
        for s in waiting:
            self.assertEqual(answer_of(s).status, 200)


class Memory(Users):
    """A crowd leaves nothing behind, memory being locked or not."""

    daemon_keys = ""
    crowd = 600

    def anonymous_kib(self):
        status = pathlib.Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)[1])

    def test_memory_is_given_back(self):
        if "freed=wiped" not in self.daemon.log:
            self.skipTest("another allocator keeps what is freed")
        self.serves(OTHER)
        before = self.anonymous_kib()
        crowd = [self.open(OTHER, GOOD) for _ in range(self.crowd)]
        for s in crowd:
            self.assertEqual(answer_of(s).status, 200)
        self.assertGreater(self.anonymous_kib() - before, self.crowd * 7, "there was no crowd")
        for s in crowd:
            s.close()
        eventually(lambda: self.anonymous_kib() - before < self.crowd * 4, "memory is given back")  # the first 128 stay
        self.assertTrue(self.serves(OTHER))


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be several users")
@unittest.skipIf(WRAPPER, "the wrapper needs descriptors of its own")
class Descriptors(Users):
    """A full table of descriptors: with connections of the daemon's, and without any."""

    daemon_keys = ""

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def starve(self, held):
        pid = self.daemon.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (self.descriptors(), before[1]))
        queued = [self.open(OTHER, GOOD) for _ in range(20)]
        eventually(lambda: "event=no_descriptors" in self.daemon.log, "it notices")
        spent = self.cpu()
        queued[-1].settimeout(1)
        with self.assertRaises(TimeoutError):  # meanwhile a second passes
            queued[-1].recv(1)
        self.assertLess(self.cpu() - spent, 0.5, "it spins")
        for s in held:
            s.sendall(b"}}}}")  # completes its request: it is still served
            self.assertEqual(answer_of(s).status, 400)
        self.assertIsNone(self.daemon.process.poll())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        for s in queued:
            s.settimeout(LIMIT_S)
            self.assertEqual(answer_of(s).status, 200)

    def test_first_connection(self):
        self.starve([])

    def test_with_connections(self):
        self.starve(self.occupy(BODY, 1))


if __name__ == "__main__":
    main()
