#!/usr/bin/env python3
"""One user with 2,000 idle connections and 200 slow writers; what another user notices. Needs root, to be two users."""

import argparse
import os
import select
import socket
import statistics
import threading
import time

import rig

IDLE, SLOW = 2000, 200
HOSTILE = 61001
READERS = ("--connections", "32", "--rate", "10000", "--header", "Accept: text/plain")
RATIO_MAX = 3.0
PACE_S = 0.02  # between two bytes of a slow writer
REQUEST = b"POST /v1/token/developer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + b"X-Slow: " + \
          b"a" * 4000 + b"\r\n\r\n"


class Crowd:
    """The hostile user's connections, as long as `with` lasts."""

    def __init__(self, path):
        self.path = path
        self.over = threading.Event()
        self.cut = self.bytes = 0

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        s.setblocking(False)
        return s

    def __enter__(self):
        os.seteuid(HOSTILE)
        try:
            self.idle = [self.connect() for _ in range(IDLE)]
            self.slow = [[self.connect(), 0] for _ in range(SLOW)]
            for s in self.idle[::2]:
                s.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        finally:
            os.seteuid(0)
        self.thread = threading.Thread(target=self.dribble)
        self.thread.start()
        return self

    def dribble(self):
        while not self.over.wait(PACE_S):
            for writer in self.slow:
                self.write(writer)

    def write(self, writer):
        s, at = writer
        try:
            s.send(REQUEST[at:at + 1])
            self.bytes += 1
            writer[1] = (at + 1) % len(REQUEST)
        except OSError:  # it was cut: comes again, which as a thread it does as root
            self.cut += 1
            s.close()
            writer[0], writer[1] = self.connect(), 0

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for s in self.idle + [s for s, _ in self.slow]:
            s.close()

    def held(self):
        """Idle connections that are still there."""
        gone = select_readable(self.idle[1::2])
        return IDLE // 2 - len(gone)


def select_readable(sockets):
    poll = select.poll()
    for s in sockets:
        poll.register(s, select.POLLIN)
    return poll.poll(0)


def p99(r, seconds, problems):
    with r.load_driven(r.socket, "--path", "/v1/token/developer", "--driven", *READERS) as readers:
        time.sleep(0.1)  # they warm up
        readers.begin()
        time.sleep(seconds)
        result = readers.end()
    if result["errors"] or result["stalls"] or not result["answers"]:
        problems.append(f"paced reads: {result['errors']} bad answers, {result['stalls']} stalls, "
                        f"{result['answers']} answers")
    return result["p99_us"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    problems, quiet, busy = [], [], []

    if os.geteuid() != 0:
        print("skipped: needs root, to be two users")
        return []
    with rig.Rig(arguments.build) as r:
        os.chmod(r.directory, 0o711)
        os.chmod(r.socket, 0o666)
        for _ in range(arguments.rounds):
            quiet.append(p99(r, 1, problems))
            with Crowd(r.socket) as crowd:
                busy.append(p99(r, 1, problems))
                held = crowd.held()
            if held + crowd.bytes == 0:
                problems.append("there was no crowd")
    ratio = statistics.median(b / max(q, 0.1) for q, b in zip(quiet, busy))
    print(f"p99 of cached reads of one user at 10,000/s: quiet {statistics.median(quiet):,.0f} us; while another has {IDLE:,} "
          f"idle connections and {SLOW} slow writers {statistics.median(busy):,.0f} us: ratio {ratio:.2f}\n"
          f"in the last round {held:,} of {IDLE // 2:,} that never spoke were still there; {crowd.bytes:,} single bytes were "
          f"written, {crowd.cut} writers cut")
    if ratio > RATIO_MAX:
        problems.append(f"the other user's p99 is {ratio:.2f} times its quiet value, more than {RATIO_MAX}")
    return problems


if __name__ == "__main__":
    rig.run(main)
