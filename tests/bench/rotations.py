"""Refresh tokens: how many rotations a second, each durable before its token is shown; and 100,000 subjects.

A rotation is a mark and a successor on the disk, and an exchange over TLS with the emulator, which has the other
core. All subjects are asked for at once after a start, when there is no token yet, so each costs one rotation.
"""

import argparse
import contextlib
import functools
import http.client
import json
import pathlib
import socket
import ssl
import statistics
import subprocess
import time
import urllib.parse

import rig

REDIRECT = "https://app.example/callback"
CONNECTIONS = 64
IDLE_GRANTS = 100_000
START_AIM_S, GRANT_AIM_BYTES = 3, 1024
PAGE = 1000


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=rig.START_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(connection, method, path, body=None):
    """(the object that is answered, its Location)"""
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status >= 400:
            raise rig.Broken(f"{method} {path}: {response.status} {text}")
        return json.loads(text or "{}"), response.headers["Location"]


class Grants(rig.Rig):
    """With a web application that people can authorize, and a choice of state directories."""

    def start_bearerd(self):
        context = ssl.create_default_context(cafile=str(self.emulator_directory / "ca.pem"))
        port = int((self.emulator_directory / "port").read_text())
        self.provider = functools.partial(http.client.HTTPSConnection, "localhost", port, context=context)
        console = self.emulator_directory / "web" / "coze_oauth_config.json"
        client_id = json.loads(console.read_text())["client_id"]
        ask(self.provider(), "POST", "/emulator/app", {"client_id": client_id, "redirect_uris": [REDIRECT]})
        paced = self.configuration().replace("[provider coze-test]\n",
                                             "[provider coze-test]\nrequests_per_second = 10000\n")
        self.text = (f"{paced}\n[credential site]\nprovider = coze-test\nconfig_file = {console}\n"
                     f"redirect_uri = {REDIRECT}\n")
        self.begin("state")

    def begin(self, state):
        """Seconds until it answers."""
        self.state = self.directory / state
        self.state.mkdir(mode=0o700, exist_ok=True)
        conf = self.directory / "bearerd.conf"
        conf.write_text(self.text.replace(f"state_dir = {self.directory}/state\n", f"state_dir = {self.state}\n"))
        began = time.monotonic()
        self.bearerd = self.start("bearerd", "--config", str(conf), core=self.server_core, log=self.log)
        self.wait(self.bearerd, "bearerd does not answer", self.answers)
        return time.monotonic() - began

    def end(self):
        """Seconds until it is gone."""
        began = time.monotonic()
        self.stop(self.bearerd)
        return time.monotonic() - began

    def answers(self):
        try:
            return rig.ask(self.socket, "/healthz")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None):
        return ask(Connection(self.socket), method, path, body)[0]

    def login(self, subject):
        url = self.ask("POST", "/v1/credentials/site/authorizations", {"subject": subject})["authorization_url"]
        parts = urllib.parse.urlsplit(url)
        back = ask(self.provider(), "GET", f"{parts.path}?{parts.query}")[1]
        done = self.ask("POST", "/v1/callback", {"url": back})
        if done["state"] != "succeeded":
            raise rig.Broken(f"no grant: {done}")

    def written(self):
        """Bytes that the daemon has given to the disk."""
        io = pathlib.Path(f"/proc/{self.bearerd.pid}/io").read_text()
        return int(next(line.split()[1] for line in io.splitlines() if line.startswith("write_bytes")))


def file_system(path):
    return subprocess.run(["stat", "--file-system", "--format=%T", path], capture_output=True, text=True,
                          check=True).stdout.strip()


def rotations(r, subjects, rounds):
    """A rotation of each subject, round after round."""
    for i in range(subjects):
        r.login(f"user-{i}")
    problems, rates, bytes_each = [], [], []
    for _ in range(rounds):
        r.end()
        r.begin("state")
        before = r.written()
        result = r.load(r.socket, "--path", "/v1/token/site?subject=user-{}", "--connections", str(CONNECTIONS),
                        "--requests", str(subjects))
        if result["errors"] or result["answers"] != subjects:
            problems.append(f"{result['answers']} of {subjects} subjects, {result['errors']} bad answers")
        rates.append(result["rate"])
        bytes_each.append((r.written() - before) / subjects)
    print(f"rotations: {statistics.median(rates):,.0f}/s (worst of {rounds} rounds {min(rates):,.0f}/s), "
          f"{subjects} subjects, {CONNECTIONS} callers, on {file_system(r.directory)}; "
          f"{statistics.median(bytes_each):,.0f} bytes to the disk for each")
    spent = ask(r.provider(), "GET", "/emulator/state")[0]["spent_presented"]
    return problems + ([f"{spent} spent refresh tokens were presented"] if spent else [])


def pages(r):
    """(seconds of the first, the middle and the last page, rows in all)"""
    taken, n, after = [], 0, ""
    while after is not None:
        began = time.monotonic()
        page = r.ask("GET", f"/v1/credentials/site/subjects?limit={PAGE}{after}")
        taken.append(time.monotonic() - began)
        n += len(page["subjects"])
        after = f"&after={urllib.parse.quote(page['next'])}" if "next" in page else None
    return (taken[0], taken[len(taken) // 2], taken[-2]), n


def idle_grants(r, n):
    """What grants cost that nobody uses."""
    r.end()
    empty_start = r.begin("empty")
    empty = rig.memory_kib(r.bearerd.pid)
    r.end()
    subprocess.run([rig.program(r.build, "fill_store"), r.directory / "full", "site", str(n)], check=True)
    starts = []
    for _ in range(3):
        starts.append(r.begin("full"))
        full = rig.memory_kib(r.bearerd.pid)
        stop = r.end()
    r.begin("full")
    began = time.monotonic()
    view = r.ask("GET", "/v1/credentials/site")
    view_s = time.monotonic() - began
    (first, middle, last), rows = pages(r)
    each = (full[1] - empty[1]) * 1024 / n
    start = statistics.median(starts)
    print(f"{n:,} grants: start {start:.2f} s (none: {empty_start:.2f} s), stop {stop:.2f} s"
          f"{'  above ' + str(START_AIM_S) + ' s' if start > START_AIM_S else ''}\n"
          f"  memory {full[0]:,} KiB resident, {full[1]:,} KiB anonymous: {each:,.0f} bytes for each"
          f"{'  above ' + str(GRANT_AIM_BYTES) if each > GRANT_AIM_BYTES else ''}\n"
          f"  state of the credential {view_s * 1e3:.1f} ms; pages of {PAGE:,}: the first {first * 1e3:.1f} ms, "
          f"one in the middle {middle * 1e3:.1f} ms, one of the last {last * 1e3:.1f} ms")
    return [f"{rows} rows listed, the credential has {view['subjects']}"] if not rows == view["subjects"] == n else []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    parser.add_argument("--quick", action="store_true", help="fewer subjects and rounds")
    arguments = parser.parse_args()
    subjects, rounds, idle = (200, 2, 10_000) if arguments.quick else (1000, 5, IDLE_GRANTS)

    with Grants(arguments.build) as r:
        return rotations(r, subjects, rounds) + idle_grants(r, idle)


if __name__ == "__main__":
    rig.run(main)
