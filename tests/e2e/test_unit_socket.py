"""What LoadCredential=ID:SOCKET of a unit reads: who gets a token there, and who gets nothing."""

import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import BEARERD, ENVIRONMENT, LIMIT_S, NEEDS_ROOT, EndToEnd, as_user, eventually, main, new_token

ALICE, OVERFLOW = 23451, 65534
CONNECTIONS_MAX = 128
WITH_SYSTEMD = pathlib.Path(__file__).resolve().parents[3] / "shared/tools/with-systemd"

randoms = itertools.count(0xabc0)


def visit(path, address):
    """Connects from this address (bytes; None: from none) as the service manager does, and does not wait."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LIMIT_S + 10)
    if address is not None:
        s.bind(address)
    s.connect(path)
    s.shutdown(socket.SHUT_WR)
    return s


def read(s):
    """All until the end; b"" also if the daemon cut it."""
    text = b""
    with s:
        try:
            while piece := s.recv(65536):
                text += piece
        except ConnectionResetError:
            pass
    return text


def address(unit, credential_id):
    return b"\0%x/unit/%s/%s" % (next(randoms), unit.encode(), credential_id.encode())


class UnitSocket(EndToEnd):
    def sections(self):
        self.units = f"{self.directory}/units.sock"
        self.some = f"{self.directory}/some.sock"
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[credential bot]\n{developer}allow_units = app.service worker@*.service\n\n"
                f"[credential hers]\n{developer}allow_users = root {ALICE} 0\nallow_groups = 0\n\n"
                f"[credential single]\n{developer}subjects = no\n\n"
                f"[socket units]\npath = {self.units}\nprotocol = systemd-credential\nmode = 0666\n\n"
                f"[socket some]\npath = {self.some}\nprotocol = systemd-credential\ncredentials = developer\n")

    def load(self, unit, credential_id, path=None):
        token = read(visit(path or self.units, address(unit, credential_id))).decode()
        if token:
            self.daemon.secrets.add(token)
        return token

    def log_of(self, event):
        return [line for line in self.daemon.log.splitlines() if f"event={event}" in line]


@NEEDS_ROOT
class Given(UnitSocket):
    def test_token(self):
        """The bare token, the one that everybody gets."""
        token = self.load("app.service", "developer")
        self.assertEqual(token, self.daemon.token("developer").token)
        self.assertTrue(self.emulator.accepts(token))
        [line] = self.log_of("unit_served")
        for word in ("credential=developer", "unit=app.service", "fingerprint="):
            self.assertIn(word, line)

    def test_subject(self):
        token = self.load("app.service", "developer@alice")
        self.assertEqual(token, self.daemon.token("developer", "?subject=alice").token)
        self.assertNotEqual(token, self.load("app.service", "developer"))
        self.assertEqual(self.load("app.service", "developer@a@b"),
                         self.daemon.token("developer", "?subject=a%40b").token)

    def test_units(self):
        for unit, is_allowed in (("app.service", True), ("worker@3.service", True), ("other.service", False),
                                 ("xapp.service", False), ("app.service.service", False), ("*", False)):
            with self.subTest(unit=unit):
                self.assertEqual(bool(self.load(unit, "bot")), is_allowed)

    def test_many_at_once(self):
        """More than may be there at once: the others are served behind them."""
        self.emulator.fault("latency", times=1, ms=500)
        visits = [visit(self.units, address("app.service", "developer")) for _ in range(CONNECTIONS_MAX + 40)]
        tokens = {read(s).decode() for s in visits}
        self.daemon.secrets.update(tokens)
        self.assertEqual(tokens, {self.daemon.token("developer").token})
        self.assertEqual(self.emulator.requests(), 1)

    def test_slow_provider(self):
        """Who waits is not in the way of others."""
        pat = self.load("app.service", "pat")
        self.emulator.fault("latency", times=1, ms=1000)
        with visit(self.units, address("app.service", "developer")) as waiting:
            self.assertEqual(self.load("app.service", "pat"), pat)
            token = read(waiting).decode()
        self.daemon.secrets.add(token)
        self.assertTrue(self.emulator.accepts(token))

    def test_provider_comes_back(self):
        self.emulator.fault("drop_before", times=1)
        self.assertTrue(self.load("app.service", "developer"))

    def test_restricted_socket(self):
        self.assertTrue(self.load("app.service", "developer", self.some))
        self.assertFalse(self.load("app.service", "bot", self.some))
        self.assertIn("outcome=not_shown", eventually(lambda: self.log_of("access_refused"), "it is logged")[-1])

    def test_peer_that_does_not_wait(self):
        """It costs nobody anything: the token is fetched, and the next one has it."""
        self.emulator.fault("latency", times=1, ms=300)
        for _ in range(CONNECTIONS_MAX + 10):
            visit(self.units, address("app.service", "developer")).close()
        self.assertTrue(self.load("app.service", "developer"))
        eventually(lambda: any("Broken pipe" in line for line in self.log_of("unit_refused")), "it is logged")


@NEEDS_ROOT
class Refused(UnitSocket):
    def assertRefused(self, unit, credential_id, *words):
        """In one line, of this or that kind."""
        def lines():
            return self.log_of("unit_refused") + self.log_of("access_refused")

        before = lines()
        self.assertEqual(self.load(unit, credential_id), "")
        [line] = eventually(lambda: [line for line in lines() if line not in before], "it is logged")
        for word in (f"credential={credential_id.split('@')[0]} ", f"unit={unit} ", "WARNING", *words):
            self.assertIn(word.lower(), line.lower())

    def test_who_may_not(self):
        requests = self.emulator.requests()
        self.assertRefused("app.service", "nobody", "no such credential")
        self.assertRefused("other.service", "bot@alice", "access_refused", "use_denied", 'subject="alice"')
        self.assertRefused("app.service", "hers", "access_refused", "use_denied")  # that root asks is not that root may
        self.assertRefused("app.service", "single@alice", "subjects")
        self.assertEqual(self.emulator.requests(), requests)

    def test_without_audit(self):
        """Then it says for itself what became of it."""
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace("[daemon]\n", "[daemon]\naudit = off\n", 1))
        self.daemon.restart()
        self.assertRefused("other.service", "bot", "unit_refused", "allow_units")

    def test_provider_refuses(self):
        self.emulator.fault("invalid_client")
        self.assertRefused("app.service", "developer", "kid not been registred")

    def test_not_authorized(self):
        self.assertRefused("app.service", "web", "bearerctl login web")

    def test_not_root(self):
        """Anybody can bind such an address."""
        self.assertTrue(self.load("app.service", "developer"))
        for uid in (ALICE, OVERFLOW):
            self.assertEqual(as_user(uid, lambda: self.load("app.service", "developer")), "")
        lines = self.log_of("unit_unknown")
        self.assertEqual([f"uid={uid}" in line for uid, line in zip((ALICE, OVERFLOW), lines)], [True, True])
        with self.assertRaises(PermissionError):
            as_user(ALICE, lambda: visit(self.other_mode(), None))

    def other_mode(self):
        os.chmod(self.some, 0o600)
        return self.some

    def test_address(self):
        """Only exactly what a service manager would take."""
        long_unit = b"u" * 60 + b".service"
        rows = [None, str(self.directory / "client.sock").encode(), b"\0", b"\0abc", b"\0abc/unit/", b"\0abc/unit//",
                b"\0abc/unit/app.service", b"\0abc/unit/app.service/", b"\0abc/unit//developer",
                b"\0/unit/app.service/developer", b"\0xyz/unit/app.service/developer",
                b"\0ABC/unit/app.service/developer", b"\0" + b"a" * 17 + b"/unit/app.service/developer",
                b"\0abc/user/app.service/developer", b"abc/unit", b"\0abc/unit/app.service/a/developer",
                b"\0abc/unit/app.service/developer/", b"\0abc/unit/app.service/developer\0",
                b"\0abc/unit/app.service\0/developer", b"\0\0abc/unit/app.service/developer",
                b"\0abc/unit/app service/developer", b"\0abc/unit/app.service/developer@",
                b"\0abc/unit/app.service/@alice", b"\0abc/unit/app.service/.developer",
                b"\0abc/unit/app.service/developer ", b"\0abc/unit/app.service/developer@\xff",
                b"\0abc/unit/app.service/developer@a\nb", b"\0abc/unit/" + long_unit + b"/dev" + b"e" * 30]
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        (self.directory / "abc").mkdir()
        for i, row in enumerate(rows[:-1]):
            with self.subTest(row=row):
                self.assertEqual(read(visit(self.units, row)), b"")
                eventually(lambda: len(self.log_of("unit_unknown")) == i + 1, "it is logged")
        self.assertEqual(read(visit(self.units, rows[-1][:108])), b"")  # as long as can be: unknown, not malformed
        self.assertEqual(len(self.log_of("unit_refused")), 1)
        self.assertTrue(self.load("app.service", "developer"))
        self.assertEqual(self.daemon.log.count("\nb"), 0)

    def test_stopped_meanwhile(self):
        """Who is parked, and who comes then, is let go at once and without a byte."""
        self.emulator.fault("hang")
        waiting = [visit(self.units, address("app.service", "developer")) for _ in range(CONNECTIONS_MAX + 5)]
        eventually(lambda: self.emulator.requests() == 1, "they wait")
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual({read(s) for s in waiting}, {b""})
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.process = None
        self.assertTrue(all("stopping" in line for line in self.log_of("unit_refused")))
        self.assertFalse(os.path.exists(self.units), "the socket file is left")


class Rootless(UnitSocket):
    """Also without root: it starts, and HTTP is not spoken there."""

    def test_start(self):
        self.assertEqual(self.daemon.get("/healthz").status, 200)
        self.assertEqual(os.stat(self.units).st_mode & 0o777, 0o666)
        with visit(self.units, None) as s:
            self.assertEqual(read(s), b"")
        self.daemon.token("developer")


@NEEDS_ROOT
@unittest.skipUnless(WITH_SYSTEMD.exists(), f"NOT TESTED: needs {WITH_SYSTEMD.name}, to boot systemd")
class Booted(unittest.TestCase):
    """The service manager itself asks, and the unit has what it was given."""

    def write(self, name, text):
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(0o600)

    def unit(self, name, keys):
        self.write(f"{name}.service", f"[Service]\nType=oneshot\nDynamicUser=yes\nExecStart=/bin/cat %d/bot\n"
                                      f"StandardOutput=file:{self.directory}/{name}.out\n"
                                      f"LoadCredential=bot:/run/bearerd/units.sock\n{keys}")

    def test_units(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        token, longest = new_token(), "x" * (83 - len("bot") - len(".service"))
        self.write("token", token + "\n")
        self.write("bearerd.conf",
                   f"[daemon]\nsocket = /run/bearerd/bearerd.sock\nsocket_group = 0\nstate_dir = /run/bearerd/state\n"
                   f"[credential bot]\nprovider = coze.cn\ntype = pat\ntoken_file = {self.directory}/token\n"
                   f"allow_units = app.service {longest}.service\n"
                   f"[socket units]\npath = /run/bearerd/units.sock\nprotocol = systemd-credential\nmode = 0600\n")
        self.write("bearerd.service", f"[Service]\nType=notify\nRuntimeDirectory=bearerd\n"
                                      f"ExecStart={BEARERD} --config {self.directory}/bearerd.conf\n")
        for name in ("app", "other", longest):
            self.unit(name, "")
        self.unit("careful", "ExecStartPre=/usr/bin/test -s %d/bot\n")
        script = ("cp *.service /run/systemd/system/ && systemctl daemon-reload && systemctl start bearerd || exit\n"
                  f"for unit in app {longest} other careful; do systemctl start $unit; echo $? >$unit.code; done\n"
                  "journalctl -u bearerd -o cat >journal\n")
        done = subprocess.run([str(WITH_SYSTEMD), "--bind", str(self.directory), "--bind-ro",
                               str(pathlib.Path(BEARERD).parent), "--timeout", "60", "--", "/bin/sh", "-c", script],
                              cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=90, env=ENVIRONMENT)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = {name: ((self.directory / f"{name}.code").read_text().strip() == "0",
                         (self.directory / f"{name}.out").read_text() if (self.directory / f"{name}.out").exists()
                         else "") for name in ("app", longest, "other", "careful")}
        # a refused unit has an empty credential, and whether it starts with that is its own to say
        self.assertEqual(result, {"app": (True, token), longest: (True, token), "other": (True, ""),
                                  "careful": (False, "")})
        journal = (self.directory / "journal").read_text()
        self.assertEqual(journal.count("event=token_handed_out"), 2, journal)
        self.assertRegex(journal, r"event=access_refused outcome=use_denied .* unit=other\.service ")
        self.assertNotIn(token[:20], journal)


if __name__ == "__main__":
    main()
