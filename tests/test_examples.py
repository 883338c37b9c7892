"""The README's commands and the recipes in client/examples/, against the real daemon and the emulator.

Usage: test_examples.py readme|shell|wget|containers|python|node|nodesdk|go|java. The SDKs themselves are not needed: in their place
stand the few lines of them that the recipes meet; but nodesdk is about the real one. Exit code 77, with a word about it, where a language's
tools are not on this machine.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = TREE / "client" / "examples"
sys.path.insert(0, str(TREE / "tests" / "e2e"))

from harness import BEARERCTL, BEARERD, ENVIRONMENT, LIMIT_S, EndToEnd, eventually, fingerprint  # noqa: E402

SUBJECT = "张三 & a/b?c=d+e%20"
NOWHERE = "/nonexistent/bearerd.sock"
SDK = "@coze/api@1.3.9"


def readme_block(language, beginning):
    """The one code block of README.md in that language that begins so."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", (TREE / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    found = [block for block in blocks if block.startswith(beginning)]
    if len(found) != 1:
        raise AssertionError(f"README.md has {len(found)} blocks in {language} that begin with {beginning!r}")
    return found[0]


def path_with_programs(*more):
    return ":".join([*map(str, more), str(pathlib.Path(BEARERCTL).parent), str(pathlib.Path(BEARERD).parent),
                     ENVIRONMENT.get("PATH", "/usr/bin:/bin")])


def run(arguments, environment, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S + 60, env=environment,
                          check=False, **options)


class Bot(EndToEnd):
    """A daemon with a service app called bot, as the README calls it."""

    def sections(self):
        return f"""
            [credential bot]
            provider = coze-test
            config_file = {self.emulator.console_file("developer")}
        """

    def environment(self):
        return dict(ENVIRONMENT, BEARERD_SOCKET=self.daemon.socket, LANG="C.UTF-8", PYTHONDONTWRITEBYTECODE="1",
                    PATH=path_with_programs())

    def reject(self):
        """Somebody's token is refused by the API. The one that takes its place."""
        old = self.daemon.token("bot").token
        new = self.daemon.token("bot", f"?rejected={fingerprint(old)}").token
        self.assertNotEqual(old, new)
        return new


# README.md


class Readme(EndToEnd):
    """Its commands, as they stand there, in the home of somebody who has done nothing yet."""

    def start(self):
        self.home = self.directory / "home"
        self.runtime = self.home / "run"
        (self.home / "Downloads").mkdir(parents=True)
        self.runtime.mkdir(mode=0o700)
        shutil.copy(self.emulator.console_file("developer"), self.home / "Downloads")
        # what the README cannot know: this Coze is another
        conf_d = self.home / ".config" / "bearerd" / "conf.d"
        conf_d.mkdir(parents=True)
        url = f"https://localhost:{self.emulator.port}"
        self.url = url
        (conf_d / "emulator.conf").write_text(f"[provider coze.cn]\napi_url = {url}\nwww_url = {url}\n"
                                              f"ca_file = {self.emulator.directory}/ca.pem\n")
        self.pid = None

    def tearDown(self):
        self.assertEqual(self.emulator.state()["violations"], [])
        self.check_no_report()

    def leave(self, daemon):
        super().leave(daemon)
        if self.pid:
            os.kill(self.pid, 15)
            eventually(lambda: not (self.runtime / "bearerd" / "bearerd.sock").exists(), "bearerd ends")

    def shell(self, block, log=None):
        """Runs a block as somebody would who types it; its output."""
        variables = dict(ENVIRONMENT, HOME=str(self.home), XDG_RUNTIME_DIR=str(self.runtime), LANG="C.UTF-8",
                         CURL_CA_BUNDLE=str(self.emulator.directory / "ca.pem"), PATH=path_with_programs())
        log = log or self.directory / "output"
        with open(log, "wb") as f:
            code = subprocess.run(["sh", "-ec", block], stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=variables,
                                  cwd=self.home, timeout=LIMIT_S + 60, check=False).returncode
        output = log.read_text()
        self.assertEqual(code, 0, f"{block}\n{output}")
        return output

    def test_from_download_to_token(self):
        begin = readme_block("sh", "mkdir -p ~/.config/bearerd")
        self.shell(begin + "echo $! >pid\n", self.daemon.log_file)
        self.pid = int((self.home / "pid").read_text())
        eventually((self.runtime / "bearerd" / "bearerd.sock").exists, "bearerd listens")
        self.assertIn("bot            coze.cn gives a token", self.daemon.log)

        (self.home / "app.py").write_text("import os\nprint('app has', os.environ['COZE_API_TOKEN'],"
                                          " os.environ['COZE_API_BASE'])\n")
        use = readme_block("sh", "export BEARERD_SOCKET=")
        output = self.shell(use.replace("https://api.coze.cn", self.url))
        token = re.search(r'"access_token":"([^"]+)"', output)
        self.assertTrue(token and self.emulator.accepts(token[1]), output)
        self.assertIn(f"app has {token[1]} {self.url}\n", output)
        self.assertRegex(output, r'"user_id"|"data"', "the answer of the API")
        self.assertRegex(output, r"(?m)^bot .*ready", "the table of bearerctl status")
        self.assertEqual(self.emulator.requests(), 2, "one by check, one for all the rest")

    def test_container_socket(self):
        """The section is one that bearerd takes."""
        configuration = self.directory / "containers.conf"
        configuration.write_text(readme_block("ini", "[socket app1]") +
                                 f"[daemon]\nstate_dir = {self.directory}/state\nsocket_group = {os.getgid()}\n"
                                 "[provider coze.cn]\n"
                                 f"api_url = {self.url}\nwww_url = {self.url}\n[credential bot]\nprovider = coze.cn\n"
                                 f"config_file = {self.emulator.console_file('developer')}\n")
        checked = run([BEARERD, "--check", "--config", str(configuration)], ENVIRONMENT)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(checked.stdout, "The configuration is good: 1 credential, 2 sockets.\n")


# coze.sh

SPY = """#!/bin/sh
# in the place of curl or wget: what can everybody see of it?
tr '\\0' '\\n' </proc/$$/cmdline >>"$SPY_FILE"
env >>"$SPY_FILE"
exec {program} "$@"
"""


class Script(Bot):
    def seen(self, program, *arguments, **variables):
        """What everybody sees of a program, while a script with these arguments succeeds."""
        spy = self.directory / "spy" / program
        spy.parent.mkdir()
        spy.write_text(SPY.format(program=shutil.which(program)))
        spy.chmod(0o755)
        done = self.script(*arguments, SPY_FILE=str(self.directory / "seen"), COZE_API_TOKEN="inherited",
                           PATH=path_with_programs(spy.parent))
        self.assertEqual(done.returncode, 0, done.stderr)
        return (self.directory / "seen").read_text()


class Shell(Script):
    def script(self, *arguments, **variables):
        return run([EXAMPLES / "coze.sh", *arguments, "--cacert", self.emulator.directory / "ca.pem"],
                   {**self.environment(), **variables})

    def test_calls_the_api(self):
        done = self.script("bot", "/v1/users/me")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        expected = self.emulator.ask("GET", "/v1/users/me", {"Authorization": f"Bearer {self.daemon.token('bot').token}"})
        self.assertEqual(done.stdout.split('"logid"')[0], expected.text.split('"logid"')[0])
        self.assertEqual(self.emulator.requests(), 1)

    def test_renews_a_refused_token(self):
        old = self.daemon.token("bot").token
        self.emulator.control("POST", "revoke", token=old)
        done = self.script("bot", "/v1/users/me")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotEqual(self.daemon.token("bot").token, old)
        self.assertEqual(self.emulator.requests(), 2)

    def test_no_other_token_to_be_had(self):
        self.emulator.control("POST", "revoke", token=self.daemon.token("pat").token)
        done = self.script("pat", "/v1/users/me")
        self.assertEqual(done.returncode, 5, "authorization required")
        self.assertIn("bearerctl set pat", done.stderr)

    def test_failures(self):
        rows = [("nobody", {}, 1, "nobody"), ("web", {}, 5, "authorize"), ("bot", {"BEARERD_SOCKET": NOWHERE}, 3, NOWHERE)]
        for name, variables, code, words in rows:
            with self.subTest(name=name):
                done = self.script(name, "/v1/users/me", **variables)
                self.assertEqual((done.returncode, done.stdout), (code, ""))
                self.assertIn(words, done.stderr)

    def test_nobody_sees_the_token(self):
        """Not in an argument list, not in the environment of a child."""
        seen = self.seen("curl", "bot", "/v1/users/me")
        self.assertIn("/v1/users/me", seen)
        self.assertNotIn(self.daemon.token("bot").token, seen)


class Wget(Script):
    def start(self):
        if not shutil.which("wget"):
            self.skipTest("NOT TESTED: there is no wget on this machine")
        super().start()

    def script(self, name, path, *arguments, **variables):
        return run([EXAMPLES / "wget.sh", name, f"https://localhost:{self.emulator.port}{path}",
                    f"--ca-certificate={self.emulator.directory}/ca.pem", *arguments], {**self.environment(), **variables})

    def test_calls_the_api(self):
        done = self.script("bot", "/v1/users/me")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        expected = self.emulator.ask("GET", "/v1/users/me", {"Authorization": f"Bearer {self.daemon.token('bot').token}"})
        self.assertEqual(done.stdout.split('"logid"')[0], expected.text.split('"logid"')[0])

    def test_failures(self):
        """Those of bearerctl, and 6 of wget: the API refused the token."""
        self.daemon.token("pat")
        self.emulator.control("POST", "revoke", token=self.emulator.static_token("pat"))
        rows = [("nobody", "/", {}, 1), ("web", "/", {}, 5), ("bot", "/", {"BEARERD_SOCKET": NOWHERE}, 3),
                ("pat", "/v1/users/me", {}, 6)]
        for name, path, variables, code in rows:
            with self.subTest(name=name):
                done = self.script(name, path, **variables)
                self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)

    def test_nobody_sees_the_token(self):
        seen = self.seen("wget", "bot", "/v1/users/me")
        self.assertIn("/v1/users/me", seen)
        self.assertNotIn(self.daemon.token("bot").token, seen)


# Containers


class Containers(Bot):
    """The files say what the image needs, and what bearerd takes. Engines run it in tests/container."""

    def documents(self, name):
        try:
            import yaml  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("NOT TESTED: there is no yaml module of python3 on this machine")
        return list(yaml.safe_load_all((EXAMPLES / name).read_text()))

    def check_configuration(self, text):
        """It is good in the image, where secrets are in /run/secrets."""
        secrets = self.directory / "secrets"
        secrets.mkdir()
        shutil.copy(self.emulator.console_file("developer"), secrets / "coze_oauth_config.json")
        (secrets / "coze_oauth_config.json").chmod(0o444)
        configuration = self.directory / "container.conf"
        url = f"https://localhost:{self.emulator.port}"
        state = re.search("(?m)^state_dir = (.*)$", text)
        here = f"[daemon]\nstate_dir = {self.directory}/s\nsocket_group = {os.getgid()}"
        configuration.write_text(text.replace(state[0] if state else "", "").replace("[daemon]", here, 1) +
                                 f"\n[provider coze.cn]\napi_url = {url}\nwww_url = {url}\n")
        checked = run([BEARERD, "--check", "--config", str(configuration)],
                      dict(ENVIRONMENT, CREDENTIALS_DIRECTORY=str(secrets)))
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        return state[1] if state else "/var/lib/bearerd"

    def image(self):
        """Its volumes, and where secrets are."""
        text = (TREE / "Dockerfile").read_text()
        return (set(re.search("(?m)^VOLUME (.*)$", text)[1].split()),
                re.search("(?m)^ENV CREDENTIALS_DIRECTORY=(.*)$", text)[1])

    def test_compose(self):
        compose, = self.documents("compose.yaml")
        bearerd, app = compose["services"]["bearerd"], compose["services"]["app"]
        volumes = dict(volume.split(":")[:2] for volume in bearerd["volumes"])
        self.assertEqual({volumes["state"], volumes["socket"]}, self.image()[0])
        self.assertEqual(self.image()[1], "/run/secrets", "where compose puts them")
        self.assertEqual(set(bearerd["secrets"]), set(compose["secrets"]))
        self.assertEqual(app["volumes"], [f"socket:{volumes['socket']}:ro"])
        self.assertNotEqual(app["user"], "0")
        self.assertEqual(set(compose["volumes"]), {"state", "socket"})
        comment = re.search(r"(?m)^#   \[daemon\]\n(#.*\n)+", (EXAMPLES / "compose.yaml").read_text())[0]
        self.check_configuration(re.sub("(?m)^#(   )?", "", comment))

    def test_pod(self):
        conf, pod = self.documents("pod.yaml")
        spec = pod["spec"]
        (bearerd,), (app,) = spec["initContainers"], spec["containers"]
        volumes, secrets = self.image()
        mounts = {mount["name"]: mount["mountPath"] for mount in bearerd["volumeMounts"]}
        self.assertEqual({mounts["state"], mounts["socket"]}, volumes)
        self.assertEqual((mounts["secrets"], mounts["conf"]), (secrets, "/etc/bearerd"))
        self.assertEqual({volume["name"] for volume in spec["volumes"]}, set(mounts))
        self.assertEqual(app["volumeMounts"], [{"name": "socket", "mountPath": mounts["socket"], "readOnly": True}])
        self.assertEqual(bearerd["restartPolicy"], "Always")
        self.assertTrue(self.check_configuration(conf["data"]["bearerd.conf"]).startswith(mounts["state"] + "/"))


# The recipes for SDKs


class Recipe(Bot):
    """What holds in every language.

    driver() is a program that makes a client for each different line of its input, "NAME" or "NAME SUBJECT", has it
    authorize a request as the SDK does, and prints "token TOKEN" or "error MESSAGE"; "!NAME": after it has been told that
    the last token was refused. snippet() is the README's code
    and a line that prints the client's base URL and its header.
    """

    tools = ()  # commands
    language = None

    @classmethod
    def setUpClass(cls):
        missing = [tool for tool in cls.tools if not shutil.which(tool)]
        if missing:
            raise unittest.SkipTest(f"NOT TESTED: there is no {' and no '.join(missing)} on this machine")
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        cls.prepare()

    @classmethod
    def write(cls, name, text):
        file = cls.work / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    @classmethod
    def build(cls, *arguments, **environment):
        built = run(arguments, dict(ENVIRONMENT, **environment), cwd=cls.work)
        if built.returncode != 0:
            raise AssertionError(f"{arguments} failed:\n{built.stdout}{built.stderr}")

    def ask(self, *lines, **environment):
        """The driver's answer to each line."""
        done = run(self.driver(), {**self.environment(), **environment}, cwd=self.work,
                   input="".join(line + "\n" for line in lines))
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = done.stdout.splitlines()
        self.assertEqual(len(answers), len(lines), done.stdout + done.stderr)
        return answers

    def test_readme(self):
        done = run(self.snippet(), self.environment(), cwd=self.work)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, f"https://api.coze.cn Bearer {self.daemon.token('bot').token}\n")

    def test_token(self):
        answers = self.ask("bot", "pat", "bot")
        bot, pat = self.daemon.token("bot").token, self.emulator.static_token("pat")
        self.assertEqual(answers, [f"token {bot}", f"token {pat}", f"token {bot}"])
        self.assertTrue(self.emulator.accepts(bot))
        self.assertEqual(self.emulator.requests(), 1)

    def test_subject(self):
        answer, = self.ask(f"bot {SUBJECT}")
        self.assertRegex(answer, "^token ")
        self.daemon.secrets.add(answer.split()[1])
        self.assertEqual(self.emulator.last()["claims"]["session_name"], SUBJECT)

    def test_asks_each_time(self):
        process = subprocess.Popen(self.driver(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=self.environment(), cwd=self.work)
        with process:
            for current in (lambda: self.daemon.token("bot").token, self.reject):
                token = current()
                process.stdin.write("bot\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline(), f"token {token}\n")
            process.stdin.close()

    def test_reject(self):
        first, second, third, again = self.ask("bot", "bot", "!bot", "bot")
        self.assertEqual((first, third), (second, again))
        self.assertNotEqual(first, third)
        self.assertEqual(third, f"token {self.daemon.token('bot').token}")
        self.assertEqual(self.emulator.requests(), 2)
        self.daemon.secrets.add(first.split()[1])

    def test_says_what_the_daemon_says(self):
        sentence = "bearerctl list shows those you may use"
        self.assertIn(sentence, self.daemon.get("/v1/token/nobody").description)
        self.emulator.fault("invalid_client", times=1)
        answers = self.ask("nobody", "bot", "web")
        for answer, words in zip(answers, (sentence, "kid not been registred", "authorize")):
            self.assertRegex(answer, "^error ")
            self.assertIn(words, answer)

    def test_waits_for_a_restart(self):
        """What hung up, and then was not there, is asked again."""
        token = self.daemon.token("bot").token
        away = self.daemon.socket + ".away"
        os.rename(self.daemon.socket, away)
        process = subprocess.Popen(self.driver(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=self.environment(), cwd=self.work)
        with process:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.settimeout(LIMIT_S)
                listener.bind(self.daemon.socket)
                listener.listen()
                process.stdin.write("bot\n")
                process.stdin.close()
                connection, _ = listener.accept()
                os.rename(away, self.daemon.socket)
                connection.close()
            self.assertEqual(process.stdout.readline(), f"token {token}\n")

    def test_no_daemon(self):
        answer, = self.ask("bot", BEARERD_SOCKET=NOWHERE)
        self.assertRegex(answer, "^error .*no answer from bearerd")


class Python(Recipe):
    @classmethod
    def prepare(cls):
        shutil.copy(EXAMPLES / "bearerd_auth.py", cls.work)
        cls.write("cozepy.py", """
import abc


class Auth(abc.ABC):
    @property
    @abc.abstractmethod
    def token_type(self): ...

    @property
    @abc.abstractmethod
    def token(self): ...

    def authentication(self, headers):
        headers["Authorization"] = f"{self.token_type} {self.token}"


class SyncAuth(Auth, abc.ABC):
    @property
    async def atoken(self):
        return self.token


class Coze:
    def __init__(self, auth, base_url="https://api.coze.com"):
        assert isinstance(auth, SyncAuth)
        self.auth, self.base_url = auth, base_url

    def authorization(self):
        headers = {}
        self.auth.authentication(headers)
        return headers["Authorization"]
""")
        cls.write("driver.py", """
import sys
from cozepy import Coze
from bearerd_auth import BearerdAuth, BearerdError

clients = {}
for line in sys.stdin:
    refused, line = line.startswith("!"), line.lstrip("!")
    if line not in clients:
        clients[line] = Coze(BearerdAuth(*line.rstrip("\\n").split(" ", 1)))
    if refused:
        clients[line].auth.reject()
    try:
        print("token", clients[line].authorization().split()[1], flush=True)
    except BearerdError as e:
        print("error", e, flush=True)
""")
        cls.write("snippet.py", readme_block("python", "from cozepy") +
                  "print(coze.base_url, coze.authorization())\n")

    def driver(self):
        return [sys.executable, "driver.py"]

    def snippet(self):
        return [sys.executable, "snippet.py"]


class Node(Recipe):
    tools = ("node",)

    @classmethod
    def prepare(cls):
        shutil.copy(EXAMPLES / "bearerd.mjs", cls.work)
        cls.write("node_modules/@coze/api/package.json",
                  '{"name": "@coze/api", "version": "0.0.0", "type": "module", "exports": "./index.js"}')
        cls.write("node_modules/@coze/api/index.js", """
export class CozeAPI {
  constructor({ token, baseURL = 'https://api.coze.com' }) {
    this.token = token;
    this.baseURL = baseURL;
  }
  async authorization() {
    return `Bearer ${typeof this.token === 'function' ? await this.token() : this.token}`;
  }
}
""")
        cls.write("driver.mjs", """
import readline from 'node:readline';
import { CozeAPI } from '@coze/api';
import { bearerd } from './bearerd.mjs';

const clients = {};
const refusing = async () => ({ data: { code: 4100 } });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [, refused, name, subject] = /^(!?)(\\S+)(?: (.*))?$/.exec(line);
  const client = (clients[line.slice(refused.length)] ??= new CozeAPI({ token: bearerd(name, subject) }));
  try {
    const authorization = await client.authorization();
    if (refused) await client.token.renewed(refusing)({ headers: { authorization } });
    console.log('token', (await client.authorization()).split(' ')[1]);
  } catch (e) {
    console.log('error', e.message);
  }
}
""")
        cls.write("renewed.mjs", """
import { bearerd } from './bearerd.mjs';

/* Axios, as far as the recipe meets it: it knows which token is good, and how the API refuses. */
const [good, refusal, body] = process.argv.slice(2);
const axios = async (request) => {
  if (request.headers.authorization === `Bearer ${good}` && request.headers.Accept === 'x') return { data: 'good' };
  console.log('refused', request.headers.authorization);
  if (refusal === '401') throw Object.assign(new Error('refused'), { response: { status: 401 } });
  if (refusal === '500') throw Object.assign(new Error('broken'), { response: { status: 500 } });
  return { data: { code: Number(refusal) } };
};
const token = bearerd('bot');
const headers = { authorization: `Bearer ${await token()}`, Accept: 'x' };
const data = body === 'stream' ? { pipe() {} } : 'text';
await token
  .renewed(axios)({ headers, data })
  .then((response) => console.log(JSON.stringify(response.data)), (e) => console.log('error', e.message));
""")
        cls.write("snippet.mjs", readme_block("js", "import { CozeAPI }") +
                  "console.log(coze.baseURL, await coze.authorization());\n")

    def driver(self):
        return ["node", "driver.mjs"]

    def snippet(self):
        return ["node", "snippet.mjs"]

    def renewed(self, *arguments):
        done = run(["node", "renewed.mjs", *arguments], self.environment(), cwd=self.work)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_renewed(self):
        """What the API refuses is sent once more, with another token; everything else is not."""
        first = new = self.daemon.token("bot").token
        for refusal, said in (("401", "error refused"), ("4100", '{"code":4100}'), ("700012006", '{"code":700012006}')):
            old, lines = new, self.renewed("none", refusal)
            new = self.daemon.token("bot").token
            self.assertEqual(lines, [f"refused Bearer {old}", f"refused Bearer {new}", said])
        self.assertNotEqual(first, new)
        self.assertEqual(self.renewed(new, "401"), ['"good"'])
        for arguments, said in (("500",), "error broken"), (("401", "stream"), "error refused"), (("4101",), '{"code":4101}'):
            self.assertEqual(self.renewed("none", *arguments), [f"refused Bearer {new}", said])


class NodeSdk(Bot):
    """The official SDK itself, where the registry of npm can be reached: not one call may fail.

    Several calls at a time, through many lives of a token, a restart and a crash of the daemon, and with all tokens refused
    in between.
    """

    LIFETIME_S = 2
    CALLERS = 8
    STAGE = 4  # tokens between one event and the next

    @classmethod
    def setUpClass(cls):
        missing = [tool for tool in ("node", "npm") if not shutil.which(tool)]
        if missing:
            raise unittest.SkipTest(f"NOT TESTED: there is no {' and no '.join(missing)} on this machine")
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        (cls.work / "package.json").write_text('{"private": true, "type": "module"}')
        try:
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", cls.work / "cache",
                                   "--fetch-retries=1", "--fetch-timeout=20000", SDK], cwd=cls.work, capture_output=True,
                                  text=True, timeout=90, check=False)
            trouble = done.stderr.strip() if done.returncode else None
        except subprocess.TimeoutExpired:
            trouble = "no answer in time"
        if trouble:
            raise unittest.SkipTest(f"NOT TESTED: npm cannot install {SDK}: {trouble[:300]}")
        shutil.copy(EXAMPLES / "bearerd.mjs", cls.work)
        (cls.work / "calls.mjs").write_text("""
import axios from 'axios';
import { CozeAPI } from '@coze/api';
import { bearerd } from './bearerd.mjs';

const [baseURL, callers, renewed] = process.argv.slice(2);
const token = bearerd('bot');
const used = new Set();
const counting = () => token().then((t) => (used.add(t), t));
const coze = new CozeAPI({ token: counting, baseURL, ...(renewed ? { axiosInstance: token.renewed(axios) } : {}) });
let calls = 0;
let over = false;
process.stdin.on('end', () => (over = true)).resume();
async function caller() {
  for (; !over; calls += 1) {
    const me = await coze.users.me();
    if (!me.user_id) throw new Error(JSON.stringify(me));
  }
}
await Promise.all(Array.from({ length: Number(callers) }, caller));
console.log(calls, used.size);
""")

    def calls(self, *arguments):
        environment = dict(self.environment(), NODE_EXTRA_CA_CERTS=str(self.emulator.directory / "ca.pem"))
        process = subprocess.Popen(["node", "calls.mjs", f"https://localhost:{self.emulator.port}", *arguments],
                                   cwd=self.work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=environment)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        return process

    def renewals(self, process):
        before = self.emulator.requests()
        eventually(lambda: process.poll() is not None or self.emulator.requests() >= before + self.STAGE, "tokens are renewed")
        self.assertIsNone(process.poll(), "it is still running")

    def test_many_lives_of_a_token(self):
        self.emulator.lifetime(self.LIFETIME_S)
        process = self.calls(str(self.CALLERS), "renewed")
        self.renewals(process)
        self.daemon.restart()
        self.renewals(process)
        self.emulator.control("POST", "revoke", all=True)
        self.renewals(process)
        self.daemon.kill()
        self.daemon.start()
        self.renewals(process)
        output, errors = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, errors), (0, ""), output)
        calls, tokens = map(int, output.split())
        self.assertGreaterEqual(tokens, 3 * self.STAGE)
        self.assertGreater(calls, 10 * tokens)

    def test_a_refused_token_is_an_error_without_renewed(self):
        """What the test above stands on: the SDK itself does not try again."""
        process = self.calls("1")
        eventually(lambda: process.poll() is not None or self.emulator.requests() > 0, "a token is used")
        eventually(lambda: process.poll() is not None or not self.emulator.control("POST", "revoke", all=True)
                   and process.poll() is not None, "the call fails")
        _, errors = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors, "AuthenticationError|401")


class Go(Recipe):
    tools = ("go",)

    @classmethod
    def prepare(cls):
        (cls.work / "bearerd").mkdir()
        shutil.copy(EXAMPLES / "bearerd.go", cls.work / "bearerd")
        cls.write("go.mod", "module example.test/app\n\ngo 1.19\n\nrequire github.com/coze-dev/coze-go v0.0.0\n\n"
                            "replace github.com/coze-dev/coze-go => ./coze\n")
        cls.write("coze/go.mod", "module github.com/coze-dev/coze-go\n\ngo 1.19\n")
        cls.write("coze/coze.go", """package coze

import "context"

type Auth interface {
	Token(ctx context.Context) (string, error)
}

type CozeAPI struct {
	auth Auth
	Base string
}

type Option func(*CozeAPI)

func WithBaseURL(url string) Option { return func(c *CozeAPI) { c.Base = url } }

func NewCozeAPI(auth Auth, options ...Option) CozeAPI {
	c := CozeAPI{auth: auth, Base: "https://api.coze.com"}
	for _, option := range options {
		option(&c)
	}
	return c
}

func (c CozeAPI) Authorization() (string, error) {
	token, err := c.auth.Token(context.Background())
	return "Bearer " + token, err
}
""")
        cls.write("driver/main.go", """package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"example.test/app/bearerd"
	"github.com/coze-dev/coze-go"
)

func main() {
	clients := map[string]coze.CozeAPI{}
	auths := map[string]*bearerd.Auth{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "!")
		if _, made := clients[line]; !made {
			name, subject, _ := strings.Cut(line, " ")
			auths[line] = bearerd.New(name, subject)
			clients[line] = coze.NewCozeAPI(auths[line])
		}
		if line != lines.Text() {
			auths[line].Reject()
		}
		header, err := clients[line].Authorization()
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("token", strings.Fields(header)[1])
		}
	}
}
""")
        cls.write("snippet/main.go", f"""package main

import (
	"fmt"

	"example.test/app/bearerd"
	"github.com/coze-dev/coze-go"
)

func main() {{
	{readme_block("go", "api :=").strip()}
	header, err := api.Authorization()
	if err != nil {{
		panic(err)
	}}
	fmt.Println(api.Base, header)
}}
""")
        variables = {"GOCACHE": str(cls.work / "cache"), "GOPATH": str(cls.work / "path"), "GOFLAGS": "-mod=mod",
                     "GOPROXY": "off", "GOSUMDB": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        cls.build("go", "vet", "./bearerd", **variables)
        for program in ("driver", "snippet"):
            cls.build("go", "build", "-o", f"bin/{program}", f"./{program}", **variables)

    def driver(self):
        return [self.work / "bin" / "driver"]

    def snippet(self):
        return [self.work / "bin" / "snippet"]


class Java(Recipe):
    tools = ("javac", "java")

    @classmethod
    def prepare(cls):
        version = run(["javac", "-version"], ENVIRONMENT)
        number = re.match(r"javac (\d+)", version.stdout or version.stderr)
        if not number or int(number[1]) < 16:
            raise unittest.SkipTest(f"NOT TESTED: Java 16 is needed, and {version.stdout.strip()} is here")
        shutil.copy(EXAMPLES / "BearerdAuth.java", cls.work)
        cls.write("com/coze/openapi/service/auth/Auth.java", """package com.coze.openapi.service.auth;

public abstract class Auth {
  public String tokenType() {
    return "Bearer";
  }

  public abstract String token();
}
""")
        cls.write("com/coze/openapi/service/service/CozeAPI.java", """package com.coze.openapi.service.service;

import com.coze.openapi.service.auth.Auth;

public class CozeAPI {
  private Auth auth;
  public String base = "https://api.coze.com";

  public String authorization() {
    return auth.tokenType() + " " + auth.token();
  }

  public static class Builder {
    private final CozeAPI made = new CozeAPI();

    public Builder auth(Auth auth) {
      made.auth = auth;
      return this;
    }

    public Builder baseURL(String url) {
      made.base = url;
      return this;
    }

    public CozeAPI build() {
      return made;
    }
  }
}
""")
        cls.write("Driver.java", """
import com.coze.openapi.service.service.CozeAPI;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class Driver {
  public static void main(String[] arguments) throws IOException {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    Map<String, CozeAPI> clients = new HashMap<>();
    Map<String, BearerdAuth> auths = new HashMap<>();
    for (String line; (line = in.readLine()) != null; ) {
      boolean refused = line.startsWith("!");
      line = refused ? line.substring(1) : line;
      if (!clients.containsKey(line)) {
        String[] words = line.split(" ", 2);
        auths.put(
            line, words.length > 1 ? new BearerdAuth(words[0], words[1]) : new BearerdAuth(words[0]));
        clients.put(line, new CozeAPI.Builder().auth(auths.get(line)).build());
      }
      if (refused) {
        auths.get(line).reject();
      }
      try {
        System.out.println("token " + clients.get(line).authorization().split(" ")[1]);
      } catch (RuntimeException e) {
        System.out.println("error " + e.getMessage());
      }
    }
  }
}
""")
        cls.write("Snippet.java", f"""
import com.coze.openapi.service.service.CozeAPI;

public class Snippet {{
  public static void main(String[] arguments) {{
    {readme_block("java", "CozeAPI coze").strip()}
    System.out.println(coze.base + " " + coze.authorization());
  }}
}}
""")
        cls.build("javac", "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", "out", "Driver.java", "Snippet.java")

    def driver(self):
        return ["java", "-Xshare:auto", "-cp", "out", "Driver"]

    def snippet(self):
        return ["java", "-Xshare:auto", "-cp", "out", "Snippet"]


SUITES = {suite.__name__.lower(): suite for suite in (Readme, Shell, Wget, Containers, Python, Node, NodeSdk, Go, Java)}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in SUITES:
        sys.exit(f"usage: test_examples.py {'|'.join(SUITES)}")
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(SUITES[sys.argv[1]])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped:
        sys.exit(77)  # Meson's word for skipped


if __name__ == "__main__":
    main()
