"""libbearer in programs: threads and forks, C++, an event loop, under sanitizers, while the daemon restarts.

The programs are built here, with the library's sources, by $CC and $CXX or else gcc and g++.
"""

import atexit
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from harness import ENVIRONMENT, LIMIT_S, NEEDS_ROOT, EndToEnd, eventually, main

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = TREE / "client" / "libbearer"
EXAMPLES = TREE / "client" / "examples"
SANITIZERS = {"address": "address,undefined", "thread": "thread"}
CC = shlex.split(os.environ.get("CC", "gcc"))
CXX = shlex.split(os.environ.get("CXX", "g++"))
RESTARTS = 4
STOPPED_S = 0.3
LIFETIME_S = 3
WORK = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-libbearer-"))
atexit.register(shutil.rmtree, WORK, ignore_errors=True)

built = {}


def compiled(*arguments, directory=None):
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}:\n{done.stdout}{done.stderr}")


def program(name, sanitizer):
    """Builds it once. Its path."""
    if (name, sanitizer) in built:
        return built[name, sanitizer]
    flags = [f"-fsanitize={SANITIZERS[sanitizer]}", "-g", "-O1", f"-I{LIBRARY}", f"-I{TREE}", "-D_GNU_SOURCE", "-pthread",
             "-Wall", "-Wextra", "-Werror"]
    objects = WORK / sanitizer
    if not objects.exists():
        objects.mkdir()
        sources = [*map(str, sorted(LIBRARY.glob("*.c"))), str(TREE / "client" / "wire.c")]
        compiled(*CC, "-std=gnu11", *flags, "-c", *sources, directory=objects)
    places = (WORK, pathlib.Path(__file__).parent, EXAMPLES)
    source = next(found for place in places for found in place.glob(f"{name}.c*"))
    output = WORK / f"{name}-{sanitizer}"
    compiled(*([*CXX, "-std=c++11"] if source.suffix == ".cpp" else [*CC, "-std=gnu11"]), *flags, "-o", str(output),
             str(source), *map(str, objects.glob("*.o")))
    built[name, sanitizer] = output
    return output


class Restarts(EndToEnd):
    """Through restarts of the daemon and many lives of a token, not one call may fail."""

    def sections(self):
        return f"""
            [credential bot]
            provider = coze-test
            config_file = {self.emulator.console_file("developer")}
        """

    def launch(self, name, sanitizer):
        """The process, and the file of what it complains of: no pipe, that could be full."""
        errors = self.directory / f"{sanitizer}.errors"
        environment = dict(ENVIRONMENT, TSAN_OPTIONS="halt_on_error=1 die_after_fork=0", ASAN_OPTIONS="detect_leaks=1")
        with open(errors, "wb") as f:
            return subprocess.Popen([program(name, sanitizer), self.daemon.socket, "bot"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=f, text=True, env=environment), errors

    def through_restarts(self, name):
        """With both sanitizers at the same time."""
        self.emulator.lifetime(LIFETIME_S)
        launched = [self.launch(name, sanitizer) for sanitizer in SANITIZERS]
        for i in range(RESTARTS):
            before = self.emulator.requests()
            eventually(lambda: any(process.poll() is not None for process, _ in launched) or
                       self.emulator.requests() > before, "a token is renewed")
            for process, errors in launched:
                self.assertIsNone(process.poll(), errors.read_text()[:2000])
            if i % 2:
                self.daemon.kill()  # and no answer to whoever waits
                self.daemon.start()
            else:
                self.daemon.restart()
            if i == 0:
                self.daemon.process.send_signal(signal.SIGSTOP)  # it hangs
                time.sleep(STOPPED_S)
                self.daemon.process.send_signal(signal.SIGCONT)
        for process, errors in launched:
            output, _ = process.communicate(timeout=LIMIT_S)
            self.assertEqual((process.returncode, errors.read_text()[:2000]), (0, ""), output)
            self.assertGreater(int(output.split()[0]), 20, output)

    def test_threads_and_forks(self):
        self.through_restarts("bearer_stress")

    def test_cpp(self):
        self.through_restarts("bearer_cpp")

    def test_loop(self):
        self.through_restarts("bearer_loop")

    def test_watch(self):
        """The example; it comes back after a restart."""
        environment = dict(ENVIRONMENT, BEARERD_SOCKET=self.daemon.socket)
        process = subprocess.Popen([program("watch", "address"), "bot"], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            self.assertEqual(process.stdout.readline(), "state  \n")
            self.daemon.token("bot")
            self.assertEqual(process.stdout.readline(), "token bot \n")
            self.daemon.restart()
            self.assertEqual(process.stdout.readline(), "state  \n")
            self.emulator.fault("invalid_client", times=1)
            self.daemon.get("/v1/token/bot")
            self.assertEqual(process.stdout.readline(), "failing bot \n")
        finally:
            process.terminate()
            process.communicate()


class Examples(EndToEnd):
    """Each does what it says, and with a refused token what to do then."""

    def example(self, name, *arguments):
        """What it prints, and complains of; its exit code."""
        done = subprocess.run([program(name, "address"), *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False,
                              env=dict(ENVIRONMENT, BEARERD_SOCKET=self.daemon.socket))
        for word in done.stdout.split():
            if word.startswith("cz"):
                self.daemon.secrets.add(word)
        return done.stdout.splitlines(), done.stderr, done.returncode

    def refused(self, name):
        """The example with an API that refuses the first token it sees."""
        text = (EXAMPLES / f"{name}.c").read_text()
        self.assertEqual(text.count("return 200;"), 1)
        text = text.replace("return 200;", "static int calls; return calls++ == 0 ? 401 : 200;")
        (WORK / f"refused_{name}.c").write_text(text)
        return f"refused_{name}"

    def token(self, credential, query=""):
        return self.daemon.token(credential, query).token

    def test_get(self):
        self.assertEqual(self.example("get", "developer"), ([f"Authorization: Bearer {self.token('developer')}"], "", 0))

    def test_get_refused(self):
        first = self.token("developer")
        lines, errors, code = self.example(self.refused("get"), "developer")
        self.assertEqual((errors, code), ("", 0))
        self.assertEqual(lines, [f"Authorization: Bearer {t}" for t in (first, self.token("developer"))])
        self.assertNotEqual(*lines)

    def test_loop(self):
        lines, errors, code = self.example("loop", "developer", "channel")
        self.assertEqual((errors, code), ("", 0))
        self.assertEqual(set(lines), {f"{name} Authorization: Bearer {self.token(name)}" for name in ("developer", "channel")})

    def test_loop_refused(self):
        first = self.token("developer")
        lines, errors, code = self.example(self.refused("loop"), "developer")
        self.assertEqual((errors, code), ("", 0))
        self.assertEqual(lines, [f"developer Authorization: Bearer {t}" for t in (first, self.token("developer"))])
        self.assertNotEqual(*lines)

    def test_threads(self):
        lines, errors, code = self.example("threads", "developer", "alice", "bob")
        self.assertEqual((errors, code), ("", 0))
        self.assertEqual(set(lines), {f"{user} Authorization: Bearer {self.token('developer', f'?subject={user}')}"
                                      for user in ("alice", "bob")})

    def test_options(self):
        (line,), errors, code = self.example("options", "developer", "alice", "7361")
        self.assertEqual((errors, code), ("", 0))
        self.assertRegex(line, r"^Authorization: Bearer czs_\w+ (59\d|600)$")
        last = self.emulator.last()
        self.assertEqual((last["claims"]["session_name"], last["body"]["duration_seconds"]), ("alice", 600))
        self.assertIn('"7361"', json.dumps(last["body"]["scope"]))

    def test_cpp(self):
        self.assertEqual(self.example("token", "developer", "alice"), ([self.token("developer", "?subject=alice")], "", 0))

    def test_errors_say_what_to_do(self):
        """In the daemon's words, whichever way it is asked."""
        for name, *arguments in (("get", "web"), ("loop", "web"), ("threads", "web", "alice"), ("token", "web"),
                                 ("options", "web", "alice", "1")):
            with self.subTest(example=name):
                lines, errors, code = self.example(name, *arguments)
                self.assertEqual((lines, code), ([], 1))
                self.assertRegex(errors, "^web: .*(bearerctl login web|jwt)")


class OtherUser(EndToEnd):
    """Whoever may not is told so."""

    def sections(self):
        return f"""
            [credential closed]
            provider = coze-test
            config_file = {self.emulator.console_file("developer")}
            allow_users = root
        """

    def get_as_nobody(self):
        path = self.directory / "get"
        shutil.copy(program("get", "address"), path)
        path.chmod(0o755)
        return subprocess.run([path, "closed"], capture_output=True, text=True, timeout=LIMIT_S, check=False, user=54321, group=54321,
                              extra_groups=[], env=dict(ENVIRONMENT, BEARERD_SOCKET=self.daemon.socket))

    @NEEDS_ROOT
    def test_not_of_the_credential(self):
        done = self.get_as_nobody()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, "^closed: .*closed")

    @NEEDS_ROOT
    def test_not_at_the_socket(self):
        pathlib.Path(self.daemon.socket).chmod(0o600)
        done = self.get_as_nobody()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"closed: you may not connect to {self.daemon.socket}: join the group that owns it\n")


if __name__ == "__main__":
    main()
