#!/usr/bin/env python3
"""The installed service, under a systemd that booted for it: see boot.

Everything is done as an operator would: by systemctl, drop-ins and files in /etc. The provider is the emulator, on the
loopback of that system. Nothing here waits for time to pass: it waits for a condition, and gives up after LIMIT_S.

Environment: EMULATOR, the program. Usage: test_service.py, as root, inside boot.
"""

import hashlib
import http.server
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

EMULATOR = os.environ["EMULATOR"]
LIMIT_S = 60
EXAMPLES = pathlib.Path(__file__).resolve().parent.parent.parent / "client/examples"
SOCKET = "/run/bearerd/bearerd.sock"
ETC = pathlib.Path("/etc/bearerd")
DROP_INS = pathlib.Path("/etc/systemd/system/bearerd.service.d")
UNCONFIGURED = "51ac013d405040e8a4b0a3d7f4d9e9d4"
TPM = "swtpm:host=127.0.0.1,port=2321"  # what systemd was told when it booted

# Holds one thread as a debugger does, until its process is killed: PTRACE_SEIZE, PTRACE_INTERRUPT, and __WALL for all of it.
HOLD = """
import ctypes, os, sys
ptrace, tid = ctypes.CDLL(None).ptrace, int(sys.argv[1])
assert ptrace(0x4206, tid, None, None) == 0 and ptrace(0x4207, tid, None, None) == 0
while not os.WIFSIGNALED(status := os.waitpid(tid, 0x40000000)[1]):
    print("held", flush=True)
"""


def run(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def eventually(condition, what):
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT_S} s in vain: {what}")
        time.sleep(0.05)
    return value


def show(unit, name, *options):
    return run("systemctl", *options, "show", "--value", "-p", name, unit).stdout.strip()


def stands_still(pid):
    """Each of its threads is stopped; or it has been killed for that already."""
    try:
        return all((task / "stat").read_text().rsplit(")", 1)[1].split()[0] in "TtZX"
                   for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return True


def as_user(user, *command):
    """The command, for somebody else."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *command]


def in_unit(name, command, *properties, check=True):
    """Runs a shell command as a transient unit of that name; what it printed."""
    return run("systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={name}",
               *(word for p in properties for word in ("-p", p)), "/bin/sh", "-c", command, check=check)


def journal(*match):
    """The service's messages; what was just sent may be on its way."""
    run("journalctl", "--sync")
    text = run("journalctl", "--no-pager", "--quiet", "-o", "json", "-u", "bearerd.service", *match, check=False).stdout
    return [json.loads(line) for line in text.splitlines()]


class Load:
    """Callers who ask for a token over and over, on a connection of its own for each call."""

    def __init__(self, path, callers=4):
        self.answers, self.failures, self.over = 0, [], False
        self.path = path
        self.threads = [threading.Thread(target=self.ask) for _ in range(callers)]

    def ask(self):
        while not self.over:
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(LIMIT_S)
                    s.connect(self.path)
                    s.sendall(b"GET /v1/token/bot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    text = b"".join(iter(lambda: s.recv(65536), b""))
                if not text.startswith(b"HTTP/1.1 200 "):
                    self.failures.append(text[:200])
                self.answers += 1
            except OSError as e:
                self.failures.append(repr(e))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        eventually(lambda: self.answers > 20 or self.failures, "answers under load")
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()


class Booted(unittest.TestCase):
    """A provider, alice, who is in the group bearerd, and mallory, who is not."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        run("groupadd", "--force", "--system", "bearerd")
        run("useradd", "--create-home", "--shell", "/bin/sh", "alice")
        run("useradd", "--create-home", "--shell", "/bin/sh", "mallory")
        run("usermod", "--append", "--groups", "bearerd", "alice")
        cls.emulator = pathlib.Path("/srv/emulator")
        run("systemd-run", "--quiet", "--unit=emulator", EMULATOR, "--directory", str(cls.emulator))
        eventually(lambda: (cls.emulator / "port").exists(), "the emulator listens")
        cls.port = (cls.emulator / "port").read_text().strip()

    def configure(self, more="", drop_in=""):
        """One service app, `bot`, whose file the service manager hands over."""
        shutil.copy(self.emulator / "ca.pem", ETC)
        (ETC / "ca.pem").chmod(0o644)
        shutil.copy(self.emulator / "developer/coze_oauth_config.json", ETC / "bot.json")
        (ETC / "bot.json").chmod(0o600)
        (ETC / "bearerd.conf").write_text(
            f"[provider coze-test]\ndialect = coze\napi_url = https://localhost:{self.port}\n"
            f"www_url = https://localhost:{self.port}\nca_file = /etc/bearerd/ca.pem\n\n"
            f"[credential bot]\nprovider = coze-test\nconfig_file = %d/bot.json\n{more}")
        self.drop_in("credentials", drop_in or "LoadCredential=bot.json:/etc/bearerd/bot.json")

    def drop_in(self, name, text):
        DROP_INS.mkdir(exist_ok=True)
        (DROP_INS / f"{name}.conf").write_text(f"[Service]\n{text}\n")
        run("systemctl", "daemon-reload")

    def start(self):
        run("systemctl", "start", "bearerd.socket", "bearerd.service")

    def log(self):
        run("journalctl", "--sync")
        return run("journalctl", "--no-pager", "-n", "40", "-u", "bearerd.service").stdout

    def token(self, *command):
        """What the command prints is a token that the provider takes."""
        text = run(*command).stdout.strip() if command else run("bearerctl", "get", "bot").stdout.strip()
        self.assertGreater(len(text), 20, self.log())
        done = run("curl", "--silent", "--cacert", str(self.emulator / "ca.pem"), "-H", f"Authorization: Bearer {text}",
                   "-o", "/dev/null", "-w", "%{http_code}", f"https://localhost:{self.port}/v1/users/me")
        self.assertEqual(done.stdout, "200")
        return text


class Service(Booted):
    def setUp(self):
        """Stopped, without configuration: as after the installation."""
        self.stop()
        shutil.rmtree(DROP_INS, ignore_errors=True)
        shutil.rmtree(ETC, ignore_errors=True)
        ETC.mkdir()
        run("systemctl", "daemon-reload")

    def stop(self):
        run("systemctl", "stop", "bearerd.socket", "bearerd-units.socket", "bearerd.service", check=False)
        run("systemctl", "reset-failed", check=False)

    # What is installed

    def test_first_start(self):
        """Nothing is configured: it runs, and says what to do."""
        run("systemctl", "start", "bearerd.service")
        self.assertEqual(show("bearerd.service", "ActiveState"), "active")
        self.assertEqual(show("bearerd.socket", "ActiveState"), "active", "the service brings its socket")
        [event] = journal(f"MESSAGE_ID={UNCONFIGURED}", f"_SYSTEMD_INVOCATION_ID={show('bearerd.service', 'InvocationID')}")
        self.assertIn("/etc/bearerd/bearerd.conf", event["BEARERD_ADVICE"])
        self.assertEqual(event["PRIORITY"], "4")
        self.assertEqual(run("bearerctl", "health").returncode, 0)

    def test_user_and_directories(self):
        self.start()
        pid = show("bearerd.service", "MainPID")
        self.assertEqual(pathlib.Path(f"/proc/{pid}").stat().st_uid, int(run("id", "-u", "bearerd").stdout))
        state = pathlib.Path("/var/lib/bearerd").stat()
        self.assertEqual((state.st_mode & 0o777, state.st_uid), (0o700, int(run("id", "-u", "bearerd").stdout)))
        listening = pathlib.Path(SOCKET).stat()
        self.assertEqual((listening.st_mode & 0o777, listening.st_gid), (0o660, int(run("id", "-g", "bearerd").stdout)))

    def test_mistake(self):
        """systemctl start fails, and its status and the journal say which line it is."""
        self.configure("typ = jwt\n")
        self.assertNotEqual(run("systemctl", "start", "bearerd.service", check=False).returncode, 0)
        self.assertIn("/etc/bearerd/bearerd.conf:10", show("bearerd.service", "StatusText"))
        run("journalctl", "--sync")  # by name: of a process that has ended journald may not know the unit any more
        self.assertIn("/etc/bearerd/bearerd.conf:10", run("journalctl", "--no-pager", "-n", "40", "-t", "bearerd").stdout)
        self.configure()
        self.start()
        self.token()

    def test_check(self):
        """As root, bearerctl check sees what the service sees, whether it runs or not."""
        self.configure()
        text = " ".join(run("bearerctl", "check").stdout.split())
        self.assertIn("cannot be checked from here", text)
        self.assertIn("ok API localhost answers", text)
        self.start()
        text = " ".join(run("bearerctl", "check").stdout.split())
        self.assertIn("ok bot coze-test gives a token", text)
        self.assertIn("ok bearerd it runs", text)
        conf = ETC / "bearerd.conf"
        conf.write_text(conf.read_text().replace("%d/", "/etc/bearerd/"))
        done = run("bearerctl", "check", check=False)
        self.assertEqual(done.returncode, 1, "the file is root's, and the service could not read it")
        self.assertIn("Permission denied", " ".join(done.stdout.split()))
        (ETC / "bot.json").chmod(0o600)
        shutil.chown(ETC / "bot.json", "bearerd")
        self.assertIn("ok bot coze-test gives a token", " ".join(run("bearerctl", "check").stdout.split()))

    # Tokens

    def test_socket_activation(self):
        """The first caller, who is not root, starts the daemon."""
        self.configure()
        run("systemctl", "start", "bearerd.socket")
        self.assertEqual(show("bearerd.service", "ActiveState"), "inactive")
        self.token(*as_user("alice", "bearerctl", "get", "bot"))
        self.assertEqual(show("bearerd.service", "ActiveState"), "active")
        [event] = journal("BEARERD_EVENT=token", f"_SYSTEMD_INVOCATION_ID={show('bearerd.service', 'InvocationID')}")
        self.assertEqual(event["BEARERD_CREDENTIAL"], "bot")

    def test_others(self):
        """Who is not in the group is not let in."""
        self.configure()
        self.start()
        done = run(*as_user("mallory", "bearerctl", "get", "bot"), check=False)
        self.assertIn(done.returncode, (3, 4), done.stderr)
        self.assertEqual(done.stdout, "")

    def test_encrypted_credential(self):
        """Sealed with the host's key: nothing secret is in plain text on the disk."""
        self.configure(drop_in="LoadCredentialEncrypted=bot.json:/etc/bearerd/bot.json.cred")
        run("systemd-creds", "encrypt", "--with-key=host", "--name=bot.json", "/etc/bearerd/bot.json", "/etc/bearerd/bot.json.cred")
        (ETC / "bot.json").unlink()
        self.start()
        self.token()

    @unittest.skipUnless(shutil.which("swtpm"), "NOT TESTED: there is no swtpm on this machine")
    def test_tpm(self):
        """The key of the database, sealed by a TPM: without that the database is nothing."""
        self.configure("\n[credential mine]\nprovider = coze-test\ntype = pat\n\n[daemon]\nkey_file = %d/bearerd.key\n")
        tpm, state = pathlib.Path("/srv/tpm"), pathlib.Path("/var/lib/bearerd")
        tpm.mkdir()
        shutil.rmtree(state, ignore_errors=True)
        self.addCleanup(shutil.rmtree, state)
        run("systemd-run", "--quiet", "--unit=swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tpm}", "--server",
            "type=tcp,port=2321,bindaddr=127.0.0.1", "--ctrl", "type=tcp,port=2322,bindaddr=127.0.0.1",
            "--flags", "not-need-init,startup-clear")
        self.addCleanup(run, "systemctl", "stop", "swtpm.service", check=False)
        eventually(lambda: run("ss", "-Hltn", "sport = 2321").stdout, "the TPM listens")
        (ETC / "new").write_bytes(os.urandom(32))
        run("systemd-creds", "encrypt", "--with-key=tpm2", "--name=bearerd.key", f"{ETC}/new", f"{ETC}/bearerd.key.cred",
            env={**os.environ, "SYSTEMD_TPM2_DEVICE": TPM})
        (ETC / "new").unlink()
        self.drop_in("key", f"LoadCredentialEncrypted=bearerd.key:{ETC}/bearerd.key.cred")
        self.start()
        run("bearerctl", "set", "mine", input="pat_0123456789abcdef")
        run("systemctl", "restart", "swtpm.service")  # as the machine does; there is no resource manager to forget sessions
        run("systemctl", "restart", "bearerd.service")
        self.assertEqual(run("bearerctl", "get", "mine").stdout, "pat_0123456789abcdef\n")
        self.assertFalse((state / "bearerd.key").exists())
        run("systemctl", "stop", "swtpm.service")
        self.assertNotEqual(run("systemctl", "restart", "bearerd.service", check=False).returncode, 0)

    def test_allow_units(self):
        """The unit of a caller is known under the unit's own sandbox."""
        self.configure("allow_units = app.service\n")
        self.start()
        self.token("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=app.service", "bearerctl", "get", "bot")
        self.assertEqual(in_unit("other.service", "bearerctl get bot", check=False).returncode, 4)

    def test_exec_start(self):
        self.configure()
        self.start()
        text = in_unit("worker.service", "exec bearerctl exec bot -- printenv COZE_API_TOKEN").stdout
        self.assertEqual(text.strip(), run("bearerctl", "get", "bot").stdout.strip())

    def test_load_credential(self):
        """A second unit has a token with one line; it need not know of bearerd."""
        self.configure("\n[socket units]\npath = /run/bearerd/units.sock\nprotocol = systemd-credential\n")
        run("systemctl", "start", "bearerd.socket", "bearerd-units.socket")
        text = in_unit("app.service", 'cat "$CREDENTIALS_DIRECTORY/bot"', "LoadCredential=bot:/run/bearerd/units.sock",
                       "DynamicUser=yes").stdout
        self.assertEqual(text, run("bearerctl", "get", "bot").stdout.strip())
        self.assertIn("bot", eventually(lambda: [event["BEARERD_CREDENTIAL"] for event in journal(
            "BEARERD_UNIT=app.service", f"_SYSTEMD_INVOCATION_ID={show('bearerd.service', 'InvocationID')}")],
            "the journal says who was given a token"))

    def test_examples(self):
        """The units in client/examples, as they are, but for the address of the API."""
        self.configure("allow_units = bearerd-job.service bearerd-worker.service\n"
                       "[socket units]\npath = /run/bearerd/units.sock\nprotocol = systemd-credential\n")
        for name in "bearerd-job.service", "bearerd-worker.service":
            unit = pathlib.Path("/etc/systemd/system", name)
            unit.write_text((EXAMPLES / name).read_text().replace("https://api.coze.cn", f"https://localhost:{self.port}")
                            .replace("[Service]\n", "[Service]\nEnvironment=CURL_CA_BUNDLE=/etc/bearerd/ca.pem\n"))
            self.addCleanup(unit.unlink)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", "bearerd-job.service")  # fails if the call does
        run("systemctl", "start", "bearerd-worker.service")
        self.addCleanup(run, "systemctl", "stop", "bearerd-worker.service")
        for name in "bearerd-job.service", "bearerd-worker.service":
            said = eventually(lambda unit=name: run("journalctl", "--no-pager", "-o", "cat", "-u", unit, "_TRANSPORT=stdout").stdout,
                              f"{name} has said something")
            self.assertIn('"user_id"', said)

    def test_token_file_and_path_unit(self):
        """As in bearerd-systemd(7): a program of another user reads its token from a file, and is reloaded with each new one,
        without a right of the daemon's to do so."""
        self.addCleanup(lambda: [run("systemctl", "stop", "app-token.path", "app.service", check=False),
                                 *(pathlib.Path(f"/etc/{name}").unlink(missing_ok=True) for name in files)])
        files = {
            "tmpfiles.d/app-token.conf": "d /run/bearerd/app 2750 bearerd alice -\n",
            "systemd/system/app-token.path": "[Path]\nPathChanged=/run/bearerd/app/token\n",
            "systemd/system/app-token.service":
                "[Service]\nType=oneshot\nExecStart=systemctl try-reload-or-restart app.service\n",
            "systemd/system/app.service":
                "[Unit]\nWants=app-token.path\n[Service]\nUser=alice\nRuntimeDirectory=app\n"
                "ExecStart=sleep infinity\nExecReload=cp /run/bearerd/app/token /run/app/seen\n",
        }
        for name, text in files.items():
            pathlib.Path(f"/etc/{name}").write_text(text)
        run("systemd-tmpfiles", "--create", "app-token.conf")
        run("systemctl", "daemon-reload")
        self.configure("token_file_out = /run/bearerd/app/token\ntoken_file_mode = 0640\n")
        self.start()
        file, seen = pathlib.Path("/run/bearerd/app/token"), pathlib.Path("/run/app/seen")
        eventually(file.exists, "the file")
        self.assertEqual((file.stat().st_mode & 0o777, file.group(), file.owner()), (0o640, "alice", "bearerd"))
        run("systemctl", "start", "app.service")
        # what does not work, and needs not: the daemon's user may not reload a unit
        self.assertNotEqual(run(*as_user("bearerd", "systemctl", "reload", "app.service"), check=False).returncode, 0)
        self.assertFalse(seen.exists())
        first = file.read_text()
        self.assertEqual(run(*as_user("alice", "cat", str(file))).stdout, first)
        self.assertNotEqual(run(*as_user("mallory", "cat", str(file)), check=False).returncode, 0)
        run("bearerctl", "get", "bot", "--rejected", hashlib.sha256(first.encode()).hexdigest()[:16])
        eventually(lambda: seen.exists() and seen.read_text() == file.read_text() != first, "the app is reloaded")

    def test_notify(self):
        """client/examples/notify.sh, within what the unit allows."""
        said = queue.Queue()

        class Chat(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Chat)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        shutil.copy(EXAMPLES / "notify.sh", ETC)
        (ETC / "webhook").write_text(f"http://127.0.0.1:{server.server_port}/services/x\n")
        (ETC / "webhook").chmod(0o600)
        shutil.chown(ETC / "webhook", "bearerd")
        self.configure("[credential me]\nprovider = coze-test\ntype = pat\n"
                       "on_authorization_required = /etc/bearerd/notify.sh /etc/bearerd/webhook\n")
        self.start()
        self.assertIn("bearerctl set me", said.get(timeout=LIMIT_S))

    def test_more_sockets(self):
        """Those of the configuration that have no socket unit, the daemon makes itself; those it lacks, it names."""
        self.configure("\n[socket app1]\npath = /run/bearerd/app1/bearerd.sock\nmode = 0666\n")
        run("systemctl", "start", "bearerd.socket", "bearerd-units.socket")
        self.start()
        self.token("bearerctl", "--socket", "/run/bearerd/app1/bearerd.sock", "get", "bot")
        [event] = journal("BEARERD_EVENT=socket_unused", f"_SYSTEMD_INVOCATION_ID={show('bearerd.service', 'InvocationID')}")
        self.assertEqual(event["BEARERD_SOCKET"], "/run/bearerd/units.sock")
        with Load("/run/bearerd/app1/bearerd.sock") as load:  # they stay with the service manager meanwhile
            run("systemctl", "restart", "bearerd.service")
            before = load.answers
            eventually(lambda: load.answers > before + 20 or load.failures, "answers after a restart")
        self.assertEqual(load.failures, [])

    def test_dynamic_user(self):
        self.configure()
        self.drop_in("dynamic", "User=bearerd-dynamic\nGroup=\nDynamicUser=yes\nStateDirectory=bearerd-dynamic")
        (ETC / "conf.d").mkdir()
        (ETC / "conf.d/dynamic.conf").write_text("[daemon]\nstate_dir = /var/lib/bearerd-dynamic\n")
        self.start()
        self.token()
        self.assertTrue(pathlib.Path("/var/lib/private/bearerd-dynamic/bearerd.db").exists())

    # Ends and beginnings

    def test_watchdog(self):
        """A daemon that hangs is killed and started again; callers notice that it takes longer."""
        self.configure()
        self.drop_in("watchdog", "WatchdogSec=1s\nRestartSec=100ms")
        self.start()
        before = self.token()
        pid = show("bearerd.service", "MainPID")
        run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "bearerd.service")
        eventually(lambda: stands_still(pid), "all its threads have stopped")
        self.assertTrue(self.token())
        self.assertNotEqual(show("bearerd.service", "MainPID"), pid)
        self.assertEqual(show("bearerd.service", "NRestarts"), "1")
        self.assertTrue(before)

    def test_serving_thread_hangs(self):
        """One of its threads is enough. What was stored stays; callers have their token."""
        self.configure("\n[credential mine]\nprovider = coze-test\ntype = pat\n")
        self.drop_in("watchdog", "WatchdogSec=1s\nRestartSec=100ms")
        self.start()
        run("bearerctl", "set", "mine", input="pat_0123456789abcdef")
        pid = show("bearerd.service", "MainPID")
        [thread] = [task for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                    if (task / "comm").read_text() == "bearerd-serve\n"]
        with subprocess.Popen([sys.executable, "-c", HOLD, thread.name], stdout=subprocess.PIPE) as hold:
            try:
                self.assertEqual(hold.stdout.readline(), b"held\n")
                self.token()
                self.assertEqual(hold.wait(LIMIT_S), 0)
            finally:
                hold.kill()
        self.assertNotEqual(show("bearerd.service", "MainPID"), pid)
        self.assertEqual(show("bearerd.service", "NRestarts"), "1")
        self.assertEqual(run("bearerctl", "get", "mine").stdout, "pat_0123456789abcdef\n")

    def test_killed(self):
        self.configure()
        self.drop_in("restart", "RestartSec=100ms")
        self.start()
        self.token()
        run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "bearerd.service")
        self.token()
        self.assertEqual(show("bearerd.service", "NRestarts"), "1")

    def test_restart_under_load(self):
        """It shows as latency, never as an error."""
        self.configure("keep_fresh = always\n")
        self.start()
        self.token()
        with Load(SOCKET) as load:
            for _ in range(3):
                run("systemctl", "restart", "bearerd.service")
                before = load.answers
                self.token()  # who waits for the provider when the daemon stops is told to ask again
                eventually(lambda: load.answers > before + 20 or load.failures, "answers after a restart")
        self.assertEqual(load.failures, [])

    def test_reload_under_load(self):
        """A good configuration is taken whole, a bad one is refused whole; callers notice neither."""
        self.configure()
        self.start()
        self.token()
        pid, good = show("bearerd.service", "MainPID"), (ETC / "bearerd.conf").read_text()
        with Load(SOCKET) as load:
            (ETC / "bearerd.conf").write_text(good + "\n[credential more]\nprovider = coze-test\ntype = pat\n")
            run("systemctl", "reload", "bearerd.service")
            self.assertIn("more", run("bearerctl", "list").stdout.split())
            (ETC / "bearerd.conf").write_text(good + "typ = jwt\n")
            self.assertNotEqual(run("systemctl", "reload", "bearerd.service", check=False).returncode, 0)
            self.assertIn("bearerd.conf:10", self.log())
            eventually(lambda: journal("BEARERD_EVENT=reload_refused", f"_PID={pid}"), "the journal says that it is refused")
            eventually(lambda: "bearerd.conf" in show("bearerd.service", "StatusText"), "systemctl status says why")
            self.assertIn("more", run("bearerctl", "list").stdout.split())
        self.assertEqual(load.failures, [])
        self.assertEqual((show("bearerd.service", "MainPID"), show("bearerd.service", "ActiveState")), (pid, "active"))

    def test_no_network(self):
        """It starts without one, and answers as soon as the provider does."""
        self.configure()
        run("ip", "link", "set", "lo", "down")
        try:
            self.start()
            self.assertEqual(run("bearerctl", "get", "bot", "--wait", "1s", check=False).returncode, 6)
        finally:
            run("ip", "link", "set", "lo", "up")
        self.token()

    # One person's

    def test_user_instance(self):
        uid = run("id", "-u", "alice").stdout.strip()
        home = pathlib.Path("~alice/.config/bearerd").expanduser()
        home.mkdir(parents=True, exist_ok=True)
        for source in (self.emulator / "ca.pem", self.emulator / "developer/coze_oauth_config.json"):
            shutil.copy(source, home)
            (home / source.name).chmod(0o600)
        (home / "bearerd.conf").write_text(
            f"[provider coze-test]\ndialect = coze\napi_url = https://localhost:{self.port}\n"
            f"www_url = https://localhost:{self.port}\nca_file = {home}/ca.pem\n\n"
            f"[credential bot]\nprovider = coze-test\nconfig_file = {home}/coze_oauth_config.json\n"
            "on_change = /usr/bin/systemctl --user reload app.service\n")
        units = home.parent / "systemd/user"
        units.mkdir(parents=True)
        (units / "app.service").write_text("[Service]\nExecStart=sleep infinity\nExecReload=touch %t/reloaded\n")
        run("chown", "-R", "alice:alice", str(home.parents[1]))
        run("loginctl", "enable-linger", "alice")
        eventually(lambda: pathlib.Path(f"/run/user/{uid}/systemd/private").exists(), "the user's manager runs")
        run("systemctl", "--user", "-M", "alice@.host", "start", "app.service", "bearerd.socket")
        self.token(*as_user("alice", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "bearerctl", "get", "bot"))
        self.assertEqual(show("bearerd.service", "ActiveState", "--user", "-M", "alice@.host"), "active")
        self.assertTrue((home.parents[1] / ".local/state/bearerd/bearerd.db").exists())
        self.assertEqual(pathlib.Path(f"/run/user/{uid}/bearerd/bearerd.sock").stat().st_mode & 0o777, 0o600)
        eventually(pathlib.Path(f"/run/user/{uid}/reloaded").exists, "its app is reloaded with the new token")
        run("systemctl", "--user", "-M", "alice@.host", "reload", "bearerd.service")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
