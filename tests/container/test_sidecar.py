"""bearerd in a container beside the application: two containers, and the volume with the socket.

Each is what a container engine makes of it, see container: PID namespaces of their own, and sometimes user namespaces. So a caller
has the pid 0 here, or belongs to a user that the kernel cannot name.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import harness  # noqa: E402
from harness import BEARERCTL, BEARERD, LIMIT_S, Daemon, EndToEnd, eventually, main, new_token  # noqa: E402

HERE = pathlib.Path(__file__).parent
LIBBEARER = pathlib.Path(BEARERCTL).parent / "libbearer/libbearer.so.0"
PROGRAMS = [f"--volume={program}:/opt/{pathlib.Path(program).name}:ro" for program in (BEARERD, BEARERCTL, LIBBEARER)]
SIDECAR = 4711  # its user, whom no passwd file knows
APP = 2000

# What an application does: a token each time it needs one. It ends with an error, or when its input ends.
ASKS = """
import ctypes, sys
lib = ctypes.CDLL("/opt/libbearer.so.0")
lib.bearer_token_value.restype = lib.bearer_error_text.restype = ctypes.c_char_p
lib.bearer_token_value.argtypes = lib.bearer_token_unref.argtypes = [ctypes.c_void_p]
for line in sys.stdin:
    client, token = ctypes.c_void_p(), ctypes.c_void_p()
    assert lib.bearer_new(ctypes.byref(client), None) == 0
    if lib.bearer_get(client, b"bot", None, ctypes.byref(token)) < 0:
        sys.exit(lib.bearer_error_text().decode())
    print(lib.bearer_token_value(token).decode(), flush=True)
    lib.bearer_token_unref(token)
    lib.bearer_free(client)
"""


def container(*arguments):
    return [sys.executable, str(HERE / "container"), *PROGRAMS, *map(str, arguments)]


class Sidecar(Daemon):
    """bearerd in its container: the configuration, the secrets, the state and the socket are volumes."""

    user, options = SIDECAR, ()

    def __init__(self, directory, configuration):
        super().__init__(directory, configuration)
        self.shared = self.directory / "run"
        self.socket = str(self.shared / "bearerd.sock")
        for volume in (self.shared, self.directory / "volume"):
            volume.mkdir()
            volume.chmod(0o777)  # as engines make them
        self.state_dir = self.directory / "volume/state"

    def launch(self, *arguments):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                container("--user", self.user, *self.options, "--volume", f"{self.directory}/etc:/etc/bearerd:ro",
                          "--volume", f"{self.shared}:/run/bearerd", "--volume", f"{self.directory}/volume:/var/lib/bearerd",
                          "--env", "CREDENTIALS_DIRECTORY=/etc/bearerd/secrets", "--", "/opt/bearerd", *arguments),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pid_1(self):
        """As it is numbered out here."""
        [pid] = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(pid)


@harness.NEEDS_ROOT
class Container(EndToEnd):
    daemon_class = Sidecar

    @classmethod
    def setUpClass(cls):
        done = subprocess.run(container("--", "true"), capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest(f"NOT TESTED: this machine allows no containers: {done.stderr[-300:]}")

    def configuration(self):
        """Everything is below /etc/bearerd, where an image or a volume has it; secrets have the modes that engines give them."""
        etc = self.directory / "etc"
        (etc / "secrets/..data").mkdir(parents=True)
        shutil.copy(self.emulator.directory / "ca.pem", etc)
        shutil.copy(self.emulator.console_file("developer"), etc / "secrets/..data/bot.json")
        (etc / "secrets/..data/bot.json").chmod(0o444)
        (etc / "secrets/bot.json").symlink_to("..data/bot.json")  # as in Kubernetes
        hook = etc / "hook"
        hook.write_text("#!/bin/sh\nsleep 0.05 &\necho >>/var/lib/bearerd/ran\n")  # what it leaves behind is PID 1's
        hook.chmod(0o755)
        (etc / "bearerd.conf").write_text(
            f"[daemon]\nsocket_mode = 0666\nstate_dir = /var/lib/bearerd/state\nlog_level = debug\n"
            f"[provider coze-test]\ndialect = coze\napi_url = https://localhost:{self.emulator.port}\n"
            f"www_url = https://localhost:{self.emulator.port}\nca_file = /etc/bearerd/ca.pem\n"
            f"[credential bot]\nprovider = coze-test\nconfig_file = %d/bot.json\non_change = /etc/bearerd/hook\n"
            f"[credential mine]\nprovider = coze-test\ntype = pat\n"
            f"[credential hers]\nprovider = coze-test\ntype = pat\nallow_users = {APP}\n"
            f"[credential his]\nprovider = coze-test\ntype = pat\nallow_users = root, {APP + 1}\n"
            f"[credential units]\nprovider = coze-test\ntype = pat\nallow_units = *\n"
            f"[socket app1]\npath = /run/bearerd/app1/bearerd.sock\ncredentials = mine\nmode = 0666\n")
        return ""

    def app(self, *command, user=APP, options=(), shared=None, stdin=None):
        """The application's container, until it ends."""
        return subprocess.run(container("--user", user, *options, "--volume", f"{shared or self.daemon.shared}:/run/bearerd:ro",
                                        "--", *command), input=stdin, capture_output=True, text=True, timeout=LIMIT_S + 10,
                              check=False)

    def status(self, path, **how):
        return self.app("curl", "--silent", "--unix-socket", "/run/bearerd/bearerd.sock", "-o", "/dev/null",
                        "-w", "%{http_code}", f"http://localhost{path}", **how).stdout


class Test(Container):
    def test_token(self):
        """By curl, by the command line and by the library; the log says who it was, as far as anybody can know."""
        done = self.app("curl", "--silent", "--fail", "--unix-socket", "/run/bearerd/bearerd.sock", "http://localhost/v1/token/bot")
        token = json.loads(done.stdout)["access_token"]
        self.daemon.secrets.add(token)
        self.assertTrue(self.emulator.accepts(token))
        self.assertEqual(self.app("/opt/bearerctl", "get", "bot").stdout, token + "\n")
        done = self.app("/usr/bin/python3", "-c", ASKS, stdin="\n\n")
        self.assertEqual((done.returncode, done.stdout), (0, f"{token}\n" * 2), done.stderr)
        eventually(lambda: f"outcome=handed_out uid={APP} gid={APP} pid=0 unit=- credential=bot" in self.daemon.log, "who it was")

    def test_health(self):
        """What a health check of an image runs."""
        self.daemon.token("bot")
        self.assertEqual(self.app("/opt/bearerctl", "health").returncode, 0)
        self.daemon.stop()
        self.assertEqual(self.app("/opt/bearerctl", "health").returncode, 3)

    def test_who(self):
        """Numbers of users are the same in every container that has no user namespace. A unit cannot be known."""
        for credential in ("hers", "his", "units"):
            self.daemon.set(credential, new_token())
        self.assertEqual([self.status(f"/v1/token/{c}") for c in ("hers", "his", "units")], ["200", "403", "403"])
        self.assertEqual([self.status(f"/v1/token/{c}", user=APP + 1) for c in ("hers", "his", "units")], ["403", "200", "403"])

    def test_mapped_app(self):
        """Root of a user namespace is whom it is mapped to, and nobody's administrator."""
        self.daemon.set("his", new_token())
        mapped = {"user": 0, "options": ("--map", "100000")}
        self.assertEqual(self.status("/v1/token/his", **mapped), "403")
        self.assertEqual(self.status("/v1/credentials/mine/subjects", **mapped), "403")
        self.assertEqual(self.status("/v1/token/bot", **mapped), "200")
        self.assertIn("outcome=use_denied uid=100000 gid=100000 pid=0", self.daemon.log)

    def test_socket_of_its_own(self):
        """Who has only that directory sees only what is meant for it."""
        self.daemon.set("mine", new_token())
        shared = self.daemon.shared / "app1"
        self.assertEqual(self.status("/v1/token/mine", shared=shared), "200")
        self.assertEqual(self.status("/v1/token/bot", shared=shared), "404")
        self.assertEqual(self.app("/opt/bearerctl", "list", shared=shared).stdout, "mine\n")

    def test_restart(self):
        """Of the broker's container: the application waits, and goes on. What is in the volume stays."""
        with subprocess.Popen(container("--user", APP, "--volume", f"{self.daemon.shared}:/run/bearerd", "--",
                                        "/usr/bin/python3", "-c", ASKS), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as app:
            self.addCleanup(app.kill)

            def ask():
                app.stdin.write("\n")
                app.stdin.flush()

            ask()
            self.daemon.secrets.add(app.stdout.readline().strip())
            self.daemon.set("mine", new_token())
            self.assertEqual(self.daemon.stop(), 0)
            ask()  # nobody listens
            self.daemon.start()
            token = app.stdout.readline().strip()
            self.daemon.secrets.add(token)
            self.assertTrue(self.emulator.accepts(token))
            self.daemon.kill()  # as an engine does that is out of patience; the socket is left
            ask()
            self.daemon.start()
            token = app.stdout.readline().strip()
            self.daemon.secrets.add(token)
            self.assertTrue(self.emulator.accepts(token))
            app.stdin.close()
            self.assertEqual(app.wait(LIMIT_S), 0)
        self.assertEqual(self.status("/v1/token/mine"), "200")

    def test_volumes_of_others(self):
        """What cannot be written to, or can be by everybody: it says so, and what to do."""
        self.daemon.token("bot")
        self.daemon.stop()
        self.daemon.shared.chmod(0o755)
        self.assertIn(f"user {SIDECAR} has to be able to write in its directory", self.daemon.fails_to_start())
        self.daemon.shared.chmod(0o777)
        conf = self.directory / "etc/bearerd.conf"
        conf.write_text(conf.read_text().replace("/var/lib/bearerd/state", "/var/lib/bearerd"))
        self.assertIn("name a directory below it, which bearerd makes", self.daemon.fails_to_start())

    def test_new_volume(self):
        """Without its state it begins anew: service apps go on, people have to act again."""
        self.daemon.set("mine", new_token())
        self.assertEqual(self.daemon.stop(), 0)
        shutil.rmtree(self.daemon.state_dir)
        self.daemon.start()
        self.assertEqual((self.status("/v1/token/bot"), self.status("/v1/token/mine")), ("200", "409"))

    def test_pid_1(self):
        """What commands leave behind is not left a zombie, and SIGTERM ends it, who is PID 1."""
        children = pathlib.Path(f"/proc/{self.daemon.pid_1()}/task/{self.daemon.pid_1()}/children")
        ran = self.directory / "volume/ran"
        for n, subject in enumerate(("", "?subject=alice", "?subject=bob")):
            self.daemon.token("bot", subject)
            eventually(lambda: ran.exists() and len(ran.read_text()) > n, "the command runs, and leaves something behind")
        eventually(lambda: children.read_text() == "", "nothing of it is left")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertIn("event=stopped", self.daemon.log)


class Mapped(Sidecar):
    """It is in a user namespace, and the application is not."""

    user, options = 0, ("--map", 100000)


class MappedTest(Container):
    daemon_class = Mapped

    def test_overflow(self):
        """Who has no number there is nobody: no rule matches, not even that of the number it is shown as. Root of outside, too."""
        for user in (APP, 0, 65534):
            self.assertEqual([self.status(f"/v1/token/{c}", user=user) for c in ("bot", "his", "hers")], ["200", "403", "403"])
            self.assertEqual(self.status("/v1/credentials/mine/subjects", user=user), "403")
        self.assertEqual(self.status("/v1/credentials/mine/subjects", user=0, options=("--map", "100000")), "200")
        self.assertIn("outcome=use_denied uid=65534 gid=65534 pid=0", self.daemon.log)


if __name__ == "__main__":
    main()
