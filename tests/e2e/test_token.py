"""GET /v1/token/{credential}: what every caller lives on."""

import time

from harness import EndToEnd, eventually, fingerprint, main

TEXT = {"Accept": "text/plain"}


class Form(EndToEnd):
    """What the answer looks like."""

    def test_json(self):
        before = int(time.time())
        answer = self.daemon.token("developer")
        after = int(time.time())
        o = answer.json
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual({*o}, {"access_token", "token_type", "expires_in", "expires_at", "credential", "subject",
                                "fingerprint"})
        self.assertRegex(o["access_token"], r"^czs_\w{32,}$")
        self.assertEqual((o["token_type"], o["credential"], o["subject"]), ("Bearer", "developer", ""))
        self.assertEqual(o["fingerprint"], fingerprint(o["access_token"]))
        self.assertTrue(0 < o["expires_in"] <= 900, o)
        self.assertTrue(before - 1 <= o["expires_at"] - o["expires_in"] <= after + 1, (before, o, after))
        self.assertTrue(self.emulator.accepts(o["access_token"]))

    def test_text(self):
        o = self.daemon.token("developer").json
        for answer in (self.daemon.get("/v1/token/developer", TEXT),  # from memory
                       self.daemon.get("/v1/token/channel", TEXT)):   # fetched for this caller
            self.assertStatus(answer, 200)
            self.assertEqual(answer.headers["content-type"].split(";")[0], "text/plain")
            self.assertRegex(answer.text, r"^czs_\w{32,}$", "nothing but the token, not even a newline")
            self.assertEqual(answer.headers["bearer-fingerprint"], fingerprint(answer.text))
            self.assertGreater(int(answer.headers["bearer-expires-at"]), time.time())
            self.assertTrue(0 < int(answer.headers["bearer-expires-in"]) <= 900)
        answer = self.daemon.get("/v1/token/developer", TEXT)
        self.assertEqual(answer.text, o["access_token"])
        self.assertEqual(int(answer.headers["bearer-expires-at"]), o["expires_at"])

    def test_accept(self):
        forms = {None: "application/json", "*/*": "application/json", "application/json": "application/json",
                 "application/*": "application/json", "application/json, text/plain": "application/json",
                 "text/plain": "text/plain", "text/plain, */*;q=0.1": "text/plain",
                 "text/plain; charset=utf-8": "text/plain", "text/plain,application/json": "text/plain",
                 "x" * 200: "application/json"}
        for accept, form in forms.items():
            with self.subTest(accept=accept):
                answer = self.daemon.get("/v1/token/developer", {"Accept": accept} if accept else {})
                self.assertStatus(answer, 200)
                self.assertEqual(answer.headers["content-type"].split(";")[0], form)

    def test_errors_are_json_for_who_wants_text(self):
        self.assertStatus(self.daemon.get("/v1/token/nobody", TEXT), 404, "not_found")
        self.assertStatus(self.daemon.get("/v1/token/developer?min_ttl=x", TEXT), 400, "invalid_request")
        self.assertStatus(self.daemon.get("/v1/token/web", TEXT), 409, "authorization_required")

    def test_time_goes_by(self):
        """expires_in is what is left, expires_at stays; the bare token says the same."""
        def text():
            return self.daemon.get("/v1/token/developer", TEXT).headers

        first, first_text = self.daemon.token("developer").json, text()
        later = eventually(lambda: [o for o in [self.daemon.token("developer").json]
                                    if o["expires_in"] < first["expires_in"]], "expires_in becomes less")[0]
        self.assertEqual(later["expires_at"], first["expires_at"])
        self.assertEqual(later["access_token"], first["access_token"])
        self.assertLess(int(text()["bearer-expires-in"]), int(first_text["bearer-expires-in"]))
        self.assertEqual(text()["bearer-expires-at"], first_text["bearer-expires-at"])


class Cache(EndToEnd):
    """One upstream call for as many callers as possible."""

    def test_second_caller_costs_nothing(self):
        first = self.daemon.token("developer").token
        for _ in range(20):
            self.assertEqual(self.daemon.token("developer").token, first)
        self.assertEqual(self.emulator.requests(), 1)

    def test_over_one_connection(self):
        waiting = self.daemon.send("GET", "/v1/token/developer")
        tokens = set()
        for _ in range(20):
            response = waiting.connection.getresponse()
            self.assertEqual(response.status, 200)
            tokens.add(response.read())
            waiting.connection.request("GET", "/v1/token/developer", headers=TEXT)
        self.assertEqual(waiting.answer().status, 200)
        self.assertEqual(self.emulator.requests(), 1)
        self.daemon.secrets.add(self.daemon.token("developer").token)

    def test_60_at_once(self):
        self.emulator.fault("latency", ms=300)
        callers = [self.daemon.send("GET", "/v1/token/developer") for _ in range(60)]
        answers = [caller.answer() for caller in callers]
        self.assertEqual({a.status for a in answers}, {200})
        self.assertEqual(len({a.token for a in answers}), 1)
        self.assertEqual(self.emulator.requests(), 1)

    def test_60_at_once_of_three_credentials_in_two_forms(self):
        self.emulator.fault("latency", ms=300)
        names = ("developer", "channel", "enterprise")
        callers = [(name, text, self.daemon.send("GET", f"/v1/token/{name}", headers=TEXT if text else None))
                   for _ in range(10) for name in names for text in (False, True)]
        tokens = {name: set() for name in names}
        for name, text, caller in callers:
            answer = self.assertStatus(caller.answer(), 200)
            tokens[name].add(answer.text if text else answer.token)
        self.assertEqual([len(tokens[name]) for name in names], [1, 1, 1])
        self.assertEqual(len(set.union(*tokens.values())), 3)
        self.assertEqual(self.emulator.requests(), 3)

    def test_60_subjects_at_once(self):
        callers = [(n, self.daemon.send("GET", f"/v1/token/developer?subject=user-{n}")) for n in range(60)]
        answers = {n: self.assertStatus(caller.answer(), 200).json for n, caller in callers}
        self.assertEqual(len({o["access_token"] for o in answers.values()}), 60)
        for n, o in answers.items():
            self.assertEqual(o["subject"], f"user-{n}")
        self.assertEqual(self.emulator.requests(), 60)

    def test_one_failure_answers_all(self):
        self.emulator.fault("invalid_client")
        callers = [self.daemon.send("GET", "/v1/token/developer") for _ in range(60)]
        self.assertEqual({caller.answer().status for caller in callers}, {502})
        self.assertLess(self.emulator.requests(), 4)


class MinTtl(EndToEnd):
    def test_within(self):
        first = self.daemon.token("developer").token
        for min_ttl in (0, 1, 60, 600):
            self.assertEqual(self.daemon.token("developer", f"?min_ttl={min_ttl}").token, first)
        self.assertEqual(self.emulator.requests(), 1)

    def test_impossible(self):
        """Longer than tokens live: said at once, with nothing asked upstream."""
        for min_ttl in (901, 86400, 10**9, 2**63 - 1):
            with self.subTest(min_ttl=min_ttl):
                answer = self.daemon.get(f"/v1/token/developer?min_ttl={min_ttl}")
                self.assertStatus(answer, 400, "invalid_request")
                self.assertIn("min_ttl", answer.description)
        self.assertEqual(self.emulator.requests(), 0)

    def test_impossible_is_found_out(self):
        """The provider grants less than was asked for: one try, no loop."""
        self.emulator.lifetime(100)
        answer = self.daemon.get("/v1/token/developer?min_ttl=200")
        self.assertStatus(answer, 400, "invalid_request")
        self.assertStatus(self.daemon.get("/v1/token/developer?min_ttl=200"), 400, "invalid_request")
        self.assertLess(self.emulator.requests(), 3)
        self.daemon.token("developer")

    def test_renews(self):
        """A token with too little left makes way for a new one, and is never handed out."""
        self.emulator.lifetime(100)
        first = self.daemon.token("developer").token

        def renewed():
            o = self.daemon.token("developer", "?min_ttl=97").json
            self.assertGreaterEqual(o["expires_in"], 97)
            return o["access_token"] != first

        eventually(renewed, "a token of 100 s is renewed for min_ttl = 97")
        self.assertEqual(self.emulator.requests(), 2)

    def test_default_fits_short_tokens(self):
        self.emulator.lifetime(20)
        o = self.daemon.token("developer").json
        self.assertTrue(10 <= o["expires_in"] <= 20, o)


class Wait(EndToEnd):
    def test_zero(self):
        """Never waits, but what it began goes on."""
        self.emulator.fault("latency", ms=300)
        self.assertStatus(self.daemon.get("/v1/token/developer?wait=0"), 504, "upstream_timeout")
        eventually(lambda: self.daemon.get("/v1/token/developer?wait=0").status == 200, "the token arrives")
        self.assertEqual(self.emulator.requests(), 1)
        self.assertEqual(self.daemon.get("/v1/token/developer?wait=0").status, 200)

    def test_range(self):
        for wait in (0, 1, 30, 120):
            self.assertStatus(self.daemon.get(f"/v1/token/pat?wait={wait}"), 200)
            self.daemon.token("developer", f"?wait={wait}") if wait else None
        for wait in (121, 3600, 2**63 - 1):
            self.assertStatus(self.daemon.get(f"/v1/token/developer?wait={wait}"), 400, "invalid_request")

    def test_everybody_has_a_deadline(self):
        """Those with little patience leave, the others stay and are served."""
        self.emulator.fault("hang", times=1)
        patient = [self.daemon.send("GET", "/v1/token/developer?wait=60") for _ in range(3)]
        hasty = [self.daemon.send("GET", f"/v1/token/developer?wait={wait}") for wait in (0, 1, 2)]
        for caller in hasty:
            self.assertStatus(caller.answer(), 504, "upstream_timeout")
        self.assertFalse(any(caller.is_answered() for caller in patient))
        self.emulator.heal()
        for caller in patient:
            self.assertStatus(caller.answer(), 200)
        self.assertEqual(self.emulator.requests(), 2)

    def test_one_provider_call_holds_up_no_other(self):
        """Nor callers of what is in memory, nor anything else."""
        cached = self.daemon.token("enterprise").token
        self.emulator.fault("hang", times=1)
        held = self.daemon.send("GET", "/v1/token/channel?wait=60")
        eventually(lambda: self.emulator.requests() == 2, "the provider has the call that hangs")
        self.assertEqual(self.daemon.token("developer", "?wait=60").status, 200)
        self.assertEqual(self.daemon.token("enterprise", "?wait=0").token, cached)
        self.assertStatus(self.daemon.get("/healthz"), 200)
        self.assertStatus(self.daemon.get("/v1/credentials"), 200)
        self.assertEqual(self.daemon.view("channel")["state"], "renewing")
        self.assertFalse(held.is_answered())
        self.emulator.heal()
        self.assertStatus(held.answer(), 200)

    def test_caller_goes_away(self):
        """It does not take the call with it: the next one profits."""
        self.emulator.fault("latency", times=1, ms=500)
        caller = self.daemon.send("GET", "/v1/token/developer")
        eventually(lambda: self.emulator.requests() == 1, "the call is made")
        caller.connection.close()
        self.daemon.token("developer")
        self.assertEqual(self.emulator.requests(), 1)


class Rejected(EndToEnd):
    def test_current(self):
        first = self.daemon.token("developer").json
        second = self.daemon.token("developer", f"?rejected={first['fingerprint']}").json
        self.assertNotEqual(second["access_token"], first["access_token"])
        self.assertEqual(self.daemon.token("developer").token, second["access_token"])
        self.assertEqual(self.emulator.requests(), 2)

    def test_of_another_time(self):
        """Somebody else has had it renewed already, or it never was ours."""
        first = self.daemon.token("developer").json
        second = self.daemon.token("developer", f"?rejected={first['fingerprint']}").token
        for old in (first["fingerprint"], "0123456789abcdef"):
            self.assertEqual(self.daemon.token("developer", f"?rejected={old}").token, second)
        self.assertEqual(self.emulator.requests(), 2)

    def test_before_there_was_any(self):
        self.daemon.token("developer", "?rejected=0123456789abcdef")
        self.assertEqual(self.emulator.requests(), 1)

    def test_by_20_at_once(self):
        first = self.daemon.token("developer").json
        self.emulator.fault("latency", ms=300)
        callers = [self.daemon.send("GET", f"/v1/token/developer?rejected={first['fingerprint']}")
                   for _ in range(20)]
        tokens = {self.assertStatus(caller.answer(), 200).token for caller in callers}
        self.assertEqual(len(tokens), 1)
        self.assertNotIn(first["access_token"], tokens)
        self.assertEqual(self.emulator.requests(), 2)

    def test_others_are_served_meanwhile(self):
        """Who has not rejected the token gets it while its successor is on the way."""
        first = self.daemon.token("developer").json
        self.emulator.fault("hang", times=1)
        rejecting = self.daemon.send("GET", f"/v1/token/developer?wait=60&rejected={first['fingerprint']}")
        eventually(lambda: self.daemon.view("developer")["state"] == "renewing", "the renewal is under way")
        self.assertEqual(self.daemon.token("developer", "?wait=0").token, first["access_token"])
        self.assertFalse(rejecting.is_answered())
        self.emulator.heal()
        self.assertNotEqual(self.assertStatus(rejecting.answer(), 200).token, first["access_token"])

    def test_at_most_once_in_5_s(self):
        """Who rejects the successor as well waits for the pause to end, and makes no call before."""
        first = self.daemon.token("developer").json
        begin = time.monotonic()
        second = self.daemon.token("developer", f"?rejected={first['fingerprint']}").json
        again = self.daemon.get(f"/v1/token/developer?wait=0&rejected={second['fingerprint']}")
        self.assertIn(again.status, (503, 504), "a token that was refused is not handed out again")
        self.assertEqual(self.emulator.requests(), 2)
        third = self.daemon.token("developer", f"?rejected={second['fingerprint']}").json
        self.assertGreaterEqual(time.monotonic() - begin, 5)
        self.assertEqual(len({o["access_token"] for o in (first, second, third)}), 3)
        self.assertEqual(self.emulator.requests(), 3)

    def test_of_a_subject(self):
        """Subjects have tokens of their own."""
        mine = self.daemon.token("developer").token
        hers = self.daemon.token("developer", "?subject=her").json
        new = self.daemon.token("developer", f"?subject=her&rejected={hers['fingerprint']}").token
        self.assertNotEqual(new, hers["access_token"])
        self.assertEqual(self.daemon.token("developer").token, mine)
        self.assertEqual(self.daemon.token("developer", f"?rejected={hers['fingerprint']}").token, mine)


if __name__ == "__main__":
    main()
