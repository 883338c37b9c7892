"""Who may do what: every call of the API by every kind of caller, and what the log says of it.

The table below is the specification. Each cell is one call by a process with real ids, in a fresh connection.
"""

import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import (BEARERCTL, BEARERD, ENVIRONMENT, NEEDS_ROOT, Connection, EndToEnd, as_user,
                     eventually, main, new_token)

ROUTE_C = pathlib.Path(__file__).resolve().parents[2] / "daemon/api/route.c"
WITH_SYSTEMD = pathlib.Path(__file__).resolve().parents[3] / "shared/tools/with-systemd"
REDIRECT = "https://app.example.com/callback"
CLONE_NEWUSER = 0x10000000
CONTAINER = 100000  # what root of the user namespace is outside of it

ALICE, BOB, CAROL, DAVE, MALLORY = range(23451, 23456)
CREW, OPS = 23461, 23462

CALLERS = {  # uid, supplementary groups
    "root": (0, []),           # always an administrator; may use only what is open
    "alice": (ALICE, []),      # in allow_users of `hers`, `hertv` and `hersite`
    "bob": (BOB, [7, CREW]),   # a supplementary group of his is in allow_groups of `theirs`
    "carol": (CAROL, []),      # in admin_users
    "dave": (DAVE, [OPS]),     # a supplementary group of his is in admin_groups
    "mallory": (MALLORY, []),  # in nothing
    "container": None,         # root in a user namespace, whom the daemon sees as 100000
}

# `open` has no rule, `theirs` allows a group, `units` a unit that is not there; ID: an authorization of `hertv`.
TABLE = """
                                              root alice bob carol dave mallory container
GET    /v1/token/open                         200  200   200 200   200  200     200
GET    /v1/token/hers                         403  200   403 403   403  403     403
GET    /v1/token/hers?rejected=0123456789abcdef 403 200  403 403   403  403     403
GET    /v1/token/theirs                       403  403   200 403   403  403     403
GET    /v1/token/units                        403  403   403 403   403  403     403
GET    /v1/token/absent                       404  404   404 404   404  404     404
POST   /v1/token/open                         200  200   200 200   200  200     200
POST   /v1/token/hers                         403  200   403 403   403  403     403
POST   /v1/token/theirs                       403  403   200 403   403  403     403
GET    /v1/credentials                        200  200   200 200   200  200     200
GET    /v1/credentials/open                   200  200   200 200   200  200     200
GET    /v1/credentials/hers                   403  200   403 403   403  403     403
GET    /v1/credentials/absent                 404  404   404 404   404  404     404
GET    /v1/credentials/hers/access            200  200   200 200   200  200     200
GET    /v1/credentials/hers/access?pid=1      200  403   403 200   200  403     403
GET    /v1/credentials/absent/access          404  404   404 404   404  404     404
PUT    /v1/credentials/hers/secret            200  403   403 200   200  403     403
PUT    /v1/credentials/open/secret            200  403   403 200   200  403     403
PUT    /v1/credentials/absent/secret          404  404   404 404   404  404     404
GET    /v1/credentials/hers/subjects          200  403   403 200   200  403     403
GET    /v1/credentials/hertv/subjects         200  403   403 200   200  403     403
DELETE /v1/credentials/hers/grant             204  403   403 204   204  403     403
DELETE /v1/credentials/hertv/grant            403  404   403 403   403  403     403
DELETE /v1/credentials/opentv/grant           404  404   404 404   404  404     404
POST   /v1/credentials/hertv/authorizations   403  201   403 403   403  403     403
POST   /v1/credentials/opentv/authorizations  201  201   201 201   201  201     201
GET    /v1/authorizations                     200  200   200 200   200  200     200
GET    /v1/authorizations/ID                  404  200   404 404   404  404     404
GET    /v1/authorizations/0123                404  404   404 404   404  404     404
DELETE /v1/authorizations/ID                  404  200   404 404   404  404     404
POST   /v1/callback                           404  200   404 404   404  404     404
GET    /v1/events                             200  200   200 200   200  200     200
GET    /v1/events?credential=hers             403  200   403 403   403  403     403
POST   /v1/reload                             2xx  403   403 2xx   2xx  403     403
GET    /healthz                               200  200   200 200   200  200     200
GET    /readyz                                200  200   200 200   200  200     200
GET    /metrics                               200  200   200 200   200  200     200
"""

# The same on a socket that shows `open` and `opentv` alone: the others are not there, for nobody.
TABLE_OF_THE_SMALL_SOCKET = """
                                              root alice bob carol dave mallory container
GET    /v1/token/open                         200  200   200 200   200  200     200
GET    /v1/token/hers                         404  404   404 404   404  404     404
POST   /v1/token/hers                         404  404   404 404   404  404     404
GET    /v1/credentials/hers                   404  404   404 404   404  404     404
PUT    /v1/credentials/hers/secret            404  404   404 404   404  404     404
GET    /v1/credentials/hertv/subjects         404  404   404 404   404  404     404
DELETE /v1/credentials/hers/grant             404  404   404 404   404  404     404
POST   /v1/credentials/hertv/authorizations   404  404   404 404   404  404     404
GET    /v1/authorizations/ID                  404  404   404 404   404  404     404
DELETE /v1/authorizations/ID                  404  404   404 404   404  404     404
POST   /v1/callback                           404  404   404 404   404  404     404
"""


# Linux 6.13: the kernel tells the cgroup of a pidfd, so that /proc need not
HAS_CGROUP_IDS = tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups())) >= (6, 13)
HAS_NAMESPACES = subprocess.run(["unshare", "--user", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
NEEDS_NAMESPACES = unittest.skipUnless(HAS_NAMESPACES, "NOT TESTED: needs user namespaces")


def routes():
    """(method, pattern) of every route that there is."""
    found = re.findall(r'^\s*\{ "([A-Z]+)", "(/[^"]*)",', ROUTE_C.read_text(), re.MULTILINE)
    return [(method, re.compile(path.replace("*", "[^/]+").replace("#", "[^/]+"))) for method, path in found]


def rows(table):
    """(method, path, {caller: status}); lines whose route is not there yet are left out."""
    header, *lines = table.strip("\n").splitlines()
    for line in lines:
        method, path, *cells = line.split()
        if any(m == method and p.fullmatch(path.split("?")[0]) for m, p in routes()):
            yield method, path, dict(zip(header.split(), cells, strict=True))


def in_user_namespace(function):
    """What function() returns as root of a user namespace, whose ids are others outside."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter():
        ready, mapped = os.pipe(), os.pipe()
        child = os.getpid()
        helper = os.fork()
        if helper == 0:
            os.read(ready[0], 1)
            for name in ("uid_map", "gid_map"):
                pathlib.Path(f"/proc/{child}/{name}").write_text(f"0 {CONTAINER} 1000\n")
            os.write(mapped[1], b"x")
            os._exit(0)
        if libc.unshare(CLONE_NEWUSER):
            raise OSError(ctypes.get_errno(), "unshare")
        os.write(ready[1], b"x")
        os.read(mapped[0], 1)
        os.waitpid(helper, 0)
        os.setgroups([])
        os.setgid(0)
        os.setuid(0)
        return function()

    return as_user(0, enter)


def by(caller, function):
    if CALLERS[caller] is None:
        return in_user_namespace(function)
    uid, groups = CALLERS[caller]
    return as_user(uid, function, groups=groups)


class Cells(EndToEnd):
    daemon_keys = f"admin_users = {CAROL}\nadmin_groups = {OPS}"

    def sections(self):
        pat = "provider = coze-test\ntype = pat\n"
        tv = f"provider = coze-test\nconfig_file = {self.emulator.console_file('device')}\n"
        site = f"provider = coze-test\nconfig_file = {self.emulator.console_file('web')}\nredirect_uri = {REDIRECT}\n"
        return (f"[credential open]\n{pat}\n[credential hers]\n{pat}allow_users = {ALICE}\n\n"
                f"[credential theirs]\n{pat}allow_groups = {CREW}\n\n"
                f"[credential units]\n{pat}allow_units = nothing-of-that-name.service\n\n"
                f"[credential hertv]\n{tv}allow_users = {ALICE}\n\n[credential opentv]\n{tv}\n"
                f"[credential hersite]\n{site}allow_users = {ALICE}\n\n"
                f"[socket small]\npath = {self.directory}/small.sock\nmode = 0666\ncredentials = open opentv\n\n"
                f"[socket hers]\npath = {self.directory}/hers.sock\nmode = 0600\nuser = {ALICE}\n\n"
                f"[socket theirs]\npath = {self.directory}/theirs.sock\nmode = 0060\nuser = {ALICE}\n"
                f"group = {CREW}\n")

    def start(self):
        client = self.emulator.console("web")["client_id"]
        self.emulator.control("POST", "app", client_id=client, redirect_uris=[REDIRECT])
        self.emulator.control("POST", "consent", mode="approve")
        super().start()
        for credential in ("open", "hers", "theirs", "units"):
            self.assertStatus(self.daemon.set(credential, new_token()), 200)

    def as_alice(self, method, path, body=None):
        return as_user(ALICE, lambda: self.daemon.ask(method, path, body))

    def begin(self, credential):
        return self.assertStatus(self.as_alice("POST", f"/v1/credentials/{credential}/authorizations", {}), 201).json

    def prepare(self, method, path):
        """The path and the body of a call that would succeed, by whoever may make it."""
        if path.endswith("/secret"):
            token = new_token()
            self.daemon.secrets.add(token)
            return path, {"token": token}
        if method == "DELETE" and path == "/v1/credentials/hers/grant":
            self.assertStatus(self.daemon.set("hers", new_token()), 200)
        if path.endswith("/ID"):
            return path.replace("ID", self.begin("hertv")["id"]), None
        if path == "/v1/callback":
            return path, {"url": self.emulator.browse(self.begin("hersite")["authorization_url"])}
        return path, {} if method == "POST" and path != "/v1/reload" else None

    def status(self, caller, method, path, socket=None):
        """Of one call; the answer may be a stream that does not end."""
        path, body = self.prepare(method, path)

        def call():
            connection = Connection(socket or self.daemon.socket)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            endless = (answer.headers.get("Content-Type") or "").startswith("text/event-stream")
            text = b"" if endless else answer.read()
            connection.close()
            return answer.status, text

        status, text = by(caller, call)
        if status == 200 and path.startswith("/v1/token/"):
            self.daemon.secrets.add(json.loads(text)["access_token"])
        return status, text

    def check_table(self, table, socket=None):
        for method, path, cells in rows(table):
            for caller, expected in cells.items():
                with self.subTest(call=f"{method} {path}", caller=caller, socket=socket):
                    if CALLERS[caller] is None and not HAS_NAMESPACES:
                        self.skipTest("NOT TESTED: needs user namespaces")
                    status, text = self.status(caller, method, path, socket)
                    self.assertEqual(str(status) if expected != "2xx" else f"{status // 100}xx", expected, text)
                    if status == 403:
                        self.assertEqual(json.loads(text)["error"], "access_denied")


@NEEDS_ROOT
class Table(Cells):
    def test_every_cell(self):
        self.check_table(TABLE)

    def test_every_cell_of_the_small_socket(self):
        self.check_table(TABLE_OF_THE_SMALL_SOCKET, f"{self.directory}/small.sock")

    def test_lists(self):
        """What is listed is what may be used, on the socket that is asked."""
        sites = {"hertv", "hersite"}
        self.begin("hertv")
        known = {*re.findall(r"^\[credential (\S+)\]", self.emulator.configuration, re.MULTILINE), "open", "opentv"}
        for caller, more in (("root", set()), ("alice", {"hers", *sites}), ("bob", {"theirs"}), ("carol", set()),
                             ("dave", set()), ("mallory", set())):
            with self.subTest(caller=caller):
                def names(path, socket=None):
                    answer = by(caller, lambda: self.daemon.get(path, socket=socket)).json
                    return {o.get("name") or o["credential"] for o in next(iter(answer.values()))}

                self.assertEqual(names("/v1/credentials"), known | more)
                self.assertEqual(names("/v1/credentials", f"{self.directory}/small.sock"), {"open", "opentv"})
                self.assertEqual(names("/v1/authorizations"), {"hertv"} & more)
                self.assertEqual(names("/v1/authorizations", f"{self.directory}/small.sock"), set())

    def test_who_connects(self):
        """By the mode, the owner and the group of a socket."""
        for name, allowed in (("hers", {"root", "alice"}), ("theirs", {"root", "bob"})):
            for caller in CALLERS if HAS_NAMESPACES else list(CALLERS)[:-1]:
                with self.subTest(socket=name, caller=caller):
                    try:
                        by(caller, lambda: self.daemon.connect(f"{self.directory}/{name}.sock").close())
                        connected = True
                    except PermissionError:
                        connected = False
                    self.assertEqual(connected, caller in allowed)

    def test_no_oracle(self):
        """An authorization of others, and none at all, look the same; and it goes on untouched."""
        begun = self.begin("hersite")
        url = self.emulator.browse(begun["authorization_url"])
        absent = f"/v1/authorizations/{'0' * len(begun['id'])}"
        other = re.sub(r"state=[^&]*", "state=none", url)
        for caller in ("root", "bob", "mallory"):
            for method, mine, none, bodies in (("GET", f"/v1/authorizations/{begun['id']}", absent, (None, None)),
                                               ("DELETE", f"/v1/authorizations/{begun['id']}", absent, (None, None)),
                                               ("POST", "/v1/callback", "/v1/callback", ({"url": url}, {"url": other}))):
                with self.subTest(caller=caller, method=method):
                    answers = [by(caller, lambda p=p, b=b: self.daemon.ask(method, p, b))
                               for p, b in zip((mine, none), bodies)]
                    self.assertEqual(answers[0].status, 404)
                    self.assertEqual(answers[0].json, answers[1].json)
        done = self.as_alice("POST", "/v1/callback", {"url": url})
        self.assertEqual(self.assertStatus(done, 200).json["state"], "succeeded")


class Specification(unittest.TestCase):
    """Needs nobody to call."""

    def test_every_route_is_in_the_table(self):
        lines = [line.split()[:2] for line in TABLE.strip("\n").splitlines()[1:]]
        for method, pattern in routes():
            self.assertTrue(any(m == method and pattern.fullmatch(p.split("?")[0]) for m, p in lines),
                            f"{method} {pattern.pattern} of route.c is not in the table")
        self.assertGreater(len(routes()), 10, "route.c reads differently now")


@NEEDS_ROOT
@NEEDS_NAMESPACES
class Unmapped(EndToEnd):
    """The daemon itself is in a user namespace that knows root alone: all others are 65534, and could be anyone."""

    daemon_keys = f"admin_users = {ALICE}\nadmin_groups = {CREW}"

    def sections(self):
        pat = "provider = coze-test\ntype = pat\n"
        return (f"[credential open]\n{pat}\n[credential hers]\n{pat}allow_users = {ALICE} root\n"
                f"allow_groups = {CREW}\n\n[credential units]\n{pat}allow_units = *\n")

    def start(self):
        self.daemon.launch = self.launch
        super().start()
        for credential in ("open", "hers"):
            self.assertStatus(self.daemon.set(credential, new_token()), 200)

    def launch(self):
        with open(self.daemon.log_file, "ab") as log:
            self.daemon.process = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", *harness.WRAPPER, BEARERD, "--config", str(self.daemon.conf)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)

    def test_unknown_matches_nothing(self):
        for uid, gid, groups in ((ALICE, ALICE, []), (MALLORY, CREW, []), (MALLORY, MALLORY, [CREW]),
                                 (65534, 65534, [65534])):
            with self.subTest(uid=uid, gid=gid, groups=groups):
                def ask(method, path, body=None):
                    return as_user(uid, lambda: self.daemon.ask(method, path, body), gid=gid, groups=groups).status

                self.assertEqual(ask("GET", "/v1/token/open"), 200)
                self.assertEqual(ask("GET", "/v1/token/hers"), 403)
                self.assertEqual(ask("GET", "/v1/credentials/hers/subjects"), 403)
        self.assertEqual(self.daemon.get("/v1/token/hers").status, 200)  # root is root there, too
        self.assertEqual(self.daemon.stop(), 0)
        self.assertRegex(self.daemon.log, r"event=access_refused outcome=use_denied uid=65534 gid=65534 ")


@NEEDS_ROOT
class Explain(Cells):
    """Which rule it was: to the process itself, and to administrators about any."""

    def access(self, caller, credential, query=""):
        return self.assertStatus(by(caller, lambda: self.daemon.get(f"/v1/credentials/{credential}/access{query}")),
                                 200).json

    def test_rules(self):
        for caller, credential, use, admin in (
                ("root", "hers", "none", "root"), ("alice", "hers", "users", "none"), ("bob", "theirs", "groups", "none"),
                ("carol", "hers", "none", "users"), ("dave", "theirs", "none", "groups"), ("mallory", "open", "open", "none"),
                ("mallory", "units", "none", "none")):
            with self.subTest(caller=caller, credential=credential):
                told = self.access(caller, credential)
                self.assertEqual((told["use"]["rule"], told["admin"]["rule"]), (use, admin), told)
                self.assertEqual((told["use"]["allowed"], told["admin"]["allowed"]), (use != "none", admin != "none"))
                self.assertTrue(told["connect"]["allowed"])
                uid, groups = CALLERS[caller]
                self.assertEqual((told["uid"], told["gid"], sorted(told["groups"])), (uid, uid, groups))
        self.assertRegex(self.access("mallory", "units")["use"]["explanation"], "allow_units")
        self.assertNotIn(str(ALICE), json.dumps(self.access("mallory", "hers")))  # whom it names is not for all

    def test_other_processes(self):
        """The same as it would hear itself, but for the way to the socket, which is looked at."""
        for caller in ("alice", "bob", "mallory"):
            uid, groups = CALLERS[caller]
            sleeper = subprocess.Popen(["sleep", "60"], user=uid, group=uid, extra_groups=groups)
            try:
                for name, socket in (("open", None), ("hers", "hers.sock"), ("theirs", "theirs.sock")):
                    path = socket and f"{self.directory}/{socket}"
                    told = self.daemon.get(f"/v1/credentials/{name}/access?pid={sleeper.pid}", socket=path).json
                    self.assertEqual((told["pid"], told["uid"], sorted(told["groups"])), (sleeper.pid, uid, groups))
                    may = {"open": True, "hers": caller == "alice", "theirs": caller == "bob"}[name]
                    self.assertEqual((told["connect"]["allowed"], told["use"]["allowed"]), (may, may), told)
            finally:
                sleeper.kill()
                sleeper.wait()
        gone = self.daemon.get(f"/v1/credentials/open/access?pid={sleeper.pid}")
        self.assertStatus(gone, 404, "not_found")
        for pid in ("0", "-1", "x", "99999999999"):
            self.assertStatus(self.daemon.get(f"/v1/credentials/open/access?pid={pid}"), 400, "invalid_request")

    def test_bearerctl(self):
        done = self.bearerctl("explain", "hers", user=ALICE)
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, rf"(?m)^process   \d+: user {ALICE}, group {ALICE}.*\n(.*\n)*connect   yes: it is "
                                      rf"connected\nuse       yes: allow_users has its user, {ALICE}\nadmin     no: ")
        done = self.bearerctl("explain", "hers", "--json", user=MALLORY)
        self.assertEqual((done.returncode, json.loads(done.stdout)["use"]["allowed"]), (4, False))
        done = self.bearerctl("explain", "hers", "--pid", "1", user=MALLORY)
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertIn("only administrators", done.stderr)
        self.assertEqual(self.bearerctl("explain", "open", "--pid", "1").returncode, 0)
        self.assertEqual(self.bearerctl("explain", "open", "--pid", "x").returncode, 2)


@NEEDS_ROOT
class Audit(Cells):
    """The lines, with the ids that the kernel has told, and counts that add up."""

    def lines(self, event):
        return [dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)) for line in self.daemon.log.splitlines()
                if f"event={event} " in line]

    def test_tokens(self):
        token = self.daemon.token("open").json
        pid = as_user(ALICE, lambda: [self.daemon.token("hers") for _ in range(5)] and os.getpid())
        tokens = 1 + 5
        eventually(lambda: len(self.lines("token_handed_out")) >= 2, "the first are told at once")
        self.assertEqual(self.daemon.stop(), 0)
        lines = self.lines("token_handed_out")
        self.assertEqual(sum(int(line["count"]) for line in lines), tokens)
        for line in lines:
            self.assertEqual(set(line), {"event", "outcome", "uid", "gid", "pid", "unit", "credential", "subject",
                                         "fingerprint", "count"})
        mine = [line for line in lines if line["credential"] == "open"]
        self.assertEqual((mine[0]["uid"], mine[0]["fingerprint"]), ("0", token["fingerprint"]))
        hers = [line for line in lines if line["credential"] == "hers"]
        self.assertEqual({(line["uid"], line["gid"], line["pid"]) for line in hers},
                         {(str(ALICE), str(ALICE), str(pid))})
        self.assertLessEqual(len(hers), 2)

    def test_refusals(self):
        begun = self.begin("hertv")["id"]
        small = f"{self.directory}/small.sock"
        calls = [("GET", "/v1/token/hers?subject=a%20b", None, "use_denied"), ("POST", "/v1/token/theirs", {"subject": "carol"}, "use_denied"),
                 ("GET", "/v1/credentials/hers", None, "use_denied"), ("PUT", "/v1/credentials/hers/secret", {}, "admin_denied"),
                 ("GET", f"/v1/authorizations/{begun}", None, "use_denied"),
                 ("GET", "/v1/token/hers", small, "not_shown"), ("GET", "/v1/token/absent", None, None)]
        for method, path, body, _ in calls:
            socket, body = (body, None) if isinstance(body, str) else (None, body)
            as_user(MALLORY, lambda: self.daemon.ask(method, path, body, socket=socket))
        self.assertEqual(self.daemon.stop(), 0)
        lines = self.lines("access_refused")
        self.assertEqual(sorted(line["outcome"] for line in lines for _ in range(int(line["count"]))),
                         sorted(outcome for *_, outcome in calls if outcome))
        self.assertEqual({line["uid"] for line in lines}, {str(MALLORY)})
        self.assertLessEqual({'"a b"', '"carol"'}, {line["subject"] for line in lines})
        self.assertEqual({line["fingerprint"] for line in lines}, {"-"})


class AuditOff(EndToEnd):
    daemon_keys = "audit = off"

    def test_off(self):
        self.daemon.token("developer")
        self.assertEqual(self.daemon.stop(), 0)
        self.assertNotIn("event=token_handed_out", self.daemon.log)


@NEEDS_ROOT
@unittest.skipUnless(WITH_SYSTEMD.exists(), f"NOT TESTED: needs {WITH_SYSTEMD.name}, to boot systemd")
class Booted(unittest.TestCase):
    """Units, as systemd makes them: two of the system, one of a user's own manager, and that user's own daemon."""

    # unit, which credentials it may use: `app` allows app.service, `web` web@*.service, `users` user@*.service
    UNITS = {"app": {"open", "app"}, "web@1": {"open", "web"}, "other": {"open"}}

    CONFIGURATION = """
        [daemon]
        socket_mode = 0666
        admin_units = admin.service
        [credential open]
        {pat}
        [credential app]
        {pat}
        allow_units = app.service
        [credential web]
        {pat}
        allow_units = web@*.service
        [credential users]
        {pat}
        allow_units = user@*.service
        """

    def write(self, name, text, mode=0o600):
        (self.directory / name).write_text(harness.dedent(text))
        (self.directory / name).chmod(mode)

    def test_units(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.directory.chmod(0o755)
        self.write("token", new_token() + "\n")
        for name, place in (("system", "/run/bearerd/token"), ("user", "/var/lib/alice/token")):
            self.write(f"{name}.conf", self.CONFIGURATION.format(
                pat=f"provider = coze.cn\n        type = pat\n        token_file = {place}"))
        hidden = "User=alice\nProtectProc=invisible\nRuntimeDirectory=hidden\n"
        for name, keys in (("bearerd", ""), ("hidden", hidden)):
            self.write(f"{name}.service", f"[Service]\nType=notify\nStateDirectory={name}\n"
                                          f"{keys}ExecStart=/usr/local/bin/bearerd --config /run/{name}.conf\n")
        ask = ("for c in open app web users; do bearerctl --socket $S get $c >/dev/null 2>&1; echo $c $?; done; "
               "bearerctl --socket $S status app --subjects >/dev/null 2>&1; echo admin $?")
        self.write("ask", f"#!/bin/sh\nS=${{1:-/run/bearerd/bearerd.sock}}\n{ask}\n", 0o755)
        self.write("below", """
            #!/bin/sh
            cgroup=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
            mkdir -p $cgroup/one/two && echo $$ >$cgroup/one/two/cgroup.procs && exec "$@"
            """, 0o755)
        for name in ("app", "web@", "other", "admin"):
            self.write(f"{name}.service", f"[Service]\nType=oneshot\nDynamicUser=yes\nExecStart=/usr/local/bin/ask\n"
                                          f"StandardOutput=file:{self.directory}/{name.rstrip('@')}.out\n")
        self.write("script", """
            set -e
            cp *.service /run/systemd/system/
            install -m 0755 ask below /usr/local/bin/
            useradd --create-home --home-dir /var/lib/alice --uid 23451 alice
            mkdir -p /run/bearerd
            install -m 0600 token /run/bearerd/token
            install -m 0600 -o alice token /var/lib/alice/token
            cp system.conf /run/bearerd.conf
            sed 's,/run/bearerd/token,/var/lib/alice/token,; s,^\\[daemon\\],&\\nsocket = /run/hidden/s\\nstate_dir = /var/lib/hidden,' \
                system.conf >/run/hidden.conf
            install -m 0644 user.conf /var/lib/alice/user.conf
            chmod 0644 /run/hidden.conf /run/bearerd.conf
            systemctl daemon-reload
            systemctl start bearerd hidden
            for unit in app web@1 other admin; do systemctl start $unit; done
            rm /run/systemd/system/app.service /run/systemd/system/other.service /run/systemd/system/web@.service
            systemctl daemon-reload
            loginctl enable-linger alice
            systemctl start user@23451
            run() { systemd-run --quiet --user -M alice@.host "$@"; }
            run --wait --pipe --unit=app.service /usr/local/bin/ask >user-app.out
            run --unit=bearerd.service -p Type=notify /usr/local/bin/bearerd --user --config /var/lib/alice/user.conf
            own=/run/user/23451/bearerd/bearerd.sock
            run --wait --pipe --unit=app.service /usr/local/bin/ask $own >own-app.out
            run --wait --pipe --unit=other.service /usr/local/bin/ask $own >own-other.out
            systemd-run --quiet --wait --pipe --unit=app.service /usr/local/bin/ask $own >own-system-app.out
            setpriv --reuid=23451 --regid=23451 --clear-groups /usr/local/bin/ask >session.out
            systemd-run --quiet --wait --pipe --unit=app.service /usr/local/bin/ask /run/hidden/s >hidden-app.out
            systemd-run --quiet --wait --pipe --unit=other.service /usr/local/bin/ask /run/hidden/s >hidden-other.out
            systemd-run --quiet --wait --pipe --unit=web@7.service -p Delegate=yes /usr/local/bin/below \
                /usr/local/bin/ask /run/hidden/s >hidden-below.out
            run --wait --pipe --unit=app.service /usr/local/bin/ask /run/hidden/s >hidden-users.out
            systemctl stop bearerd hidden
            journalctl -o cat -u bearerd >journal
            journalctl -o cat -u hidden >hidden.journal
            """, 0o755)
        programs = pathlib.Path(BEARERD), pathlib.Path(BEARERCTL)
        done = subprocess.run(
            [str(WITH_SYSTEMD), "--bind", str(self.directory), *[w for p in programs for w in ("--bind-ro", str(p.parent))],
             "--setup", " && ".join(f"install -m 0755 {p} /usr/local/bin/" for p in programs), "--timeout", "90", "--",
             "/bin/sh", "-x", "./script"],
            cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
            env=ENVIRONMENT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({name: self.allowed(name) for name in (
            "app", "web", "other", "admin", "user-app", "session", "own-app", "own-other", "own-system-app",
            "hidden-app", "hidden-other", "hidden-below", "hidden-users")}, {
                "app": {"open", "app"}, "web": {"open", "web"}, "other": {"open"}, "admin": {"open", "admin"},
                "user-app": {"open", "users"},  # its name is the user's choice; the manager's is not
                "session": {"open"},
                "own-app": {"open", "app", "admin"}, "own-other": {"open", "admin"},  # her own user administers
                "own-system-app": {"open", "admin"},  # root's, and of no unit that her daemon knows
                "hidden-app": {"open", "admin"} | ({"app"} if HAS_CGROUP_IDS else set()),
                "hidden-other": {"open", "admin"},
                "hidden-below": {"open", "admin"} | ({"web"} if HAS_CGROUP_IDS else set()),
                "hidden-users": {"open", "admin"} | ({"users"} if HAS_CGROUP_IDS else set())})
        journal = (self.directory / "journal").read_text()
        self.assertRegex(journal, r"event=token_handed_out outcome=handed_out uid=\d+ gid=\d+ pid=\d+ unit=app.service "
                                  r"credential=app ")
        self.assertRegex(journal, r"event=access_refused outcome=use_denied uid=\d+ gid=\d+ pid=\d+ unit=other.service ")
        self.assertRegex(journal, r"uid=23451 gid=23451 pid=\d+ unit=user@23451.service credential=users ")
        self.assertNotIn("event=units_unknown", journal)
        self.assertEqual("event=units_unknown" in (self.directory / "hidden.journal").read_text(), not HAS_CGROUP_IDS)

    def allowed(self, name):
        lines = [line.split() for line in (self.directory / f"{name}.out").read_text().splitlines()]
        self.assertEqual([word for word, _ in lines], ["open", "app", "web", "users", "admin"])
        self.assertLessEqual({code for _, code in lines}, {"0", "4"}, (name, lines))
        return {word for word, code in lines if code == "0"}


if __name__ == "__main__":
    main()
