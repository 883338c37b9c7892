"""Types pat and sat: tokens that a person made, from a file or set at run time."""

import json
import os
import time

from harness import EndToEnd, eventually, fingerprint, main, new_token

FAR_S = 20 * 86400  # too far away to be warned of
NEAR_S = 3 * 86400


class Static(EndToEnd):
    """Nothing here concerns the provider."""

    def sections(self):
        return "[credential spare]\nprovider = coze-test\ntype = pat\n"

    def tearDown(self):
        self.assertEqual(self.emulator.requests(), 0)
        super().tearDown()


class FromFile(Static):
    def test_handed_out(self):
        for name in ("pat", "sat"):
            token = self.emulator.static_token(name)
            o = self.daemon.token(name).json
            self.assertEqual({*o}, {"access_token", "token_type", "credential", "subject", "fingerprint"},
                             "no expires_in, no expires_at: it is not known to end")
            self.assertEqual((o["access_token"], o["token_type"]), (token, "Bearer"))
            self.assertEqual(o["fingerprint"], fingerprint(token))
            text = self.daemon.get(f"/v1/token/{name}", {"Accept": "text/plain"})
            self.assertEqual(text.text, token)
            self.assertNotIn("bearer-expires-at", text.headers)
            self.assertNotIn("bearer-expires-in", text.headers)
            self.assertEqual(text.headers["bearer-fingerprint"], o["fingerprint"])
            view = self.daemon.view(name)
            self.assertEqual((view["state"], view["fingerprint"]), ("ready", o["fingerprint"]))
            self.assertNotIn("expires_at", view)

    def test_any_min_ttl(self):
        """A token that never ends is good for as long as anybody asks."""
        self.assertStatus(self.daemon.get(f"/v1/token/pat?min_ttl={10**9}"), 200)

    def test_rejected(self):
        """It cannot be renewed: a new one is needed, and the answer says how."""
        token = self.emulator.static_token("pat")
        answer = self.daemon.get(f"/v1/token/pat?rejected={fingerprint(token)}")
        self.assertStatus(answer, 409, "authorization_required")
        self.assertIn("bearerctl set pat", answer.description)
        self.assertStatus(self.daemon.get("/v1/token/pat?rejected=0123456789abcdef"), 200)

    def test_replaced_at_run_time(self):
        new = new_token()
        self.assertStatus(self.daemon.set("pat", new), 200)
        self.assertEqual(self.daemon.token("pat").token, new)
        self.daemon.restart()
        self.assertEqual(self.daemon.token("pat").token, new, "what was set last counts")

    def test_file_written_after_that(self):
        """An operator who rewrites token_file and restarts means it."""
        file = self.directory / "token"
        newer, first = new_token(), new_token()
        file.write_text(first + "\n")
        file.chmod(0o600)
        self.daemon.secrets |= {newer, first}
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace(
            "[credential spare]\n", f"[credential spare]\ntoken_file = {file}\n"))
        self.daemon.restart()
        self.assertEqual(self.daemon.token("spare").token, first)
        self.assertStatus(self.daemon.set("spare", new_token()), 200)
        file.write_text(newer + "\n")
        os.utime(file, (time.time() + 60, time.time() + 60))
        self.daemon.restart()
        self.assertEqual(self.daemon.token("spare").token, newer)


class Set(Static):
    def test_not_yet(self):
        answer = self.daemon.get("/v1/token/spare")
        self.assertStatus(answer, 409, "authorization_required")
        self.assertIn("bearerctl set spare", answer.description)
        self.assertEqual(self.daemon.view("spare")["state"], "authorization_required")

    def test_set(self):
        token = new_token()
        answer = self.assertStatus(self.daemon.set("spare", token), 200)
        self.assertNotIn(token, answer.text)
        self.assertEqual(self.daemon.token("spare").token, token)
        self.assertEqual(self.daemon.view("spare")["state"], "ready")

    def test_survives(self):
        """A restart, and being killed the moment it was set."""
        token, other = new_token(), new_token()
        self.daemon.set("spare", token, expires_at=int(time.time()) + FAR_S)
        self.daemon.restart()
        o = self.daemon.token("spare").json
        self.assertEqual(o["access_token"], token)
        self.assertTrue(FAR_S - 600 < o["expires_in"] <= FAR_S, o)
        self.assertStatus(self.daemon.set("spare", other), 200)
        self.daemon.kill()
        self.daemon.start()
        o = self.daemon.token("spare").json
        self.assertEqual(o["access_token"], other)
        self.assertNotIn("expires_at", o, "what belonged to the former token is gone with it")

    def test_at_once(self):
        """Whoever asks after the answer gets the new token, however many set one at the same time."""
        tokens = [new_token() for _ in range(20)]
        self.daemon.secrets.update(tokens)
        callers = [self.daemon.send("PUT", "/v1/credentials/spare/secret", {"token": token}) for token in tokens]
        for caller in callers:
            self.assertStatus(caller.answer(), 200)
        last = self.daemon.token("spare").token
        self.assertIn(last, tokens)
        self.daemon.restart()
        self.assertEqual(self.daemon.token("spare").token, last)

    def test_long(self):
        token = new_token() + "x" * 4000
        self.assertStatus(self.daemon.set("spare", token), 200)
        self.assertEqual(self.daemon.token("spare").token, token)

    def test_bad_bodies_change_nothing(self):
        token, bad = new_token(), new_token()
        self.daemon.set("spare", token)
        self.daemon.secrets.add(bad)
        now = int(time.time())
        rows = [{}, {"token": ""}, {"token": None}, {"token": 1}, {"token": [bad]}, {"token": {"a": bad}},
                {"token": bad + " x"}, {"token": " " + bad}, {"token": bad + "\n"}, {"token": bad + "\0"},
                {"token": bad + "é"}, {"token": bad + "\x7f"}, {"token": "x" * 60000}, {"access_token": bad},
                {"token": bad, "extra": 1}, {"token": bad, "expires_at": "soon"},
                {"token": bad, "expires_at": now + 1000.5}, {"token": bad, "expires_at": str(now + 1000)},
                {"token": bad, "expires_at": now - 1}, {"token": bad, "expires_at": 0},
                {"token": bad, "expires_at": -1}, {"token": bad, "expires_at": 10**30},
                {"token": bad, "expires_at": True}, [bad], bad, None, 7]
        for row in rows:
            with self.subTest(row=row):
                answer = self.daemon.put("/v1/credentials/spare/secret", json.dumps(row),
                                         {"Content-Type": "application/json"})
                self.assertNotIn(bad, answer.text)
                kept = self.daemon.token("spare").token
                if kept != token:
                    self.daemon.set("spare", token)  # so that the next row is judged by itself
                self.assertStatus(answer, 400, "invalid_request")
                self.assertEqual(kept, token)
        self.daemon.restart()
        self.assertEqual(self.daemon.token("spare").token, token)

    def test_duplicate_member(self):
        """Which of the two was meant? Nobody knows."""
        token, one, two = new_token(), new_token(), new_token()
        self.daemon.set("spare", token)
        self.daemon.secrets |= {one, two}
        body = f'{{"token": "{one}", "token": "{two}"}}'
        answer = self.daemon.put("/v1/credentials/spare/secret", body, {"Content-Type": "application/json"})
        self.assertStatus(answer, 400, "invalid_request")
        self.assertEqual(self.daemon.token("spare").token, token)

    def test_of_another_type(self):
        for name in ("developer", "web"):
            self.assertStatus(self.daemon.set(name, new_token()), 400, "invalid_request")
        self.assertStatus(self.daemon.set("nobody", new_token()), 404, "not_found")


class Ends(Static):
    def test_known_end(self):
        end = int(time.time()) + 1000
        self.daemon.set("spare", new_token(), expires_at=end)
        o = self.daemon.token("spare").json
        self.assertEqual(o["expires_at"], end)
        self.assertTrue(900 < o["expires_in"] <= 1000, o)
        self.assertEqual(self.daemon.view("spare")["expires_at"], end)
        self.assertEqual(self.daemon.get("/v1/token/spare", {"Accept": "text/plain"}).headers["bearer-expires-at"],
                         str(end))

    def test_too_short_for_min_ttl(self):
        """Nothing longer will come by itself."""
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 1000)
        answer = self.daemon.get("/v1/token/spare?min_ttl=2000")
        self.assertIn((answer.status, answer.error), ((400, "invalid_request"), (409, "authorization_required")))
        self.assertStatus(self.daemon.get("/v1/token/spare?min_ttl=500"), 200)

    def test_runs_out(self):
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 2)
        eventually(lambda: self.daemon.view("spare")["state"] == "expired", "the token runs out")
        answer = self.daemon.get("/v1/token/spare")
        self.assertStatus(answer, 409, "authorization_required")
        self.assertIn("bearerctl set spare", answer.description)
        self.daemon.restart()
        self.assertEqual(self.daemon.view("spare")["state"], "expired")
        self.assertStatus(self.daemon.get("/v1/token/spare"), 409, "authorization_required")
        token = new_token()
        self.daemon.set("spare", token)
        self.assertEqual(self.daemon.view("spare")["state"], "ready")
        self.assertEqual(self.daemon.token("spare").token, token)

    def test_last_seconds(self):
        """The default min_ttl is no reason to refuse what is left of a short-lived token."""
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 30)
        self.assertStatus(self.daemon.get("/v1/token/spare?min_ttl=0"), 200)

    def warnings(self, name):
        return [line for line in self.daemon.log.splitlines() if " warning " in line and f"credential={name} " in line]

    def test_warned_of_days_ahead(self):
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + FAR_S)
        self.assertEqual(self.warnings("spare"), [])
        self.daemon.set("spare", new_token(), expires_at=int(time.time()) + NEAR_S)
        eventually(lambda: self.warnings("spare"), "the log warns")
        self.assertIn("bearerctl set spare", self.warnings("spare")[-1])
        self.daemon.restart()
        self.assertGreater(len(self.warnings("spare")), 1, "and again at the next start")

    def test_configured_end(self):
        """expires_at of the configuration goes with token_file."""
        section = "type = sat\n"
        end = int(time.time()) + NEAR_S
        self.daemon.conf.write_text(self.daemon.conf.read_text().replace(section, f"{section}expires_at = {end}\n"))
        self.daemon.restart()
        self.assertEqual(self.daemon.token("sat").json["expires_at"], end)
        self.assertTrue(self.warnings("sat"))


if __name__ == "__main__":
    main()
