"""Start, stop, start again; two daemons; what is left behind."""

import os
import pathlib
import re
import signal
import socket
import stat
import time
import unittest

from harness import LIMIT_S, WRAPPER, Daemon, EndToEnd, eventually, main, new_token


class Life(EndToEnd):
    def second(self, name, **replaced):
        """Another daemon on the first one's configuration, but for what is replaced."""
        directory = self.directory / name
        directory.mkdir()
        text = self.daemon.conf.read_text()
        for key, value in replaced.items():
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
        daemon = Daemon(directory, text)
        self.addCleanup(self.leave, daemon)
        return daemon


class StartAndStop(Life):
    def sections(self):
        return "[credential spare]\nprovider = coze-test\ntype = pat\n"

    def test_restart(self):
        """Tokens of the provider are fetched anew, what was set stays."""
        token = new_token()
        self.daemon.set("spare", token)
        first = self.daemon.token("developer").token
        self.daemon.restart()
        self.assertEqual(self.daemon.token("spare").token, token)
        self.assertNotEqual(self.daemon.token("developer").token, first)

    def test_stop_leaves_nothing(self):
        self.assertEqual(self.daemon.stop(), 0)
        self.assertFalse(os.path.exists(self.daemon.socket), "the socket file is left")

    def test_interrupt(self):
        """^C at a terminal ends it as well."""
        self.daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.process = None

    def test_stop_answers_who_waits(self):
        """They are told at once, and do not find the connection cut."""
        self.emulator.fault("hang")
        callers = [self.daemon.send("GET", f"/v1/token/{name}?wait=120")
                   for name in ("developer", "channel", "enterprise") for _ in range(5)]
        eventually(lambda: self.emulator.requests() == 3, "all are waiting")
        eventually(lambda: self.daemon.view("enterprise")["state"] == "renewing", "all are parked")
        self.daemon.process.send_signal(signal.SIGTERM)
        for caller in callers:
            answer = self.assertStatus(caller.answer(), 503, "temporarily_unavailable")
            self.assertRegex(answer.description, "stopping|restart")
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.process = None

    def test_stop_with_connections_that_say_nothing(self):
        idle = [self.daemon.connect() for _ in range(20)]
        idle[0].sendall(b"GET /v1/token/devel")
        idle[1].sendall(b"POST /v1/token/developer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        self.assertEqual(self.daemon.stop(), 0)
        for s in idle:
            s.close()

    def test_stop_twice(self):
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.process = None

    def test_stop_while_tokens_are_set(self):
        """What was answered with 200 is there afterwards."""
        tokens = [new_token() for _ in range(50)]
        self.daemon.secrets.update(tokens)
        callers = [self.daemon.send("PUT", "/v1/credentials/spare/secret", {"token": token}) for token in tokens]
        self.assertStatus(callers[0].answer(), 200)
        code = self.daemon.stop()
        self.assertEqual(code, 0)
        for caller in callers[1:]:
            caller.connection.close()
        self.daemon.start()
        self.assertIn(self.daemon.token("spare").token, tokens)

    def test_killed(self):
        """A socket file without a daemon behind it is taken over."""
        for _ in range(3):
            self.daemon.kill()
            self.assertTrue(os.path.exists(self.daemon.socket))
            self.daemon.start()
        self.daemon.token("developer")


class Places(Life):
    def test_socket_mode(self):
        mode = stat.S_IMODE(os.stat(self.daemon.socket).st_mode)
        self.assertEqual(oct(mode), oct(0o666))
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace("socket_mode = 0666", "socket_mode = 0600"))
        self.daemon.restart()
        self.assertEqual(oct(stat.S_IMODE(os.stat(self.daemon.socket).st_mode)), oct(0o600))

    def test_default_mode(self):
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace("socket_mode = 0666\n", ""))
        self.daemon.restart()
        self.assertEqual(oct(stat.S_IMODE(os.stat(self.daemon.socket).st_mode)), oct(0o660))

    def test_state_is_private(self):
        """Whatever the umask was: nobody else reads the key or the database."""
        self.assertEqual(oct(stat.S_IMODE(self.daemon.state_dir.stat().st_mode)), oct(0o700))
        files = [p for p in self.daemon.state_dir.iterdir() if p.is_file()]
        self.assertIn("bearerd.key", [p.name for p in files])
        self.assertIn("bearerd.db", [p.name for p in files])
        for path in files:
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertEqual((self.daemon.state_dir / "bearerd.key").stat().st_size, 32)

    @unittest.skipIf(WRAPPER, "NOT TESTED: the limits would be the wrapper's")
    def test_no_core_dump(self):
        limits = pathlib.Path(f"/proc/{self.daemon.process.pid}/limits").read_text()
        self.assertRegex(limits, r"Max core file size +0 +0 ")

    def test_directory_of_the_socket_is_made(self):
        deeper = self.directory / "run" / "bearerd.sock"
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace(
            f"socket = {self.daemon.socket}\n", f"socket = {deeper}\n"))
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.socket = str(deeper)
        self.daemon.start()

    def test_something_in_the_way(self):
        """A file that is no socket is somebody's, and stays."""
        self.daemon.stop()
        path = pathlib.Path(self.daemon.socket)
        for make in (lambda: path.write_text("mine"), path.mkdir, lambda: path.symlink_to(self.daemon.conf)):
            make()
            said = self.daemon.fails_to_start()
            self.assertIn(str(path), said)
            self.assertTrue(os.path.lexists(path), "it was removed")
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.daemon.start()

    def test_no_place_for_the_socket(self):
        self.daemon.stop()
        deep = self.directory / "a" / "b" / "c" / "bearerd.sock"
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace(
            f"socket = {self.daemon.socket}\n", f"socket = {deep}\n"))
        self.assertIn(str(deep.parent), self.daemon.fails_to_start())


class Two(Life):
    def test_same_state_dir(self):
        """Each refresh token works once: the second daemon must not even start."""
        second = self.second("two", socket=f"{self.directory}/two/bearerd.sock")
        said = second.fails_to_start()
        self.assertIn(str(self.daemon.state_dir), said)
        self.assertIn("another", said)
        self.daemon.token("developer")
        self.assertEqual(self.daemon.stop(), 0)
        second.start()
        second.token("developer")
        self.assertEqual(second.stop(), 0)

    def test_same_socket(self):
        second = self.second("two", state_dir=f"{self.directory}/two/state")
        said = second.fails_to_start()
        self.assertIn(self.daemon.socket, said)
        self.daemon.token("developer")

    def test_two_that_share_nothing(self):
        second = self.second("two", socket=f"{self.directory}/two/bearerd.sock",
                             state_dir=f"{self.directory}/two/state")
        second.start()
        self.assertNotEqual(second.token("developer").token, self.daemon.token("developer").token)
        self.assertEqual(second.stop(), 0)
        self.daemon.token("developer")

    def test_first_one_was_killed(self):
        """A lock dies with who holds it."""
        second = self.second("two", socket=f"{self.directory}/two/bearerd.sock")
        self.daemon.kill()
        second.start()
        self.assertEqual(second.stop(), 0)

    def test_somebody_else_at_the_socket(self):
        """A server that is not ours listens there: it is not pushed aside, not even when it is busy."""
        self.daemon.stop()
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.daemon.socket)
            s.listen(0)
            said = self.daemon.fails_to_start()
            self.assertIn(self.daemon.socket, said)
            self.assertTrue(os.path.exists(self.daemon.socket))
        os.unlink(self.daemon.socket)


class Damage(Life):
    """The state directory is not what it was: a clear error, nothing overwritten."""

    def sections(self):
        return "[credential spare]\nprovider = coze-test\ntype = pat\n"

    def setUp(self):
        super().setUp()
        self.token = new_token()
        self.daemon.set("spare", self.token)
        self.assertEqual(self.daemon.stop(), 0)
        self.key = self.daemon.state_dir / "bearerd.key"
        self.db = self.daemon.state_dir / "bearerd.db"

    def check_refused(self, *words):
        kept = {p: p.read_bytes() for p in (self.key, self.db) if p.exists()}
        said = self.daemon.fails_to_start()
        for word in words:
            self.assertIn(str(word), said)
        for path, content in kept.items():
            self.assertEqual(path.read_bytes(), content, f"{path} was changed")

    def check_mended(self):
        self.daemon.start()
        self.assertEqual(self.daemon.token("spare").token, self.token)

    def test_wrong_key(self):
        good = self.key.read_bytes()
        self.key.write_bytes(os.urandom(32))
        self.check_refused(self.key)
        self.key.write_bytes(good)
        self.check_mended()

    def test_missing_key(self):
        """A new one would make all that is stored unreadable for good."""
        good = self.key.read_bytes()
        self.key.unlink()
        self.check_refused(self.key)
        self.assertFalse(self.key.exists())
        self.key.write_bytes(good)
        self.key.chmod(0o600)
        self.check_mended()

    def test_short_key(self):
        good = self.key.read_bytes()
        self.key.write_bytes(good[:31])
        self.check_refused(self.key, "32")
        self.key.write_bytes(good)
        self.check_mended()

    def test_key_that_others_can_read(self):
        self.key.chmod(0o644)
        self.check_refused(self.key, "chmod")
        self.key.chmod(0o600)
        self.check_mended()

    def test_database_of_something_else(self):
        good = self.db.read_bytes()
        self.db.write_bytes(b"hello, this is no database\n" * 100)
        self.check_refused(self.db)
        self.db.write_bytes(good)
        self.check_mended()

    def test_directory_that_others_can_write_to(self):
        self.daemon.state_dir.chmod(0o777)
        self.check_refused(self.daemon.state_dir)
        self.daemon.state_dir.chmod(0o700)
        self.check_mended()


class Idle(Life):
    """A daemon that has nothing to do does nothing."""

    @unittest.skipIf(WRAPPER, "NOT TESTED: the time would be the wrapper's")
    def test_no_busy_loop(self):
        """After every kind of event. 200 ms of processor time in a second would be a fifth of a core."""
        self.emulator.fault("internal_error")
        self.daemon.get("/v1/token/channel?wait=1")
        self.emulator.heal()
        self.emulator.fault("hang")
        held = self.daemon.send("GET", "/v1/token/enterprise?wait=30")
        half = self.daemon.connect()
        half.sendall(b"GET /v1")
        gone = self.daemon.connect()
        gone.shutdown(socket.SHUT_WR)
        self.daemon.get("/healthz")

        def ticks():
            fields = pathlib.Path(f"/proc/{self.daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        begin, used = time.monotonic(), ticks()
        eventually(lambda: time.monotonic() - begin > 1, "a second goes by")
        self.assertLess((ticks() - used) / os.sysconf("SC_CLK_TCK"), 0.2)
        self.assertFalse(held.is_answered())
        for s in (half, gone, held.connection):
            s.close()


if __name__ == "__main__":
    main()
