"""bearerctl check: each trouble between a configuration and a token is found, and the likeliest cause comes first."""

import grp
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import BEARERCTL, BEARERD, ENVIRONMENT, LIMIT_S, SANITIZER_REPORTS, SECRET_SHAPES, Emulator, EndToEnd, main, \
    new_token

API_REFUSES = (b'HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 37\r\n'
               b'Connection: close\r\n\r\n{"code":4100,"msg":"not authorized"}\n')
PAGE = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 21\r\nConnection: close\r\n\r\n"
        b"<html>Log in!</html>\n")
ELSEWHERE = (b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Authority:
    """A CA, and certificates of it by openssl(1), good at any time and for any name."""

    CONFIGURATION = ("[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index\nnew_certs_dir={0}\nrand_serial=yes\ndefault_md=sha256\n"
                     "policy=p\nunique_subject=no\ncertificate={0}/ca.pem\nprivate_key={0}/ca.key\n[p]\ncommonName=supplied\n")

    def __init__(self, name="a CA of the tests"):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-ca-"))
        (self.directory / "index").touch()
        (self.directory / "conf").write_text(self.CONFIGURATION.format(self.directory))
        self.openssl("req", "-x509", *self.new_key("ca"), "-days", "3650", "-subj", f"/CN={name}", "-out", "ca.pem")
        self.ca = self.directory / "ca.pem"

    def new_key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def context(self, names="localhost", begin="20200101000000Z", end="20491231235959Z"):
        """For a server that is called so, from then to then."""
        file = f"{names}-{begin}-{end}"
        if not (self.directory / f"{file}.pem").exists():
            (self.directory / "extensions").write_text("subjectAltName=DNS:" + ",DNS:".join(names.split()))
            self.openssl("req", *self.new_key(file), "-subj", f"/CN={names.split()[0]}", "-out", "request")
            self.openssl("ca", "-batch", "-notext", "-config", "conf", "-in", "request", "-out", f"{file}.pem", "-startdate",
                         begin, "-enddate", end, "-extfile", "extensions")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{file}.pem", self.directory / f"{file}.key")
        return context


class Server:
    """Answers every request with the same bytes; None: never. No context: no TLS."""

    def __init__(self, context, answer=API_REFUSES, silent_from_the_start=False):
        self.context, self.answer, self.mute = context, answer, silent_from_the_start
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.speak, args=(connection,), daemon=True).start()

    def speak(self, connection):
        try:
            if self.mute:
                return
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
                self.connections.append(connection)
            request = connection.recv(65536)
            if request and self.answer:
                connection.sendall(self.answer)
                connection.close()
        except OSError:
            pass

    def stop(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Check(unittest.TestCase):
    """On configurations of its own; nobody runs a daemon."""

    maxDiff = None
    authority = None

    @classmethod
    def setUpClass(cls):
        cls.emulator = Emulator.shared()

    def setUp(self):
        self.emulator.reset()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-check-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.conf = self.directory / "bearerd.conf"

    def file(self, name, content, mode=0o600):
        path = self.directory / name
        path.touch(mode)
        path.write_text(content)
        path.chmod(mode)
        return path

    def write(self, text):
        self.conf.write_text(f"[daemon]\nsocket = {self.directory}/bearerd.sock\nsocket_mode = 0600\n"
                             f"socket_group = {self.group()}\nstate_dir = {self.directory}/state\n{text}")

    @staticmethod
    def group():
        return grp.getgrgid(os.getgid()).gr_name

    def run_check(self, *arguments, environment=None):
        done = subprocess.run([BEARERCTL, "check", *arguments, str(self.conf)], check=False, capture_output=True, text=True,
                              timeout=LIMIT_S + 20, stdin=subprocess.DEVNULL,
                              env={**ENVIRONMENT, "PATH": f"{pathlib.Path(BEARERD).parent}:{ENVIRONMENT['PATH']}",
                                   **(environment or {})})
        self.assertIsNone(SANITIZER_REPORTS.search(done.stderr), done.stderr)
        self.assertIsNone(SECRET_SHAPES.search(done.stdout + done.stderr), "a secret is shown")
        for secret in self.emulator.secrets():
            self.assertNotIn(secret[4:18], done.stdout + done.stderr, "part of a secret is shown")
        return done

    def facts(self, text, code=0, *arguments, **more):
        """{check or credential: fact} of the facts with a problem, or of all."""
        self.write(text)
        done = self.run_check("--json", *arguments, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        o = json.loads(done.stdout)
        self.assertEqual(o["version"], 1)
        return o["checks"]

    def find(self, facts, check, result):
        found = [f for f in facts if f["check"] == check and f["result"] == result]
        self.assertEqual(len(found), 1, facts)
        return found[0]

    @staticmethod
    def causes(fact):
        return [cause["cause"] for cause in fact["causes"]]

    def provider(self, url=None, name="coze-test", ca=None, **keys):
        url = url or f"https://localhost:{self.emulator.port}"
        lines = "".join(f"{key} = {value}\n" for key, value in {"www_url": url, **keys}.items())
        return f"[provider {name}]\napi_url = {url}\n{lines}ca_file = {ca or self.emulator.directory / 'ca.pem'}\n"

    def pat(self, provider="coze-test", name="mine", token=None, more=""):
        file = self.file(f"{name}.token", token or self.emulator.static_token("pat"))
        return f"[credential {name}]\nprovider = {provider}\ntype = pat\ntoken_file = {file}\n{more}"

    def bot(self, provider="coze-test", emulator=None, **keys):
        console = (emulator or self.emulator).console("developer")
        key = self.file("bot.pem", console["private_key"])
        values = {"client_id": console["client_id"], "public_key_id": console["public_key_id"], "private_key_file": key,
                  **keys}
        return f"[credential bot]\nprovider = {provider}\ntype = jwt\n" + "".join(f"{k} = {v}\n" for k, v in values.items())

    def trouble(self, text, check, problem, causes, code=6):
        """The one failure there is."""
        facts = self.facts(text, code)
        fact = self.find(facts, check, "fail")
        self.assertEqual(fact["problem"], problem, fact)
        self.assertEqual(self.causes(fact)[:len(causes)], causes, fact)
        return fact

    def serve(self, context, *arguments, **more):
        server = Server(context, *arguments, **more)
        self.addCleanup(server.stop)
        return server

    def authority_of_tests(self):
        if not shutil.which("openssl"):
            self.skipTest("NOT TESTED: needs openssl(1)")
        if not Check.authority:
            Check.authority = Authority()
            unittest.addModuleCleanup(shutil.rmtree, Check.authority.directory, ignore_errors=True)
        return Check.authority

    def on(self, server):
        """A provider there, with a token for it."""
        return self.provider(server.url, ca=self.authority_of_tests().ca, timeout="1s") + self.pat(token=new_token())


class Good(Check):
    def test_everything(self):
        facts = self.facts(self.emulator.configuration)
        results = {f.get("credential", f["check"]): f["result"] for f in facts}
        self.assertEqual(results, {"configuration": "ok", "eligibility": "skip", "key_file": "skip", "name": "ok", "connection": "ok", "tls": "ok",
                                   "answer": "ok", "clock": "ok", "developer": "ok", "channel": "ok", "enterprise": "ok",
                                   "web": "skip", "pkce": "skip", "device": "skip", "pat": "ok", "sat": "ok",
                                   "daemon": "skip"})
        self.assertEqual({f["problem"] for f in facts if f.get("credential") in ("web", "pkce", "device")}, {"needs_person"})
        self.assertEqual(self.emulator.state()["violations"], [])

    def test_for_people(self):
        self.write(self.emulator.configuration)
        done = self.run_check()
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^ok    developer +coze-test gives a token, good for 15min$")
        self.assertNotIn("\033", done.stdout, "no colours in a pipe")
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)

    @unittest.skipUnless(shutil.which("msgfmt"), "NOT TESTED: without gettext's msgfmt there is no catalogue")
    def test_in_chinese(self):
        self.write(self.emulator.configuration)
        self.assertIn("coze-test 发放了 token", self.run_check(environment={"LANG": "zh_CN.UTF-8", "LC_ALL": ""}).stdout)

    def test_nothing_is_changed(self):
        """No state, no key, no refresh token and no code spent."""
        self.facts(self.emulator.configuration)
        self.assertEqual([f.name for f in self.directory.iterdir()], ["bearerd.conf"])
        asked = self.emulator.state()["requests"]
        self.assertEqual((asked["token"], asked["jwt"], asked["refresh"], asked["device_start"]), (3, 3, 0, 0))

    def test_offline(self):
        facts = self.facts(self.emulator.configuration, 0, "--offline")
        self.assertEqual({f["check"] for f in facts}, {"configuration", "eligibility", "key_file", "credential", "daemon"})
        asked = self.emulator.state()["requests"]
        self.assertEqual((asked["token"], asked["users_me"]), (0, 0))

    def test_no_credential(self):
        facts = self.facts("")
        self.assertEqual([f["check"] for f in facts], ["configuration", "key_file", "daemon"])
        self.assertEqual((facts[0]["problem"], self.causes(facts[0])), ("empty", ["credential", "user"]))


class Configuration(Check):
    def test_mistake(self):
        facts = self.facts("[credential x]\nprovidr = coze.cn\n", 1)
        self.assertIn(f"{self.conf}:", facts[0]["message"])
        self.assertIn("provider", facts[0]["message"])
        self.assertEqual({f["result"] for f in facts}, {"fail"})

    def test_unreadable_file(self):
        text = self.provider() + self.pat()
        (self.directory / "mine.token").chmod(0o644)
        self.assertIn("chmod 600", self.facts(text, 1)[0]["message"])
        (self.directory / "mine.token").unlink()
        self.assertIn("No such file", self.facts(text, 1)[0]["message"])

    def test_eligibility(self):
        text = self.provider() + "[credential mine]\nprovider = coze-test\ntype = sat\nplan = enterprise\nrole = member\n"
        self.assertIn("SAT", self.facts(text, 1)[0]["message"])
        self.find(self.facts(text.replace("member", "admin")), "eligibility", "ok")
        fact = self.find(self.facts(self.provider() + self.pat()), "eligibility", "skip")
        self.assertEqual((fact["unset"], self.causes(fact)), (1, ["plan"]))

    def test_secrets_of_the_service(self):
        """%d is the service's; what is not there for us is no mistake, and all else is looked at."""
        text = self.provider() + self.bot(private_key_file="%d/bot.pem") + self.pat()
        facts = self.facts(text, environment={"CREDENTIALS_DIRECTORY": str(self.directory / "nowhere")})
        self.assertIn("cannot be checked from here", self.find(facts, "configuration", "warn")["message"])
        self.assertEqual({f["credential"]: (f["result"], f.get("problem")) for f in facts if f["check"] == "credential"},
                         {"bot": ("skip", "unseen"), "mine": ("ok", None)})
        facts = self.facts(text, environment={"CREDENTIALS_DIRECTORY": str(self.directory)})
        self.assertEqual([f["result"] for f in facts if f["check"] == "credential"], ["ok", "ok"])

    def test_key_file(self):
        self.write("")
        (self.directory / "state").mkdir()
        self.file("state/bearerd.key", "short")
        self.assertEqual(self.find(self.facts("", 1), "key_file", "fail")["problem"], "unusable")


class Way(Check):
    def test_name(self):
        text = self.provider("https://bearerd.invalid", timeout="1s") + self.pat()
        facts = self.facts(text, 6, environment={"RES_OPTIONS": "attempts:1 timeout:1"})
        fact = self.find(facts, "name", "fail")
        self.assertIn((fact["problem"], self.causes(fact)[0]),
                      (("unknown_name", "url"), ("no_name_service", "network"), ("timeout", "network")))
        self.assertEqual(self.find(facts, "credential", "skip")["problem"], "unreachable")

    def test_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        self.trouble(self.provider(f"https://localhost:{port}") + self.pat(), "connection", "refused", ["url", "firewall"])

    def test_silence(self):
        """One that hangs is given up, and the others are looked at all the same."""
        dead = self.serve(None, silent_from_the_start=True)
        text = self.provider() + self.provider(dead.url, "dead", timeout="1s") + self.bot() + self.pat("dead")
        begun = time.monotonic()
        facts = self.facts(text, 6)
        self.assertLess(time.monotonic() - begun, LIMIT_S)
        fact = self.find(facts, "tls", "fail")
        self.assertEqual((fact["problem"], self.causes(fact)), ("timeout", ["firewall"]))
        self.assertEqual(self.find(facts, "credential", "ok")["credential"], "bot")

    def test_wrong_ca(self):
        ca = self.authority_of_tests().ca
        fact = self.trouble(self.provider(ca=ca) + self.pat(), "tls", "untrusted", ["ca_file"])
        self.assertEqual(fact["issuer"], "bearerd emulator CA")
        self.trouble(self.provider(ca=self.file("junk.pem", "junk")) + self.pat(), "tls", "ca_file", ["ca_file"])

    def test_dates(self):
        authority = self.authority_of_tests()
        server = self.serve(authority.context(end="20210101000000Z"))
        fact = self.trouble(self.on(server), "tls", "expired", ["certificate", "clock"])
        self.assertEqual(fact["not_after"], 1609459200)
        server = self.serve(authority.context(begin="20480101000000Z"))
        fact = self.trouble(self.on(server), "tls", "not_yet_valid", ["clock", "certificate"])
        self.assertEqual(fact["not_before"], 2461449600)

    def test_other_host(self):
        server = self.serve(self.authority_of_tests().context(names="api.example www.example"))
        fact = self.trouble(self.on(server), "tls", "other_host", ["url", "intercepted"])
        self.assertEqual(fact["names"], "api.example, www.example")

    def test_no_tls(self):
        self.trouble(self.on(self.serve(None)), "tls", "not_tls", ["url", "intercepted"])

    def test_answers(self):
        context = self.authority_of_tests().context()
        for answer, problem, causes in ((PAGE, "not_json", ["url", "intercepted"]),
                                        (ELSEWHERE, "redirected", ["url", "intercepted"]),
                                        (API_REFUSES.replace(b"401", b"503"), "out_of_order", ["outage"]),
                                        (API_REFUSES[:-9], "closed", ["outage"]),
                                        (None, "timeout", ["outage"])):
            with self.subTest(problem=problem):
                self.trouble(self.on(self.serve(context, answer)), "answer", problem, causes)

    def test_clock(self):
        for seconds, problem in ((3600, "behind"), (-3600, "ahead")):
            self.emulator.control("POST", "clock", offset=seconds)
            facts = self.facts(self.provider() + self.bot())
            fact = self.find(facts, "clock", "warn")
            self.assertEqual((fact["problem"], round(fact["skew_s"] / 60), self.causes(fact)),
                             (problem, seconds / 60, ["clock"]))
            self.assertEqual(self.find(facts, "credential", "ok")["credential"], "bot", "bearerd copes")

    def test_proxy(self):
        """It is named, without its password, as soon as it may be what is in the way."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        text = self.provider("https://api.example") + self.pat()
        facts = self.facts(text, 6, environment={"https_proxy": f"http://me:hunter2@127.0.0.1:{port}"})
        fact = self.find(facts, "connection", "fail")
        self.assertEqual((fact["problem"], fact["proxy"], fact["proxy_variable"]),
                         ("refused", f"http://127.0.0.1:{port}/", "https_proxy"))
        self.assertEqual(self.causes(fact)[:2], ["url", "proxy"])
        self.assertNotIn("hunter2", json.dumps(facts))


    def test_proxy_that_refuses(self):
        """As one does that wants a user and password."""
        proxy = self.serve(None, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        text = self.provider("https://api.example") + self.pat()
        fact = self.find(self.facts(text, 6, environment={"https_proxy": f"http://127.0.0.1:{proxy.port}"}),
                         "connection", "fail")
        self.assertEqual((fact["problem"], fact["status"], self.causes(fact)[0]), ("proxy_refused", 407, "proxy"))

    def test_no_proxy(self):
        """The environment can exempt a host, as libcurl reads it."""
        for exempt in ("*", ".invalid, other", "bearerd.invalid"):
            facts = self.facts(self.provider("https://bearerd.invalid", timeout="1s") + self.pat(), 6, environment={
                "https_proxy": "http://127.0.0.1:1", "no_proxy": exempt, "RES_OPTIONS": "attempts:1 timeout:1"})
            self.assertNotIn("proxy", self.find(facts, "name", "fail"), exempt)


class Credentials(Check):
    def refused(self, text, causes, code=6):
        fact = self.find(self.facts(text, code), "credential", "fail")
        self.assertEqual(fact["problem"], "refused", fact)
        self.assertEqual(self.causes(fact), causes, fact)
        return fact

    def test_the_same_again(self):
        """What is wrong with each of many is explained once."""
        bots = "".join(self.bot(public_key_id="x" * 43).replace("[credential bot]", f"[credential bot{i}]") for i in range(3))
        self.write(self.provider() + bots)
        text = self.run_check().stdout
        self.assertEqual((text.count("FAIL  bot"), text.count("1. It is for another server"), text.count("-> As above.")),
                         (3, 1, 2))

    def test_wrong_key_id(self):
        self.refused(self.provider() + self.bot(public_key_id="x" * 43),
                     ["region", "public_key_id", "public_key", "client_id", "private_key"])

    def test_key_itself_as_key_id(self):
        fact = self.refused(self.provider() + self.bot(public_key_id="MIIBIjANBgkq"),
                            ["region", "public_key_id", "public_key", "client_id", "private_key"])
        self.assertIn("is not a fingerprint", fact["causes"][1]["advice"])

    def test_deactivated(self):
        self.emulator.deactivate("developer")
        self.refused(self.provider() + self.bot(), ["deactivated"])

    def test_enterprise_application_by_mistake(self):
        self.refused(self.provider() + self.bot(application="enterprise", enterprise_id="volcano_2101950000"),
                     ["application_type"])

    def test_out_of_order(self):
        self.emulator.fault("internal_error")
        self.refused(self.provider() + self.bot(), ["outage"])
        self.emulator.heal()
        self.emulator.fault("rate_limit", retry_after=1)
        facts = self.facts(self.provider() + self.bot())
        self.assertEqual(self.find(facts, "credential", "warn")["kind"], "rate_limit")

    def test_hangs(self):
        """The next is not asked, rather than waited for."""
        self.emulator.fault("hang")
        facts = self.facts(self.provider(timeout="1s") + self.bot() + self.pat(), 6)
        self.assertEqual(self.find(facts, "credential", "fail")["problem"], "no_answer")
        self.assertEqual(self.find(facts, "credential", "skip")["problem"], "unreachable")
        self.emulator.heal()

    def test_rate(self):
        """Many are asked as slowly as the configuration wants it; a second is the least that three of two take."""
        bots = "".join(self.bot().replace("[credential bot]", f"[credential bot{i}]") for i in range(3))
        begun = time.monotonic()
        facts = self.facts(self.provider(requests_per_second=2) + bots)
        self.assertEqual([f["result"] for f in facts if f["check"] == "credential"], ["ok"] * 3)
        self.assertGreaterEqual(time.monotonic() - begun, 1)

    def test_terminal(self):
        """What a provider says cannot steer a terminal."""
        self.emulator.fault("status", status=401, content_type="application/json",
                            body=json.dumps({"error_code": "invalid_client", "error_message": "a\033[31mb\nc\u202e"}))
        self.write(self.provider() + self.bot())
        done = self.run_check()
        self.assertEqual(done.returncode, 6)
        self.assertNotRegex(done.stdout, "\033")

    def test_static(self):
        self.refused(self.provider() + self.pat(token=new_token()), ["region", "revoked"])
        with_end = "expires_at = {}\n"
        fact = self.find(self.facts(self.provider() + self.pat(more=with_end.format("2025-01-31")), 1), "credential", "fail")
        self.assertEqual((fact["problem"], self.causes(fact)), ("expired", ["expired"]))
        self.assertEqual(self.emulator.state()["requests"]["users_me"], 3, "an expired token is not shown around")
        soon = int(time.time()) + 86400
        fact = self.find(self.facts(self.provider() + self.pat(more=with_end.format(soon))), "credential", "warn")
        self.assertEqual((fact["problem"], fact["expires_at"]), ("expires_soon", soon))

    def test_may_not_tell(self):
        """4101 is no verdict on a token that may do other things."""
        self.emulator.fault("status", endpoint="users_me", status=200, content_type="application/json",
                            body='{"code":4101,"msg":"no permission"}')
        fact = self.find(self.facts(self.provider() + self.pat()), "credential", "warn")
        self.assertEqual(self.causes(fact), ["region", "permission", "revoked"])


class Region(Check):
    """Both regions are emulators; what differs is where the application was made."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Emulator()
        cls.addClassCleanup(cls.other.stop)

    def setUp(self):
        super().setUp()
        self.other.reset()

    def regions(self):
        return self.provider(name="coze.cn") + self.provider(f"https://localhost:{self.other.port}", "coze.com",
                                                             self.other.directory / "ca.pem")

    def test_made_in_the_other(self):
        fact = self.find(self.facts(self.regions() + self.bot("coze.com"), 6), "credential", "fail")
        self.assertEqual((fact["works_at"], self.causes(fact)), ("coze.cn", ["region"]))
        self.assertIn("provider = coze.cn", fact["causes"][0]["advice"])

    def test_known_but_switched_off_in_the_other(self):
        self.emulator.deactivate("developer")
        fact = self.find(self.facts(self.regions() + self.bot("coze.com"), 6), "credential", "fail")
        self.assertEqual((fact["works_at"], self.causes(fact)), ("coze.cn", ["region"]))

    def test_made_in_neither(self):
        fact = self.find(self.facts(self.regions() + self.bot("coze.com", public_key_id="x" * 43), 6), "credential", "fail")
        self.assertEqual((fact["refused_at"], self.causes(fact)),
                         ("coze.cn", ["public_key_id", "public_key", "client_id", "private_key"]))

    def test_other_is_out_of_reach(self):
        """Then it is the likeliest cause of all."""
        self.emulator.fault("drop_before", endpoint="any")
        fact = self.find(self.facts(self.regions() + self.bot("coze.com"), 6), "credential", "fail")
        self.emulator.heal()
        self.assertEqual(self.causes(fact)[0], "region")
        self.assertIn("www.coze.cn", fact["causes"][0]["advice"])

    def test_configured_one_is_out_of_reach(self):
        """Networks let one region through and not the other; that the key is known there settles it."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        text = self.provider(name="coze.cn") + self.provider(f"https://localhost:{port}", "coze.com")
        facts = self.facts(text + self.bot("coze.com") + self.pat("coze.com"), 6)
        fact = self.find(facts, "credential", "fail")
        self.assertEqual((fact["problem"], fact["works_at"], self.causes(fact)), ("unreachable", "coze.cn", ["region"]))
        self.assertIn("region", self.causes(self.find(facts, "connection", "fail")))
        self.assertEqual(self.emulator.state()["requests"]["users_me"], 0, "the token stays where it is")

    def test_tokens_stay_where_they_are(self):
        """Only an assertion goes to the other region, and only after a refusal."""
        fact = self.find(self.facts(self.regions() + self.pat("coze.com"), 6), "credential", "fail")
        self.assertEqual(self.causes(fact), ["region", "revoked"])
        self.facts(self.regions() + self.bot("coze.cn"))
        self.assertEqual(self.emulator.state()["requests"]["users_me"], 1, "of the second check, without a token")
        self.assertEqual(self.other.state()["requests"]["token"], 0)


class Daemon(EndToEnd):
    """What a daemon that runs has to say."""

    def sections(self):
        return "[credential spare]\nprovider = coze-test\ntype = pat\n"

    def facts(self):
        """{credential, or "": fact} of what the daemon says."""
        checks = json.loads(self.bearerctl("check", "--json", str(self.daemon.conf)).stdout)["checks"]
        return {f.get("credential", ""): f for f in checks if f["check"] == "daemon"}

    def test_what_it_knows(self):
        self.daemon.token("developer")
        self.daemon.get("/v1/token/web")
        facts = self.facts()
        self.assertEqual((facts[""]["result"], facts[""]["socket"]), ("ok", self.daemon.socket))
        self.assertEqual([c["advice"] for c in facts["web"]["causes"]], ["bearerctl login web"])
        self.assertNotIn("developer", facts)
        self.assertEqual([c["cause"] for c in facts["spare"]["causes"]], ["set"])

    def test_token_that_ends(self):
        """One that was set at run time, of which nobody else knows."""
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 86400)
        fact = self.facts()["spare"]
        self.assertEqual((fact["problem"], [c["cause"] for c in fact["causes"]]), ("expires_soon", ["set"]))

    def test_fails_for_it_alone(self):
        """Where it works from here, the daemon has another configuration or environment; else once is enough."""
        self.emulator.fault("invalid_client")
        self.assertStatus(self.daemon.get("/v1/token/developer"), 502)
        self.assertNotIn("developer", self.facts())
        self.emulator.heal()
        fact = self.facts()["developer"]
        self.assertEqual((fact["problem"], fact["result"], [c["cause"] for c in fact["causes"]]),
                         ("failing", "warn", ["reload", "proxy"]))
        self.assertIn("kid not been registred", fact["message"])

    def test_it_does_not_mind(self):
        """A check beside it neither needs its lock nor disturbs it."""
        token = self.daemon.token("developer").token
        done = self.bearerctl("check", str(self.daemon.conf))
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^ok    key ")
        self.assertEqual(self.daemon.token("developer").token, token)


if __name__ == "__main__":
    main()
