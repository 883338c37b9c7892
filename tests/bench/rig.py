"""What every benchmark needs: the programs of a build, started, pinned, looked at, stopped."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

START_S = 20  # patience with a program that starts
STOP_S = 10
PLACES = (".", "daemon", "client", "tests/emulator", "tests/bench")  # of a build directory
ADDED_BY_LIBMICROHTTPD = {"date", "content-length", "connection"}


class Broken(Exception):
    """Something does not work; the figures would mean nothing."""


def program(build, name):
    for place in PLACES:
        path = pathlib.Path(build) / place / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path.resolve())
    raise Broken(f"{name} is not in {build}; build it first: ninja -C {build}")


def cores():
    """(core of the server, core of the load), or (None, None) where there is only one."""
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)


def raise_file_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory_kib(pid):
    """(resident, of it anonymous) of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)[1])
                 for key in ("VmRSS", "RssAnon"))


def ask(path, target, accept="application/json"):
    """One GET on a Unix socket: (status, [(name, value)], body)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(START_S)
        s.connect(path)
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
                  "Connection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, body = text.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), [tuple(line.split(": ", 1)) for line in lines], body.decode()


class Rig:
    """The emulator, bearerd that serves its credentials, and a bare server that repeats bearerd's answers."""

    def __init__(self, build):
        self.build = build
        self.server_core, self.load_core = cores()
        self.exits = contextlib.ExitStack()
        self.load_program = program(build, "load")

    def __enter__(self):
        raise_file_limit()
        directory = tempfile.mkdtemp(prefix="bearerd-bench-")
        self.exits.callback(shutil.rmtree, directory, ignore_errors=True)
        self.directory = pathlib.Path(directory)
        self.log = self.directory / "bearerd.log"
        self.socket = str(self.directory / "bearerd.sock")
        try:
            self.start_emulator()
            self.start_bearerd()
        except BaseException:
            self.exits.close()
            raise
        return self

    def __exit__(self, *_):
        self.exits.close()

    def start(self, name, *arguments, core=None, nice=0, log=None, wrapper=()):
        """Starts a program that runs until the rig is taken down."""
        def prepare():
            if core is not None:
                os.sched_setaffinity(0, {core})
            os.nice(nice)

        output = open(log, "ab") if log else subprocess.DEVNULL
        process = subprocess.Popen([*wrapper, program(self.build, name), *arguments],
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output if log else None,
                                   preexec_fn=prepare)
        self.exits.callback(self.stop, process)
        return process

    @staticmethod
    def stop(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait(self, process, what, ready):
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                log = self.log.read_text()[-2000:] if self.log.exists() else ""
                raise Broken(f"{what} (exit status {process.poll()})\n{log}")
            time.sleep(0.01)

    def start_emulator(self):
        """Behind the load in its core's queue, so that it does not disturb what is measured."""
        directory = self.directory / "emulator"
        emulator = self.start("emulator", "--directory", str(directory), core=self.load_core, nice=19,
                              log=self.directory / "emulator.log")
        self.wait(emulator, "the emulator does not listen", (directory / "port").exists)
        self.emulator_directory = directory

    def configuration(self):
        """The emulator's, with our places, and a second credential for the storm."""
        text = (self.emulator_directory / "bearerd.conf").read_text()
        developer = re.search(r"^\[credential developer\]\n([^\[]*)", text, re.MULTILINE)
        if not developer:
            raise Broken("the emulator's bearerd.conf has no [credential developer]")
        return (f"[daemon]\nsocket = {self.socket}\nstate_dir = {self.directory}/state\n\n{text}\n"
                f"[credential storm]\n{developer[1]}")

    def start_bearerd(self):
        (self.directory / "state").mkdir(mode=0o700)
        file = self.directory / "bearerd.conf"
        file.write_text(self.configuration())
        self.bearerd = self.start("bearerd", "--config", str(file), core=self.server_core, log=self.log)
        self.wait(self.bearerd, "bearerd hands out no token", self.serves)

    def serves(self):
        try:
            return ask(self.socket, "/v1/token/developer")[0] == 200
        except OSError:
            return False

    def record(self, accept):
        """Writes bearerd's answer down for the bare server; returns (file, body size, has a Date)."""
        status, headers, body = ask(self.socket, "/v1/token/developer", accept)
        if status != 200:
            raise Broken(f"bearerd answers {status} instead of a token")
        lines = [f"{name}: {value}\n" for name, value in headers
                 if name.lower() not in ADDED_BY_LIBMICROHTTPD]
        file = self.directory / accept.replace("/", "-")
        file.write_text(f"{''.join(lines)}\n{body}")
        return str(file), len(body), any(name.lower() == "date" for name, _ in headers)

    def start_bare(self):
        json_file, self.json_size, has_date = self.record("application/json")
        text_file, self.text_size, _ = self.record("text/plain")
        self.bare_socket = str(self.directory / "bare.sock")
        options = [] if has_date else ["--no-date"]
        self.bare = self.start("bare", self.bare_socket, json_file, text_file, *options,
                               core=self.server_core)
        self.wait(self.bare, "the bare server does not listen", lambda: os.path.exists(self.bare_socket))

    def load_command(self, path, *options, core=True):
        pin = ["--cpu", str(self.load_core)] if core and self.load_core is not None else []
        return [self.load_program, "--socket", path, *pin, *options]

    def load(self, path, *options, nice=0):
        done = subprocess.run(self.load_command(path, *options), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=False,
                              preexec_fn=lambda: os.nice(nice))
        if done.returncode != 0:
            raise Broken(f"the load failed: {' '.join(done.args)}")
        return json.loads(done.stdout)

    def load_driven(self, path, *options):
        """A load whose window the caller begins and ends."""
        return Driven(self.load_command(path, *options))


class Driven:
    """`with` it: the window begins now. result() ends it. Or, with --idle: held() until the end."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise Broken("the load ended without a result")
        return json.loads(text)

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None
        return self.line()


def run(main):
    """Runs a benchmark: 0, or 1 with a sentence when something does not work."""
    try:
        problems = main()
    except Broken as e:
        problems = [str(e)]
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)
