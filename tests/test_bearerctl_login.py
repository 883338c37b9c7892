"""bearerctl login and what belongs to it: at a terminal, in a pipe, with a browser, through restarts.

usage: test_bearerctl_login.py BEARERCTL [unittest arguments]

The daemon is a small one that holds authorizations and lets them be waited for; the terminal is a
pseudo terminal, whose screen is read: a QR code on it is decoded, not believed.
"""

import ctypes.util
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unittest
import urllib.parse

import test_bearerctl as base
from test_bearerctl import TIMEOUT, Case, Daemon, answer, error_answer

ID = "0123456789abcdef0123456789abcdef"
ADDRESS = "https://www.coze.cn/api/permission/oauth2/authorize?response_type=code&state=xyz"
LOOPBACK = "http://127.0.0.1:8080/callback"
REDIRECT = "https://app.example.com/cb"
PAGE = "https://www.coze.cn/oauth/device-activation"
CODE = "VIK-AZC-ZTV"
FAR = int(time.time()) + 1000 * 86400 + 5 * 3600 + 1800  # "1000d 5h", for half an hour to come
ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
HAS_QR = ctypes.util.find_library("qrencode")


def pending(**more):
    return {"id": ID, "credential": "tv", "subject": "", "state": "pending", "expires_at": FAR,
            **more}


def by_code(**more):
    return pending(**{"user_code": CODE, "verification_uri": PAGE, "interval": 5,
                      "verification_uri_complete": f"{PAGE}?user_code={CODE}", **more})


def by_browser(redirect=LOOPBACK, loopback=True, **more):
    return pending(authorization_url=ADDRESS, redirect_uri=redirect, loopback=loopback, **more)


class Broker(Daemon):
    """One authorization. `state` changes by tell(); long polls wait for that."""

    def __init__(self, path, start, answers=None):
        self.start, self.now, self.answers = start, dict(start), answers or {}
        self.changed = threading.Condition()
        self.waiting, self.dead = 0, False
        super().__init__(path, {})

    def answer(self, connection):
        threading.Thread(target=self.answer_one, args=[connection.dup()], daemon=True).start()

    def answer_one(self, connection):
        with connection:
            try:
                raw = b""
                while b"\r\n\r\n" not in raw:
                    raw += connection.recv(65536) or self.gone()
                length = re.search(rb"Content-Length: (\d+)", raw)
                while length and len(raw.split(b"\r\n\r\n", 1)[1]) < int(length[1]):
                    raw += connection.recv(65536) or self.gone()
                connection.sendall(self.reply(base.Request(raw)))
            except OSError:
                pass  # the client has seen enough

    def reply(self, request):
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            path = urllib.parse.urlsplit(request.target)
            if (prepared := self.answers.get(f"{request.method} {path.path}")):
                return prepared.pop(0) if isinstance(prepared, list) else prepared
            if request.method == "POST":
                return answer(201, self.start)
            if request.method == "DELETE":
                self.now["state"] = "cancelled"
                return answer(204)
            wait = int(urllib.parse.parse_qs(path.query)["wait"][0])
            self.waiting += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.dead or self.now["state"] != "pending", wait)
            return b"" if self.dead else answer(200, self.now)

    def tell(self, **more):
        with self.changed:
            self.now.update(more)
            self.changed.notify_all()

    def wait_for_polls(self, n):
        """Until the client has begun its n-th long poll."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.waiting >= n, TIMEOUT)

    def wait_for_request(self, line):
        with self.changed:
            assert self.changed.wait_for(
                lambda: any(r.line.startswith(line) for r in self.requests), TIMEOUT), line

    def stop(self):
        """As a daemon that is killed: nobody listens, and polls get no answer."""
        self.close()
        os.unlink(self.path)
        with self.changed:
            self.dead = True
            self.changed.notify_all()


class Terminal:
    """bearerctl at a pseudo terminal."""

    def __init__(self, case, *args, size=(50, 80), env=None, program=None):
        rows, columns = size
        env = {**case.env, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}
        self.case, self.shown = case, b""
        read_end, write_end = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.read(read_end, 1)  # until the terminal has its size
            program = program or base.BEARERCTL
            os.execve(program, [program, *args], env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.write(write_end, b"x")
        os.close(read_end)
        os.close(write_end)
        case.addCleanup(self.end)

    def end(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def read(self):
        if not select.select([self.fd], [], [], TIMEOUT)[0]:
            raise AssertionError(f"nothing more came after {self.text()}")
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # EIO: the other end is closed
            piece = b""
        self.shown += piece
        return piece

    def wait_for(self, text):
        while text not in self.text():
            if not self.read():
                raise AssertionError(f"{text!r} is not in {self.text()!r}")

    def type(self, text):
        os.write(self.fd, text.encode())

    def finish(self):
        """The exit code, when all has been read."""
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def text(self):
        return self.shown.decode(errors="replace")

    def lines(self):
        """The screen at the end: a line that is written again shows what came last."""
        def overwritten(line):
            line = line.removesuffix("\r").split("\r")[-1]
            return re.sub(r"\x1b\[K", "", line)
        return [overwritten(line) for line in self.text().split("\n")]

    def plain(self):
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in self.lines()]


def read_qr(lines):
    """The text of a QR code of version 1 to 5 and level L: ISO/IEC 18004."""
    pixels = []
    for line in lines:
        for half in ("▀█", "▄█"):
            pixels.append([int(c in half) for c in line])
    dark = [y for y, row in enumerate(pixels) if any(row)]
    quiet = dark[0]
    size = dark[-1] - quiet + 1
    assert len(pixels[0]) == size + 2 * quiet == size + 8, "the quiet zone"
    assert all(not any(row[:4]) and not any(row[-4:]) for row in pixels)
    m = [row[quiet:quiet + size] for row in pixels[quiet:quiet + size]]
    version = (size - 17) // 4
    data_words = {1: 19, 2: 34, 3: 55, 4: 80, 5: 108}[version]

    for y, x in (0, 0), (0, size - 7), (size - 7, 0):  # the three finders
        assert [row[x:x + 7] for row in m[y:y + 7]] == [
            [1] * 7, [1, 0, 0, 0, 0, 0, 1], *[[1, 0, 1, 1, 1, 0, 1]] * 3, [1, 0, 0, 0, 0, 0, 1],
            [1] * 7]
    format_bits = [m[8][x] for x in range(5)] + [0] * 10
    form = [bit ^ mask for bit, mask in zip(format_bits, (1, 0, 1, 0, 1))]
    assert form[:2] == [0, 1], "level L"
    mask = form[2] << 2 | form[3] << 1 | form[4]
    flips = [lambda i, j: (i + j) % 2, lambda i, j: i % 2, lambda i, j: j % 3,
             lambda i, j: (i + j) % 3, lambda i, j: (i // 2 + j // 3) % 2,
             lambda i, j: i * j % 2 + i * j % 3, lambda i, j: (i * j % 2 + i * j % 3) % 2,
             lambda i, j: ((i + j) % 2 + i * j % 3) % 2][mask]
    centre = size - 7  # of the alignment pattern

    def is_function(y, x):
        return (y < 9 and (x < 9 or x >= size - 8)) or (y >= size - 8 and x < 9) or \
            6 in (y, x) or (version > 1 and abs(y - centre) < 3 and abs(x - centre) < 3)

    bits = []
    x, up = size - 1, True
    while x > 0:
        if x == 6:
            x -= 1
        for y in range(size - 1, -1, -1) if up else range(size):
            bits += [m[y][c] ^ (flips(y, c) == 0) for c in (x, x - 1) if not is_function(y, c)]
        x, up = x - 2, not up

    stream = iter(bits[:8 * data_words])

    def number(n):
        return int("".join(str(int(next(stream))) for _ in range(n)), 2)

    text = ""
    while mode := number(4):
        if mode == 4:  # bytes
            text += bytes(number(8) for _ in range(number(8))).decode()
        elif mode == 2:  # capitals, digits and some signs, in pairs
            length = number(9)
            for _ in range(length // 2):
                text += "".join(ALPHANUMERIC[i] for i in divmod(number(11), 45))
            text += ALPHANUMERIC[number(6)] if length % 2 else ""
        else:
            assert mode == 1  # digits, by threes
            length = number(10)
            for n in [3] * (length // 3) + ([length % 3] if length % 3 else []):
                text += f"{number((0, 4, 7, 10)[n]):0{n}}"
    return text


class LoginCase(Case):
    current = None

    def broker(self, start, answers=None):
        """Takes the place of the one before."""
        self.stop()
        self.current = Broker(self.socket, start, answers)
        self.addCleanup(self.stop)
        return self.current

    def stop(self):
        if self.current and not self.current.dead:
            self.current.stop()

    def over(self, start, **end):
        """A broker whose authorization is over before it is first waited for."""
        broker = self.broker(start)
        broker.tell(state="succeeded", **end)
        return broker


class InAPipe(LoginCase):
    def test_code(self):
        broker = self.over(by_code(expires_at=int(time.time()) + 3600 * 5 + 1800))
        code, out, err = self.run_ctl("login", "tv")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, rf"^To authorize tv, open {PAGE} and enter the code {CODE} within "
                              r"5h \d+min\ntv is authorized. Its token: bearerctl get tv\n$")
        self.assertEqual([r.line for r in broker.requests],
                         ["POST /v1/credentials/tv/authorizations HTTP/1.1",
                          f"GET /v1/authorizations/{ID}?wait=60 HTTP/1.1"])
        self.assertEqual(json.loads(broker.requests[0].body), {"subject": ""})
        self.assertEqual(broker.requests[0].headers["Content-Type"], "application/json")

    def test_address(self):
        self.over({k: v for k, v in by_browser().items() if k != "expires_at"})
        self.expect(["login", "tv"], 0, f"""\
To authorize tv, open this address in a browser:
{ADDRESS}
If the browser is on another machine, it ends at an error page.
Then hand over that page's address as bearerctl(1) says; it begins with
  {LOOPBACK}
Waiting.
tv is authorized. Its token: bearerctl get tv
""")

    def test_address_elsewhere(self):
        self.over(by_browser(REDIRECT, False))
        code, out, err = self.run_ctl("login", "tv")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("It ends at a page that may be unable to tell bearerd.\n"
                      "Then hand over that page's address as bearerctl(1) says; it begins with\n"
                      f"  {REDIRECT}\nWaiting for ", out)

    def test_address_where_the_daemon_cannot_wait(self):
        self.over(by_browser(loopback=False, warning="the port is in use\x1b: free it"))
        _, out, _ = self.run_ctl("login", "tv")
        self.assertIn(f"\n{ADDRESS}\nthe port is in use : free it\nThen hand over that page's", out)

    def test_subject(self):
        broker = self.over(by_code())
        for subject, who, quoted in (("alice", "alice", "alice"), ("o'x y", "o'x y", "'o'\\''x y'"),
                                     ("扣子", "扣子", "'扣子'"), ("a\x1b[2J", "a [2J", "'a [2J'")):
            code, out, err = self.run_ctl("login", "tv", "--subject", subject)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(out.startswith(f"To authorize tv for {who}, open "), out)
            self.assertTrue(out.endswith(f"tv for {who} is authorized. Its token: "
                                         f"bearerctl get tv --subject {quoted}\n"), out)
            self.assertEqual(json.loads(broker.requests[-2].body), {"subject": subject})

    def test_ends(self):
        again = "bearerctl: to start again: bearerctl login tv --subject al\n"
        for end, code, said in (
                ({"state": "denied"}, 5, "the person refused"),
                ({"state": "denied", "reason": "An administrator must\nallow it."}, 5,
                 "An administrator must allow it."),
                ({"state": "expired"}, 5, "nobody authorized it in time"),
                ({"state": "cancelled", "reason": "a later login took its place"}, 5,
                 "a later login took its place"),
                ({"state": "cancelled"}, 5, "the authorization was cancelled"),
                ({"state": "failed"}, 6, "the provider did not accept the authorization"),
                ({"state": "failed", "error_description": "The app was refused.",
                  "upstream": {"status": 401, "error": "invalid_client", "message": "bad\x1bkid",
                               "logid": "2024X"}}, 6,
                 "The app was refused.\nbearerctl: the provider said: "
                 "HTTP 401 invalid_client: bad kid; logid 2024X"),
                ({"state": "failed", "reason": "No.", "upstream": {}}, 6, "No."),
                ({"state": "shelved"}, 1, 'the authorization is "shelved", which this bearerctl')):
            with self.subTest(end):
                broker = self.broker(by_code())
                broker.tell(**end)
                got, out, err = self.run_ctl("login", "tv", "--subject", "al")
                self.assertEqual(got, code)
                self.assertTrue(out.startswith("To authorize tv for al, open "), out)
                self.assertEqual(len(out.splitlines()), 1, out)
                self.assertTrue(err.startswith("bearerctl: tv for al: " + said), err)
                self.assertTrue(err.endswith(again), err)

    def test_over_at_once(self):
        """Nothing to show, and nobody is asked again."""
        broker = self.broker(pending(state="failed", reason="The app is deactivated."))
        self.expect(["login", "tv"], 6, "", "bearerctl: tv: The app is deactivated.\n"
                                            "bearerctl: to start again: bearerctl login tv\n")
        self.assertEqual(len(broker.requests), 1)

    def test_refused_at_the_start(self):
        for reply, code, fragment in (
                (error_answer(403, "access_denied", "You may not."), 4, "tv: You may not."),
                (error_answer(404, "not_found", 'There is no "tv".'), 1, 'There is no "tv".'),
                (error_answer(400, "invalid_request", "A pat is set."), 1, "A pat is set."),
                (error_answer(429, "slow_down", "Too many.", headers=["Retry-After: 9"]), 1, "9s"),
                (error_answer(502, "upstream_error", "Refused.", {"status": 400}), 6, "HTTP 400"),
                (error_answer(504, "upstream_timeout", "Too slow."), 6, "Too slow.")):
            self.broker(by_code(), {"POST /v1/credentials/tv/authorizations": reply})
            self.expect_error(["login", "tv"], code, fragment)
        self.stop()
        self.expect_error(["login", "tv"], 3, "no daemon at")

    def test_nonsense_at_the_start(self):
        for body in ([], {}, pending(), pending(id="../x"), pending(id=""), pending(id=7),
                     by_code(state=7), by_code(user_code=None), by_code(verification_uri="x"),
                     by_code(verification_uri=None), by_code(verification_uri="https://a\x1b[2J"),
                     pending(authorization_url="javascript:alert(1)"),
                     pending(authorization_url="file:///etc/passwd"),
                     pending(authorization_url="-h"), pending(authorization_url=""),
                     pending(authorization_url="https://a b"),
                     pending(authorization_url="https://a\"b"),
                     pending(authorization_url="https://扣子.cn")):
            broker = self.broker(by_code(), {"POST /v1/credentials/tv/authorizations": answer(
                201, json.dumps(body))})
            self.expect_error(["login", "tv"], 1, "what the daemon sent")
            self.assertEqual(len(broker.requests), 1)

    def test_hostile_text(self):
        self.over(by_code(user_code="\x1b[31m\x9b2J扣", reason="\x1b"))
        _, out, _ = self.run_ctl("login", "tv", env={"LC_ALL": "C.UTF-8"})
        self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), out)

    def test_standard_input_is_left_alone(self):
        """In a loop that reads names from a file, login must not eat the file."""
        self.over(by_browser(REDIRECT, False))
        names = os.path.join(self.dir, "names")
        with open(names, "w") as f:
            f.write("tv\ntv\ntv\n")
        done = subprocess.run(["sh", "-c", 'while read n; do "$0" login "$n"; done < "$1"',
                               base.BEARERCTL, names], env=self.env, capture_output=True,
                              timeout=TIMEOUT)
        self.assertEqual(done.stdout.count(b"tv is authorized."), 3, done)

    def test_into_a_full_disk(self):
        self.over(by_code())
        with open("/dev/full", "w") as full:
            for args in ([], ["--json"], ["--wait", "0s"]):
                done = subprocess.run([base.BEARERCTL, "login", "tv", *args], stdout=full,
                                      stderr=subprocess.PIPE, env=self.env, timeout=TIMEOUT)
                self.assertIn(b"No space left", done.stderr)
                self.assertEqual(done.returncode, 1)


class Json(LoginCase):
    def test_two_lines(self):
        start, end = by_code(url="a/b 扣"), {"state": "succeeded", "new": {"x": [1, None]}}
        broker = self.broker(start)
        broker.tell(**end)
        code, out, err = self.run_ctl("login", "tv", "--json")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual([json.loads(line) for line in out.splitlines()],
                         [{"version": 1, **start}, {"version": 1, **start, **end}])
        self.assertIn("a/b 扣", out)
        broker.tell(state="denied")
        code, out, err = self.run_ctl("login", "tv", "--json")
        self.assertEqual((code, err, len(out.splitlines())), (5, "", 2))
        self.assertEqual(json.loads(out.splitlines()[1])["state"], "denied")

    def test_nothing_but_json_at_a_terminal(self):
        self.over(by_code())
        terminal = Terminal(self, "login", "tv", "--json")
        self.assertEqual(terminal.finish(), 0)
        self.assertEqual([json.loads(line)["state"] for line in terminal.text().splitlines()],
                         ["pending", "succeeded"])

    def test_signal(self):
        broker = self.broker(by_code())
        process = subprocess.Popen([base.BEARERCTL, "login", "tv", "--json"], env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        broker.wait_for_polls(1)
        process.terminate()
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, err), (128 + signal.SIGTERM, b""))
        self.assertEqual([json.loads(line)["state"] for line in out.splitlines()],
                         ["pending", "cancelled"])


class Wait(LoginCase):
    def test_not_at_all(self):
        broker = self.broker(by_code())
        code, out, err = self.run_ctl("login", "tv", "--wait", "0s")
        self.assertEqual(code, 5)
        self.assertEqual(len(out.splitlines()), 1)
        self.assertEqual(err, "bearerctl: tv: not yet authorized; the authorization stays open: "
                              "bearerctl authorizations tv\n")
        code, out, err = self.run_ctl("login", "tv", "--wait", "0s", "--json")
        self.assertEqual((code, err), (5, ""))
        self.assertEqual([r.method for r in broker.requests], ["POST", "POST"])
        self.assertEqual([json.loads(line)["state"] for line in out.splitlines()], ["pending"] * 2)

    def test_a_while(self):
        broker = self.broker(by_code())
        code, _, err = self.run_ctl("login", "tv", "--wait", "1s")
        self.assertEqual(code, 5)
        self.assertIn("not yet authorized", err)
        self.assertEqual(broker.requests[1].target, f"/v1/authorizations/{ID}?wait=1")
        self.assertNotIn("DELETE", [r.method for r in broker.requests])

    def test_answers_before_the_time(self):
        """Pending again, too many, not now: asked once more, and not in a storm."""
        polls = [answer(200, by_code()), error_answer(429, "slow_down", "x",
                                                      headers=["Retry-After: 1"]),
                 error_answer(503, "temporarily_unavailable", "x"),
                 answer(200, by_code(state="succeeded"))]
        broker = self.broker(by_code(), {f"GET /v1/authorizations/{ID}": polls})
        code, _, err = self.run_ctl("login", "tv")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(len(broker.requests), 5)

    def test_answers_that_end_it(self):
        for reply, code, fragment in (
                (error_answer(403, "access_denied", "Not you."), 4, "Not you."),
                (error_answer(500, "server_error", "no memory"), 1, "no memory"),
                (answer(200, "[]"), 1, "not an authorization"),
                (answer(200, "x", kind="text/plain"), 1, "not an authorization")):
            broker = self.broker(by_code(), {f"GET /v1/authorizations/{ID}": reply})
            got, _, err = self.run_ctl("login", "tv")
            self.assertEqual(got, code)
            self.assertIn(fragment, err)


class Restart(LoginCase):
    def start(self):
        broker = self.broker(by_code())
        process = subprocess.Popen([base.BEARERCTL, "login", "tv"], env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        broker.wait_for_polls(1)
        return broker, process

    def kill(self, broker, process):
        """Nobody listens any more, and the poll under way gets no answer."""
        broker.stop()
        self.assertEqual(process.stderr.readline(),
                         b"bearerctl: the daemon is gone; waiting for it to come back\n")

    def test_it_still_knows(self):
        broker, process = self.start()
        self.kill(broker, process)
        again = self.broker(by_code())
        again.tell(state="succeeded")
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, err), (0, b"bearerctl: the daemon is back\n"))
        self.assertTrue(out.endswith(b"\ntv is authorized. Its token: bearerctl get tv\n"), out)

    def test_it_has_forgotten(self):
        broker, process = self.start()
        self.kill(broker, process)
        self.broker(by_code(), {f"GET /v1/authorizations/{ID}": error_answer(
            404, "not_found", "There is no such authorization.")})
        _, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 5)
        self.assertEqual(err, b"bearerctl: the daemon is back\n"
                              b"bearerctl: tv: the daemon knows nothing of this authorization any "
                              b"more: it was restarted\n"
                              b"bearerctl: to start again: bearerctl login tv\n")

    def test_signal_while_it_is_away(self):
        broker, process = self.start()
        self.kill(broker, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"no daemon at", err)


class Signals(LoginCase):
    def test_each_cancels(self):
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            broker = self.broker(by_code())
            process = subprocess.Popen([base.BEARERCTL, "login", "tv"], env=self.env,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
            broker.wait_for_polls(1)
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT)
            self.assertEqual((process.returncode, err), (128 + number, b"bearerctl: tv: cancelled\n"))
            self.assertEqual(broker.requests[-1].line,
                             f"DELETE /v1/authorizations/{ID} HTTP/1.1")
            self.assertEqual(len(out.splitlines()), 1)

    def test_one_that_is_ignored(self):
        broker = self.broker(by_code())
        process = subprocess.Popen(["sh", "-c", 'trap "" HUP INT; exec "$0" login tv',
                                    base.BEARERCTL], env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        broker.wait_for_polls(1)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        broker.tell(state="succeeded")
        _, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, err), (0, b""))

    def test_second_one(self):
        """The daemon does not answer the DELETE: another Ctrl-C does not wait for that."""
        release = threading.Event()
        self.addCleanup(release.set)
        broker = self.broker(by_code())
        reply = broker.reply

        def hang(request):
            if request.method != "DELETE":
                return reply(request)
            with broker.changed:
                broker.requests.append(request)
                broker.changed.notify_all()
            release.wait(TIMEOUT)
            return b""
        broker.reply = hang
        process = subprocess.Popen([base.BEARERCTL, "login", "tv"], env=self.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        broker.wait_for_polls(1)
        process.send_signal(signal.SIGINT)
        broker.wait_for_request("DELETE ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_at_a_terminal(self):
        broker = self.broker(by_code())
        terminal = Terminal(self, "login", "tv")
        terminal.wait_for("Ctrl-C cancels.")
        broker.wait_for_polls(1)
        terminal.type("\x03")
        self.assertEqual(terminal.finish(), 130)
        self.assertEqual(terminal.plain()[-2:], ["bearerctl: tv: cancelled", ""])
        self.assertEqual(broker.requests[-1].method, "DELETE")


class Screen(LoginCase):
    LARGE = """\
  █   █  ▀█▀  █  ▄▀       ▄▀▀▀▄ ▀▀▀▀█ ▄▀▀▀▄       ▀▀▀▀█ ▀▀█▀▀ █   █
  █   █   █   █▄▀   ▄▄▄▄▄ █▄▄▄█   ▄▀  █     ▄▄▄▄▄   ▄▀    █   █   █
  ▀▄ ▄▀   █   █ ▀▄        █   █ ▄▀    █   ▄       ▄▀      █   ▀▄ ▄▀
    ▀    ▀▀▀  ▀   ▀       ▀   ▀ ▀▀▀▀▀  ▀▀▀        ▀▀▀▀▀   ▀     ▀  """.split("\n")
    SPACED = "\x1b[1mV I K - A Z C - Z T V\x1b[0m"

    def show(self, size=(50, 80), env=None, **start):
        self.over(by_code(**start))
        terminal = Terminal(self, "login", "tv", size=size, env=env)
        self.assertEqual(terminal.finish(), 0)
        return terminal

    def qr(self, terminal):
        """The lines of the code, each with both colours set and put back, or none of them."""
        lines = [line for line in terminal.lines() if "\x1b[30;47m" in line]
        for line in lines:
            self.assertRegex(line, "^\x1b\\[30;47m[ ▀▄█]+\x1b\\[0m$")
        return [line[8:-4] for line in lines]

    @unittest.skipUnless(HAS_QR, "libqrencode4 is not installed")
    def test_everything(self):
        terminal = self.show()
        self.assertEqual(read_qr(self.qr(terminal)), f"{PAGE}?user_code={CODE}")
        plain = terminal.plain()
        at = plain.index(f"or open {PAGE}")
        self.assertEqual(plain[:2], ["To authorize tv, scan this with a phone:", ""])
        self.assertEqual(plain[at + 1:], [f"and enter {CODE}", "", *self.LARGE, "",
                                          "tv is authorized. Its token: bearerctl get tv", ""])
        self.assertIn(f"\x1b[1m{CODE}\x1b[0m", terminal.text())
        self.assertLessEqual(len(plain), 50)

    @unittest.skipUnless(HAS_QR, "libqrencode4 is not installed")
    def test_qr_of_other_addresses(self):
        """Other versions of the code, and other masks."""
        for address in ("https://a.cn/?c=1", f"{PAGE}?user_code=WDJB-MJHT", "https://a/" + "x" * 90,
                        "https://a/?" + "y" * 37, "https://a/?" + "%20" * 12):
            self.assertEqual(read_qr(self.qr(self.show(verification_uri_complete=address))),
                             address)

    @unittest.skipUnless(HAS_QR, "libqrencode4 is not installed")
    def test_twenty_four_lines(self):
        terminal = self.show((24, 80))
        self.assertEqual(read_qr(self.qr(terminal)), f"{PAGE}?user_code={CODE}")
        lines = terminal.lines()
        self.assertEqual(lines[-4:], [f"or open {PAGE}", f"and enter {self.SPACED} to authorize tv",
                                      "tv is authorized. Its token: bearerctl get tv", ""])
        self.assertEqual(len(lines), 25)  # the last one is where the cursor goes in the end

    def test_too_small_for_a_qr_code(self):
        for size in (23, 80), (50, 40):
            terminal = self.show(size)
            self.assertEqual(self.qr(terminal), [])
            self.assertIn(f"Open {PAGE}", terminal.lines())

    def test_smallest(self):
        terminal = self.show((5, 60))
        self.assertEqual(terminal.lines(), [f"Open {PAGE}",
                                            f"and enter the code {self.SPACED} to authorize tv",
                                            "tv is authorized. Its token: bearerctl get tv", ""])

    def test_without_blocks(self):
        for env in {"LC_ALL": "C"}, {"LC_ALL": "xx_XX.GBK"}:
            terminal = self.show(env=env)
            self.assertTrue(terminal.text().isascii())
            self.assertIn(f"and enter the code {self.SPACED}", terminal.lines())

    def test_locale_that_is_not_there(self):
        self.assertNotEqual(self.qr(self.show(env={"LC_ALL": "xx_XX.UTF-8"})), [])

    def test_without_colours(self):
        terminal = self.show(env={"NO_COLOR": "1"})
        self.assertEqual(self.qr(terminal), [])
        self.assertNotRegex(terminal.text(), "\x1b\\[(?!K|0m|1m)")
        self.assertEqual(terminal.plain()[5:9], self.LARGE)

    def test_dumb(self):
        terminal = self.show(env={"TERM": "dumb"})
        self.assertNotIn("\x1b", terminal.text())
        self.assertNotIn("\r", terminal.text().replace("\r\n", ""))
        self.assertTrue(terminal.lines()[0].startswith(f"To authorize tv, open {PAGE} and enter"))

    def test_without_the_library(self):
        with open(os.path.join(self.dir, "libqrencode.so.4"), "w"):
            pass  # found first, and no library
        terminal = self.show(env={"LD_LIBRARY_PATH": self.dir})
        self.assertEqual(self.qr(terminal), [])
        self.assertEqual(terminal.plain()[:4], ["To authorize tv:", "", f"Open {PAGE}",
                                                f"and enter the code {CODE}"])

    def test_other_codes(self):
        """What there are no letters for, and what is too wide for them, is spaced."""
        for code, spaced in (("abcd", "a b c d"), ("扣子", "扣 子"), ("A" * 14, "A " * 13 + "A"),
                             ("1", None), ("0123456789-XY", None)):
            terminal = self.show(user_code=code)
            if spaced:
                self.assertIn(f"\x1b[1m{spaced}\x1b[0m", terminal.text())
            else:
                self.assertIn(f"\x1b[1m{code}\x1b[0m\r\n\r\n  ", terminal.text())

    def test_without_a_complete_address(self):
        self.assertEqual(self.qr(self.show(verification_uri_complete=None)), [])

    def test_countdown(self):
        """Written again and again in its line, until the news comes."""
        broker = self.broker(by_code(expires_at=int(time.time()) + 90))
        terminal = Terminal(self, "login", "tv")
        while len(set(re.findall(r"\rWaiting; (?:1min )?(\d+)s left", terminal.text()))) < 3:
            self.assertTrue(terminal.read())
        broker.tell(state="denied")
        self.assertEqual(terminal.finish(), 5)
        self.assertNotIn("Waiting", "".join(terminal.lines()))
        self.assertEqual(terminal.plain()[-3:],
                         ["bearerctl: tv: the person refused",
                          "bearerctl: to start again: bearerctl login tv", ""])

    def test_countdown_past_the_end(self):
        broker = self.broker(by_code(expires_at=1))
        terminal = Terminal(self, "login", "tv")
        terminal.wait_for("\rWaiting; 0s left. Ctrl-C cancels.\x1b[K")
        broker.tell(state="expired")
        self.assertEqual(terminal.finish(), 5)


class Browser(LoginCase):
    HERE = {"DISPLAY": ":0"}

    def setUp(self):
        super().setUp()
        self.report = os.path.join(self.dir, "report")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        os.mkfifo(self.report)
        with open(os.path.join(self.bin, "xdg-open"), "w") as f:
            f.write("#!/bin/sh\necho noise; echo noise >&2\n"
                    'at=/proc/$$; files=$(readlink $at/fd/0 $at/fd/1 $at/fd/2); open=$(readlink $at/fd/*)\n'
                    'blocked=$(grep SigBlk $at/status); session=$(cut -d" " -f5,6 $at/stat)\n'
                    f'printf "%s\\n" "$*" "$files" "$blocked" "$session" $$ $open > {self.report}\n')
        os.chmod(os.path.join(self.bin, "xdg-open"), 0o755)
        self.env["PATH"] = self.bin + ":" + self.env["PATH"]

    def test_opened(self):
        for env in self.HERE, {"WAYLAND_DISPLAY": "wayland-0", "SSH_CONNECTION": ""}:
            self.over(by_browser())
            terminal = Terminal(self, "login", "tv", env=env)
            with open(self.report) as f:
                report = f.read().splitlines()
            self.assertEqual(terminal.finish(), 0)
            self.assertEqual(report[:5], [ADDRESS, *["/dev/null"] * 3, "SigBlk:\t" + "0" * 16])
            self.assertEqual(report[5].split(), [report[6]] * 2)  # group and session of its own
            self.assertNotRegex(" ".join(report[7:]), "signalfd|socket")  # nothing of ours
            self.assertEqual(terminal.plain(), [
                "The browser opens to authorize tv. If it does not, open:", "", "  " + ADDRESS, "",
                "tv is authorized. Its token: bearerctl get tv", ""])

    def test_opened_and_yet_pasted(self):
        """The redirect goes to another machine, which may not pass it on."""
        self.over(by_browser(REDIRECT, False))
        terminal = Terminal(self, "login", "tv", env=self.HERE)
        with open(self.report) as f:
            self.assertEqual(f.readline(), ADDRESS + "\n")
        self.assertEqual(terminal.finish(), 0)
        self.assertIn("The browser opens", terminal.text())
        self.assertIn("Then paste that page's address here", terminal.text())

    def test_not_opened(self):
        ssh = {**self.HERE, "SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"}
        os.unlink(self.report)  # would be made again as a file
        for args, env in (([], {}), ([], {"DISPLAY": ""}), ([], ssh), (["--no-browser"], self.HERE),
                          ([], {**self.HERE, "PATH": "/nowhere"}), (["--json"], self.HERE)):
            self.over(by_browser())
            terminal = Terminal(self, "login", "tv", *args, env=env)
            self.assertEqual(terminal.finish(), 0)
            self.assertNotIn("The browser opens", terminal.text())
            self.assertFalse(os.path.exists(self.report))


class Paste(LoginCase):
    CALLBACK = f"{LOOPBACK}?code=code_1&state=xyz"

    def posts(self, broker):
        return [json.loads(r.body) for r in broker.requests if r.target == "/v1/callback"]

    def start(self, start=None, answers=None):
        broker = self.broker(start or by_browser(), answers)
        terminal = Terminal(self, "login", "tv")
        terminal.wait_for("Ctrl-C cancels.")
        return broker, terminal

    def test_explained(self):
        _, terminal = self.start()
        text = terminal.text().replace("\r\n", "\n")
        self.assertRegex(text, re.escape(f"""\
To authorize tv, open this address in a browser:

  {ADDRESS}

If the browser is on another machine, it ends at an error page.
Then paste that page's address here and press Enter; it begins with
  {LOOPBACK}

Waiting for """) + r"1000d 5h\. Ctrl-C cancels\.")

    def test_delivered(self):
        done = by_browser(state="succeeded")
        broker, terminal = self.start(answers={"POST /v1/callback": answer(200, done)})
        terminal.type(f"  {self.CALLBACK} \n")
        self.assertEqual(terminal.finish(), 0)
        self.assertEqual(self.posts(broker), [{"url": self.CALLBACK}])
        self.assertIn("tv is authorized.", terminal.text())

    def test_delivered_and_then_done(self):
        """The answer may still be pending: the exchange takes a while."""
        broker, terminal = self.start(answers={"POST /v1/callback": answer(200, by_browser())})
        broker.wait_for_polls(1)
        terminal.type(self.CALLBACK + "\n")
        broker.wait_for_request("POST /v1/callback")
        broker.tell(state="succeeded")
        self.assertEqual(terminal.finish(), 0)

    def test_not_liked(self):
        broker, terminal = self.start(answers={"POST /v1/callback": [
            error_answer(400, "invalid_request", "That state is unknown.\x1b[2J"),
            answer(200, by_browser(id="f" * 32, state="succeeded")),  # of another login
            answer(200, "[]"), ]})
        for typed, said in ((self.CALLBACK + "&x=1", "paste another address, or press Ctrl-C"),
                            ("localhost:8080/callback?code=1", "not the address of a page"),
                            ("http://a b", "not the address"), ("rm -rf /", "not the address"),
                            ("http://扣子", "not the address")):
            before = len(terminal.text())
            terminal.type(typed + "\n")
            while said not in terminal.text()[before:]:
                self.assertTrue(terminal.read())
        self.assertIn("That state is unknown. [2J", terminal.text())
        self.assertEqual(len(self.posts(broker)), 1)
        terminal.type("\n \n" + self.CALLBACK + "\n")  # it is good, but not for this one
        broker.wait_for_request("POST /v1/callback")
        terminal.type(self.CALLBACK + "\n")
        self.assertEqual(terminal.finish(), 1)
        self.assertIn("not an authorization", terminal.text())
        self.assertEqual(len(self.posts(broker)), 3)

    def test_in_pieces_and_two_at_once(self):
        broker, terminal = self.start(answers={"POST /v1/callback": [
            error_answer(400, "invalid_request", "No."),
            answer(200, by_browser(state="succeeded"))]})
        terminal.type(self.CALLBACK[:20])
        terminal.type(self.CALLBACK[20:] + "\n" + self.CALLBACK + "&2\n")
        self.assertEqual(terminal.finish(), 0)
        self.assertEqual(self.posts(broker), [{"url": self.CALLBACK}, {"url": self.CALLBACK + "&2"}])

    def test_long(self):
        address = self.CALLBACK + "x" * 3000
        broker, terminal = self.start(answers={
            "POST /v1/callback": answer(200, by_browser(state="succeeded"))})
        terminal.type(address + "\n")
        self.assertEqual(terminal.finish(), 0)
        self.assertEqual(self.posts(broker), [{"url": address}])

    def test_end_of_input(self):
        broker, terminal = self.start()
        terminal.type("\x04")
        broker.wait_for_polls(1)
        broker.tell(state="succeeded")
        self.assertEqual(terminal.finish(), 0)

    def test_interrupted_while_the_daemon_thinks(self):
        release = threading.Event()
        self.addCleanup(release.set)
        broker, terminal = self.start()
        broker.wait_for_polls(1)
        reply = broker.reply

        def hang(request):
            if request.target != "/v1/callback":
                return reply(request)
            with broker.changed:
                broker.requests.append(request)
                broker.changed.notify_all()
            release.wait(TIMEOUT)
            return b""
        broker.reply = hang
        terminal.type(self.CALLBACK + "\n")
        broker.wait_for_request("POST /v1/callback")
        terminal.type("\x03")
        self.assertEqual(terminal.finish(), 130)
        self.assertEqual(broker.requests[-1].method, "DELETE")

    def test_not_while_the_browser_is_here(self):
        """The daemon hears of it itself: what is typed is none of our business."""
        directory = os.path.join(self.dir, "bin")
        os.mkdir(directory)
        os.symlink("/bin/true", os.path.join(directory, "xdg-open"))
        broker = self.broker(by_browser())
        terminal = Terminal(self, "login", "tv",
                            env={"DISPLAY": ":0", "PATH": directory + ":" + self.env["PATH"]})
        terminal.wait_for("Waiting; ")
        terminal.type(self.CALLBACK + "\n")
        broker.wait_for_polls(1)
        broker.tell(state="succeeded")
        self.assertEqual(terminal.finish(), 0)
        self.assertEqual(self.posts(broker), [])

    def test_in_the_background(self):
        """A job of a shell that is not in the foreground must not be stopped for input."""
        broker = self.broker(by_browser())
        terminal = Terminal(self, "-mc", '"$0" login tv & wait $!', base.BEARERCTL, program="/bin/sh")
        terminal.wait_for("Ctrl-C cancels.")
        broker.wait_for_polls(1)
        terminal.type("what is typed is for the shell\n")
        terminal.wait_for("for the shell")  # the echo: it is there to be read
        broker.tell(state="succeeded")
        self.assertEqual(terminal.finish(), 0)


class Logout(Case):
    def test_answers(self):
        daemon = self.daemon({
            "DELETE /v1/credentials/tv/grant": answer(204),
            "DELETE /v1/credentials/tv/grant?subject=%E6%89%A3%20x": answer(200, {}),
            "DELETE /v1/credentials/tv/grant?subject=bob": error_answer(
                404, "not_found", 'There is no grant of "tv" for bob.'),
            "DELETE /v1/credentials/bot/grant": error_answer(403, "access_denied", "Not you.")})
        self.expect(["logout", "tv"], 0, "tv is logged out: its grant and tokens are forgotten.\n")
        self.expect(["logout", "tv", "--subject", "扣 x"], 0,
                    "tv for 扣 x is logged out: its grant and tokens are forgotten.\n")
        self.expect(["logout", "tv", "--subject", "bob"], 1, "",
                    'bearerctl: There is no grant of "tv" for bob.\n')
        self.expect(["logout", "bot"], 4, "", "bearerctl: bot: Not you.\n")
        self.assertEqual(daemon.requests[0].line, "DELETE /v1/credentials/tv/grant HTTP/1.1")
        with open("/dev/full", "w") as full:
            done = subprocess.run([base.BEARERCTL, "logout", "tv"], stdout=full, env=self.env,
                                  stderr=subprocess.PIPE, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 1)


class Authorizations(Case):
    def setUp(self):
        super().setUp()
        self.list = [
            by_code(expires_at=int(time.time()) + 4 * 60 + 30),
            pending(id="f" * 32, credential="site", subject="alice", state="denied",
                    expires_at=1),
            {"id": "x", "credential": "tv", "state": "\x1bnew"}]

    def test_table(self):
        self.daemon({"GET /v1/authorizations": answer(body={"authorizations": self.list})})
        code, out, err = self.run_ctl("authorizations")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(re.sub(r"4min \d+s", "4min", out), f"""\
ID                                CREDENTIAL  SUBJECT  STATE    EXPIRES
{ID}  tv          -        pending  in 4min
{"f" * 32}  site        alice    denied   -
x                                 tv          -         new     -
""")
        code, out, err = self.run_ctl("authorizations", "site")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(len(out.splitlines()), 2)

    def test_eighty_columns(self):
        wide = by_code(credential="c" * 64, subject="s" * 256,
                       expires_at=int(time.time()) + 3 * 86400 + 4 * 3600 + 1800)
        self.daemon({"GET /v1/authorizations": answer(body={"authorizations": [wide]})})
        _, out, _ = self.run_ctl("authorizations")
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80)
        self.assertIn(ID, out)
        self.assertIn("in 3d 4h", out)

    def test_json(self):
        self.daemon({"GET /v1/authorizations": answer(body={"authorizations": self.list})})
        code, out, _ = self.run_ctl("authorizations", "--json")
        self.assertEqual((code, json.loads(out)), (0, {"version": 1, "authorizations": self.list}))
        code, out, _ = self.run_ctl("authorizations", "--json", "tv")
        self.assertEqual((code, json.loads(out)),
                         (0, {"version": 1, "authorizations": [self.list[0], self.list[2]]}))

    def test_nothing(self):
        self.daemon({"GET /v1/authorizations": answer(body={"authorizations": []})})
        for args, whom, name in ([], "", "NAME"), (["tv"], " for tv", "tv"):
            self.expect(["authorizations", *args], 0, "",
                        f"bearerctl: nobody is being asked{whom}: bearerctl login {name} starts an "
                        "authorization\n")

    def test_nonsense(self):
        daemon = self.daemon({})
        for body in ("[]", "{}", '{"authorizations":5}', "x"):
            daemon.routes["GET /v1/authorizations"] = answer(body=body)
            self.expect_error(["authorizations"], 1, "not a list of authorizations")

    def test_cancel(self):
        daemon = self.daemon({f"DELETE /v1/authorizations/{ID}": answer(204),
                              "DELETE /v1/authorizations/x": error_answer(
                                  404, "not_found", "There is no such authorization.")})
        self.expect(["authorizations", "--cancel", ID], 0, "cancelled\n")
        self.expect(["authorizations", "--cancel=x"], 1, "",
                    "bearerctl: There is no such authorization.\n")
        self.expect_error(["authorizations", "tv", "--cancel", ID], 2, "not the name")
        self.assertEqual([r.method for r in daemon.requests], ["DELETE", "DELETE"])


class Subjects(Case):
    def page(self, names, after=None):
        body = {"subjects": [{"subject": name, "state": "ready", "grant_expires_at": int(time.time()) + 29 * 86400}
                             for name in names]}
        return answer(body={**body, "next": after} if after else body)

    PATH = "GET /v1/credentials/site/subjects?limit=100"

    def test_pages(self):
        names = [f"user-{i:03}" for i in range(250)]
        daemon = self.daemon({self.PATH: self.page(names[:100], "扣 &"),
                              self.PATH + "&after=%E6%89%A3%20%26": self.page(names[100:200], "b"),
                              self.PATH + "&after=b": self.page(names[200:])})
        code, out, err = self.run_ctl("status", "site", "--subjects")
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(lines[0], "STATE         GRANT ENDS      SUBJECT")
        self.assertEqual([line[30:] for line in lines[1:]], names)
        self.assertRegex(lines[1], r"^ready         in \d+d(?: \d+h)?  +user-000$")
        self.assertEqual(len(daemon.requests), 3)
        code, out, _ = self.run_ctl("status", "site", "--subjects", "--json")
        self.assertEqual([json.loads(line)["subject"] for line in out.splitlines()], names)

    def test_rows(self):
        self.daemon({self.PATH: answer(body={"subjects": [
            {"subject": "a\x1bb", "state": "authorization_required"}, {"subject": ""}, 5]})})
        self.expect(["status", "site", "--subjects"], 0, """\
STATE         GRANT ENDS      SUBJECT
unauthorized  -               a b
-             -               -
-             -               -
""")

    def test_nobody(self):
        self.daemon({self.PATH: self.page([])})
        self.expect(["status", "site", "--subjects"], 0, "", "bearerctl: site: nobody has authorized it\n")
        self.expect(["status", "site", "--subjects", "--json"], 0)

    def test_errors(self):
        daemon = self.daemon({})
        for reply, code, fragment in (
                (error_answer(403, "access_denied", "Only an admin may."), 4, "Only an admin"),
                (answer(body="{}"), 1, "not a list of subjects"),
                (self.page([], "x" * 3000), 1, "pages do not end"),
                (self.page([], "扣" * 600), 1, "too long")):
            daemon.routes[self.PATH] = reply
            self.expect_error(["status", "site", "--subjects"], code, fragment)

    def test_pages_without_end(self):
        self.daemon({self.PATH: self.page(["a"], "a"),
                     self.PATH + "&after=a": self.page(["b"], "a")})
        code, _, err = self.run_ctl("status", "site", "--subjects")
        self.assertEqual(code, 1)
        self.assertIn("pages do not end", err)


if __name__ == "__main__":
    base.BEARERCTL = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
