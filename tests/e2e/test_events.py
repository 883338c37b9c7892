"""GET /v1/events: what happens, as it happens; nothing lost unnoticed; and nothing for the wrong eyes."""

import codecs
import fcntl
import json
import os
import re
import select
import signal
import socket as sockets
import struct
import subprocess
import termios
import threading
import time

from harness import BEARERCTL, ENVIRONMENT, EndToEnd, LIMIT_S, NEEDS_ROOT, as_user, eventually, main, new_token

ALICE = 23451
PER_USER = 32  # STREAMS_PER_UID
RING = 1024    # FEED_EVENTS_MAX


class Stream:
    """One reader, at the level of bytes."""

    def __init__(self, daemon, query="", last_id=None, socket=None, room=None):
        self.socket = daemon.connect(socket)
        if room:
            self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, room)
        resume = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(f"GET /v1/events{query} HTTP/1.0\r\nHost: x\r\n{resume}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()):
            name, value = line.decode().split(": ", 1)
            self.headers[name.lower()] = value
        self.last_id = last_id

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def next(self):
        """The next event: (type, data); None at the end. Comments and retry: are passed over."""
        event = {}
        while (line := self.file.readline()):
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if line:
                name, value = line.split(": ", 1)
                event[name] = value
            elif "data" in event:
                self.last_id = event["id"]
                data = json.loads(event["data"])
                assert data["event"] == event["event"], event
                return event["event"], data
            else:
                event = {}
        return None

    def expect(self, kind, **members):
        event = self.next()
        if not event or event[0] != kind or {k: event[1].get(k) for k in members} != members:
            raise AssertionError(f"{event} is no {kind} {members}")
        return event[1]

    def comments(self):
        """How many comments have come behind the last event."""
        n = 0
        while not self.is_quiet():
            n += self.file.readline() == b":\n"
        return n

    def is_quiet(self):
        return not select.select([self.socket], [], [], 0)[0]


class Events(EndToEnd):
    def test_state_comes_first(self):
        with Stream(self.daemon) as s:
            self.assertEqual(s.status, 200)
            self.assertEqual(s.headers["content-type"], "text/event-stream")
            self.assertEqual(s.headers["cache-control"], "no-store")
            state = s.expect("state", reason="connected")
            self.assertEqual(state["credentials"], self.daemon.get("/v1/credentials").json["credentials"])
        with Stream(self.daemon, "?credential=pat") as s:
            state = s.expect("state")
            self.assertEqual(state["credentials"], [self.daemon.view("pat")])

    def test_token(self):
        with Stream(self.daemon) as s:
            s.expect("state")
            o = self.daemon.token("developer").json
            event = s.expect("token", credential="developer", subject="", fingerprint=o["fingerprint"],
                             expires_at=o["expires_at"])
            self.assertLessEqual(abs(event["at"] - time.time()), 60)
            new = new_token()
            self.daemon.set("pat", new)
            event = s.expect("token", credential="pat")
            self.assertNotIn("expires_at", event)

    def test_failing_and_recovered(self):
        with Stream(self.daemon, "?credential=developer") as s:
            s.expect("state")
            self.emulator.fault("invalid_client", times=1)
            answer = self.daemon.get("/v1/token/developer")
            event = s.expect("failing", error=answer.error, error_description=answer.description,
                             upstream=answer.json["upstream"])
            self.assertGreaterEqual(event["retry_at"], event["at"])
            self.assertEqual(self.daemon.view("developer")["state"], "failing")
            # another try comes when the pause is over, for who waits
            eventually(lambda: self.daemon.get("/v1/token/developer").status == 200, "it recovers")
            token = s.expect("token", credential="developer")
            s.expect("recovered", credential="developer", fingerprint=token["fingerprint"])

    def test_authorization_required(self):
        """Forgotten, so that whoever has a token of it knows."""
        with Stream(self.daemon, "?credential=pat") as s:
            s.expect("state")
            self.daemon.set("pat", new_token())
            s.expect("token")
            self.assertStatus(self.daemon.ask("DELETE", "/v1/credentials/pat/grant"), 204)
            event = s.expect("authorization_required", error="authorization_required", subject="")
            self.assertIn("bearerctl set pat", event["error_description"])

    def test_subjects(self):
        with Stream(self.daemon, "?credential=developer&subject=alice") as s:
            s.expect("state")
            self.daemon.token("developer")
            self.daemon.token("developer", "?subject=bob")
            self.daemon.token("developer", "?subject=alice")
            s.expect("token", subject="alice")

    def test_variants_are_nobody_elses_business(self):
        with Stream(self.daemon) as s:
            s.expect("state")
            self.assertStatus(self.daemon.post("/v1/token/developer", {"duration_seconds": 600}), 200)
            self.daemon.token("developer", "?subject=z")
            s.expect("token", subject="z")

    def test_never_a_secret(self):
        with Stream(self.daemon) as s:
            text = json.dumps(s.expect("state"))
            tokens = [self.daemon.token(name).token for name in ("developer", "pat")]
            text += json.dumps(s.expect("token"))
        for token in tokens:
            self.assertNotIn(token, text)

    def test_mistakes(self):
        for query, status in (("?credential=nobody", 404), ("?credentials=pat", 400), ("?credential=", 404),
                              ("?subject=%00", 400), ("?credential=pat&credential=sat", 400)):
            with self.subTest(query=query):
                self.assertStatus(self.daemon.get(f"/v1/events{query}"), status)
        self.assertStatus(self.daemon.post("/v1/events", {}), 405)


class Resume(EndToEnd):
    def test_nothing_is_lost(self):
        with Stream(self.daemon) as s:
            s.expect("state")
            self.daemon.token("developer", "?subject=1")
            s.expect("token", subject="1")
            last = s.last_id
        for subject in ("2", "3"):
            self.daemon.token("developer", f"?subject={subject}")
        with Stream(self.daemon, last_id=last) as s:
            s.expect("token", subject="2")
            s.expect("token", subject="3")
            self.assertNotEqual(s.last_id, last)
        with Stream(self.daemon, last_id=s.last_id) as s:
            self.daemon.token("developer", "?subject=4")
            s.expect("token", subject="4")

    def test_after_a_restart(self):
        with Stream(self.daemon) as s:
            s.expect("state")
            self.daemon.restart()
            self.assertIsNone(s.next(), "the old daemon ends it")
            first = s.last_id
        with Stream(self.daemon, last_id=first) as s:
            s.expect("state", reason="lost")
            self.assertNotEqual(s.last_id.split("-")[0], first.split("-")[0])

    def test_ids_that_are_none(self):
        with Stream(self.daemon) as s:
            s.expect("state")
            epoch, number = s.last_id.split("-")
        for bad in ("x", "-", f"{epoch}-", f"{epoch}", f"{epoch}-{int(number) + 1}", f"{epoch}--1",
                    f"{epoch}-99999999999999999999", f"{'0' * 16}-{number}"):
            with self.subTest(id=bad), Stream(self.daemon, last_id=bad) as s:
                s.expect("state", reason="lost")

    def test_slow_reader(self):
        """One that does not read keeps up with nothing, costs nothing, and is told."""
        with Stream(self.daemon, "?credential=pat") as s:
            s.expect("state")
            for i in range(2 * RING):
                self.daemon.set("pat", f"pat_{i % 10}" + "a" * 40)
            kinds = []
            while kinds.count("state") == 0:
                kinds.append(s.next()[0])
            self.assertLess(len(kinds), 2 * RING)
            self.daemon.token("developer")
            self.daemon.set("pat", new_token())
            while (event := s.next()) and event[1].get("fingerprint") != self.daemon.view("pat")["fingerprint"]:
                pass


class Readers(EndToEnd):
    def test_bounded(self):
        streams = [Stream(self.daemon) for _ in range(PER_USER)]
        answer = self.daemon.get("/v1/events")
        self.assertStatus(answer, 429, "slow_down")
        self.assertIn("retry-after", answer.headers)
        streams.pop().close()

        def is_free():
            with Stream(self.daemon) as s:
                return s.status == 200

        eventually(is_free, "a reader that hangs up is seen")
        for s in streams:
            s.close()

    def readers(self):
        text = self.daemon.get("/metrics").text
        return int(re.search(r"^bearerd_event_readers (\d+)$", text, re.MULTILINE)[1])

    def test_hang_up_is_seen_at_once(self):
        """Not because the next heartbeat fails: nobody has had one by then."""
        with Stream(self.daemon) as witness:
            witness.expect("state")
            gone = [Stream(self.daemon) for _ in range(3)]
            for s in gone:
                s.expect("state")
            half = Stream(self.daemon)
            half.expect("state")
            self.assertEqual(self.readers(), 5)
            for s in gone:
                s.close()
            eventually(lambda: self.readers() == 2, "they are seen")
            self.assertEqual(witness.comments(), 0, "only the heartbeat has told")
            # one that has said that it will say nothing more still listens
            half.socket.shutdown(sockets.SHUT_WR)
            self.daemon.set("pat", new_token())
            half.expect("token")
            half.close()

    def test_stop_ends_them(self):
        streams = [Stream(self.daemon) for _ in range(5)]
        for s in streams:
            s.expect("state")
        self.assertEqual(self.daemon.stop(), 0)
        for s in streams:
            self.assertIsNone(s.next())
            s.close()
        self.daemon.start()

    def test_chunks(self):
        """HTTP/1.1, as libraries speak it; the connection is good for another request when the stream ends."""
        import http.client
        waiting = self.daemon.send("GET", "/v1/events?credential=pat")
        response = waiting.connection.getresponse()
        self.assertEqual(response.headers["transfer-encoding"], "chunked")
        lines = b""
        while b"\n\nid: " not in lines or not lines.endswith(b"\n\n"):
            lines += response.readline()
        self.assertIn(b"event: state\n", lines)
        waiting.connection.close()


class Sockets(EndToEnd):
    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[socket app1]\npath = {self.directory}/app1.sock\ncredentials = sat\n"
                f"[credential hers]\n{developer}allow_users = {ALICE}\n")

    def test_only_what_the_socket_shows(self):
        with Stream(self.daemon, socket=f"{self.directory}/app1.sock") as s:
            self.assertEqual([c["name"] for c in s.expect("state")["credentials"]], ["sat"])
            self.daemon.token("developer")
            self.daemon.set("pat", new_token())
            self.daemon.set("sat", new_token("sat_"))
            s.expect("token", credential="sat")

    @NEEDS_ROOT
    def test_only_what_one_may_use(self):
        def read(query=""):
            with Stream(self.daemon, query) as s:
                return s.status, s.next()

        status, event = as_user(ALICE + 1, read)
        self.assertNotIn("hers", [c["name"] for c in event[1]["credentials"]])
        self.assertEqual(as_user(ALICE + 1, lambda: self.daemon.get("/v1/events?credential=hers").status), 403)
        with Stream(self.daemon) as s:
            last = (s.next(), s.last_id)[1]
        for name, subject in (("hers", ""), ("developer", "bob"), ("developer", "")):
            path = f"/v1/token/{name}?subject={subject}"
            self.assertEqual(as_user(ALICE, lambda: self.daemon.get(path).status), 200)

        def resume(query=""):
            with Stream(self.daemon, query, last_id=last) as s:
                event = s.next()[1]
                return event["credential"], event["subject"]

        self.assertEqual(as_user(ALICE, resume), ("hers", ""))
        self.assertEqual(as_user(ALICE + 1, resume), ("developer", ""), "subjects are not for all eyes")
        self.assertEqual(as_user(ALICE + 1, lambda: resume("?subject=bob")), ("developer", "bob"))


class Reload(EndToEnd):
    """Whoever reads along knows of the new configuration, and of nothing that it takes away."""

    def sections(self):
        self.app = f"{self.directory}/app1.sock"
        return f"[socket app1]\npath = {self.app}\nmode = 0666\ncredentials = sat, developer\n"

    def write(self, *replacements, more=""):
        text = self.configuration()
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.daemon.conf.write_text(text + more)
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)

    def names(self, state):
        return [c["name"] for c in state["credentials"]]

    def test_added_and_removed(self):
        with Stream(self.daemon) as s, Stream(self.daemon, "?credential=sat") as one:
            before = self.names(s.expect("state", reason="connected"))
            one.expect("state")
            self.write(("[credential pat]", "[credential renamed]"))
            after = self.names(s.expect("state", reason="reloaded"))
            self.assertEqual(after, ["renamed" if name == "pat" else name for name in before])
            self.assertEqual(self.names(one.expect("state", reason="reloaded")), ["sat"])
            self.daemon.set("renamed", new_token())
            s.expect("token", credential="renamed")
            self.daemon.set("sat", new_token("sat_"))
            one.expect("token", credential="sat")

    def test_what_one_reads_is_removed(self):
        with Stream(self.daemon, "?credential=pat") as s, Stream(self.daemon, socket=self.app) as app:
            s.expect("state")
            app.expect("state")
            self.write(("[credential pat]", "[credential renamed]"), ("[socket app1]", "[socket app2]"),
                       ("app1.sock", "app2.sock"))
            self.assertIsNone(s.next(), "it goes on, about nothing")
            self.assertIsNone(app.next(), "its socket is gone")
        self.assertStatus(self.daemon.get("/v1/events?credential=pat"), 404)
        with Stream(self.daemon, socket=f"{self.directory}/app2.sock") as s:
            s.expect("state")

    def test_what_a_socket_shows(self):
        with Stream(self.daemon, socket=self.app) as s, Stream(self.daemon, "?credential=sat", socket=self.app) as one:
            self.assertEqual(set(self.names(s.expect("state"))), {"sat", "developer"})
            one.expect("state")
            self.write(("credentials = sat, developer", "credentials = developer"))
            self.assertEqual(self.names(s.expect("state", reason="reloaded")), ["developer"])
            self.assertIsNone(one.next())
            self.daemon.set("sat", new_token("sat_"))
            self.daemon.token("developer")
            s.expect("token", credential="developer")

    def test_who_was_away(self):
        """Every event has been read, and yet there is news."""
        with Stream(self.daemon) as s:
            s.expect("state")
            self.daemon.set("pat", new_token())
            s.expect("token")
        self.write(("[credential pat]", "[credential renamed]"))
        with Stream(self.daemon, last_id=s.last_id) as s:
            self.assertIn("renamed", self.names(s.expect("state", reason="lost")))
        with Stream(self.daemon, last_id=s.last_id) as s:
            self.daemon.set("renamed", new_token())
            s.expect("token", credential="renamed")

    def test_refused(self):
        """Nothing has changed, and nobody is told otherwise."""
        with Stream(self.daemon) as s:
            s.expect("state")
            self.daemon.conf.write_text("nonsense\n")
            self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 400)
            self.daemon.set("pat", new_token())
            s.expect("token", credential="pat")

    @NEEDS_ROOT
    def test_rights(self):
        """One that is revoked while events for it wait: nothing of the credential is shown any more."""
        def read():
            with Stream(self.daemon, socket=self.app) as s, Stream(self.daemon, "?credential=sat", socket=self.app) as one:
                first = self.names(s.expect("state")), self.names(one.expect("state"))
                os.write(ready[1], b"x")
                os.read(go[0], 1)
                seen = []
                while not seen or seen[-1].get("credential") != "developer":
                    seen.append(s.next()[1])
                return first, seen, one.next()

        ready, go = os.pipe(), os.pipe()
        done = []
        reader = threading.Thread(target=lambda: done.append(as_user(ALICE, read)))
        reader.start()
        os.read(ready[0], 1)
        self.write(("[credential sat]", f"[credential sat]\nallow_users = {ALICE + 1}"))
        self.daemon.set("sat", new_token("sat_"))
        os.write(go[1], b"x")
        self.daemon.token("developer")
        reader.join(LIMIT_S)
        (first, seen, end), = done
        self.assertEqual((set(first[0]), first[1]), ({"sat", "developer"}, ["sat"]))
        self.assertEqual([(o["event"], o.get("reason")) for o in seen], [("state", "reloaded"), ("token", None)])
        self.assertEqual(self.names(seen[0]), ["developer"])
        self.assertIsNone(end)

    @NEEDS_ROOT
    def test_no_administrator_any_more(self):
        """Subjects are for administrators' eyes; the first event after the change counts, too."""
        self.write(("[daemon]", f"[daemon]\nadmin_users = {ALICE}"))
        pipe, back = os.pipe(), os.pipe()

        def read():
            with Stream(self.daemon) as s:
                s.expect("state")
                self.daemon.token("developer", "?subject=before")
                kinds = [s.next()[1]["subject"]]
                os.write(pipe[1], b"x")
                os.read(back[0], 1)
                for _ in range(2):
                    kinds.append(s.next()[1].get("subject"))
                return kinds

        done = []
        reader = threading.Thread(target=lambda: done.append(as_user(ALICE, read)))
        reader.start()
        os.read(pipe[0], 1)
        self.write()
        self.daemon.token("developer", "?subject=after")
        self.daemon.token("developer")
        os.write(back[1], b"x")
        reader.join(LIMIT_S)
        self.assertEqual(done, [["before", None, ""]])


class Terminal:
    """A program on a terminal of its own, and what a person sees there: as much of ECMA-48 as that takes."""

    def __init__(self, test, command, path, rows, columns):
        self.master, slave = os.openpty()
        self.cursor, self.wraps, self.other = True, True, False
        self.text, self.pending, self.kept = [], "", None
        self.rows = self.columns = self.y = self.x = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.resize(rows, columns)
        self.take("$ bearerctl watch\r\n")
        environment = {**ENVIRONMENT, "BEARERD_SOCKET": path, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        test.addCleanup(self.close)

    def close(self):
        self.process.kill()
        self.process.wait()
        if self.master >= 0:
            os.close(self.master)
        self.master = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.text = [line[:columns].ljust(columns) for line in (self.text + [""] * rows)[:rows]]
        self.y, self.x = min(self.y, rows - 1), min(self.x, columns - 1)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, key):
        os.write(self.master, key)

    def wait(self):
        eventually(lambda: self.read() or self.process.poll() is not None, "it ends")
        return self.process.returncode

    def is_stopped(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] == "T"

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            self.take(self.decoder.decode(data))

    def take(self, text):
        text, self.pending = self.pending + text, ""
        for m in re.finditer("\x1b\\[([?0-9;]*)([A-Za-z])|\x1b.*$|[^\x1b]", text, re.DOTALL):
            if m[2]:
                self.control(m[1], m[2])
            elif m[0].startswith("\x1b"):
                self.pending = m[0]
            elif m[0] == "\r":
                self.x = 0
            elif m[0] == "\n":
                self.y += 1
                if self.y == self.rows:
                    self.text, self.y = self.text[1:] + [" " * self.columns], self.rows - 1
            else:
                if self.x == self.columns:
                    assert not self.wraps, "a line is too long"
                    self.x -= 1
                self.text[self.y] = self.text[self.y][:self.x] + m[0] + self.text[self.y][self.x + 1:]
                self.x += 1

    def control(self, arguments, what):
        if what == "H":
            assert not arguments
            self.y = self.x = 0
        elif what in "KJ":
            self.text[self.y] = self.text[self.y][:self.x].ljust(self.columns)
            for y in range(self.y + 1, self.rows if what == "J" else 0):
                self.text[y] = " " * self.columns
        elif arguments == "?25":
            self.cursor = what == "h"
        elif arguments == "?7":
            self.wraps = what == "h"
        elif arguments == "?1049":
            self.other = what == "h"
            if self.other:
                self.kept, self.text, self.y, self.x = (self.text, self.y, self.x), [" " * self.columns] * self.rows, 0, 0
            else:
                self.text, self.y, self.x = self.kept
        else:
            assert what == "m", (arguments, what)

    def lines(self):
        lines = [line.rstrip() for line in self.text]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def shows(self, *texts):
        self.read()
        screen = "\n".join(self.lines())
        return all(text in screen for text in texts)


class Watch(EndToEnd):
    """bearerctl watch."""

    def watch(self, *arguments, **how):
        environment = {**ENVIRONMENT, "BEARERD_SOCKET": self.daemon.socket, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen([BEARERCTL, "watch", *arguments], stdin=subprocess.DEVNULL, env=environment, **how)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        return process

    def test_lines_through_a_restart(self):
        with self.watch(stdout=subprocess.PIPE, text=True) as process:
            def line(event, **members):
                o = json.loads(process.stdout.readline())
                self.assertEqual({"event": o["event"], **{k: o.get(k) for k in members}}, {"event": event, **members})

            line("state", reason="connected")
            self.daemon.token("developer")
            line("token", credential="developer")
            self.daemon.restart()
            line("state", reason="lost")
            self.daemon.token("channel")
            line("token", credential="channel")
            process.kill()

    def test_one(self):
        with self.watch("pat", stdout=subprocess.PIPE, text=True) as process:
            state = json.loads(process.stdout.readline())
            self.assertEqual([c["name"] for c in state["credentials"]], ["pat"])
            self.daemon.token("developer")
            self.daemon.set("pat", new_token())
            self.assertEqual(json.loads(process.stdout.readline())["credential"], "pat")
            process.kill()

    def terminal(self, *arguments, rows=24, columns=80):
        return Terminal(self, [BEARERCTL, "watch", *arguments], self.daemon.socket, rows, columns)

    def test_terminal(self):
        """The table of status, and what happened below it; 80 columns."""
        with self.terminal() as t:
            eventually(lambda: t.shows("NAME", "developer", "idle"), "the table")
            self.emulator.fault("invalid_client", times=1)
            self.daemon.get("/v1/token/developer")
            eventually(lambda: t.shows("failing", "  failing  developer: coze-test refused"), "the event")
            self.assertFalse(t.cursor)

    def test_interrupted(self):
        """The terminal is as it was, cursor and all; and the shell is told what ended it."""
        for key, number in (b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT):
            with self.terminal() as t:
                eventually(lambda: t.shows("NAME"), "the table")
                self.assertTrue(t.other)
                t.press(key)
                self.assertEqual(t.wait(), -number)
                t.read()
                self.assertEqual((t.other, t.cursor, t.wraps), (False, True, True))
                self.assertEqual(t.lines(), ["$ bearerctl watch"])

    def test_stopped(self):
        """Ctrl-Z gives the terminal back; fg draws it anew."""
        with Terminal(self, ["sh", "-m", "-c", '"$0" watch; read x; fg', BEARERCTL], self.daemon.socket, 24, 80) as t:
            eventually(lambda: t.shows("NAME"), "the table")
            t.press(b"\x1a")
            eventually(lambda: not (t.read() or t.other), "it stops, and the terminal is given back")
            self.assertTrue(t.cursor)
            t.press(b"\n")
            eventually(lambda: t.shows("NAME") and t.other and not t.cursor, "it is drawn anew")
            t.press(b"\x03")
            eventually(lambda: not (t.read() or t.other), "it ends")

    def test_resized(self):
        self.daemon.token("developer")
        with self.terminal() as t:
            eventually(lambda: t.shows("PROVIDER", "developer"), "the table")
            t.resize(12, 44)
            eventually(lambda: t.shows("NAME", "and ", " more: ") and not t.shows("developer"), "a smaller one")
            self.assertTrue(all(len(line) <= 44 for line in t.lines()))
            t.resize(40, 120)
            eventually(lambda: t.shows("NAME", "developer") and not t.shows(" more: "), "a larger one")

    def test_restart(self):
        with self.terminal() as t:
            eventually(lambda: t.shows("NAME"), "the table")
            self.assertEqual(self.daemon.stop(), 0)
            eventually(lambda: t.shows("The daemon is away"), "that is said")
            self.assertFalse(t.shows("NAME"))
            self.daemon.start()
            eventually(lambda: t.shows("NAME") and not t.shows("away"), "the table again")
            self.daemon.token("developer")
            eventually(lambda: t.shows("new token  developer"), "and events")

    def test_more_than_the_screen_has_room_for(self):
        """What needs somebody is there, whatever its place; so are the last events."""
        more = "".join(f"[credential well{i}]\nprovider = coze-test\nconfig_file = "
                       f"{self.emulator.console_file('developer')}\n" for i in range(60))
        self.daemon.conf.write_text(self.configuration() + more + "[credential last]\nprovider = coze-test\nconfig_file = "
                                    f"{self.emulator.console_file('channel')}\n")
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)
        with self.terminal() as t:
            eventually(lambda: t.shows("NAME", " more: bearerctl status shows all"), "the table")
            self.assertFalse(t.shows("last"))
            self.emulator.fault("invalid_client")
            self.daemon.get("/v1/token/last?wait=0")
            eventually(lambda: t.shows("  failing  last: ") and any(line.startswith("last ") for line in t.lines()), "it")
            self.assertLessEqual(len(t.lines()), 24)
            self.assertTrue(t.lines()[0].startswith("NAME"))
            t.resize(8, 80)
            eventually(lambda: len(t.lines()) <= 8 and t.shows("NAME", "  failing  last: "), "a very small one")

    def test_what_is_watched_is_removed(self):
        with self.terminal("pat") as t:
            eventually(lambda: t.shows("pat"), "its state")
            self.daemon.conf.write_text(self.configuration().replace("[credential pat]", "[credential renamed]"))
            self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)
            self.assertEqual(t.wait(), 1)
            t.read()
            self.assertFalse(t.other)
            self.assertTrue(t.shows('no credential is called "pat"'), t.lines())

    def test_mistakes(self):
        self.assertEqual(self.bearerctl("watch", "nobody").returncode, 1)
        done = self.bearerctl("watch", environment={"BEARERD_SOCKET": f"{self.directory}/none.sock"})
        self.assertEqual(done.returncode, 3)
        self.assertIn("no daemon", done.stderr)


if __name__ == "__main__":
    main()
