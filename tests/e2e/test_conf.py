"""bearerd --check: every mistake is refused, with file, line, key and what is allowed."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from harness import BEARERD, ENVIRONMENT, LIMIT_S, NEEDS_ROOT, WRAPPER, Emulator, main, new_token

# In each text, the line that begins with ">" is the wrong one; "@" stands for the emulator's directory, "~" for the
# test's own. The words have to be said in one message together with FILE:LINE.
JWT = "type = jwt\nclient_id = 1127900106117\npublic_key_id = {kid}\n"
JWT_KEY = JWT + "private_key_file = @/developer/private_key.pem\n"

WRONG = {
    "misspelt key of a credential": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">token_lifetme = 1h\n",
                                     ["token_lifetme", "token_lifetime"]),
    "misspelt key of the daemon": ("[daemon]\n>sokcet_mode = 0600\n", ["sokcet_mode", "socket_mode"]),
    "misspelt key of a provider": ("[provider a]\napi_url = https://a.example\nwww_url = https://a.example\n"
                                   ">audiense = a\n", ["audiense", "audience"]),
    "key in the wrong section": ("[daemon]\n>client_id = 1\n", ["client_id", "credential"]),
    "key of another type": ("[credential a]\nprovider = coze.cn\ntype = pat\n>public_key_id = {kid}\n",
                            ["public_key_id", "jwt"]),
    "unknown section": (">[credentials a]\nprovider = coze.cn\n", ["credential"]),
    "section without a name": (">[credential]\nprovider = coze.cn\ntype = pat\n", ["name"]),
    "section of a bad name": (">[credential a/b]\nprovider = coze.cn\ntype = pat\n", ["name"]),
    "section twice": ("[credential a]\nprovider = coze.cn\ntype = pat\n>[credential a]\nprovider = coze.cn\ntype = sat\n",
                      ["twice"]),
    "section that does not end": (">[credential a\nprovider = coze.cn\ntype = pat\n", ["]"]),
    "key twice": ("[credential a]\nprovider = coze.cn\ntype = pat\n>type = sat\n", ["type"]),
    "line that is none": ("[credential a]\nprovider = coze.cn\ntype = pat\n>hello\n", []),
    "no provider": (">[credential a]\ntype = pat\n", ["provider", "coze.cn", "coze.com"]),
    "unknown provider": ("[credential a]\n>provider = coze.cm\ntype = pat\n", ["coze.cm", "coze.com"]),
    "no type": (">[credential a]\nprovider = coze.cn\n", ["type"]),
    "unknown type": ("[credential a]\nprovider = coze.cn\n>type = jwtt\n", ["jwt", "pat", "device_code"]),
    "unknown application": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">application = chanel\n",
                            ["developer", "channel", "enterprise"]),
    "no client_id": (">[credential a]\nprovider = coze.cn\ntype = device_code\n", ["client_id"]),
    "no redirect_uri": (">[credential a]\nprovider = coze.cn\ntype = pkce\nclient_id = 1.app.coze\n", ["redirect_uri"]),
    "no private key": (">[credential a]\nprovider = coze.cn\n" + JWT, ["private_key_file"]),
    "number without a unit": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">token_lifetime = 900\n",
                              ["token_lifetime", "900s"]),
    "lifetime beyond Coze's": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">token_lifetime = 24h\n",
                               ["token_lifetime", "86399"]),
    "no lifetime at all": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">token_lifetime = 0s\n",
                           ["token_lifetime"]),
    "lifetime of another language": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">token_lifetime = 1 Stunde\n",
                                     ["token_lifetime", "12h"]),
    "neither yes nor no": ("[credential a]\nprovider = coze.cn\ntype = pat\n>subjects = maybe\n", ["subjects", "yes"]),
    "unknown log level": ("[daemon]\n>log_level = verbose\n", ["log_level", "debug"]),
    "mode that is none": ("[daemon]\n>socket_mode = rw-rw----\n", ["socket_mode", "0660"]),
    "mode out of range": ("[daemon]\n>socket_mode = 1777\n", ["socket_mode"]),
    "unknown user": ("[credential a]\nprovider = coze.cn\ntype = pat\n>allow_users = nobody-of-that-name\n",
                     ["allow_users", "nobody-of-that-name"]),
    "unknown group": ("[daemon]\n>admin_groups = no-group-of-that-name\n", ["admin_groups", "no-group-of-that-name"]),
    "overflow user": ("[credential a]\nprovider = coze.cn\ntype = pat\n>allow_users = 65534\n", ["65534"]),
    "socket path that is too long": ("[daemon]\n>socket = /tmp/" + "x" * 110 + "\n", ["socket", "107"]),
    "relative path": ("[daemon]\n>state_dir = state\n", ["state_dir"]),
    "http beyond loopback": ("[provider a]\n>api_url = http://api.example\nwww_url = https://api.example\n"
                             "allow_http = yes\n", ["api_url", "https"]),
    "http without leave": ("[provider a]\n>api_url = http://127.0.0.1:80\nwww_url = https://127.0.0.1\n",
                           ["api_url", "allow_http"]),
    "URL that is none": ("[provider a]\n>api_url = api.coze.cn\nwww_url = https://www.coze.cn\n", ["api_url", "https"]),
    "URL with a password": ("[provider a]\n>api_url = https://me:hunter2@api.example\nwww_url = https://a.example\n",
                            ["api_url"]),
    "no URL": (">[provider a]\nwww_url = https://a.example\n", ["api_url"]),
    "unknown dialect": ("[provider a]\napi_url = https://a.example\nwww_url = https://a.example\n>dialect = cose\n",
                        ["dialect", "coze"]),
    "no enterprise_id": (">[credential a]\nprovider = coze.cn\n" + JWT_KEY + "application = enterprise\n",
                         ["enterprise_id"]),
    "two owners": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + "application = enterprise\n"
                   ">enterprise_id = volcano_1\naccount_id = 7\n", ["account_id", "enterprise_id"]),
    "account_id that is no number": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">account_id = me\n",
                                     ["account_id"]),
    "unknown fallback": ("[credential a]\nprovider = coze.cn\ntype = pat\n>fallback = b\n", ["fallback"]),
    "fallback to itself": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">fallback = a\n", ["fallback"]),
    "fallback in a circle": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + "fallback = b\n"
                             "[credential b]\nprovider = coze.cn\n" + JWT_KEY + "fallback = a\n", ["fallback"]),
    "secret in the configuration": ("[credential a]\nprovider = coze.cn\ntype = pat\n>token = pat_hunter2hunter2\n",
                                    ["token_file"]),
    "socket without a path": (">[socket a]\nmode = 0666\n", ["path"]),
    "socket of an unknown credential": ("[credential bot]\nprovider = coze.cn\ntype = pat\n"
                                        "[socket a]\npath = ~/a.sock\n>credentials = bto\n", ["bto", "bot"]),
    "two sockets at one path": ("[socket a]\npath = ~/a.sock\n[socket b]\n>path = ~/a.sock\n", ["path", "socket a"]),
    "session_context that is no JSON": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY
                                        + ">session_context = device_info\n", ["session_context", "JSON"]),
    "session_context that is no object": ("[credential a]\nprovider = coze.cn\n" + JWT_KEY + ">session_context = [1]\n",
                                          ["session_context", "object"]),
    "redirect_uri that is none": ("[credential a]\nprovider = coze.cn\ntype = pkce\nclient_id = 1.app.coze\n"
                                  ">redirect_uri = localhost:8080\n", ["redirect_uri"]),
    "a file that is not there": ("[credential a]\nprovider = coze.cn\ntype = pat\n>token_file = ~/nothing\n",
                                 ["token_file", "~/nothing"]),
    "a directory for a file": ("[credential a]\nprovider = coze.cn\ntype = pat\n>token_file = ~\n", ["token_file"]),
    "%d without credentials": ("[credential a]\nprovider = coze.cn\ntype = pat\n>token_file = %d/token\n",
                               ["token_file", "LoadCredential"]),
    "console file of another provider": ("[credential a]\n>provider = coze.cn\n"
                                         "config_file = @/developer/coze_oauth_config.json\n", ["region"]),
}

ELIGIBLE = [  # plan, role, type and more keys, is it allowed: coze-oauth.md section 2.1
    ("personal", "", "type = pat", True), ("personal", "", "type = sat", True), ("personal", "", "jwt", True),
    ("personal", "", "jwt+application = channel", True), ("enterprise", "admin", "jwt+application = channel", True),
    ("personal", "", "jwt+application = enterprise+enterprise_id = v_1", False),
    ("enterprise", "admin", "jwt+application = enterprise+enterprise_id = v_1", True),
    ("enterprise", "member", "jwt+application = enterprise+enterprise_id = v_1", False),
    ("enterprise", "member", "type = pat", True), ("enterprise", "member", "type = sat", False),
    ("enterprise", "member", "jwt", False), ("enterprise", "admin", "jwt", True), ("enterprise", "admin", "type = sat", True),
    ("enterprise", "", "jwt", True), ("", "member", "jwt", False), ("personal", "", "device", True),
    ("personal", "", "device+workspace_id = 7361", False), ("enterprise", "admin", "device+workspace_id = 7361", True),
    ("enterprise", "member", "device", False),
]


class Check(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.emulator = Emulator.shared()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-e2e-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.conf = self.directory / "bearerd.conf"

    def fill(self, text):
        return (text.replace("@", str(self.emulator.directory)).replace("~", str(self.directory))
                .replace("{kid}", self.emulator.console("developer")["public_key_id"]))

    def run_check(self, *arguments, environment=None):
        return subprocess.run([*WRAPPER, BEARERD, "--check", "--config", str(self.conf), *arguments], check=False,
                              capture_output=True, text=True, timeout=LIMIT_S, env={**ENVIRONMENT, **(environment or {})},
                              stdin=subprocess.DEVNULL)

    @staticmethod
    def with_daemon(text):
        if "[daemon]" in text:
            return text
        return f"[daemon]\nsocket = ~/bearerd.sock\nstate_dir = ~/state\n\n{text}"

    def check(self, text):
        """With a [daemon] section unless there is one."""
        self.conf.write_text(self.fill(self.with_daemon(text)))
        return self.run_check()

    def assertGood(self, done):
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)

    def assertRefused(self, done, *words):
        """Some line of what it said has all the words; nothing has crashed."""
        said = done.stderr + done.stdout
        self.assertGreater(done.returncode, 0, f"accepted, or ended by a signal: {said}")
        self.assertNotIn("Sanitizer", said)
        self.assertTrue(any(all(word in line for word in words) for line in said.splitlines()),
                        f"no line has all of {words}:\n{said}")

    def file(self, name, content, mode=0o600):
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path


class Mistakes(Check):
    """Each has a method of its own, made below."""

    def check_row(self, text, words):
        lines = self.with_daemon(text).splitlines()
        wrong = [n for n, line in enumerate(lines, 1) if line.startswith(">")]
        done = self.check("".join(f"{line.removeprefix('>')}\n" for line in lines))
        place = f"{self.conf}:{wrong[0]}:" if wrong else f"{self.conf}:"
        self.assertRefused(done, place, *(self.fill(word) for word in words))
        self.assertNotIn("hunter2", done.stderr + done.stdout, "what may be a secret is not repeated")


def add_row(name, row):
    def test(self):
        self.check_row(*row)

    test.__doc__ = name
    setattr(Mistakes, "test_" + "".join(c if c.isalnum() else "_" for c in name), test)


for wrong_name, wrong_row in WRONG.items():
    add_row(wrong_name, wrong_row)


class Good(Check):
    def test_emulator(self):
        """What the emulator writes is what a newcomer starts with."""
        done = self.check(self.emulator.configuration)
        self.assertGood(done)
        self.assertNotIn("error", done.stderr)

    def test_spelling(self):
        """Blanks, comments, line ends, a byte order mark."""
        for text in ("[credential a]\r\nprovider = coze.cn\r\ntype = pat\r\n", "[credential a]\nprovider=coze.cn\ntype=pat",
                     "  # x\n; y\n[credential a]   \n  provider   =   coze.cn   ; why\ntype = sat ; s\n\n\n",
                     "[credential a]\nprovider = coze.cn\ntype = pat\ntoken_file =\n"):
            with self.subTest(text=text):
                self.assertGood(self.check(text))

    def test_nothing(self):
        """No credential yet: good, as nothing is wrong."""
        self.assertGood(self.check(""))

    def test_spans(self):
        for span in ("90s", "15min", "12h", "1h 30min", "86399s", "1s"):
            with self.subTest(span=span):
                self.assertGood(self.check(f"[credential a]\nprovider = coze.cn\n{JWT_KEY}token_lifetime = {span}\n"))

    def test_http_on_loopback(self):
        self.assertGood(self.check("[provider a]\napi_url = http://127.0.0.1:8080\nwww_url = http://localhost:8080\n"
                                   "allow_http = yes\n"))

    def test_credentials_directory(self):
        """%d, guarded by systemd: its mode is systemd's business."""
        self.file("token", new_token(), 0o440)
        self.conf.write_text(self.fill("[daemon]\nsocket = ~/s\nstate_dir = ~/state\n"
                                       "[credential a]\nprovider = coze.cn\ntype = pat\ntoken_file = %d/token\n"))
        self.assertGood(self.run_check(environment={"CREDENTIALS_DIRECTORY": str(self.directory)}))

    def test_check_changes_nothing(self):
        self.assertGood(self.check(self.emulator.configuration))
        self.assertEqual([p.name for p in self.directory.iterdir()], ["bearerd.conf"])

    def test_eligibility(self):
        for plan, role, kind, allowed in ELIGIBLE:
            with self.subTest(plan=plan, role=role, kind=kind):
                text = kind.replace("+", "\n").replace("device", "type = device_code\nclient_id = 1", 1)
                if text.startswith("jwt"):
                    text = text.replace("jwt\n", JWT_KEY, 1) if "\n" in text else JWT_KEY
                done = self.check(f"[credential a]\nprovider = coze.cn\n{text}\nplan = {plan}\nrole = {role}\n")
                if allowed:
                    self.assertGood(done)
                else:
                    self.assertRefused(done, str(self.conf), "Coze does not allow")


class DropIns(Check):
    def setUp(self):
        super().setUp()
        (self.directory / "conf.d").mkdir()

    def drop_in(self, name, text):
        (self.directory / "conf.d" / name).write_text(self.fill(text))

    def test_order(self):
        """By name, the later one wins; other names are no business of ours."""
        self.drop_in("20-last.conf", "[credential a]\ntype = pat\n")
        self.drop_in("10-first.conf", "[credential a]\ntype = nonsense\n")
        self.drop_in("30-old.conf.bak", "[nonsense]\n")
        self.drop_in("README", "nonsense\n")
        self.assertGood(self.check("[credential a]\nprovider = coze.cn\ntype = sat\n"))

    def test_mistake(self):
        """The file to be mended is the one that is named."""
        self.drop_in("10-a.conf", "# one\n[credential b]\nprovider = coze.cn\ntype = nonsense\n")
        done = self.check("[credential a]\nprovider = coze.cn\ntype = sat\n")
        self.assertRefused(done, f"{self.directory}/conf.d/10-a.conf:4:", "type")

    def test_all_mistakes_at_once(self):
        self.drop_in("10-a.conf", "[credential b]\nprovider = coze.cn\ntype = nonsense\n")
        done = self.check("[credential a]\nprovider = nonsense\ntype = sat\n")
        self.assertRefused(done, f"{self.directory}/conf.d/10-a.conf:3:")
        self.assertRefused(done, f"{self.conf}:", "nonsense")


class Files(Check):
    def test_missing_configuration(self):
        self.conf = self.directory / "nothing.conf"
        self.assertRefused(self.run_check(), str(self.conf))

    def test_configuration_that_is_none(self):
        for content in (b"\x7fELF\x02\x01\x01\0\0\0\0", b"[daemon]\nsocket = /tmp/\xff\xfe\n", b"\0" * 1000,
                        b"[credential a]\nprovider = coze.cn\n" + b"x" * 100000 + b" = 1\n", os.urandom(5000),
                        b"[" * 10000, b"=\n=\n=\n", b"[credential " + b"a" * 65 + b"]\nprovider = coze.cn\ntype = pat\n"):
            with self.subTest(content=content[:40]):
                self.conf.write_bytes(content)
                self.assertRefused(self.run_check(), str(self.conf))

    def test_secrets_that_others_can_read(self):
        key = (self.emulator.directory / "developer" / "private_key.pem").read_text()
        rows = [("token_file", new_token(), "type = pat\n"), ("private_key_file", key, JWT),
                ("client_secret_file", "s" * 40, "type = authorization_code\nclient_id = 1.app.coze\n"
                                                 "redirect_uri = https://a.example/\n"),
                ("config_file", self.emulator.console_file("developer").read_text(), "")]
        for option, content, more in rows:
            provider = self.emulator.configuration.split("[credential")[0] if option == "config_file" else ""
            name = "coze-test" if provider else "coze.cn"
            for mode in (0o644, 0o640, 0o660, 0o604, 0o602, 0o777):
                with self.subTest(option=option, mode=oct(mode)):
                    path = self.file("secret", content, mode)
                    text = f"{provider}[credential a]\nprovider = {name}\n{option} = ~/secret\n{more}"
                    done = self.check(text)
                    self.assertRefused(done, f"{self.conf}:", option, "chmod", str(path))
                    path.chmod(0o600)
                    self.assertGood(self.check(text))

    @NEEDS_ROOT
    def test_secret_of_another_user(self):
        path = self.file("token", new_token())
        os.chown(path, 12345, 12345)
        done = self.check("[credential a]\nprovider = coze.cn\ntype = pat\ntoken_file = ~/token\n")
        self.assertRefused(done, f"{self.conf}:", "token_file", str(path))

    def test_tokens_that_are_none(self):
        for content in ("", "\n", "two words\n", "two\nlines\n", "Bearer x\n", "\0" * 10, "é" * 10, "x" * 100000):
            with self.subTest(content=content[:20]):
                self.file("token", content)
                done = self.check("[credential a]\nprovider = coze.cn\ntype = pat\ntoken_file = ~/token\n")
                self.assertRefused(done, f"{self.conf}:", "token_file")

    def openssl(self, *arguments):
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

    def check_key(self, content):
        self.file("key.pem", content)
        return self.check(f"[credential a]\nprovider = coze.cn\n{JWT}private_key_file = ~/key.pem\n")

    def test_keys_that_are_mended(self):
        """As they come out of consoles, environment variables and editors: coze-oauth.md section 4."""
        key = (self.emulator.directory / "developer" / "private_key.pem").read_text()
        lines = key.strip().splitlines()
        for name, text in {"as it is": key, "no newline at the end": key.strip(), "DOS": key.replace("\n", "\r\n"),
                           "literal \\n": key.strip().replace("\n", "\\n"), "blanks around": f"\n\n  {key}\n\n",
                           "one line": lines[0] + "".join(lines[1:-1]) + lines[-1]}.items():
            with self.subTest(name=name):
                self.assertGood(self.check_key(text))

    @unittest.skipUnless(shutil.which("openssl"), "NOT TESTED: needs openssl(1)")
    def test_kinds_of_keys(self):
        pkcs8 = self.emulator.directory / "developer" / "private_key.pem"
        self.assertGood(self.check_key(self.openssl("rsa", "-in", str(pkcs8), "-traditional")))
        wrong = {"public": self.openssl("rsa", "-in", str(pkcs8), "-pubout"),
                 "elliptic": self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
                 "encrypted": self.openssl("pkcs8", "-topk8", "-in", str(pkcs8), "-passout", "pass:x"),
                 "small": self.openssl("genrsa", "512"),
                 "certificate": (self.emulator.directory / "server.pem").read_bytes()}
        for name, content in wrong.items():
            with self.subTest(name=name):
                self.assertRefused(self.check_key(content), f"{self.conf}:", "private_key_file")

    def test_damaged_keys(self):
        key = (self.emulator.directory / "developer" / "private_key.pem").read_text()
        lines = key.splitlines()
        for name, text in {"empty": "", "cut": "\n".join(lines[:10]), "without its end": "\n".join(lines[:-1]),
                           "a line is missing": "\n".join(lines[:5] + lines[6:]), "a letter is wrong":
                           key.replace(lines[3], lines[3][:10] + ("B" if lines[3][10] != "B" else "C") + lines[3][11:]),
                           "a path": "/etc/bearerd/bot.pem\n", "the fingerprint": "_v0VjcMlLdQc3tRTD3jC5Xz29TUnKQOh\n",
                           "JSON": '{"private_key": "x"}', "zeros": "\0" * 2000}.items():
            with self.subTest(name=name):
                done = self.check_key(text)
                self.assertRefused(done, f"{self.conf}:", "private_key_file")
                for line in lines[1:-1]:
                    self.assertNotIn(line[:30], done.stderr, "a part of the key is repeated")

    def test_console_files(self):
        """coze_oauth_config.json, damaged; its secrets are not repeated."""
        provider = self.emulator.configuration.split("[credential")[0]
        good = self.emulator.console("developer")

        def check(content):
            self.file("console.json", content if isinstance(content, (str, bytes)) else json.dumps(content))
            return self.check(f"{provider}[credential a]\nprovider = coze-test\nconfig_file = ~/console.json\n")

        self.assertGood(check(good))
        self.assertGood(check({**good, "coze_domain": "coze.cn", "app_id": "7"}))
        self.assertGood(check({k: v for k, v in good.items() if k != "coze_www_base"}))
        rows = {"no JSON": "hello", "empty": "", "a list": "[]", "cut": json.dumps(good)[:500],
                "other client_type": {**good, "client_type": "jwtt"}, "number": {**good, "client_id": 7},
                "no key": {k: v for k, v in good.items() if k != "private_key"},
                "no id": {k: v for k, v in good.items() if k != "client_id"},
                "bad key": {**good, "private_key": "hunter2"}, "null": {**good, "private_key": None},
                "other region": {**good, "coze_api_base": "https://api.coze.com"}, "binary": b"\xff\xfe{\0}\0"}
        for name, content in rows.items():
            with self.subTest(name=name):
                done = check(content)
                self.assertRefused(done, f"{self.conf}:")
                self.assertNotIn("hunter2", done.stderr)
                self.assertNotIn(good["private_key"][100:130], done.stderr)

    def test_type_against_the_console(self):
        """The console's file says what it is; the section must not say something else."""
        provider = self.emulator.configuration.split("[credential")[0]
        done = self.check(f"{provider}[credential a]\nprovider = coze-test\ntype = pkce\n"
                          "config_file = @/developer/coze_oauth_config.json\nredirect_uri = https://a.example/\n")
        self.assertRefused(done, f"{self.conf}:", "type")


class Arguments(Check):
    def run_bearerd(self, *arguments):
        return subprocess.run([*WRAPPER, BEARERD, *arguments], check=False, capture_output=True, text=True,
                              timeout=LIMIT_S, env=ENVIRONMENT, stdin=subprocess.DEVNULL)

    def test_help(self):
        done = self.run_bearerd("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--config", "--user", "--check"):
            self.assertIn(word, done.stdout)

    def test_version(self):
        done = self.run_bearerd("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^bearerd \d+\.\d+\.\d+\n$")

    def test_usage(self):
        for arguments in (["--nonsense"], ["--config"], ["file.conf"], ["--check", "file.conf"]):
            with self.subTest(arguments=arguments):
                done = self.run_bearerd(*arguments)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn("--help", done.stderr)

    def test_start_is_refused_as_well(self):
        """Not only --check sees it: nothing is served, nothing is made."""
        self.conf.write_text(self.fill("[daemon]\nsocket = ~/bearerd.sock\nstate_dir = ~/state\nnonsense = 1\n"))
        done = self.run_bearerd("--config", str(self.conf))
        self.assertGreater(done.returncode, 0)
        self.assertIn(f"{self.conf}:4:", done.stderr)
        self.assertEqual([p.name for p in self.directory.iterdir()], ["bearerd.conf"])


if __name__ == "__main__":
    main()
