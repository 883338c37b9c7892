"""Reload and restart: a new configuration, whole or not at all, and a successor, without a failed call."""

import os
import pathlib
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

from harness import (BEARERCTL, BEARERD, ENVIRONMENT, LIMIT_S, NEEDS_ROOT, WRAPPER, Connection, EndToEnd, as_user,
                     connect, eventually, main, new_token)


class Load:
    """Callers who ask without pause, some on one connection for ever, some on a new one each time."""

    def __init__(self, path, credential, callers=4):
        self.path, self.target = path, f"/v1/token/{credential}"
        self.stop, self.answers, self.problems = threading.Event(), [0] * callers, []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(callers)]
        for t in self.threads:
            t.start()

    def ask(self, connection):
        connection.request("GET", self.target)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            self.problems.append(f"HTTP {response.status}")
        return response

    def run(self, i):
        connection = Connection(self.path)
        while not self.stop.is_set():
            try:
                if i % 2 or not connection.sock:
                    connection.close()
                response = self.ask(connection)
            except (BrokenPipeError, ConnectionError):
                # closed between requests: RFC 9112 section 9.3.1, a client asks again on a new one
                connection.close()
                try:
                    response = self.ask(connection)
                except OSError as e:
                    self.problems.append(repr(e))
                    return
            except OSError as e:
                self.problems.append(repr(e))
                return
            if response.headers.get("Connection") == "close":
                connection.close()
            self.answers[i] += 1
        connection.close()

    def goes_on(self, n=20):
        """Everybody gets so many more answers."""
        before = list(self.answers)
        eventually(lambda: self.problems or all(a >= b + n for a, b in zip(self.answers, before)), "the load goes on")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        return self.problems


class Reloads(EndToEnd):
    def sections(self):
        return """
            [credential spare]
            provider = coze-test
            type = pat
        """

    def write(self, more="", edit=lambda text: text):
        self.daemon.conf.write_text(edit(self.configuration()) + more)

    def reload(self):
        return self.daemon.ask("POST", "/v1/reload")

    def reloaded(self):
        return self.assertStatus(self.reload(), 200).json


class Credentials(Reloads):
    def test_nothing(self):
        token = self.daemon.token("developer").token
        requests = self.emulator.requests()
        said = self.reloaded()
        for part in ("credentials", "sockets", "providers"):
            self.assertEqual(said[part], {"added": [], "changed": [], "removed": []})
        self.assertEqual(self.daemon.token("developer").token, token)
        self.assertEqual(self.emulator.requests(), requests)

    def test_added_changed_removed(self):
        kept = self.daemon.token("channel").token
        changed = self.daemon.token("developer").token
        self.write("\n[credential more]\nprovider = coze-test\ntype = pat\n",
                   lambda text: text.replace("[credential spare]\nprovider = coze-test\ntype = pat\n", "")
                   .replace("[credential developer]", "[credential developer]\nsession_name = alice"))
        said = self.reloaded()["credentials"]
        self.assertEqual(said, {"added": ["more"], "changed": ["developer"], "removed": ["spare"]})
        self.assertEqual(self.daemon.token("channel").token, kept)
        self.assertNotEqual(self.daemon.token("developer").token, changed)
        self.assertStatus(self.daemon.get("/v1/token/spare"), 404, "not_found")
        self.assertStatus(self.daemon.get("/v1/token/more"), 409, "authorization_required")
        self.daemon.set("more", token := new_token())
        self.assertEqual(self.daemon.token("more").token, token)

    def test_static_token_comes_back(self):
        """What was set at run time is on the disk, whatever the configuration says meanwhile."""
        self.daemon.set("spare", token := new_token())
        self.write(edit=lambda text: text.replace("[credential spare]\nprovider = coze-test\ntype = pat\n", ""))
        self.reloaded()
        self.write()
        self.reloaded()
        self.assertEqual(self.daemon.token("spare").token, token)

    def test_token_file(self):
        """It is read again."""
        file = self.directory / "token"
        file.write_text(first := new_token())
        file.chmod(0o600)
        self.daemon.secrets.add(first)
        self.write(f"\n[credential filed]\nprovider = coze-test\ntype = pat\ntoken_file = {file}\n")
        self.reloaded()
        self.assertEqual(self.daemon.token("filed").token, first)
        file.write_text(second := new_token())
        self.daemon.secrets.add(second)
        self.assertEqual(self.reloaded()["credentials"]["changed"], ["filed"])
        self.assertEqual(self.daemon.token("filed").token, second)

    def test_who_waits(self):
        """For one that stays, to the end; for one that is removed, with an answer."""
        self.emulator.fault("hang")
        gone = self.daemon.send("GET", "/v1/token/channel?wait=60")
        stays = self.daemon.send("GET", "/v1/token/enterprise?wait=60")
        changes = self.daemon.send("GET", "/v1/token/developer?wait=60")
        eventually(lambda: self.emulator.requests() == 3, "all wait")
        self.write(edit=lambda text: text.replace("[credential channel]", "[credential canal]")
                   .replace("[credential developer]", "[credential developer]\nsession_name = alice"))
        self.reloaded()
        self.assertStatus(gone.answer(), 404, "not_found")
        eventually(lambda: self.emulator.requests() == 4, "the changed one is asked for anew")
        for caller in (stays, changes):
            self.assertFalse(caller.is_answered(), "it was disturbed")
            caller.connection.close()

    def test_right_revoked_on_a_kept_connection(self):
        connection = Connection(self.daemon.socket)
        self.addCleanup(connection.close)

        def status(path):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return response.status

        self.daemon.token("developer")
        self.assertEqual(status("/v1/token/developer"), 200)
        kept = connection.sock
        self.write(edit=lambda text: text.replace("[credential developer]",
                                                  "[credential developer]\nallow_users = 4711"))
        self.reloaded()
        self.assertEqual(status("/v1/token/developer"), 403)
        self.write()
        self.reloaded()
        self.assertEqual(status("/v1/token/developer"), 200)
        self.assertIs(connection.sock, kept, "it was not one connection")

    @NEEDS_ROOT
    def test_right_to_reload(self):
        def status():
            return self.daemon.ask("POST", "/v1/reload").status

        self.assertEqual(as_user(4711, status), 403)


class Refusals(Reloads):
    def check_refused(self, *words):
        answer = self.assertStatus(self.reload(), 400, "invalid_request")
        for word in words:
            self.assertIn(word, answer.description)
        return answer.json["problems"]

    def test_every_mistake_is_told(self):
        token = self.daemon.token("developer").token
        self.write("\n[credential bad]\nprovider = coze-tset\ntype = pat\nspeed = 9\n")
        problems = self.check_refused("old one stays")
        self.assertEqual(len(problems), 2)
        for problem in problems:
            self.assertRegex(problem, r"bearerd\.conf:\d+: \[credential bad\] \w+")
        self.assertEqual(self.daemon.token("developer").token, token)
        self.assertStatus(self.daemon.get("/v1/token/bad"), 404, "not_found")
        said = self.bearerctl("reload")
        self.assertEqual(said.returncode, 1)
        for problem in problems:
            self.assertIn(problem, said.stderr)
        self.assertIn("event=reload_refused", self.daemon.log)
        self.write()
        said = self.bearerctl("reload")
        self.assertEqual(said.returncode, 0)
        self.assertIn("reloaded", said.stdout)

    def test_what_takes_a_restart(self):
        self.write(edit=lambda text: text.replace("/state\n", "/elsewhere\n"))
        self.check_refused("state_dir", "restart")
        self.write(edit=lambda text: text.replace("[daemon]\n", f"[daemon]\nkey_file = {self.directory}/key\n"))
        self.check_refused("key_file", "restart")

    def test_where_it_may_not_write(self):
        """What it gave up at start, a reload does not bring back; a restart does."""
        if "landlock=0" in self.daemon.log:
            self.skipTest("NOT TESTED: this kernel has no Landlock")
        other = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-"))
        self.addCleanup(shutil.rmtree, other)
        path = str(other / "bearerd.sock")
        self.write(f"\n[socket other]\npath = {path}\n")
        self.check_refused(path, "needs a restart", "systemctl restart bearerd")
        self.write(edit=lambda text: text.replace("[credential developer]\n",
                                                  f"[credential developer]\ntoken_file_out = {other}/token\n"))
        self.check_refused("[credential developer] token_file_out needs a restart")
        self.write(edit=lambda text: text.replace("[credential developer]\n", "[credential developer]\non_change = /bin/true\n"))
        [warning] = self.reloaded()["warnings"]
        self.assertIn("[credential developer] its command can write only where bearerd may", warning)
        below = str(self.directory / "below/bearerd.sock")
        self.write(f"\n[socket other]\npath = {below}\n")
        self.assertEqual(self.reloaded()["sockets"]["added"], [below])
        self.write(f"\n[socket other]\npath = {path}\n")
        self.daemon.restart()
        self.assertEqual(self.daemon.get("/healthz", socket=path).status, 200)

    def test_socket_that_cannot_be_had(self):
        """Nothing of the rest is taken either."""
        taken = str(self.directory / "taken")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(taken)
            s.listen()
            self.write(f"\n[credential more]\nprovider = coze-test\ntype = pat\n"
                       f"[socket a]\npath = {self.directory}/a\n[socket b]\npath = {taken}\n")
            self.check_refused(taken)
        self.assertStatus(self.daemon.get("/v1/token/more"), 404, "not_found")
        self.assertFalse(os.path.exists(self.directory / "a"), "a socket is left")

    def test_hang_up(self):
        """SIGHUP reloads, and a mistake does not end the daemon."""
        self.write("\n[credential more]\nprovider = coze-test\ntype = pat\n")
        self.daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.daemon.get("/v1/token/more").status == 409, "it is reloaded")
        self.write("nonsense\n")
        self.daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "event=reload_refused" in self.daemon.log, "it is refused")
        self.assertStatus(self.daemon.get("/v1/token/more"), 409)


class Limits(Reloads):
    def change(self, keys):
        self.write(edit=lambda text: text.replace("[daemon]\n", f"[daemon]\n{keys}\n", 1))
        self.reloaded()

    def test_audit(self):
        self.daemon.token("developer")
        eventually(lambda: "event=token_handed_out" in self.daemon.log, "all of it")
        self.change("audit = refusals")
        before = len(self.daemon.log)
        self.daemon.token("channel")
        self.change("audit = all")
        self.daemon.token("enterprise")
        eventually(lambda: "credential=enterprise subject=" in self.daemon.log[before:], "all of it again")
        self.assertNotRegex(self.daemon.log[before:], "event=token_handed_out.* credential=channel ")

    def test_connections(self):
        """Those that are there stay, until they are idle for too long."""
        kept = [connect(self.daemon.socket) for _ in range(4)]
        for s in kept:
            self.addCleanup(s.close)
        self.change("connections_per_user = 2")
        eventually(lambda: self.daemon.is_alive() and sum(bool(select.select([s], [], [], 0)[0]) for s in kept) > 1,
                   "the oldest give way to those that come")
        idle = Connection(self.daemon.socket)
        self.addCleanup(idle.close)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        self.change("idle_timeout = 1s")
        self.assertEqual(idle.sock.recv(1), b"")

    def test_authorizations(self):
        start = {"subject": "alice"}
        self.change("authorizations_per_user = 1")
        path = "/v1/credentials/device/authorizations"
        self.assertStatus(self.daemon.post(path, start), 201)
        self.assertStatus(self.daemon.post(path, {"subject": "bob"}), 429, "slow_down")
        self.change("authorizations_per_user = 2")
        self.assertStatus(self.daemon.post(path, {"subject": "bob"}), 201)


class SlowNames(Reloads):
    """The name service knows one user only after a long time."""

    def start(self):
        self.fifo = self.directory / "fifo"
        os.mkfifo(self.fifo)
        more = {"LD_PRELOAD": os.environ["SLOW_NAMES"], "SLOW_NAMES_FIFO": str(self.fifo), "ASAN_OPTIONS": "verify_asan_link_order=0"}
        with mock.patch.dict(ENVIRONMENT, more):
            self.daemon.start()

    def test_renewals_go_on(self):
        self.write(edit=lambda text: text.replace("[daemon]\n", "[daemon]\nadmin_users = slow\n", 1))
        reload = self.daemon.send("POST", "/v1/reload")
        with open(self.fifo, "w"):  # it is being asked now, and has to wait
            first = self.daemon.token("developer")
            self.daemon.token("developer", f"?rejected={first.json['fingerprint']}")
            self.assertFalse(reload.is_answered())
        answer = self.assertStatus(reload.answer(), 400)
        self.assertIn("names a user that does not exist here: slow", answer.text)
        self.write()
        self.reloaded()


class Sockets(Reloads):
    def test_added_changed_removed(self):
        extra = str(self.directory / "extra")
        self.write(f"\n[socket extra]\npath = {extra}\ncredentials = developer\nmode = 0600\n")
        self.assertEqual(self.reloaded()["sockets"]["added"], [extra])
        self.assertEqual(stat.S_IMODE(os.stat(extra).st_mode), 0o600)
        self.assertStatus(self.daemon.get("/v1/token/developer", socket=extra), 200)
        self.assertStatus(self.daemon.get("/v1/token/channel", socket=extra), 404)

        kept = Connection(extra)
        self.addCleanup(kept.close)
        self.write(f"\n[socket extra]\npath = {extra}\ncredentials = channel\nmode = 0666\n")
        self.assertEqual(self.reloaded()["sockets"]["changed"], [extra])
        self.assertEqual(stat.S_IMODE(os.stat(extra).st_mode), 0o666)
        kept.request("GET", "/v1/token/developer")
        self.assertEqual((response := kept.getresponse()).status, 404)
        response.read()
        self.assertStatus(self.daemon.get("/v1/token/channel", socket=extra), 200)

        self.write()
        self.assertEqual(self.reloaded()["sockets"]["removed"], [extra])
        self.assertFalse(os.path.exists(extra), "the socket file is left")
        self.assertEqual(kept.sock.recv(1), b"", "the connection outlives its socket")
        self.daemon.token("developer")


class UnderLoad(Reloads):
    def test_good_and_bad(self):
        self.daemon.token("channel")
        load = Load(self.daemon.socket, "channel")
        try:
            for i in range(5):
                self.write(f"\n[credential n{i}]\nprovider = coze-test\ntype = pat\n"
                           f"[socket s{i}]\npath = {self.directory}/s{i}\n")
                self.reloaded()
                load.goes_on()
                self.write("nonsense\n")
                self.assertStatus(self.reload(), 400)
                load.goes_on()
        finally:
            problems = load.end()
        self.assertEqual(problems, [])
        self.assertEqual(self.emulator.requests(), 1, "a good token was dropped")


class Parent(Reloads):
    """A service manager in a few lines: it keeps the sockets, and hears what the daemon tells."""

    names = ("bearerd.socket", "app1")
    watchdog_us = None

    def setUp(self):
        self.listening, self.told = [], []
        super().setUp()

    def configuration(self):
        return super().configuration() + f"\n[socket app1]\npath = {self.directory}/app1\ncredentials = channel\n"

    def paths(self):
        return [self.daemon.socket, f"{self.directory}/elsewhere"]

    def start(self):
        for path in self.paths():
            s = socket.socket(socket.AF_UNIX)
            self.addCleanup(s.close)
            s.bind(path)
            s.listen(128)
            self.listening.append(s)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        self.notify.bind(str(self.directory / "notify"))
        self.notify.settimeout(LIMIT_S)
        self.launch()

    def launch(self):
        fds = [s.fileno() for s in self.listening]
        environment = {**ENVIRONMENT, "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(self.names),
                       "NOTIFY_SOCKET": str(self.directory / "notify")}
        if self.watchdog_us:
            environment["WATCHDOG_USEC"] = str(self.watchdog_us)
        code = ("import os, sys\n"
                f"fds = {fds}\n"
                "high = [os.dup(fd) for fd in fds]\n"
                "for i, fd in enumerate(high): os.dup2(fd, 3 + i)\n"
                "os.environ['LISTEN_PID'] = str(os.getpid())\n"
                "os.execvp(sys.argv[1], sys.argv[1:])\n")
        with open(self.daemon.log_file, "ab") as log:
            self.daemon.process = subprocess.Popen(
                [sys.executable, "-c", code, BEARERD, "--config", str(self.daemon.conf)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=fds)
        self.hear("READY=1")

    def hear(self, word):
        """The next message with this word; all before it are kept in self.told."""
        while True:
            try:
                message = self.notify.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"never told: {word}; but {self.told}") from None
            self.told.append(message)
            if word in message:
                return message


@unittest.skipIf(WRAPPER, "NOT TESTED: LISTEN_PID would be the wrapper's")
class Activation(Parent):
    def test_by_path_and_by_name(self):
        self.assertStatus(self.daemon.get("/v1/token/developer"), 200)
        elsewhere = self.paths()[1]
        self.assertStatus(self.daemon.get("/v1/token/channel", socket=elsewhere), 200)
        self.assertStatus(self.daemon.get("/v1/token/developer", socket=elsewhere), 404)
        self.assertFalse(os.path.exists(self.directory / "app1"), "it has made one all the same")
        self.assertEqual(self.daemon.stop(), 0)
        for path in self.paths():
            self.assertTrue(os.path.exists(path), "a socket of somebody else was removed")

    def test_restart_under_load(self):
        """Callers see latency, and no error."""
        self.daemon.token("channel")
        load = Load(self.daemon.socket, "channel")
        try:
            for _ in range(3):
                load.goes_on()
                self.assertEqual(self.daemon.stop(), 0)
                self.launch()
            load.goes_on()
        finally:
            problems = load.end()
        self.assertEqual(problems, [])

    def test_bearerctl_waits_for_the_successor(self):
        idle = connect(self.daemon.socket)
        self.addCleanup(idle.close)
        self.daemon.token("developer")
        self.assertEqual(self.daemon.stop(), 0)
        caller = subprocess.Popen([BEARERCTL, "--socket", self.daemon.socket, "get", "developer"],
                                  env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        self.launch()
        out, _ = caller.communicate(timeout=LIMIT_S)
        self.daemon.secrets.add(out.strip())
        self.assertEqual(caller.returncode, 0)


@unittest.skipIf(WRAPPER, "NOT TESTED: LISTEN_PID would be the wrapper's")
class Manager(Parent):
    watchdog_us = 600000

    def test_what_it_is_told(self):
        self.assertRegex(self.told[-1], r"READY=1\nSTATUS=.*\d+ ready.*needs authorization: ")
        self.daemon.set("spare", new_token())
        self.hear("STATUS=3 ready")
        self.write("nonsense\n")
        self.assertStatus(self.reload(), 400)
        self.assertRegex(self.hear("RELOADING=1"), r"MONOTONIC_USEC=\d+")
        self.assertRegex(self.hear("READY=1"), r"the last reload was refused: .*bearerd\.conf:\d+:")
        self.write()
        self.reloaded()
        self.hear("RELOADING=1")
        self.assertNotIn("refused", self.hear("READY=1"))
        self.hear("WATCHDOG=1")
        self.hear("WATCHDOG=1")
        self.assertEqual(self.daemon.stop(), 0)
        self.hear("STOPPING=1")


if __name__ == "__main__":
    main()
