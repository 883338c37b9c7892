"""libbearer in programs: threads and forks, C++, an event loop, under sanitizers, while the daemon restarts.

The programs are built here, with the library's sources, by $CC and $CXX or else gcc and g++.
"""

import atexit
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from harness import ENVIRONMENT, LIMIT_S, EndToEnd, eventually, main

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = TREE / "client" / "libbearer"
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
    places = (pathlib.Path(__file__).parent, TREE / "client" / "examples")
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

    def run_through_restarts(self, name, sanitizer):
        path = program(name, sanitizer)
        self.emulator.lifetime(LIFETIME_S)
        environment = dict(ENVIRONMENT, TSAN_OPTIONS="halt_on_error=1 die_after_fork=0", ASAN_OPTIONS="detect_leaks=1")
        errors = self.directory / "errors"  # no pipe, that could be full
        with open(errors, "wb") as f:
            process = subprocess.Popen([path, self.daemon.socket, "bot"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=f, text=True, env=environment)
        for i in range(RESTARTS):
            before = self.emulator.requests()
            eventually(lambda: process.poll() is not None or self.emulator.requests() > before, "a token is renewed")
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
        output, _ = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, errors.read_text()[:2000]), (0, ""), output)
        self.assertGreater(int(output.split()[0]), 20, output)

    def test_threads_and_forks_address(self):
        self.run_through_restarts("bearer_stress", "address")

    def test_threads_and_forks_thread(self):
        self.run_through_restarts("bearer_stress", "thread")

    def test_cpp_address(self):
        self.run_through_restarts("bearer_cpp", "address")

    def test_cpp_thread(self):
        self.run_through_restarts("bearer_cpp", "thread")

    def test_loop_address(self):
        self.run_through_restarts("bearer_loop", "address")

    def test_loop_thread(self):
        self.run_through_restarts("bearer_loop", "thread")

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


if __name__ == "__main__":
    main()
