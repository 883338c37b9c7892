#!/usr/bin/env python3
"""The load generator against servers that misbehave: it must notice. Usage: test_load.py LOAD"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

LOAD = ""
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Answers request n of a connection with answers(n): bytes, a list of pieces, or None for silence.

    Bytes that end in HANG_UP are followed by the end of the connection.
    """

    HANG_UP = b"<hang up>"

    def __init__(self, answers):
        self.answers = answers
        self.lines = []
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.directory.cleanup()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                self.converse(connection)
            except OSError:
                pass  # the load has gone

    def converse(self, connection):
        text = b""
        n = 0
        while chunk := connection.recv(4096):
            text += chunk
            while b"\r\n\r\n" in text:
                request, text = text.split(b"\r\n\r\n", 1)
                self.lines.append(request.split(b"\r\n"))
                answer = self.answers(n)
                n += 1
                if answer is None:
                    continue
                for piece in answer if isinstance(answer, list) else [answer]:
                    connection.sendall(piece.removesuffix(self.HANG_UP))
                    if piece.endswith(self.HANG_UP):
                        return


def load(server, *options):
    done = subprocess.run([LOAD, "--socket", server.path, *options], capture_output=True, text=True,
                          check=True, timeout=50)
    return json.loads(done.stdout), done.stderr


class Load(unittest.TestCase):
    def check_bad(self, answer, complaint, *options):
        with Server(lambda n: answer) as server:
            result, said = load(server, "--path", "/", "--requests", "3", *options)
        self.assertEqual(result["errors"], 3, result)
        self.assertIn(complaint, said)

    def test_good(self):
        with Server(lambda n: GOOD) as server:
            result, said = load(server, "--path", "/", "--requests", "200", "--connections", "4")
        self.assertEqual((result["answers"], result["errors"], result["unserved"]), (200, 0, 0))
        self.assertEqual(said, "")

    def test_in_pieces(self):
        with Server(lambda n: [GOOD[i:i + 1] for i in range(len(GOOD))]) as server:
            result, _ = load(server, "--path", "/", "--requests", "20")
        self.assertIn((result["answers"], result["errors"]), ((20, 0), (21, 0)))  # one may be under way

    def test_connection_per_request(self):
        with Server(lambda n: GOOD if n == 0 else b"second request on a connection") as server:
            result, _ = load(server, "--path", "/", "--requests", "20", "--close")
        self.assertIn((result["answers"], result["errors"]), ((20, 0), (21, 0)))  # one may be under way

    def test_paced(self):
        with Server(lambda n: GOOD) as server:
            result, _ = load(server, "--path", "/", "--requests", "20", "--rate", "1000",
                             "--connections", "2")
        self.assertIn((result["answers"], result["errors"]), ((20, 0), (21, 0)))  # one may be under way

    def test_numbers_and_headers(self):
        with Server(lambda n: GOOD) as server:
            load(server, "--path", "/t?subject=u{}", "--requests", "3", "--header", "Accept: text/plain")
            lines = server.lines
        self.assertEqual([line[0] for line in lines],
                         [b"GET /t?subject=u%d HTTP/1.1" % n for n in range(3)])
        self.assertIn(b"Accept: text/plain", lines[0])

    def test_idle_connections_stay(self):
        with Server(lambda n: GOOD) as server:
            held = subprocess.Popen([LOAD, "--socket", server.path, "--path", "/", "--idle",
                                     "--connections", "9"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
            result = json.loads(held.stdout.readline())
            self.assertEqual((result["answers"], result["errors"], result["unserved"]), (9, 0, 0))
            self.assertIsNone(held.poll())
            held.communicate("")
        self.assertEqual(held.returncode, 0)

    def test_driven(self):
        with Server(lambda n: GOOD) as server:
            driven = subprocess.Popen([LOAD, "--socket", server.path, "--path", "/", "--driven"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            out, _ = driven.communicate("\n")
        self.assertEqual(json.loads(out)["errors"], 0)

    def test_status(self):
        self.check_bad(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "not 200: HTTP/1.1 503 Busy")

    def test_no_length(self):
        self.check_bad(b"HTTP/1.1 200 OK\r\n\r\nhello", "malformed")

    def test_too_long(self):
        self.check_bad(GOOD + b"!", "malformed")

    def test_too_large(self):
        self.check_bad(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 40000, "too large")

    def test_cut_short(self):
        self.check_bad(GOOD[:-1] + Server.HANG_UP, "hung up")

    def test_no_answer(self):
        self.check_bad(Server.HANG_UP, "hung up")

    def test_closing(self):
        self.check_bad(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), "closes")

    def test_gives_up(self):
        with Server(lambda n: b"nonsense, whatever is asked") as server:
            result, said = load(server, "--path", "/", "--seconds", "30")
        self.assertEqual(result["errors"], 1000)
        self.assertIn("giving up", said)

    def test_stall(self):
        """Silence for longer than a second, on all connections, is a stall."""
        with Server(lambda n: GOOD if n < 5 else None) as server:
            result, _ = load(server, "--path", "/", "--connections", "3", "--warmup", "0",
                             "--seconds", "1.5")
        self.assertEqual((result["errors"], result["stalls"]), (0, 1), result)
        self.assertGreaterEqual(result["longest_gap_ms"], 1000)

    def test_stall_in_warm_up(self):
        with Server(lambda n: None) as server:
            result, _ = load(server, "--path", "/", "--warmup", "1.2", "--seconds", "0.1")
        self.assertEqual((result["answers"], result["stalls"], result["unserved"]), (0, 1, 1))

    def test_nobody_there(self):
        done = subprocess.run([LOAD, "--socket", "/nonexistent", "--path", "/"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent: No such file", done.stderr)

    def test_usage(self):
        for arguments in ([], ["--socket", "x"], ["--socket", "x", "--path", "/", "--rate", "fast"],
                          ["--socket", "x", "--path", "/", "surplus"]):
            done = subprocess.run([LOAD, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, arguments)


if __name__ == "__main__":
    LOAD = sys.argv.pop(1)
    unittest.main()
