"""Grants of people, from the first click to the end: authorization code, PKCE and device code, each plain and
for collaboration. The test is the browser, the web application that owns the redirect, and the person."""

import re
import signal
import subprocess
import time
import urllib.parse

from harness import BEARERCTL, ENVIRONMENT, LIMIT_S, NEEDS_ROOT, EndToEnd, Waiting, as_user, eventually, main

REDIRECT = "https://app.example/callback"  # nobody listens there
MONTH_S = 30 * 86400
APPLICATIONS = {"site": "web", "app": "pkce", "tv": "device"}
WORKSPACE = "7361982345678901234"


class Grants(EndToEnd):
    """Six credentials: site, app and tv; site-team, app-team and tv-team for collaboration."""

    spent = 0  # refresh tokens that had to be presented again, after an answer that was lost

    def sections(self):
        text = ""
        for name, application in APPLICATIONS.items():
            common = f"provider = coze-test\nconfig_file = {self.emulator.console_file(application)}\n"
            if name != "tv":
                common += f"redirect_uri = {REDIRECT}\n"
            text += f"[credential {name}]\n{common}\n[credential {name}-team]\n{common}workspace_id = {WORKSPACE}\n\n"
        return text

    def start(self):
        for application in ("web", "pkce"):
            self.emulator.control("POST", "app", client_id=self.emulator.console(application)["client_id"],
                                  redirect_uris=[REDIRECT])
        self.emulator.control("POST", "consent", mode="approve")
        self.daemon.start()

    def check_wire(self):
        state = self.emulator.state()
        self.assertEqual([v["what"] for v in state["violations"]], ["spent refresh token presented"] * self.spent)
        self.assertEqual(state["spent_presented"], self.spent)

    # What people and applications do

    def begin(self, credential, subject=""):
        answer = self.daemon.post(f"/v1/credentials/{credential}/authorizations", {"subject": subject})
        self.assertStatus(answer, 201)
        self.assertEqual((answer.json["credential"], answer.json["subject"], answer.json["state"]),
                         (credential, subject, "pending"))
        return answer.json

    def come_back(self, url):
        return self.daemon.post("/v1/callback", {"url": url})

    def login(self, credential, subject=""):
        """By browser."""
        begun = self.begin(credential, subject)
        done = self.come_back(self.emulator.browse(begun["authorization_url"]))
        self.assertStatus(done, 200)
        self.assertEqual(done.json["state"], "succeeded", done)
        return begun

    def decide(self, begun, action):
        """In front of the device's page."""
        self.emulator.control("POST", "device", user_code=begun["user_code"], action=action)

    def watch(self, begun, wait=60) -> Waiting:
        return self.daemon.send("GET", f"/v1/authorizations/{begun['id']}?wait={wait}")

    def look(self, begun):
        return self.assertStatus(self.daemon.get(f"/v1/authorizations/{begun['id']}"), 200).json

    def ask(self, credential, subject="", **query):
        query = urllib.parse.urlencode({"subject": subject, **query})
        return self.daemon.get(f"/v1/token/{credential}?{query}")

    def token(self, credential, subject="", **query):
        """A token, which the API takes."""
        answer = self.assertStatus(self.ask(credential, subject, **query), 200)
        self.assertTrue(self.emulator.accepts(answer.token), "the token is not good")
        return answer.json

    def assertUnauthorized(self, credential, subject=""):
        answer = self.assertStatus(self.ask(credential, subject), 409, "authorization_required")
        self.assertIn(f"bearerctl login {credential}", answer.description)
        return answer

    def refreshes(self):
        return self.emulator.state()["requests"]["refresh"]


class Browser(Grants):
    VARIANTS = ("site", "site-team", "app", "app-team")

    def test_whole_life(self):
        """Of several people, through restarts, to the logout."""
        for credential in self.VARIANTS:
            with self.subTest(credential):
                self.assertUnauthorized(credential, "alice")
                for subject in ("", "alice", "bob"):
                    self.login(credential, subject)
                    members = {"grant_type", "client_id", "redirect_uri", "code"}
                    members |= {"code_verifier"} if credential.startswith("app") else set()
                    self.assertEqual(set(self.emulator.last()["body"]), members)
                first = {subject: self.token(credential, subject) for subject in ("", "alice", "bob")}
                self.assertEqual(len({o["access_token"] for o in first.values()}), 3)
                for _ in range(2):
                    self.daemon.restart()
                    for subject, before in first.items():
                        now = self.token(credential, subject)
                        self.assertNotEqual(now["access_token"], before["access_token"])
                        self.assertEqual((now["credential"], now["subject"]), (credential, subject))
                self.assertStatus(self.daemon.ask("DELETE", f"/v1/credentials/{credential}/grant?subject=alice"), 204)
                self.assertUnauthorized(credential, "alice")
                self.token(credential, "bob")
        self.assertEqual(self.refreshes(), 2 * 3 * len(self.VARIANTS))

    def test_url(self):
        for credential in self.VARIANTS:
            begun = self.begin(credential)
            url = urllib.parse.urlsplit(begun["authorization_url"])
            query = urllib.parse.parse_qs(url.query, strict_parsing=True)
            self.assertEqual(f"/workspace_id/{WORKSPACE}/" in url.path, credential.endswith("-team"))
            self.assertGreaterEqual(len(query["state"][0]), 43)  # 256 bits, however they are written
            self.assertEqual("code_challenge" in query, credential.startswith("app"))
            self.assertEqual(query["redirect_uri"], [REDIRECT])
            self.assertEqual(begun["redirect_uri"], REDIRECT)
            self.assertTrue(0 < begun["expires_at"] - time.time() < 3600)

    def test_code_and_state(self):
        """The other form of the callback."""
        back = urllib.parse.urlsplit(self.emulator.browse(self.begin("app")["authorization_url"]))
        members = dict(urllib.parse.parse_qsl(back.query))
        self.assertEqual(self.daemon.post("/v1/callback", members).json["state"], "succeeded")
        self.token("app")

    def test_state_is_used_once(self):
        begun = self.begin("site", "alice")
        back = self.emulator.browse(begun["authorization_url"])
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["state"][0]
        for wrong in (state[:-1], state + "0", state.swapcase(), "", "0" * len(state)):
            answer = self.come_back(f"{REDIRECT}?code=code_wrong&state={wrong}")
            self.assertIn(answer.status, (400, 404), wrong)
        self.assertEqual(self.look(begun)["state"], "pending")
        self.assertEqual(self.come_back(back).json["state"], "succeeded")
        self.assertStatus(self.come_back(back), 404, "not_found")
        self.assertEqual(self.look(begun)["state"], "succeeded")
        self.token("site", "alice")

    def test_bad_callbacks(self):
        for body in ({}, {"url": ""}, {"url": REDIRECT}, {"url": f"{REDIRECT}?state=x"}, {"code": "x"}, {"state": "x"},
                     {"url": f"{REDIRECT}?code=x&state=y", "code": "x", "state": "y"}, {"url": 1},
                     {"code": 1, "state": 2},
                     {"code": "x", "state": "y", "more": 1}, {"url": f"{REDIRECT}?code=x&code=y&state=z"}):
            self.assertStatus(self.daemon.post("/v1/callback", body), 400, "invalid_request")

    def test_denied(self):
        begun = self.begin("site", "alice")
        watch = self.watch(begun)
        self.emulator.control("POST", "consent", mode="deny")
        answer = self.come_back(self.emulator.browse(begun["authorization_url"]))
        self.assertEqual(answer.json["state"], "denied")
        self.assertIn("refused", answer.json["reason"])
        self.assertEqual(watch.answer().json["state"], "denied")
        self.assertUnauthorized("site", "alice")
        self.emulator.control("POST", "consent", mode="approve")
        self.login("site", "alice")
        self.token("site", "alice")

    def test_cancelled(self):
        begun = self.begin("app", "alice")
        back = self.emulator.browse(begun["authorization_url"])
        watch = self.watch(begun)
        self.assertEqual(self.daemon.ask("DELETE", f"/v1/authorizations/{begun['id']}").json["state"], "cancelled")
        self.assertEqual(watch.answer().json["state"], "cancelled")
        self.assertStatus(self.come_back(back), 404)
        self.assertEqual(self.daemon.ask("DELETE", f"/v1/authorizations/{begun['id']}").json["state"], "cancelled")
        self.assertUnauthorized("app", "alice")

    def test_later_one_wins(self):
        """The earlier one is told; another subject's is left alone."""
        earlier, other = self.begin("site", "alice"), self.begin("site", "bob")
        watch = self.watch(earlier)
        back = self.emulator.browse(earlier["authorization_url"])
        later = self.begin("site", "alice")
        told = watch.answer().json
        self.assertEqual(told["state"], "cancelled")
        self.assertIn("later authorization", told["reason"])
        self.assertStatus(self.come_back(back), 404)
        for begun in (later, other):
            back = self.emulator.browse(begun["authorization_url"])
            self.assertEqual(self.come_back(back).json["state"], "succeeded")
        self.token("site", "alice")
        self.token("site", "bob")

    def test_again(self):
        """A person who authorizes again has one grant, the new one."""
        self.login("site", "alice")
        before = self.token("site", "alice")
        self.login("site", "alice")
        self.assertNotEqual(self.token("site", "alice")["access_token"], before["access_token"])
        self.daemon.restart()
        self.token("site", "alice")
        page = self.daemon.get("/v1/credentials/site/subjects").json
        self.assertEqual([o["subject"] for o in page["subjects"]], ["alice"])

    def test_nobody_comes(self):
        begun = self.begin("site")
        self.assertEqual(self.watch(begun, wait=1).answer().json["state"], "pending")
        self.daemon.restart()
        self.assertStatus(self.daemon.get(f"/v1/authorizations/{begun['id']}"), 404, "not_found")

    def test_code_is_refused(self):
        for fault, words in (("invalid_client", "kid"), ("internal_error", "internal"), ("html502", "502"),
                             ("empty200", ""), ("no_refresh_token", "refresh token")):
            with self.subTest(fault):
                self.emulator.heal()
                self.emulator.fault(fault)
                begun = self.begin("site", "alice")
                done = self.come_back(self.emulator.browse(begun["authorization_url"])).json
                self.assertEqual(done["state"], "failed")
                self.assertIn(words, done["reason"])
                self.assertUnauthorized("site", "alice")
        self.emulator.heal()
        self.login("site", "alice")
        self.token("site", "alice")

    def test_code_brings_no_access_token(self):
        """A refresh token is all that a grant is made of."""
        self.emulator.fault("no_access_token")
        begun = self.begin("site", "alice")
        done = self.come_back(self.emulator.browse(begun["authorization_url"])).json
        self.assertEqual(done["state"], "succeeded")
        self.emulator.heal()
        eventually(lambda: self.ask("site", "alice").status == 200, "the grant is used after its pause")
        self.assertEqual(self.refreshes(), 1)

    def test_pending_are_listed(self):
        begun = [self.begin("site", "alice"), self.begin("app", "bob")]
        listed = self.daemon.get("/v1/authorizations").json["authorizations"]
        self.assertEqual([o["id"] for o in listed], [o["id"] for o in begun])

    def test_needs_nobody(self):
        for credential in ("pat", "developer"):
            answer = self.daemon.post(f"/v1/credentials/{credential}/authorizations", {})
            self.assertStatus(answer, 400, "invalid_request")


class Device(Grants):
    """Polls come every 5 s at most, so what can happens side by side."""

    def test_all_ends(self):
        people = {"alice": "approve", "bob": "deny", "carol": "expire", "dave": "cancel"}
        ends = {"approve": "succeeded", "deny": "denied", "expire": "expired", "cancel": "cancelled"}
        begun = {(c, s): self.begin(c, s) for c in ("tv", "tv-team") for s in people}
        watches = {key: self.watch(o) for key, o in begun.items()}
        for (_, subject), o in begun.items():
            self.assertIn(o["user_code"], o["verification_uri_complete"])
            self.assertTrue(o["verification_uri_complete"].startswith(o["verification_uri"]))
            self.assertEqual(o["interval"], 5)
            self.assertTrue(0 < o["expires_at"] - time.time() <= 300)
            if people[subject] == "cancel":
                self.daemon.ask("DELETE", f"/v1/authorizations/{o['id']}")
            else:
                self.decide(o, people[subject])
        for (credential, subject), watch in watches.items():
            done = watch.answer().json
            self.assertEqual(done["state"], ends[people[subject]], done)
            self.assertNotIn("user_code", done)
            if done["state"] != "succeeded":
                self.assertTrue(done["reason"])
                self.assertUnauthorized(credential, subject)
        for _ in range(3):
            for credential in ("tv", "tv-team"):
                self.token(credential, "alice")
            self.daemon.restart()
        self.assertEqual(self.refreshes(), 4)
        self.assertStatus(self.daemon.ask("DELETE", "/v1/credentials/tv/grant?subject=alice"), 204)
        self.assertUnauthorized("tv", "alice")

    def test_polls(self):
        """Pending in each spelling, slow_down, trouble of a gateway: the person has the time that was promised."""
        begun = self.begin("tv")
        watch = self.watch(begun)
        self.emulator.fault("rfc_error", times=1, error="slow_down")
        eventually(lambda: self.look(begun)["interval"] == 10, "it slows down by 5 s")
        self.emulator.fault("html502", times=1)
        polls = self.emulator.state()["requests"]["device_poll"]
        self.decide(begun, "approve")
        eventually(lambda: self.emulator.state()["requests"]["device_poll"] > polls, "it asks again")
        self.assertEqual(watch.answer().json["state"], "succeeded")
        self.token("tv")

    def test_styles(self):
        for style in "bc":  # a is what it does by itself
            self.emulator.fault("device_style", style=style)
            begun = self.begin("tv", style)
            polls = self.emulator.state()["requests"]["device_poll"]
            eventually(lambda: self.emulator.state()["requests"]["device_poll"] > polls, "it asks")
            self.assertEqual(self.look(begun)["state"], "pending")
            self.daemon.ask("DELETE", f"/v1/authorizations/{begun['id']}")
            self.emulator.heal()

    def test_runs_out(self):
        """Nobody enters it."""
        self.emulator.control("POST", "lifetime", device=2)
        try:
            done = self.watch(self.begin("tv")).answer().json
        finally:
            self.emulator.control("POST", "lifetime", device=0)
        self.assertEqual(done["state"], "expired")
        self.assertIn("start again", done["reason"])

    def test_forms_of_the_start(self):
        for fault in ("string_user_code", "number_user_code", "absolute_device_expires_in", "extra_members"):
            self.emulator.fault(fault, endpoint="device")
            begun = self.begin("tv")
            self.assertRegex(begun["user_code"], r"^[A-Z0-9-]{8,11}$")
            self.assertTrue(200 < begun["expires_at"] - time.time() <= 301, fault)
            self.emulator.heal()

    def test_start_fails(self):
        for fault, status in (("html502", 503), ("internal_error", 503), ("invalid_client", 502), ("drop_before", 503)):
            self.emulator.fault(fault, endpoint="device")
            answer = self.daemon.post("/v1/credentials/tv/authorizations", {})
            self.assertEqual(answer.status, status, f"{fault}: {answer}")
            self.emulator.heal()
            self.begin("tv")


class Renewal(Grants):
    def test_in_time(self):
        """Used, it is renewed before it ends; through restarts; each refresh token once."""
        self.emulator.lifetime(4)
        self.login("site", "alice")
        self.login("app", "bob")
        seen = set()

        def thrice():
            for credential, subject in (("site", "alice"), ("app", "bob")):
                seen.add(self.assertStatus(self.ask(credential, subject, min_ttl=0), 200).json["fingerprint"])
            return len(seen) >= 6

        eventually(thrice, "both are renewed time and again")
        self.daemon.restart()
        eventually(lambda: thrice() and len(seen) >= 10, "and after a restart")

    def test_rejected(self):
        self.login("site", "alice")
        first = self.token("site", "alice")
        second = self.token("site", "alice", rejected=first["fingerprint"])
        self.assertNotEqual(first["fingerprint"], second["fingerprint"])
        third = self.token("site", "alice", rejected=first["fingerprint"])
        self.assertEqual(third["fingerprint"], second["fingerprint"])
        self.assertEqual(self.refreshes(), 1)

    def test_one_refresh_for_all(self):
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("latency", ms=200)
        callers = [self.daemon.send("GET", "/v1/token/site?subject=alice") for _ in range(20)]
        self.assertEqual(len({self.assertStatus(caller.answer(), 200).token for caller in callers}), 1)
        self.assertEqual(self.refreshes(), 1)

    def test_many_subjects_at_once(self):
        subjects = [f"user-{i}" for i in range(30)]
        for subject in subjects:
            self.login("app", subject)
        for _ in range(3):
            self.daemon.restart()
            callers = [self.daemon.send("GET", f"/v1/token/app?subject={s}") for s in subjects]
            self.assertEqual(len({self.assertStatus(c.answer(), 200).token for c in callers}), len(subjects))
        self.assertEqual(self.refreshes(), 3 * len(subjects))

    def stop_in_the_middle(self, end):
        """While a refresh is with the provider, which takes its time."""
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("latency", times=1, ms=500)
        caller = self.daemon.send("GET", "/v1/token/site?subject=alice")
        eventually(lambda: self.refreshes() == 1, "the refresh is under way")
        end()
        return caller

    def test_end_waits_for_the_answer(self):
        """SIGTERM during a refresh: the successor is kept, and who waits for it gets its token."""
        caller = self.stop_in_the_middle(lambda: self.daemon.process.send_signal(signal.SIGTERM))
        self.assertStatus(caller.answer(), 200)
        self.assertEqual(self.daemon.process.wait(LIMIT_S), 0)
        self.daemon.start()
        self.assertNotIn("event=in_doubt", self.daemon.log)
        self.token("site", "alice")
        self.assertEqual(self.refreshes(), 2)

    def test_killed_while_asking(self):
        """The provider has never carried it out: the same refresh token is still good, and tried at once."""
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("hang")
        caller = self.daemon.send("GET", "/v1/token/site?subject=alice")
        eventually(lambda: self.refreshes() == 1, "the refresh is under way")
        self.daemon.kill()
        caller.connection.close()
        self.emulator.heal()
        self.daemon.start()
        self.assertIn("event=in_doubt", self.daemon.log)
        eventually(lambda: self.refreshes() == 2, "it is tried before anybody asks")
        self.token("site", "alice")
        self.assertEqual(self.refreshes(), 2)

    def test_killed_when_idle(self):
        self.login("site", "alice")
        for _ in range(5):
            self.daemon.kill()
            self.daemon.start()
            self.token("site", "alice")
        self.assertNotIn("event=in_doubt", self.daemon.log)

    def test_refresh_token_that_stays(self):
        """A provider that does not rotate, and says so, or says nothing."""
        self.login("site", "alice")
        self.emulator.fault("same_refresh_token")
        for _ in range(2):
            self.daemon.restart()
            self.token("site", "alice")
        self.emulator.fault("no_refresh_token")
        for _ in range(3):
            self.daemon.restart()
            self.token("site", "alice")
        self.emulator.heal()
        self.daemon.restart()
        self.token("site", "alice")


class Trouble(Grants):
    # fault, parameters, what a caller is told meanwhile
    ROWS = (
        ("html502", {}, {503}), ("html200", {}, {502, 503}), ("empty200", {}, {502, 503}),
        ("rate_limit", {"retry_after": 30}, {503}), ("internal_error", {}, {503}), ("deactivated", {}, {502}),
        ("invalid_client", {}, {502}), ("numeric_code_200", {}, {502, 503}), ("error_object", {}, {502}),
        ("rfc_error", {"error": "invalid_request"}, {502}), ("redirect_loop", {}, {502, 503}),
        ("drop_before", {}, {503, 504}), ("status", {"status": 403, "body": "a firewall"}, {502, 503}),
        ("hang", {}, {504}),
    )

    def test_nothing_ends_a_grant_but_its_refusal(self):
        self.login("site", "alice")
        for fault, parameters, statuses in self.ROWS:
            with self.subTest(fault):
                self.daemon.restart()
                self.emulator.fault(fault, **parameters)
                # long enough for the retries a caller is kept through, however busy the machine is
                answer = self.ask("site", "alice", wait=1 if fault == "hang" else 20)
                self.assertIn(answer.status, statuses, answer)
                self.emulator.heal()
                self.daemon.restart()
                self.token("site", "alice")
        self.assertEqual(self.emulator.state()["requests"]["authorization_code"], 1)

    def test_still_good_meanwhile(self):
        """A token that has not ended is handed out while its renewal fails."""
        self.emulator.lifetime(10)
        self.login("site", "alice")
        first = self.token("site", "alice", min_ttl=0)
        self.emulator.fault("html502")
        eventually(lambda: self.daemon.view("site")["state"] == "failing", "the renewal fails")
        self.assertEqual(self.token("site", "alice", min_ttl=0)["fingerprint"], first["fingerprint"])
        self.emulator.heal()

    def refuse(self):
        """The grant is over, said once, and not asked about again."""
        self.assertUnauthorized("site", "alice")
        self.assertEqual(self.daemon.log.count("event=authorization_required"), 1)
        asked = self.emulator.requests()
        self.assertUnauthorized("site", "alice")
        self.daemon.restart()
        self.assertUnauthorized("site", "alice")
        self.assertEqual(self.emulator.requests(), asked)
        self.emulator.heal()
        self.token("site", "bob")
        self.login("site", "alice")
        self.token("site", "alice")

    def both_logged_in(self):
        for subject in ("alice", "bob"):
            self.login("site", subject)
        self.daemon.restart()

    def test_refused(self):
        self.both_logged_in()
        self.emulator.fault("invalid_grant")
        self.refuse()
        self.assertNotIn("event=lost_in_rotation", self.daemon.log)

    def test_answer_lost(self):
        """Carried out, but the answer is cut off: one retry, which tells. Nobody else's grant is touched."""
        self.both_logged_in()
        self.emulator.fault("reuse_revokes_all")
        self.emulator.fault("drop_after_commit", times=1)
        self.spent = 1
        self.refuse()
        self.assertEqual(self.daemon.log.count("event=lost_in_rotation"), 1)

    def test_answer_cut_short(self):
        for fault in ("truncated", "truncated_length"):
            with self.subTest(fault):
                self.login("site", fault)
                self.daemon.restart()
                self.emulator.fault(fault, times=1)
                self.spent += 1

                def is_over():
                    return self.ask("site", fault).status == 409

                eventually(is_over, "the retry tells")
                self.assertEqual(self.daemon.log.count("event=lost_in_rotation"), self.spent)

    def test_connection_lost_before(self):
        """Not carried out: the one retry succeeds, and the caller sees nothing of it."""
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("drop_before", times=1)
        self.token("site", "alice")
        self.assertEqual(self.refreshes(), 2)


class Books(Grants):
    # in the order of their bytes; the last one has as many as there may be
    SUBJECTS = ("", " ", "%41", "A", "B&C=D", "a'b\"c", "alice", "bob@example.com", "名字", "😀", "ÿ" * 128)

    def test_pages(self):
        for subject in self.SUBJECTS:
            self.login("site", subject)
        self.login("app", "somebody else")
        expected = sorted(self.SUBJECTS, key=str.encode)
        self.daemon.restart()
        for limit in (1, 3, len(expected), 1000):
            self.assertEqual(self.pages(limit), expected)
        for subject in expected:
            self.assertEqual(self.token("site", subject)["subject"], subject)
        self.assertEqual(self.pages(100), expected)

    def pages(self, limit):
        """All subjects, page by page."""
        found, after = [], None
        while True:
            query = {"limit": limit, **({} if after is None else {"after": after})}
            page = self.daemon.get(f"/v1/credentials/site/subjects?{urllib.parse.urlencode(query)}")
            rows = self.assertStatus(page, 200).json["subjects"]
            self.assertLessEqual(len(rows), limit)
            for row in rows:
                self.assertTrue(MONTH_S - 60 < row["grant_expires_at"] - time.time() <= MONTH_S + 1, row)
                self.assertIn(row["state"], ("ready", "idle"))
            found += [row["subject"] for row in rows]
            self.assertLessEqual(len(found), len(self.SUBJECTS), "the pages never end")
            if "next" not in page.json:
                return found
            after = page.json["next"]

    def test_bad_pages(self):
        for query in ("limit=0", "limit=1001", "limit=x", "limit=-1", "after=%00", f"after={'x' * 257}", "more=1"):
            answer = self.daemon.get(f"/v1/credentials/site/subjects?{query}")
            self.assertStatus(answer, 400, "invalid_request")

    @NEEDS_ROOT
    def test_pages_are_for_admins(self):
        answer = as_user(65534 - 1, lambda: self.daemon.get("/v1/credentials/site/subjects"))
        self.assertStatus(answer, 403, "access_denied")

    def test_view(self):
        view = self.daemon.view("site")
        self.assertEqual((view["state"], view["subjects"]), ("authorization_required", 0))
        self.login("site", "alice")
        view = self.daemon.view("site")
        self.assertEqual((view["state"], view["subjects"]), ("ready", 1))
        self.assertNotIn("grant_expires_at", view)
        self.login("site")
        view = self.daemon.view("site")
        self.assertEqual(view["subjects"], 1)
        self.assertTrue(MONTH_S - 60 < view["grant_expires_at"] - time.time() <= MONTH_S + 1)
        self.daemon.restart()
        self.assertEqual(self.daemon.view("site")["state"], "idle")
        self.assertIn("grant_expires_at", self.daemon.view("site"))

    def test_logout(self):
        for subject in ("", "alice", "bob"):
            self.login("site", subject)
        for query, subject in (("", ""), ("?subject=alice", "alice")):
            path = f"/v1/credentials/site/grant{query}"
            self.assertStatus(self.daemon.ask("DELETE", path), 204)
            self.assertUnauthorized("site", subject)
            self.assertStatus(self.daemon.ask("DELETE", path), 404, "not_found")
        self.daemon.restart()
        self.assertUnauthorized("site", "alice")
        self.token("site", "bob")
        self.assertEqual(self.pages(10), ["bob"])

    def test_logout_during_a_refresh(self):
        """Whoever waits is told, and the answer that comes later brings nothing back."""
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("latency", times=1, ms=500)
        caller = self.daemon.send("GET", "/v1/token/site?subject=alice")
        eventually(lambda: self.refreshes() == 1, "the refresh is under way")
        self.assertStatus(self.daemon.ask("DELETE", "/v1/credentials/site/grant?subject=alice"), 204)
        self.assertStatus(caller.answer(), 409, "authorization_required")
        self.assertUnauthorized("site", "alice")
        self.daemon.restart()
        self.assertUnauthorized("site", "alice")

    def test_login_during_a_refresh(self):
        """The new grant counts, whatever comes of the old one."""
        self.login("site", "alice")
        self.daemon.restart()
        self.emulator.fault("hang", times=1)
        caller = self.daemon.send("GET", "/v1/token/site?subject=alice")
        eventually(lambda: self.refreshes() == 1, "the refresh is under way")
        self.login("site", "alice")
        self.assertStatus(caller.answer(), 200)
        self.emulator.heal()
        self.daemon.restart()
        self.token("site", "alice")


class CommandLine(Grants):
    def start_login(self, *arguments):
        """A login that waits; what it says goes to a file."""
        output = self.directory / "login.log"
        with open(output, "wb") as f:
            process = subprocess.Popen([BEARERCTL, "login", "--no-browser", *arguments], stdin=subprocess.DEVNULL,
                                       stdout=f, stderr=f, env={**ENVIRONMENT, "BEARERD_SOCKET": self.daemon.socket})
        self.addCleanup(process.kill)
        return process, output

    def test_browser(self):
        process, output = self.start_login("app", "--subject", "alice")
        url = eventually(lambda: re.search(r"https://\S+authorize\S+", output.read_text()), "it shows the address")[0]
        self.assertEqual(self.come_back(self.emulator.browse(url)).json["state"], "succeeded")
        self.assertEqual(process.wait(LIMIT_S), 0, output.read_text())
        done = self.bearerctl("get", "app", "--subject", "alice")
        self.assertEqual(done.returncode, 0, done)
        self.assertTrue(self.emulator.accepts(done.stdout.strip()))
        self.assertEqual(self.bearerctl("logout", "app", "--subject", "alice").returncode, 0)
        self.assertEqual(self.bearerctl("get", "app", "--subject", "alice").returncode, 5)

    def test_device(self):
        process, output = self.start_login("tv")
        code = eventually(lambda: re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", output.read_text()), "it shows the code")[0]
        self.emulator.control("POST", "device", user_code=code, action="approve")
        self.assertEqual(process.wait(LIMIT_S), 0, output.read_text())
        self.token("tv")

    def test_denied(self):
        self.emulator.control("POST", "consent", mode="deny")
        process, output = self.start_login("site")
        url = eventually(lambda: re.search(r"https://\S+authorize\S+", output.read_text()), "it shows the address")[0]
        self.come_back(self.emulator.browse(url))
        self.assertNotEqual(process.wait(LIMIT_S), 0)
        self.assertIn("refused", output.read_text())

    def test_interrupted(self):
        process, output = self.start_login("site")
        eventually(lambda: "authorize" in output.read_text(), "it shows the address")
        process.send_signal(signal.SIGINT)
        self.assertNotEqual(process.wait(LIMIT_S), 0)
        states = [o["state"] for o in self.daemon.get("/v1/authorizations").json["authorizations"]]
        self.assertEqual(states, ["cancelled"])


if __name__ == "__main__":
    main()
