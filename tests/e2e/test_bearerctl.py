"""bearerctl against the real daemon: what it prints and its exit codes, design.md section 8."""

import json
import os
import signal
import subprocess
import sys
import time

from harness import BEARERCTL, NEEDS_ROOT, EndToEnd, eventually, fingerprint, main, new_token

ALICE = 23451


class Cli(EndToEnd):
    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[credential spare]\nprovider = coze-test\ntype = pat\n\n"
                f"[credential private]\n{developer}allow_users = 1\n")

    def run_ctl(self, *arguments, code=0, **options):
        done = self.bearerctl(*arguments, **options)
        self.assertEqual(done.returncode, code, done)
        if code:
            self.assertEqual(done.stdout, "", "what is printed on failure may be taken for a token")
            self.assertRegex(done.stderr, "^bearerctl: .{10,}")
        return done


class Get(Cli):
    def test_plain(self):
        done = self.run_ctl("get", "developer")
        self.assertEqual(done.stdout, self.daemon.token("developer").token + "\n")
        self.assertEqual(done.stderr, "")

    def test_forms(self):
        token = self.daemon.token("developer").token
        self.assertEqual(self.run_ctl("get", "developer", "--header").stdout, f"Authorization: Bearer {token}\n")
        o = json.loads(self.run_ctl("get", "developer", "--json").stdout)
        self.assertEqual((o["access_token"], o["fingerprint"]), (token, fingerprint(token)))
        self.assertEqual(self.run_ctl("get", "developer", "--env").stdout.splitlines(),
                         [f"COZE_API_TOKEN={token}", f"COZE_API_BASE=https://localhost:{self.emulator.port}"])

    def test_env_in_a_shell(self):
        done = subprocess.run(["sh", "-c", f'export $("{BEARERCTL}" get pat --env) && printenv COZE_API_TOKEN'],
                              env={"BEARERD_SOCKET": self.daemon.socket, "PATH": os.environ["PATH"]},
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), self.emulator.static_token("pat"))

    def test_subject(self):
        token = self.run_ctl("get", "developer", "--subject", "用户 7 & co").stdout.strip()
        self.assertEqual(self.emulator.last()["claims"]["session_name"], "用户 7 & co")
        self.assertNotEqual(token, self.run_ctl("get", "developer").stdout.strip())

    def test_rejected(self):
        first = self.daemon.token("developer").json
        new = self.run_ctl("get", "developer", "--rejected", first["fingerprint"]).stdout.strip()
        self.assertNotEqual(new, first["access_token"])
        self.assertEqual(self.run_ctl("get", "developer").stdout.strip(), new)

    def test_socket_option(self):
        done = self.run_ctl("get", "pat", "--socket", self.daemon.socket, environment={"BEARERD_SOCKET": "/nowhere"})
        self.assertEqual(done.stdout.strip(), self.emulator.static_token("pat"))

    def test_curl(self):
        """What the manual says of it."""
        token = self.run_ctl("get", "developer", "--header").stdout
        done = subprocess.run(["curl", "-sS", "--cacert", str(self.emulator.directory / "ca.pem"), "-H", "@-",
                               f"https://localhost:{self.emulator.port}/v1/users/me"],
                              input=token, capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(done.stdout)["code"], 0)


class ExitCodes(Cli):
    def test_failed(self):
        self.assertIn("nobody", self.run_ctl("get", "nobody", code=1).stderr)
        self.assertIn("min_ttl", self.run_ctl("get", "developer", "--min-ttl", "1d", code=1).stderr)

    def test_usage(self):
        for arguments in ([], ["get"], ["got", "pat"], ["get", "pat", "--nonsense"], ["get", "pat", "sat"],
                          ["get", "pat", "--min-ttl", "60"], ["get", "pat", "--header", "--json"], ["get", "a b"],
                          ["exec", "pat"], ["list", "pat"], ["get", "pat", "--wait", "1h"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.bearerctl(*arguments).returncode, 2)

    def test_not_reachable(self):
        self.daemon.stop()
        for verb in (["get", "pat"], ["list"], ["status"], ["health"], ["exec", "pat", "--", "true"]):
            with self.subTest(verb=verb):
                self.assertIn(self.daemon.socket, self.run_ctl(*verb, code=3).stderr)

    @NEEDS_ROOT
    def test_denied(self):
        self.run_ctl("get", "private", code=4, user=ALICE)
        self.run_ctl("set", "spare", stdin=new_token(), code=4, user=ALICE)
        self.run_ctl("get", "developer", user=ALICE)

    @NEEDS_ROOT
    def test_denied_by_the_socket(self):
        os.chmod(self.daemon.socket, 0o600)
        self.run_ctl("get", "pat", code=4, user=ALICE)

    def test_authorization_required(self):
        for name in ("web", "pkce", "device", "spare"):
            self.assertIn(name, self.run_ctl("get", name, code=5).stderr)

    def test_upstream_failed(self):
        self.emulator.fault("invalid_client")
        said = self.run_ctl("get", "developer", code=6).stderr
        self.assertIn("kid not been registred", said)
        self.emulator.heal()
        self.emulator.fault("internal_error")
        self.run_ctl("get", "channel", "--wait", "1s", code=6)
        self.emulator.heal()
        self.emulator.fault("hang")
        self.run_ctl("get", "enterprise", "--wait", "1s", code=6)


class Set(Cli):
    def test_set(self):
        token = new_token()
        self.daemon.secrets.add(token)
        self.run_ctl("set", "spare", stdin=f"  {token}\n")
        self.assertEqual(self.run_ctl("get", "spare").stdout, token + "\n")

    def test_with_an_end(self):
        self.daemon.secrets.add(token := new_token())
        end = int(time.time()) + 86400
        self.run_ctl("set", "spare", "--expires-at", str(end), stdin=token)
        self.assertEqual(self.daemon.view("spare")["expires_at"], end)

    def test_refused(self):
        old = self.emulator.static_token("pat")
        for code, name, stdin, options in ((2, "pat", "", []), (2, "pat", "two words", []),
                                           (2, "pat", "x\ny", []), (2, "pat", "x" * 100000, []),
                                           (2, "pat", "x", ["--expires-at", "2001-01-01"]),
                                           (2, "pat", "x", ["--expires-at", "soon"]),
                                           (1, "developer", "x", []), (1, "nobody", "x", [])):
            with self.subTest(name=name, stdin=stdin[:20], options=options):
                self.run_ctl("set", name, *options, stdin=stdin, code=code)
                self.assertEqual(self.daemon.token("pat").token, old)


class Look(Cli):
    def test_list(self):
        names = self.run_ctl("list").stdout.split()
        self.assertEqual(names, ["developer", "channel", "enterprise", "web", "pkce", "device", "pat", "sat", "spare"])

    def test_status(self):
        self.daemon.token("developer")
        lines = self.run_ctl("status").stdout.splitlines()
        row = next(line.split() for line in lines if line.startswith("developer "))
        self.assertEqual(row[1:4], ["coze-test", "jwt", "ready"])
        self.assertTrue(any(line.startswith("channel ") and " idle" in line for line in lines))

    def test_status_of_one(self):
        o = self.daemon.token("developer").json
        text = self.run_ctl("status", "developer").stdout
        for word in ("developer", "ready", o["fingerprint"]):
            self.assertIn(word, text)

    def test_status_json(self):
        self.assertEqual(json.loads(self.run_ctl("status", "developer", "--json").stdout)["name"], "developer")
        everything = json.loads(self.run_ctl("status", "--json").stdout)
        self.assertEqual(everything["credentials"][0]["name"], "developer")

    def test_status_tells_what_is_wrong(self):
        """A person reads there what the provider said and what to do."""
        self.emulator.fault("invalid_client")
        self.run_ctl("get", "developer", code=6)
        for arguments in (["status"], ["status", "developer"]):
            text = " ".join(self.run_ctl(*arguments).stdout.split())
            self.assertIn("kid not been registred", text)
            self.assertIn("region", text)

    def test_status_tells_of_a_token_that_ends(self):
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 86400)
        self.assertIn("bearerctl set spare", " ".join(self.run_ctl("status").stdout.split()))

    def test_unknown(self):
        self.run_ctl("status", "nobody", code=1)


class Exec(Cli):
    def test_environment(self):
        done = self.run_ctl("exec", "developer", "--", sys.executable, "-c",
                            "import os; print(os.environ['COZE_API_TOKEN'], os.environ['COZE_API_BASE'])")
        self.assertEqual(done.stdout.split(),
                         [self.daemon.token("developer").token, f"https://localhost:{self.emulator.port}"])

    def test_exit_status_is_the_commands(self):
        self.assertEqual(self.bearerctl("exec", "pat", "--", "sh", "-c", "exit 42").returncode, 42)
        self.assertEqual(self.bearerctl("exec", "pat", "--", "sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)
        self.assertEqual(self.bearerctl("exec", "pat", "--", "/nonexistent").returncode, 127)

    def test_no_token_no_command(self):
        marker = self.directory / "ran"
        self.run_ctl("exec", "web", "--", "touch", str(marker), code=5)
        self.assertFalse(marker.exists())

    def test_options_of_the_command(self):
        done = self.run_ctl("exec", "pat", "--", "printf", "%s|", "--json", "-h", "--")
        self.assertEqual(done.stdout, "--json|-h|--|")


class Check(Cli):
    def test_good(self):
        self.assertEqual(self.bearerctl("check", str(self.daemon.conf)).returncode, 0)

    def test_mistake(self):
        bad = self.directory / "bad.conf"
        bad.write_text("[daemon]\nsokcet = /tmp/x\n")
        done = self.bearerctl("check", str(bad))
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(f"{bad}:2:", done.stdout + done.stderr)


class Health(Cli):
    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return f"[credential always]\n{developer}keep_fresh = always\n"

    def start(self):
        self.emulator.fault("hang")
        self.daemon.start()

    def test_health(self):
        eventually(lambda: self.emulator.requests() > 0, "the token is being fetched")
        self.assertIn("always", self.run_ctl("health", code=6).stderr)
        self.emulator.heal()
        eventually(lambda: self.bearerctl("health").returncode == 0, "it is there")
        self.daemon.stop()
        self.run_ctl("health", code=3)


if __name__ == "__main__":
    main()
