"""Trouble with the provider: what callers are told, what goes on being served, and that it ends."""

import re
import socket
import time

from harness import EndToEnd, Emulator, eventually, main

# fault, parameters: status, what `upstream` has to say (None: the provider said nothing)
FAULTS = {
    "a gateway's error page": ("html502", {}, 503, {"status": 502}),
    "a captive portal": ("html200", {}, 502, {"status": 200}),
    "an empty answer": ("empty200", {}, 502, {"status": 200}),
    "half an answer": ("truncated", {}, 502, {"status": 200}),
    "a connection that breaks in the answer": ("truncated_length", {}, 503, None),
    "a rate limit": ("rate_limit", {"retry_after": 60}, 503, {"status": 429, "error": "rate_limit_exceeded"}),
    "a rate limit without a time": ("rate_limit", {}, 503, {"status": 429}),
    "a rate limit with a date": ("rate_limit", {"retry_after": 60, "retry_after_date": True}, 503, {"status": 429}),
    "an internal error": ("internal_error", {}, 503,
                          {"status": 500, "error": "internal_error", "message": "Service internal error."}),
    "an internal error at 400": ("internal_error", {"status": 400}, 503, {"status": 400, "error": "internal_error"}),
    "an unknown key": ("invalid_client", {}, 502, {"status": 401, "error": "invalid_client",
                                                   "message": "invalid jwt: kid not been registred"}),
    "a deactivated application": ("deactivated", {}, 502, {"status": 400, "error": "access_deny"}),
    "a refused grant": ("invalid_grant", {}, 502, {"status": 400, "error": "invalid_grant"}),
    "a numeric code at 200": ("numeric_code_200", {}, 502, {"status": 200, "message": "authentication is invalid"}),
    "an error that is an object": ("error_object", {}, 502, {"status": 401, "message": "authentication is invalid"}),
    "an error as in RFC 6749": ("rfc_error", {}, 502, {"status": 400, "error": "invalid_request"}),
    "a redirect": ("redirect_loop", {}, 502, {"status": 302}),
    "a connection that is closed": ("drop_before", {}, 503, None),
    "an answer that is lost": ("drop_after_commit", {}, 503, None),
    "an answer without a token": ("no_access_token", {}, 502, {"status": 200}),
    "an answer without an end": ("null_expires_in", {}, 502, {"status": 200}),
    "a token that has expired": ("expired_token", {}, 502, {"status": 200}),
    "a wrong path": ("status", {"status": 404, "body": "404 page not found"}, 502, {"status": 404}),
    "a proxy that wants a login": ("status", {"status": 407, "body": "<html>login</html>"}, None, {"status": 407}),
    "a firewall": ("status", {"status": 403, "body": "<html>blocked</html>"}, None, {"status": 403}),
    "overload": ("status", {"status": 503, "body": ""}, 503, {"status": 503}),
    "a huge answer": ("huge_body", {}, 502, {"status": 200}),
    "JSON that is no object": ("status", {"status": 200, "body": "[1,2]", "content_type": "application/json"}, 502,
                               {"status": 200}),
    "nonsense for numbers": ("status", {"status": 200, "content_type": "application/json",
                                        "body": '{"access_token":7,"expires_in":"soon"}'}, 502, {"status": 200}),
    "a token that breaks headers": ("status", {"status": 200, "content_type": "application/json",
                                               "body": '{"access_token":"a\\r\\nX: y","expires_in":4102444800}'},
                                    502, {"status": 200}),
    "an empty token": ("status", {"status": 200, "content_type": "application/json",
                                  "body": '{"access_token":"","expires_in":4102444800}'}, 502, {"status": 200}),
    "a negative lifetime": ("status", {"status": 200, "content_type": "application/json",
                                       "body": '{"access_token":"czs_abc","expires_in":-5}'}, 502, {"status": 200}),
    "a text full of tricks": ("status", {"status": 400, "content_type": "application/json",
                                         "body": '{"error_code":"invalid_request","error_message":'
                                                 '"a\\u0000b\\u001b[31m\\r\\nEvil: x \\"q\\""}'},
                              502, {"status": 400, "error": "invalid_request"}),
    "an endless text": ("status", {"status": 400, "content_type": "application/json", "body":
                                   '{"error_code":"' + "e" * 3000 + '","error_message":"' + "é" * 3000 + '"}'},
                        502, {"status": 400}),
}


class Fault(EndToEnd):
    """Each has a method of its own, made below."""

    def check(self, fault, parameters, status, upstream):
        self.emulator.fault(fault, **parameters)
        answer = self.daemon.get("/v1/token/developer?wait=10")
        self.assertIn(answer.status, (502, 503) if status is None else (status,), answer)
        self.assertIn("developer", answer.description)
        if upstream is None:
            self.assertNotIn("upstream", {k for k, v in answer.json.items() if v})
        else:
            said = answer.json["upstream"]
            for key, value in upstream.items():
                self.assertEqual(said.get(key), value, answer)
            self.assertTrue(said.get("logid"), "X-Tt-Logid is what Coze's support asks for")
            for text in (said.get("error", ""), said.get("message", "")):
                self.assertTrue(text.isprintable() and len(text) < 2000, answer)
        if answer.status == 503:
            self.assertGreaterEqual(int(answer.headers["retry-after"]), 0)
        view = self.daemon.view("developer")
        self.assertEqual(view["state"], "failing")
        self.assertTrue(view["last_error"])
        self.assertStatus(self.daemon.get("/healthz"), 200)
        self.assertLess(self.emulator.requests(), 6, "it goes on asking")
        self.check_log_lines()

    def check_log_lines(self):
        """Whatever the provider sent: one event, one line."""
        for line in self.daemon.log.splitlines():
            if line.startswith("=="):
                continue  # valgrind's
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (error|warning|info|debug) \w+=", line)
            self.assertTrue(line.isprintable(), line)


def add_fault(name, row):
    def test(self):
        self.check(*row)

    test.__doc__ = name
    setattr(Fault, "test_" + re.sub(r"\W+", "_", name), test)


for fault_name, fault_row in FAULTS.items():
    add_fault(fault_name, fault_row)


class Trouble(EndToEnd):
    def test_no_answer(self):
        self.emulator.fault("hang")
        answer = self.daemon.get("/v1/token/developer?wait=1")
        self.assertStatus(answer, 504, "upstream_timeout")
        self.assertIn("developer", answer.description)

    def test_short_trouble_is_not_the_callers(self):
        """One lost connection: whoever waits gets a token."""
        self.emulator.fault("drop_before", times=1)
        self.daemon.token("developer")
        self.assertEqual(self.emulator.requests(), 2)
        self.assertNotIn("last_error", self.daemon.view("developer"))

    def test_recovers(self):
        """By itself, and for all, once the provider is well."""
        for fault in ("internal_error", "drop_before"):
            with self.subTest(fault=fault):
                self.emulator.fault(fault)
                self.assertStatus(self.daemon.get(f"/v1/token/developer?wait=3&subject={fault}"), 503,
                                  "temporarily_unavailable")
                self.emulator.heal()
                answer = eventually(lambda: [a for a in [self.daemon.get(f"/v1/token/developer?subject={fault}")]
                                             if a.status != 503], "the provider is asked again")[0]
                self.assertStatus(answer, 200)
                self.assertTrue(self.emulator.accepts(answer.token))

    def test_application_comes_back(self):
        """Switched off and on again in the console: nothing needs to be restarted."""
        self.emulator.deactivate("developer")
        answer = self.daemon.get("/v1/token/developer")
        self.assertStatus(answer, 502, "upstream_error")
        self.assertIn("deactivated", answer.description)
        self.emulator.deactivate("developer", False)
        eventually(lambda: self.daemon.get("/v1/token/developer").status == 200, "it works again")
        self.assertEqual(self.daemon.view("developer")["state"], "ready")

    def test_good_token_is_served_on(self):
        """What is still good is handed out, whatever happens to its renewal."""
        first = self.daemon.token("developer").json
        for fault in ("internal_error", "invalid_client", "html200"):
            with self.subTest(fault=fault):
                self.emulator.fault(fault)
                rejected = self.daemon.get(f"/v1/token/developer?wait=1&rejected={first['fingerprint']}")
                self.assertIn(rejected.status, (502, 503, 504))
                self.assertEqual(self.daemon.token("developer", "?wait=0").token, first["access_token"])
                self.emulator.heal()

    def test_one_credential_in_trouble(self):
        """The others of the same provider work on."""
        self.emulator.deactivate("channel")
        self.assertStatus(self.daemon.get("/v1/token/channel"), 502)
        self.daemon.token("developer")
        self.daemon.token("enterprise")

    def test_retry_after(self):
        """Not asked again before the provider allows it, whoever asks us."""
        self.emulator.fault("rate_limit", retry_after=3, times=1)
        begin = time.monotonic()
        answer = self.daemon.get("/v1/token/developer?wait=0")
        if answer.status == 504:  # it was quicker than the provider
            answer = eventually(lambda: [a for a in [self.daemon.get("/v1/token/developer?wait=0")]
                                         if a.status != 504], "the refusal arrives")[0]
        self.assertStatus(answer, 503, "temporarily_unavailable")
        self.assertTrue(1 <= int(answer.headers["retry-after"]) <= 10, answer)

        def again():
            before = time.monotonic()
            if self.emulator.requests() == 1:
                return self.daemon.get("/v1/token/developer?wait=0").status == 200
            self.assertGreaterEqual(time.monotonic() - begin, 3, "asked again too early")
            return before

        eventually(again, "the pause ends")
        self.daemon.token("developer")
        self.assertEqual(self.emulator.requests(), 2)

    def test_long_retry_after(self):
        self.emulator.fault("rate_limit", retry_after=600, times=1)
        answer = self.daemon.get("/v1/token/developer?wait=30")
        self.assertStatus(answer, 503, "temporarily_unavailable")  # now, not after 30 s
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 590)

    def test_no_storm(self):
        """Hundreds of callers of a provider that is down: it hears of few of them."""
        self.emulator.fault("internal_error")
        for _ in range(300):
            self.assertIn(self.daemon.get("/v1/token/developer?wait=0").status, (503, 504))
        self.assertLess(self.emulator.requests(), 12)

    def test_no_storm_of_the_misconfigured(self):
        self.emulator.fault("invalid_client")
        for _ in range(300):
            self.assertIn(self.daemon.get("/v1/token/developer?wait=0").status, (502, 504))
        self.assertLess(self.emulator.requests(), 5)

    def test_advice(self):
        """What users struggle with most, said in words that help: coze-oauth.md section 14."""
        self.emulator.fault("invalid_client")
        description = self.daemon.get("/v1/token/developer").description
        self.assertIn("region", description)
        self.assertIn("public_key_id", description)


class Network(EndToEnd):
    """Providers that cannot be reached, or are not who they should be."""

    def sections(self):
        console = self.emulator.console("developer")
        developer = (f"type = jwt\nclient_id = {console['client_id']}\npublic_key_id = {console['public_key_id']}\n"
                     f"private_key_file = {self.emulator.directory}/developer/private_key.pem\n")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            closed = f"https://localhost:{s.getsockname()[1]}"
        providers = {
            "closed": f"api_url = {closed}\nwww_url = {closed}\nca_file = {self.emulator.directory}/ca.pem\n",
            "nowhere": "api_url = https://nothing.invalid\nwww_url = https://nothing.invalid\n",
            "stranger": f"api_url = https://localhost:{self.emulator.port}\n"
                        f"www_url = https://localhost:{self.emulator.port}\n",  # signed by a CA that nobody knows
            "misnamed": f"api_url = https://127.0.0.2:{self.emulator.port}\n"
                        f"www_url = https://127.0.0.2:{self.emulator.port}\nca_file = {self.emulator.directory}/ca.pem\n",
        }
        return "".join(f"[provider {name}]\n{text}\n[credential {name}]\nprovider = {name}\n{developer}\n"
                       for name, text in providers.items())

    def test_cannot_connect(self):
        answer = self.daemon.get("/v1/token/closed?wait=5")
        self.assertStatus(answer, 503, "temporarily_unavailable")
        self.assertIn("localhost", answer.description)
        self.assertNotIn("upstream", answer.json)

    def test_no_such_host(self):
        answer = self.daemon.get("/v1/token/nowhere?wait=10")
        self.assertIn(answer.status, (503, 504))  # the resolver may be slow
        if answer.status == 503:
            self.assertIn("nothing.invalid", answer.description)

    def test_unknown_certificate(self):
        answer = self.daemon.get("/v1/token/stranger?wait=5")
        self.assertIn(answer.status, (502, 503))
        self.assertIn("certificate", answer.description.lower())
        self.assertEqual(self.emulator.requests(), 0)

    def test_certificate_of_another_name(self):
        answer = self.daemon.get("/v1/token/misnamed?wait=5")
        self.assertIn(answer.status, (502, 503))
        self.assertEqual(self.emulator.requests(), 0)

    def test_the_others_do_not_suffer(self):
        held = [self.daemon.send("GET", f"/v1/token/{name}?wait=5") for name in ("closed", "nowhere", "stranger")]
        self.daemon.token("developer")
        for caller in held:
            self.assertIn(caller.answer().status, (502, 503, 504))


class Restarted(EndToEnd):
    """The provider goes away and comes back under our connections."""

    def setUp(self):
        self.shared = Emulator._shared
        Emulator._shared = None  # a provider of our own, to be ended
        self.addCleanup(self.share_again)
        super().setUp()

    def share_again(self):
        Emulator._shared = self.shared

    def test_kept_connection_is_gone(self):
        """The connection that was kept open is dead: that costs nobody a token."""
        self.daemon.token("developer")
        self.emulator.stop()
        self.assertStatus(self.daemon.get("/v1/token/developer?wait=3&subject=a"), 503)
        self.emulator.start(self.emulator.port)
        eventually(lambda: self.daemon.get("/v1/token/developer?subject=a").status == 200, "the provider is back")


if __name__ == "__main__":
    main()
