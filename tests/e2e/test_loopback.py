"""The browser comes back to this machine: the daemon's own listener, page by page."""

import contextlib
import http.client
import os
import pathlib
import random
import re
import select
import signal
import socket
import unittest
import urllib.parse

from harness import LIMIT_S, WRAPPER, Answer, EndToEnd, eventually, main

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
HEADERS = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store",
           "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
           "referrer-policy": "no-referrer", "x-content-type-options": "nosniff", "connection": "close"}
CONNECTIONS_MAX = 32


def listen(port, family=socket.AF_INET):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((LOOPBACK[family], port))
        s.listen()
    except OSError:
        s.close()
        raise
    return s


def free_ports(n):
    """Free in both families, and below those that the kernel gives to clients."""
    ports = []
    while len(ports) < n:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError):
            for family in LOOPBACK:
                listen(port, family).close()
            ports.append(port)
    return ports


def is_open(port, family=socket.AF_INET):
    with socket.socket(family) as s:
        return s.connect_ex((LOOPBACK[family], port)) == 0


class Browser(http.client.HTTPConnection):
    """One visit to a URL, which may be left before the answer is there."""

    def __init__(self, url, method="GET", host=None, body=None, headers=None):
        parts = urllib.parse.urlsplit(url)
        super().__init__(parts.hostname, parts.port, timeout=LIMIT_S + 10)
        self.putrequest(method, urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")), skip_host=True)
        if host != "":
            self.putheader("Host", host or parts.netloc)
        for name, value in (headers or {}).items():
            self.putheader(name, value)
        if body:
            self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)

    def page(self):
        response = self.getresponse()
        answer = Answer(response.status, response.getheaders(), response.read())
        self.close()
        return answer


class Loopback(EndToEnd):
    def sections(self):
        self.port, self.name_port, self.v6_port, self.far_port = free_ports(4)
        self.uris = {"web": f"http://127.0.0.1:{self.port}/callback",
                     "twin": f"http://127.0.0.1:{self.port}/other",
                     "name": f"http://localhost:{self.name_port}/cb?from=here",
                     "six": f"http://[::1]:{self.v6_port}",
                     "tls": f"https://localhost:{self.far_port}/callback",
                     "far": "https://app.example/callback"}
        applications = {"web": "web", "tls": "web", "far": "web", "twin": "pkce", "name": "pkce", "six": "pkce"}
        for application in ("web", "pkce"):
            self.emulator.control("POST", "app", client_id=self.emulator.console(application)["client_id"],
                                  redirect_uris=[uri for name, uri in self.uris.items()
                                                 if applications[name] == application])
        self.emulator.control("POST", "consent", mode="approve")
        return "".join(f"[credential {'my-' + name}]\nprovider = coze-test\n"
                       f"config_file = {self.emulator.console_file(applications[name])}\n"
                       f"redirect_uri = {uri}\n" for name, uri in self.uris.items())

    def begin(self, name, subject=""):
        answer = self.daemon.post(f"/v1/credentials/my-{name}/authorizations", {"subject": subject})
        self.assertStatus(answer, 201)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.json["authorization_url"]).query)
        self.daemon.secrets.add(query["state"][0])
        return answer.json

    def consent(self, authorization):
        """Where the authorization server sends the browser."""
        parts = urllib.parse.urlsplit(authorization["authorization_url"])
        answer = self.emulator.ask("GET", f"{parts.path}?{parts.query}")
        self.assertEqual(answer.status, 302, answer)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
        self.daemon.secrets.update(query.get("code", []))
        return answer.headers["location"]

    def check_page(self, page, status, zh, en):
        self.assertEqual(page.status, status, page)
        for name, value in HEADERS.items():
            self.assertEqual(page.headers.get(name), value, name)
        self.assertIn(zh, page.text)
        self.assertIn(en, page.text)
        for lang in ("zh-CN", "en"):
            self.assertRegex(page.text, rf'<section lang="{lang}">\s*<h1>[^<]+</h1>\s*<p>[^<]+</p>')
        self.assertNotRegex(page.text, r"(?i)<script|<img|<link|https?://|\bon\w+=|\bsrc=|\bhref=")
        for secret in self.daemon.secrets:
            self.assertNotIn(secret, page.text, "a secret is on the page")
        return page

    def check_succeeded(self, page):
        self.check_page(page, 200, "授权成功，可以关闭此页面", "You may close this window")

    def check_over(self, page):
        self.check_page(page, 404, "此授权链接已失效", "It was used already, ran out or was cancelled")

    def state(self, authorization, wait=0):
        return self.assertStatus(self.daemon.get(f"/v1/authorizations/{authorization['id']}?wait={wait}"), 200).json

    def cancel(self, authorization):
        self.assertStatus(self.daemon.ask("DELETE", f"/v1/authorizations/{authorization['id']}"), 200)

    def wait_until_closed(self, port, family=socket.AF_INET):
        eventually(lambda: not is_open(port, family), f"port {port} is closed")
        listen(port, family).close()


class Flows(Loopback):
    def test_code(self):
        self.assertFalse(is_open(self.port))
        authorization = self.begin("web")
        self.assertIs(authorization["loopback"], True)
        self.assertNotIn("warning", authorization)
        self.assertTrue(is_open(self.port))
        self.assertFalse(is_open(self.port, socket.AF_INET6), "it is 127.0.0.1 and nothing else")
        self.check_succeeded(Browser(self.consent(authorization)).page())
        self.wait_until_closed(self.port)
        self.assertEqual(self.state(authorization)["state"], "succeeded")
        self.assertNotIn("loopback", self.state(authorization))
        self.assertTrue(self.emulator.accepts(self.daemon.token("my-web").token))

    def test_pkce_under_both_addresses_of_localhost(self):
        for family, subject in ((socket.AF_INET, "alice"), (socket.AF_INET6, "bob")):
            authorization = self.begin("name", subject)
            self.assertIs(authorization["loopback"], True)
            url = self.consent(authorization)
            self.assertIn("?from=here&", url)
            self.assertTrue(is_open(self.name_port, socket.AF_INET))
            self.assertTrue(is_open(self.name_port, socket.AF_INET6))
            numeric = url.replace("localhost", {"::1": "[::1]"}.get(LOOPBACK[family], LOOPBACK[family]))
            page = Browser(numeric, host=f"localhost:{self.name_port}").page()
            self.check_succeeded(page)
            self.assertIn(f"my-name / {subject}", page.text)
            for each in LOOPBACK:
                self.wait_until_closed(self.name_port, each)
            self.assertTrue(self.emulator.accepts(self.daemon.token("my-name", f"?subject={subject}").token))

    def test_ipv6_without_a_path(self):
        authorization = self.begin("six")
        self.assertFalse(is_open(self.v6_port, socket.AF_INET))
        url = self.consent(authorization)
        self.check_succeeded(Browser(url).page())
        self.wait_until_closed(self.v6_port, socket.AF_INET6)
        self.daemon.token("my-six")

    def test_not_ours(self):
        """Of these the web app hands the URL on."""
        for name in ("tls", "far"):
            authorization = self.begin(name)
            self.assertIs(authorization["loopback"], False)
            self.assertNotIn("warning", authorization)
            self.assertFalse(is_open(self.far_port))
            answer = self.daemon.post("/v1/callback", {"url": self.consent(authorization)})
            self.assertEqual(self.assertStatus(answer, 200).json["state"], "succeeded")

    def test_callback_closes_too(self):
        """The person pasted the URL instead."""
        authorization = self.begin("web")
        self.assertStatus(self.daemon.post("/v1/callback", {"url": self.consent(authorization)}), 200)
        self.wait_until_closed(self.port)

    def test_cancel_closes(self):
        authorization = self.begin("web")
        url = self.consent(authorization)
        self.assertTrue(is_open(self.port))
        self.cancel(authorization)
        self.wait_until_closed(self.port)
        again = self.begin("web")
        self.check_over(Browser(url).page())
        self.check_succeeded(Browser(self.consent(again)).page())

    def test_denied(self):
        self.emulator.control("POST", "consent", mode="deny")
        authorization = self.begin("web")
        page = Browser(self.consent(authorization)).page()
        self.check_page(page, 403, "授权被拒绝", "Authorization denied")
        self.assertIn("the person refused", page.text)
        self.assertEqual(self.state(authorization)["state"], "denied")
        self.wait_until_closed(self.port)

    def test_failed(self):
        """What the provider says is shown, and is no markup."""
        self.emulator.fault("status", status=400, content_type="application/json",
                            body='{"error_code":"invalid_grant","error_message":"<script>alert(\\"1\\")</script>&\'"}')
        authorization = self.begin("web")
        page = Browser(self.consent(authorization)).page()
        self.check_page(page, 502, "授权失败", "Authorization failed")
        self.assertIn("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;", page.text)
        self.assertEqual(self.state(authorization)["state"], "failed")
        self.wait_until_closed(self.port)

    def test_error_in_the_redirect(self):
        authorization = self.begin("web")
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(authorization["authorization_url"]).query)["state"][0]
        query = f"error=server_error&error_description=%3Cb%3Eno+%E4%B8%8D&state={state}"
        page = Browser(f"{self.uris['web']}?{query}").page()
        self.check_page(page, 502, "授权失败", "Authorization failed")
        self.assertIn("&lt;b&gt;no 不", page.text)

    def test_the_page_waits_for_the_provider(self):
        self.emulator.fault("hang")
        authorization = self.begin("web")
        browser = Browser(self.consent(authorization))
        eventually(lambda: self.emulator.requests() == 1, "the code is on its way")
        self.assertEqual(self.state(authorization)["state"], "pending")
        self.assertTrue(is_open(self.port))
        self.cancel(authorization)
        self.check_page(browser.page(), 410, "授权已取消", "it was cancelled by a caller")
        self.wait_until_closed(self.port)

    def test_the_browser_leaves_early(self):
        """The grant is kept all the same."""
        self.emulator.fault("hang", times=1)
        authorization = self.begin("web")
        browser = Browser(self.consent(authorization))
        eventually(lambda: self.emulator.requests() == 1, "the code is on its way")
        browser.close()
        self.cancel(authorization)
        self.emulator.heal()
        authorization = self.begin("web")
        browser = Browser(self.consent(authorization))
        browser.close()
        self.assertEqual(self.state(authorization, wait=20)["state"], "succeeded")
        self.wait_until_closed(self.port)
        self.daemon.token("my-web")


class Several(Loopback):
    def test_two_on_one_port(self):
        """The port is open until both are over; each has its own path."""
        web, twin = self.begin("web"), self.begin("twin")
        web_url, twin_url = self.consent(web), self.consent(twin)
        page = Browser(web_url.replace("/callback?", "/other?")).page()
        self.check_page(page, 404, "没有此页面", "No such page")
        self.check_succeeded(Browser(twin_url).page())
        self.assertTrue(is_open(self.port))
        self.check_succeeded(Browser(web_url).page())
        self.wait_until_closed(self.port)
        self.assertNotEqual(self.daemon.token("my-web").token, self.daemon.token("my-twin").token)

    def test_subjects_at_once(self):
        subjects = [f"user {i}" for i in range(10)]
        authorizations = [self.begin("web", subject) for subject in subjects]
        browsers = [Browser(self.consent(a)) for a in authorizations]
        for browser in browsers:
            self.check_succeeded(browser.page())
        self.wait_until_closed(self.port)
        tokens = {self.daemon.token("my-web", "?subject=" + urllib.parse.quote(s)).token for s in subjects}
        self.assertEqual(len(tokens), len(subjects))

    def test_later_one_wins(self):
        first = self.begin("web")
        first_url = self.consent(first)
        second = self.begin("web")
        self.check_over(Browser(first_url).page())
        self.check_succeeded(Browser(self.consent(second)).page())

    def test_open_and_close_many_times(self):
        """Connections of the last time linger, and the port opens all the same."""
        for _ in range(5):
            self.check_succeeded(Browser(self.consent(self.begin("web"))).page())
            self.wait_until_closed(self.port)


class Refused(Loopback):
    """Nothing of this uses up the authorization: it succeeds in the end."""

    def setUp(self):
        super().setUp()
        self.authorization = self.begin("web")
        self.url = self.consent(self.authorization)

    def tearDown(self):
        if self.daemon.process:
            self.assertEqual(self.state(self.authorization)["state"], "pending")
            self.check_succeeded(Browser(self.url).page())
            self.wait_until_closed(self.port)
        super().tearDown()

    def test_host(self):
        """A web page that had its own name bound to 127.0.0.1."""
        for host in ("evil.example", f"evil.example:{self.port}", f"localhost:{self.port}", "127.0.0.1",
                     f"127.0.0.1:{self.port + 1}", f"127.0.0.1:{self.port}.", f"127.0.0.2:{self.port}", ""):
            with self.subTest(host=host):
                page = Browser(self.url, host=host).page()
                self.check_page(page, 400, "地址错误", "Wrong address")

    def test_method(self):
        for method, body in (("POST", b"code=1"), ("PUT", b"x" * 100000), ("DELETE", None), ("OPTIONS", None)):
            with self.subTest(method=method):
                page = Browser(self.url, method=method, body=body).page()
                self.check_page(page, 405, "不支持此方法", "Method not allowed")
                self.assertEqual(page.headers["allow"], "GET")
        self.assertEqual(Browser(self.url, method="HEAD").page().status, 405)

    def test_path(self):
        query = self.url.partition("?")[2]
        for path in ("/", "/favicon.ico", "/callback/", "/Callback", "/%63allback", "//callback",
                     "/callback/../callback", "/v1/token/my-web", "/healthz", f"/callback%3F{query}"):
            with self.subTest(path=path):
                page = Browser(f"http://127.0.0.1:{self.port}{path}?{query}").page()
                self.check_page(page, 404, "没有此页面", "No such page")
                self.assertLess(len(page.body), 2048)

    def test_path_of_another_credential(self):
        """The state is the right one, the place is not."""
        page = Browser(self.url.replace("/callback?", "/other?")).page()
        self.check_page(page, 404, "没有此页面", "No such page")

    def test_parameters(self):
        base, _, query = self.url.partition("?")
        code, state = (urllib.parse.parse_qs(query)[key][0] for key in ("code", "state"))
        for wrong in ("", "?", "?state=" + state, "?code=" + code, f"?code={code}&state={state}&state={state}",
                      f"?code={code}&code=x&state={state}", f"?code={code}%00&state={state}",
                      f"?code={code}&state={state}&error=a&error=b", f"?code={'x' * 3000}&state={state}",
                      f"?code={code}&state={state}%", f"?code=&state={state}"):
            with self.subTest(wrong=wrong[:20]):
                self.check_page(Browser(base + wrong).page(), 400, "地址不完整", "Incomplete address")

    def test_state(self):
        base, _, query = self.url.partition("?")
        code, state = (urllib.parse.parse_qs(query)[key][0] for key in ("code", "state"))
        for wrong in ("x", state[:-1], state + "0", state.upper(), "%20" + state, "a" * 2000):
            with self.subTest(state=wrong[:20]):
                self.check_over(Browser(f"{base}?code={code}&state={wrong}").page())

    def test_nonsense(self):
        """Whatever is sent: an answer or none, and it goes on serving."""
        requests = [b"\r\n\r\n", b"GET\r\n\r\n", b"GET \r\n\r\n", b"GET /callback\r\n\r\n", b"\0" * 100 + b"\r\n\r\n",
                    b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                    b"GET /callback?" + b"&" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET http://127.0.0.1/callback HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"GET ? HTTP/1.1\r\n\r\n", b"GET /callback? HTTP/9.9\r\n\r\n",
                    b"POST /callback HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
        with contextlib.ExitStack() as stack:
            sent = [stack.enter_context(socket.create_connection(("127.0.0.1", self.port), LIMIT_S)) for _ in requests]
            for s, request in zip(sent, requests):
                with contextlib.suppress(ConnectionError):
                    s.sendall(request)
            for s, request in zip(sent, requests):
                with self.subTest(request=request[:20]), contextlib.suppress(ConnectionError):
                    while s.recv(65536):
                        pass

    def test_cookies(self):
        """Other programs' cookies for this host come along."""
        cookies = "; ".join(f"name{i}={'v' * 100}" for i in range(60))
        page = Browser(self.url.replace("/callback?", "/other?"), headers={"Cookie": cookies}).page()
        self.check_page(page, 404, "没有此页面", "No such page")

    def test_browsers_that_hang(self):
        """As many as fit say nothing; when they are gone, or were sent away, there is room."""
        idle = [socket.create_connection(("127.0.0.1", self.port), LIMIT_S) for _ in range(CONNECTIONS_MAX + 4)]
        idle[0].sendall(b"GET /callback?code=")
        idle[1].sendall(b"GET /callback HTTP/1.1\r\nHost: ")
        waiting = Browser(self.uris["web"])
        for _ in range(3):
            self.state(self.authorization)  # the loop has gone round
        self.assertFalse(select.select([waiting.sock], [], [], 0)[0], "it is let in")
        for s in idle[:8]:
            s.close()
        self.check_page(waiting.page(), 400, "地址不完整", "Incomplete address")
        for s in idle:
            s.close()


class Used(Loopback):
    def test_reused_state(self):
        """Twin keeps the port open."""
        web, twin = self.begin("web"), self.begin("twin")
        url = self.consent(web)
        self.check_succeeded(Browser(url).page())
        self.check_over(Browser(url).page())
        base, _, query = url.partition("?")
        state = urllib.parse.parse_qs(query)["state"][0]
        self.check_over(Browser(f"{base}?code=another&state={state}").page())
        self.assertEqual(self.state(web)["state"], "succeeded")
        self.assertEqual(self.emulator.requests(), 1)
        self.cancel(twin)

    def test_reload_while_the_first_visit_waits(self):
        self.emulator.fault("hang")
        authorization = self.begin("web")
        url = self.consent(authorization)
        first = Browser(url)
        eventually(lambda: self.emulator.requests() == 1, "the code is on its way")
        self.check_over(Browser(url).page())
        self.cancel(authorization)
        self.assertEqual(first.page().status, 410)
        self.assertEqual(self.emulator.requests(), 1)


class Taken(Loopback):
    """Somebody else has the port."""

    def test_port_in_use(self):
        with listen(self.port):
            authorization = self.begin("web")
            self.assertIs(authorization["loopback"], False)
            for word in (f"127.0.0.1:{self.port}", "in use", "free it", "bearerctl login", "paste"):
                self.assertIn(word, authorization["warning"])
            self.assertIn(authorization["warning"], self.state(authorization)["warning"])
            self.assertIs(self.state(authorization)["loopback"], False)
            self.assertRegex(self.daemon.log, rf"error.*event=loopback_failed address=127.0.0.1:{self.port}")
            answer = self.daemon.post("/v1/callback", {"url": self.consent(authorization)})
            self.assertEqual(self.assertStatus(answer, 200).json["state"], "succeeded")
        authorization = self.begin("web")
        self.assertIs(authorization["loopback"], True)
        self.assertNotIn("warning", authorization)
        self.check_succeeded(Browser(self.consent(authorization)).page())

    def test_one_address_of_two_in_use(self):
        """It listens at the other, and warns: the browser may go to the wrong one."""
        with listen(self.name_port, socket.AF_INET6):
            authorization = self.begin("name")
            self.assertIs(authorization["loopback"], True)
            self.assertIn(f"[::1]:{self.name_port}", authorization["warning"])
            numeric = self.consent(authorization).replace("localhost", "127.0.0.1")
            self.check_succeeded(Browser(numeric, host=f"localhost:{self.name_port}").page())
        self.wait_until_closed(self.name_port)

    def test_list_tells_too(self):
        with listen(self.port):
            self.begin("web")
            self.begin("six")
            listed = {a["credential"]: a for a in self.daemon.get("/v1/authorizations").json["authorizations"]}
            self.assertIs(listed["my-web"]["loopback"], False)
            self.assertIn("warning", listed["my-web"])
            self.assertIs(listed["my-six"]["loopback"], True)
            self.assertNotIn("warning", listed["my-six"])


class End(Loopback):
    """The daemon is stopped."""

    def test_while_a_browser_waits(self):
        self.emulator.fault("hang")
        browser = Browser(self.consent(self.begin("web")))
        eventually(lambda: self.emulator.requests() == 1, "the code is on its way")
        self.daemon.process.send_signal(signal.SIGTERM)
        self.check_page(browser.page(), 410, "授权已取消", "bearerd is stopping")
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.process = None
        self.assertFalse(is_open(self.port))

    def test_with_connections_that_say_nothing(self):
        self.begin("web")
        self.begin("name")
        idle = [socket.create_connection(("127.0.0.1", port), LIMIT_S) for port in (self.port, self.name_port) * 5]
        idle[0].sendall(b"GET /callb")
        self.assertEqual(self.daemon.stop(), 0)
        for s in idle:
            s.close()

    def test_those_that_dawdle(self):
        """The port is free at once, though somebody's request goes on and on; he is sent away."""
        authorization = self.begin("web")
        with socket.create_connection(("127.0.0.1", self.port), LIMIT_S) as slow:
            slow.sendall(b"GET /callback HTTP/1.1\r\nX: ")
            self.check_succeeded(Browser(self.consent(authorization)).page())
            self.wait_until_closed(self.port)

            def is_sent_away():
                try:
                    slow.sendall(b"x")
                except ConnectionError:
                    return True
                return False

            eventually(is_sent_away, "the connection is closed")


@unittest.skipIf(WRAPPER or os.geteuid() != 0, "NOT TESTED: reads the daemon's memory")
class Memory(Loopback):
    def setUp(self):
        super().setUp()
        self.process = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        if "libasan" in (self.process / "maps").read_text():
            self.skipTest("NOT TESTED: the memory is ASan's")

    def find(self, text):
        """What stands around each place where it is in the daemon's memory."""
        found = []
        with (self.process / "mem").open("rb") as memory:
            for line in (self.process / "maps").read_text().splitlines():
                place = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if place:
                    begin, end = (int(x, 16) for x in place.groups())
                    memory.seek(begin)
                    piece = memory.read(end - begin)
                    found += [piece[m.start() - 60:m.start() + 90] for m in re.finditer(text.encode(), piece)]
        return found

    def test_the_query_is_wiped(self):
        """While the visit goes on; the code itself is on its way to the provider then."""
        self.emulator.fault("hang")
        authorization = self.begin("web")
        browser = Browser(self.consent(authorization) + "&more=canary0123456789")
        eventually(lambda: self.emulator.requests() == 1, "the code is on its way")
        self.assertEqual(self.find("canary0123456789"), [])
        self.assertNotEqual(self.find("my-web"), [], "it would find nothing")
        self.cancel(authorization)
        browser.page()

    def test_the_code_is_forgotten(self):
        url = self.consent(self.begin("web"))
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["code"][0]
        self.check_succeeded(Browser(url).page())
        self.wait_until_closed(self.port)
        self.assertEqual(self.daemon.get("/healthz").status, 200)
        self.assertEqual(self.find(code[8:]), [])


if __name__ == "__main__":
    main()
