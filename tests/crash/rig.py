"""What the crash tests stand on: a site whose people have authorized it, faults from outside, and a judge.

The judge looks at three things: what each caller was shown, what the state directory holds right after the
fault, and what the daemon says and does after a restart. Of each row there is only this that may be:

    row at the fault   after the restart
    old                the grant works: nothing was sent
    old, in doubt      the grant works, for nothing had reached the provider; or its token was spent and the
                       answer never came: tried once, called lost in rotation, authorization_required
    new                the grant works

Whoever was shown a token has a new row. No spent refresh token is presented but in that one try.

Faults come from strace, attached to one thread of the running daemon, so that it counts the calls of that
thread alone, from the request on. The daemon is not dumpable: this takes CAP_SYS_PTRACE, which everybody has
in a user namespace of their own.

Environment: as of tests/e2e/harness.py.
"""

import collections
import contextlib
import http.client
import itertools
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import SANITIZER_REPORTS, Daemon, Emulator, end, eventually  # noqa: E402

os.environ["PATH"] += ":/usr/sbin:/sbin"  # of mkfs and losetup

SKIP = 77
REDIRECT = "https://app.example/callback"  # nobody listens there: the test is the browser
WAITING = {"futex", "epoll_wait", "poll", "restart_syscall"}  # change nothing, and vary in number
ATTEMPTS = 2  # at a point that a run need not reach
THREADS = ("bearerd", "store-writer", "bearerd-serve")

Row = collections.namedtuple("Row", "sealed in_doubt")
Point = collections.namedtuple("Point", "thread call n")


class Failure(Exception):
    """Something was lost, or never should have been so."""


def require(condition, message):
    if not condition:
        raise Failure(message)


class Strace:
    """Attached to one thread; with nothing to inject, it only writes down."""

    def __init__(self, thread_id, *options):
        self.process = subprocess.Popen(["strace", "-p", str(thread_id), *options], text=True,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = self.process.stderr.readline()
        if "attached" not in said:
            self.process.wait()
            raise Failure(f"strace does not attach: {said}")

    def detach(self):
        end(self.process)
        self.process.stderr.close()


class Site:
    """One web application, and its subjects."""

    def __init__(self, directory, subjects, state_dir=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.state_dir = pathlib.Path(state_dir or self.directory / "state")
        self.subjects = subjects
        self.fingerprints = {}
        self.violations = 0
        self.emulator = Emulator.shared()
        self.emulator.reset()
        web = self.emulator.console("web")
        self.emulator.control("POST", "app", client_id=web["client_id"], redirect_uris=[REDIRECT])
        self.daemon = Daemon(self.directory, self.configuration(web))
        self.daemon.state_dir = self.state_dir

    def configuration(self, web):
        secret = self.directory / "client_secret"
        secret.write_text(web["client_secret"])
        secret.chmod(0o600)
        url = f"https://127.0.0.1:{self.emulator.port}"  # an address: no thread comes and goes to resolve it
        return (f"[daemon]\nsocket = {self.directory}/bearerd.sock\nstate_dir = {self.state_dir}\n"
                "log_level = debug\n\n"
                f"[provider emulator]\ndialect = coze\napi_url = {url}\nwww_url = {url}\n"
                f"ca_file = {self.emulator.directory}/ca.pem\n\n"
                "[credential site]\nprovider = emulator\ntype = authorization_code\n"
                f"client_id = {web['client_id']}\nclient_secret_file = {secret}\nredirect_uri = {REDIRECT}\n\n"
                "[credential spare]\nprovider = emulator\ntype = pat\n")

    def __enter__(self):
        self.daemon.start()
        self.settle()
        return self

    def __exit__(self, kind, *_):
        if self.daemon.process:
            self.daemon.kill()
        report = SANITIZER_REPORTS.search(self.daemon.log)
        if kind or report:
            print(f"--- bearerd's log, its end\n{self.daemon.log[-8000:]}---", file=sys.stderr)
        require(not report, "a sanitizer has something to report")

    def restart_anew(self):
        """What the daemon knew is forgotten: a rejected token counts as the first one, too."""
        self.daemon.restart()
        self.settle()

    # What people and callers do

    def path(self, subject, **query):
        return "/v1/token/site?" + urllib.parse.urlencode({"subject": subject, **query})

    def consent(self, subject):
        """Where the browser is sent back to."""
        answer = self.daemon.post("/v1/credentials/site/authorizations", {"subject": subject})
        require(answer.status == 201, f"no authorization: {answer}")
        return self.emulator.browse(answer.json["authorization_url"])

    def come_back(self, url):
        answer = self.daemon.post("/v1/callback", {"url": url})
        require(answer.status == 200 and answer.json["state"] == "succeeded", f"no grant: {answer}")

    def login(self, subject):
        self.come_back(self.consent(subject))

    def forget(self):
        """All subjects, if there is something to forget."""
        for subject in self.subjects:
            query = urllib.parse.urlencode({"subject": subject})
            answer = self.daemon.ask("DELETE", f"/v1/credentials/site/grant?{query}")
            require(answer.status in (204, 404), f"{subject!r} is not forgotten: {answer}")

    def note(self, subject, answer):
        self.fingerprints[subject] = answer.json["fingerprint"]

    def settle(self):
        """Every subject has a good token; who has no grant gets one."""
        for subject in self.subjects:
            answer = self.daemon.get(self.path(subject))
            if answer.status == 409:
                self.login(subject)
                answer = self.daemon.get(self.path(subject))
            require(answer.status == 200, f"no token for {subject!r}: {answer}")
            self.note(subject, answer)

    def rotate(self, rejected):
        """Asks for all subjects at once. Who was shown a token; the answers that were none."""
        waiting, shown, refused = {}, set(), []
        for subject in self.subjects:
            query = {"rejected": self.fingerprints[subject]} if rejected else {}
            with contextlib.suppress(OSError):
                waiting[subject] = self.daemon.send("GET", self.path(subject, **query))
        for subject, caller in waiting.items():
            try:
                answer = caller.answer()
            except (OSError, http.client.HTTPException):
                continue  # it died
            if answer.status == 200:
                shown.add(subject)
                self.note(subject, answer)
            else:
                refused.append(answer)
        return shown, refused

    def threads(self):
        """{name: thread id}, once each has its name."""
        def named():
            tasks = list(pathlib.Path(f"/proc/{self.daemon.process.pid}/task").iterdir())
            found = {(task / "comm").read_text().strip(): int(task.name) for task in tasks}
            return found if set(found) == set(THREADS) and len(tasks) == len(THREADS) else None
        return eventually(named, f"the threads are {THREADS}")

    # What there is

    def rows(self):
        """{subject: Row}, from a copy that is recovered as after a crash."""
        with tempfile.TemporaryDirectory(prefix="bearerd-rows-") as copy:
            for name in ("bearerd.db", "bearerd.db-wal"):
                if (self.state_dir / name).exists():
                    shutil.copy(self.state_dir / name, copy)
            with contextlib.closing(sqlite3.connect(f"{copy}/bearerd.db")) as db:
                sound = db.execute("PRAGMA integrity_check").fetchall()
                require(sound == [("ok",)], f"the database is damaged: {sound}")
                found = db.execute("SELECT subject, sealed, in_doubt FROM record WHERE credential = 'site'")
                return {subject: Row(sealed, bool(in_doubt)) for subject, sealed, in_doubt in found}

    def check_provider(self, spent):
        """Nothing was wrong on the wire, but for so many spent tokens."""
        state = self.emulator.state()
        self.violations += spent
        seen = collections.Counter(v["what"] for v in state["violations"])
        require(state["spent_presented"] == self.violations == state["violations_total"],
                f"{self.violations} spent refresh tokens were to be presented so far, not "
                f"{state['spent_presented']}: {seen}")

    # The judge

    def judge(self, before, shown, at_fault):
        """After a fault, at which the rows were these; restarts. How many grants were lost, and rightly so."""
        require(set(at_fault) == set(before), f"rows at the fault: {sorted(at_fault)}")
        doubtful = set()
        for subject, row in at_fault.items():
            is_new = row.sealed != before[subject].sealed
            require(not (is_new and row.in_doubt), f"{subject!r}: a new row in doubt")
            require(is_new or subject not in shown, f"{subject!r} was shown a token that is not on the disk")
            if row.in_doubt:
                doubtful.add(subject)
        logged = len(self.daemon.log)
        self.daemon.start()
        lost = set()
        for subject in self.subjects:
            answer = self.daemon.get(self.path(subject))
            if answer.status == 409 and answer.error == "authorization_required":
                lost.add(subject)
                continue
            require(answer.status == 200, f"{subject!r}, after the restart: {answer}")
            require(self.emulator.accepts(answer.token), f"{subject!r} got a token that is not good")
            self.note(subject, answer)
        log = self.daemon.log[logged:]
        require(lost <= doubtful, f"lost without having been in doubt: {lost - doubtful}")
        require(log.count("event=in_doubt") == len(doubtful), f"{doubtful} were in doubt, the log says otherwise")
        require(log.count("event=lost_in_rotation") == len(lost), f"{lost} were lost, the log says otherwise")
        self.check_provider(len(lost))
        for subject in lost:
            self.login(subject)
        self.settle()
        return len(lost)


class Sweep:
    """Every point of one kind of rotation: the n-th call of that name in that thread.

    n runs from 1 until ATTEMPTS rotations in a row come to their end with fewer such calls. How threads meet
    varies, and with it how often some calls are made; so does what comes up at a point.
    """

    threads = THREADS
    calls = None  # all but those that only wait

    def __init__(self, site, name, rejected=False, gather=False):
        self.site = site
        self.name = name
        self.rejected = rejected  # the API has refused the old token; or there is none yet, after a start
        self.gather = gather  # every other commit is slow, so that changes gather for the next one
        self.points = self.lost = self.shown = 0

    def begin(self):
        """Right before a rotation. What the rows are."""
        if not self.rejected:
            self.site.daemon.restart()
        return self.site.rows()

    def attach(self, thread, *options, calls=()):
        """strace on one thread; and on the writer, if that is to be slow."""
        ids = self.site.threads()
        slow = ["-e", "inject=fdatasync:delay_enter=5000:when=1+2"] if self.gather else []
        traced = ["-e", "trace=" + ",".join({*calls, *(["fdatasync"] if slow else [])})]
        tracers = []
        if slow and thread != "store-writer":
            tracers.append(Strace(ids["store-writer"], "-o", "/dev/null", "-e", "trace=fdatasync", *slow))
        if slow and thread == "store-writer" and "fdatasync" not in calls:
            options = [*slow, *options]
        return [*tracers, Strace(ids[thread], *(traced if calls else []), *options)]

    def record(self):
        """{(thread, call): how often at least}, in some rotations without a fault."""
        counts = []
        for thread in [*self.threads] * 2:
            self.begin()
            with tempfile.NamedTemporaryFile("r", prefix="bearerd-trace-", errors="replace") as trace:
                tracers = self.attach(thread, "-o", trace.name)
                shown, refused = self.act()
                require(self.site.daemon.is_alive(), "it died by itself")  # the answer ends what is counted
                for tracer in tracers:
                    tracer.detach()
                calls = re.findall(r"^(\w+)\(", trace.read(), re.MULTILINE)
            require(shown == set(self.site.subjects), f"without a fault: {refused}")
            counts.append({(thread, call): n for call, n in collections.Counter(calls).items()})
            self.site.restart_anew()
        least = {key: min(c[key] for c in counts if key in c) for key in sorted({k for c in counts for k in c})}
        commits = least.get(("store-writer", "fdatasync"), 0)
        require(not self.gather or commits < 2 * len(self.site.subjects), f"{commits} commits: none was shared")
        return {(thread, call): n for (thread, call), n in least.items()
                if call not in WAITING and (not self.calls or call in self.calls)}

    def strike(self, point):
        """Kills the daemon at that point. False: it was not reached."""
        site = self.site
        before = self.begin()
        tracers = self.attach(point.thread, "-o", "/dev/null", "-e",
                              f"inject={point.call}:signal=KILL:when={point.n}", calls=[point.call])
        shown, refused = self.act()
        require(not refused, f"a caller got {refused}")
        reached = not site.daemon.is_alive()
        for tracer in tracers:
            tracer.detach()
        site.daemon.kill()
        self.disturb()
        lost = self.judge(before, shown, site.rows())
        if reached:
            self.lost += lost
            self.shown += len(shown)
        return reached

    def act(self):
        """What is under way when it happens. Who was shown something; the answers that were none."""
        return self.site.rotate(self.rejected)

    def disturb(self):
        """What else happens once the daemon is dead."""

    def judge(self, before, shown, at_fault):
        return self.site.judge(before, shown, at_fault)

    def try_point(self, point):
        try:
            return any(self.strike(point) for _ in range(ATTEMPTS))
        except (Failure, AssertionError) as e:
            raise Failure(f"{self.name}: {point.call} number {point.n} of thread {point.thread}: {e}") from e

    def run(self):
        recorded = self.record()
        for thread, call in recorded:
            points = (Point(thread, call, n) for n in itertools.count(1))
            self.points += sum(1 for _ in itertools.takewhile(self.try_point, points))
        expected = sum(recorded.values())
        require(self.points >= expected * 0.9, f"{self.name}: {self.points} faults were met, {expected} expected")
        self.report()

    def report(self):
        print(f"{self.name}: {self.points} system calls, the end at each; {self.shown} callers had their answer, and "
              f"it holds; {self.lost} answers of the provider were not on the disk yet, said to be lost", flush=True)


def reenter(options):
    """Starts this script again in namespaces of its own."""
    os.execvp("unshare", ["unshare", *options, sys.executable, sys.argv[0], "--inside", *sys.argv[1:]])


def main(run, mount=False):
    """Runs it with CAP_SYS_PTRACE, and where it may mount; 77 where that cannot be."""
    options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    options += ["--mount"] if mount else []
    if not shutil.which("strace"):
        print("NOT TESTED: strace is not installed", file=sys.stderr)
        sys.exit(SKIP)
    if options and "--inside" not in sys.argv:
        if subprocess.run(["unshare", *options, "true"], check=False).returncode != 0:
            print("NOT TESTED: this user may not make namespaces", file=sys.stderr)
            sys.exit(SKIP)
        reenter(options)
    try:
        with tempfile.TemporaryDirectory(prefix="bearerd-crash-") as directory:
            run(pathlib.Path(directory))
    except Failure as e:
        sys.exit(f"FAILED: {e}")
