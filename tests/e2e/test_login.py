"""A person at a terminal: bearerctl login and what belongs to it, against the daemon and the provider."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import unittest
import urllib.parse

from harness import BEARERCTL, ENVIRONMENT, LIMIT_S, EndToEnd, eventually, main
from test_loopback import free_ports

DISPLAYS = {"DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"}
HERE = {k: v for k, v in ENVIRONMENT.items() if k not in DISPLAYS}


class Login(EndToEnd):
    def sections(self):
        self.emulator.control("POST", "consent", mode="approve")
        port, = free_ports(1)
        redirect = f"http://127.0.0.1:{port}/callback"
        self.emulator.control("POST", "app", client_id=self.emulator.console("web")["client_id"],
                              redirect_uris=[redirect])
        return "".join(f"[credential my-{name}]\nprovider = coze-test\n"
                       f"config_file = {self.emulator.console_file(application)}\n{more}\n"
                       for name, application, more in (("web", "web", f"redirect_uri = {redirect}"),
                                                       ("tv", "device", "")))

    def begin(self, *arguments, **environment):
        """bearerctl login in a pipe."""
        process = subprocess.Popen([BEARERCTL, "login", *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**HERE, "BEARERD_SOCKET": self.daemon.socket, **environment})
        self.addCleanup(process.__exit__, None, None, None)  # closes the pipes
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        out, err = process.communicate(timeout=LIMIT_S + 10)
        return process.returncode, out, err

    def read_code(self, process):
        code = re.search(r"enter the code (\S+) within", process.stdout.readline())[1]
        self.daemon.secrets.add(code)
        return code

    def read_address(self, process):
        process.stdout.readline()
        address = process.stdout.readline().strip()
        self.daemon.secrets.update(urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["state"])
        return address

    def visit(self, address):
        """Where the authorization server sends the browser."""
        url = self.emulator.browse(address)
        self.daemon.secrets.update(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query).get("code", []))
        return url

    def log_in(self, subject):
        """The address is pasted elsewhere, by way of the API."""
        process = self.begin("my-web", "--subject", subject)
        url = self.visit(self.read_address(process))
        self.assertStatus(self.daemon.post("/v1/callback", {"url": url}), 200)
        self.assertEqual(process.wait(LIMIT_S), 0)

    def token_of(self, name, subject=""):
        done = self.bearerctl("get", name, "--subject", subject)
        token = done.stdout.strip()
        if token:
            self.daemon.secrets.add(token)
        return done.returncode, token


class ByCode(Login):
    def test_approved(self):
        process = self.begin("my-tv")
        self.emulator.control("POST", "device", user_code=self.read_code(process), action="approve")
        self.assertEqual(self.finish(process),
                         (0, "my-tv is authorized. Its token: bearerctl get my-tv\n", ""))
        code, token = self.token_of("my-tv")
        self.assertEqual(code, 0)
        self.assertTrue(self.emulator.accepts(token))

    def test_denied(self):
        process = self.begin("my-tv", "--subject", "alice")
        self.emulator.control("POST", "device", user_code=self.read_code(process), action="deny")
        code, out, err = self.finish(process)
        self.assertEqual((code, out), (5, ""))
        self.assertIn("refused", err)
        self.assertIn("to start again: bearerctl login my-tv --subject alice\n", err)


class ByBrowser(Login):
    def test_browser_here(self):
        """xdg-open is a browser that follows redirects and has no eyes."""
        directory = self.directory / "bin"
        directory.mkdir()
        browser = directory / "xdg-open"
        browser.write_text(f"#!{sys.executable}\n" + textwrap.dedent(f"""\
            import http.client, ssl, sys, urllib.request
            tls = ssl.create_default_context(cafile={str(self.emulator.directory / "ca.pem")!r})
            urllib.request.build_opener(urllib.request.ProxyHandler({{}}),
                                        urllib.request.HTTPSHandler(context=tls)).open(sys.argv[1]).read()
            """))
        browser.chmod(0o755)
        process = self.begin("my-web", "--subject", "alice", DISPLAY=":0",
                             PATH=f"{directory}:{HERE['PATH']}")
        self.read_address(process)
        self.assertEqual(self.finish(process), (0, "my-web for alice is authorized. Its token: "
                                                   "bearerctl get my-web --subject alice\n", ""))
        code, token = self.token_of("my-web", "alice")
        self.assertEqual(code, 0)
        self.assertTrue(self.emulator.accepts(token))

    def test_browser_elsewhere(self):
        """The address is pasted at the terminal; one that is not it is explained."""
        process, terminal = pty.fork()
        if process == 0:
            os.execve(BEARERCTL, [BEARERCTL, "login", "my-web"],
                      {**HERE, "BEARERD_SOCKET": self.daemon.socket, "TERM": "xterm"})
        shown = b""

        def read_until(pattern):
            nonlocal shown
            while not (found := re.search(pattern, shown)):
                self.assertTrue(select.select([terminal], [], [], LIMIT_S + 10)[0], shown)
                try:
                    shown += os.read(terminal, 4096)
                except OSError:
                    self.fail(f"it has ended: {shown}")
            return found

        address = read_until(rb"\n  (https://\S+)\r\n(?s:.*)Ctrl-C cancels")[1].decode()
        url = self.visit(address)
        wrong = re.sub(r"state=[^&]*", "state=wrong", url)
        os.write(terminal, f"{wrong}\n".encode())
        read_until(rb"no authorization waits for this state(?s:.*)paste another address")
        os.write(terminal, f"{url}\n".encode())
        read_until(rb"my-web is authorized\.")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), 0)
        os.close(terminal)
        self.assertEqual(self.token_of("my-web")[0], 0)


class Ends(Login):
    def states(self):
        done = self.bearerctl("authorizations", "--json")
        return [each["state"] for each in json.loads(done.stdout)["authorizations"]]

    def test_interrupted(self):
        process = self.begin("my-web")
        url = self.visit(self.read_address(process))
        process.send_signal(signal.SIGINT)
        code, _, err = self.finish(process)
        self.assertEqual((code, err), (130, "bearerctl: my-web: cancelled\n"))
        self.assertEqual(self.states(), ["cancelled"])
        self.assertStatus(self.daemon.post("/v1/callback", {"url": url}), 404, "not_found")

    def test_cancelled_by_another(self):
        process = self.begin("my-web")
        self.read_address(process)
        table = self.bearerctl("authorizations", "my-web").stdout
        found = re.search(r"^(\w{32})  my-web      -        pending  in 1[45]min", table, re.M)
        self.assertTrue(found, table)
        done = self.bearerctl("authorizations", "--cancel", found[1])
        self.assertEqual((done.returncode, done.stdout), (0, "cancelled\n"))
        self.assertEqual(self.finish(process)[0], 5)

    def test_later_one_wins(self):
        first = self.begin("my-web")
        self.read_address(first)
        second = self.begin("my-web")
        url = self.visit(self.read_address(second))
        code, _, err = self.finish(first)
        self.assertEqual(code, 5)
        self.assertIn("later", err)
        self.assertStatus(self.daemon.post("/v1/callback", {"url": url}), 200)
        self.assertEqual(self.finish(second)[0], 0)

    def test_daemon_killed(self):
        process = self.begin("my-web")
        self.read_address(process)
        eventually(lambda: self.states() == ["pending"], "it waits")
        self.daemon.kill()
        self.assertEqual(process.stderr.readline(),
                         "bearerctl: the daemon is gone; waiting for it to come back\n")
        self.daemon.start()
        code, _, err = self.finish(process)
        self.assertEqual(code, 5)
        self.assertIn("the daemon is back\n", err)
        self.assertIn("to start again: bearerctl login my-web\n", err)

    def test_not_interactive(self):
        done = self.bearerctl("login", "developer")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("needs nobody to authorize it", done.stderr)


class Grants(Login):
    def test_logout(self):
        self.log_in("alice")
        self.assertEqual(self.token_of("my-web", "alice")[0], 0)
        done = self.bearerctl("logout", "my-web", "--subject", "alice")
        self.assertEqual((done.returncode, done.stdout),
                         (0, "my-web for alice is logged out: its grant and tokens are forgotten.\n"))
        self.assertEqual(self.token_of("my-web", "alice")[0], 5)
        done = self.bearerctl("logout", "my-web", "--subject", "alice")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("nothing to forget", done.stderr)

    def test_subjects(self):
        names = ["alice", "bob", "扣子"]
        for name in names:
            self.log_in(name)
        done = self.bearerctl("status", "my-web", "--subjects")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        self.assertEqual(sorted(row[-1] for row in rows), sorted(names))
        done = self.bearerctl("status", "my-web", "--subjects", "--json")
        self.assertEqual(sorted(json.loads(line)["subject"] for line in done.stdout.splitlines()),
                         sorted(names))

    def test_status_says_how(self):
        self.assertIn("bearerctl login my-web", self.bearerctl("status").stdout)
        self.assertIn("bearerctl login my-web", self.bearerctl("status", "my-web").stdout)

    def test_rekey(self):
        """What was sealed under the old key is there under the new one."""
        self.log_in("alice")
        self.assertEqual(self.daemon.stop(), 0)
        key = (self.daemon.state_dir / "bearerd.key").read_bytes()
        done = self.bearerctl("rekey", str(self.daemon.conf))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual((self.daemon.state_dir / "bearerd.key").read_bytes(), key)
        self.daemon.start()
        self.assertEqual(self.token_of("my-web", "alice")[0], 0)


if __name__ == "__main__":
    main()
