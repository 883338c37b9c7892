"""libbearer in programs: threads and forks, C++, an event loop, under sanitizers, while the daemon restarts.

The programs are built here, with the library's sources, by $CC and $CXX or else gcc and g++.
"""

import atexit
import pathlib
import shutil
import subprocess
import tempfile

from harness import ENVIRONMENT, LIMIT_S, EndToEnd, eventually, main

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = TREE / "client" / "libbearer"
SANITIZERS = {"address": "address,undefined", "thread": "thread"}
RESTARTS = 4
LIFETIME_S = 3
WORK = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-libbearer-"))
atexit.register(shutil.rmtree, WORK, ignore_errors=True)

built = {}


def compiled(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}:\n{done.stdout}{done.stderr}")


def program(name, sanitizer):
    """Builds it once. Its path."""
    if (name, sanitizer) in built:
        return built[name, sanitizer]
    flags = [f"-fsanitize={SANITIZERS[sanitizer]}", "-g", "-O1", f"-I{LIBRARY}", f"-I{TREE}", "-D_GNU_SOURCE", "-pthread",
             "-Wall", "-Wextra", "-Werror"]
    archive = WORK / f"{sanitizer}.o"
    if not archive.exists():
        sources = [*map(str, sorted(LIBRARY.glob("*.c"))), str(TREE / "client" / "wire.c")]
        compiled("gcc", "-std=gnu11", *flags, "-r", "-o", str(archive), *sources)
    places = (pathlib.Path(__file__).parent, TREE / "client" / "examples")
    source = next(found for place in places for found in place.glob(f"{name}.c*"))
    output = WORK / f"{name}-{sanitizer}"
    compiled(*(["g++", "-std=c++11"] if source.suffix == ".cpp" else ["gcc", "-std=gnu11"]), *flags, "-o", str(output),
             str(source), str(archive))
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
        process = subprocess.Popen([path, self.daemon.socket, "bot"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=environment)
        for i in range(RESTARTS):
            before = self.emulator.requests()
            eventually(lambda: process.poll() is not None or self.emulator.requests() > before, "a token is renewed")
            self.assertIsNone(process.poll(), "it is still running")
            if i % 2:
                self.daemon.kill()
                self.daemon.start()
            else:
                self.daemon.restart()
        output, errors = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, errors), (0, ""), output)
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
