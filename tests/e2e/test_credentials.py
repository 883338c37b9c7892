"""/v1/credentials: what is told of them, and to whom. And who may do what."""

import time

from harness import EndToEnd, NEEDS_ROOT, as_user, eventually, main, new_token

NAMES = ["developer", "channel", "enterprise", "web", "pkce", "device", "pat", "sat"]  # as in the emulator's file
STATES = {"ready", "idle", "renewing", "authorization_required", "failing", "expired"}
TYPES = {"developer": "jwt", "channel": "jwt", "enterprise": "jwt", "web": "authorization_code", "pkce": "pkce",
         "device": "device_code", "pat": "pat", "sat": "sat"}

ALICE, BOB, CREW = 23451, 23452, 23460  # users and a group that need not exist
OVERFLOW = 65534


class View(EndToEnd):
    def list(self, socket=None):
        answer = self.assertStatus(self.daemon.get("/v1/credentials", socket=socket), 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        return answer.json["credentials"]

    def test_list(self):
        views = self.list()
        self.assertEqual([v["name"] for v in views], NAMES, "in the order of the configuration")
        for view in views:
            with self.subTest(name=view["name"]):
                self.assertEqual(view["provider"], "coze-test")
                self.assertEqual(view["type"], TYPES[view["name"]])
                self.assertIn(view["state"], STATES)
                self.assertEqual(view, self.daemon.view(view["name"]))

    def test_states(self):
        states = {v["name"]: v["state"] for v in self.list()}
        self.assertEqual(states, {"developer": "idle", "channel": "idle", "enterprise": "idle",
                                  "web": "authorization_required", "pkce": "authorization_required",
                                  "device": "authorization_required", "pat": "ready", "sat": "ready"})
        o = self.daemon.token("developer").json
        view = self.daemon.view("developer")
        self.assertEqual((view["state"], view["fingerprint"]), ("ready", o["fingerprint"]))
        self.assertEqual(view["expires_at"], o["expires_at"])
        self.assertTrue(o["expires_at"] - 900 <= view["renews_at"] < o["expires_at"])

    def test_times_stand_still(self):
        """A time that is told twice is the same time."""
        self.daemon.token("developer")
        renewals = set()

        def second_has_passed():
            renewals.add(self.daemon.view("developer")["renews_at"])
            return self.daemon.token("developer").json["expires_in"] < 898

        eventually(second_has_passed, "time goes by")
        self.assertEqual(len(renewals), 1, renewals)

    def test_never_a_secret(self):
        tokens = [self.daemon.token(name).token for name in ("developer", "pat")]
        text = self.daemon.get("/v1/credentials").text
        for secret in {*tokens, self.emulator.console("web")["client_secret"], "BEGIN"}:
            self.assertNotIn(secret, text)

    def test_failing(self):
        self.emulator.fault("invalid_client")
        self.assertStatus(self.daemon.get("/v1/token/developer"), 502)
        view = self.daemon.view("developer")
        self.assertEqual(view["state"], "failing")
        self.assertIn("kid not been registred", str(view["last_error"]))

    def test_provider_is_down(self):
        self.assertEqual(self.daemon.view("developer")["provider_state"], "closed")
        self.assertNotIn("provider_down_since", self.daemon.view("developer"))
        before = int(time.time())
        self.emulator.fault("status", status=503)
        for name in "developer", "channel", "enterprise":
            self.daemon.get(f"/v1/token/{name}?wait=0")
        view = eventually(lambda: (v := self.daemon.view("developer"))["provider_state"] != "closed" and v, "an outage")
        self.assertTrue(before <= view["provider_down_since"] <= time.time())
        said = self.bearerctl("status").stdout
        self.assertRegex(said, r"(?m)^coze-test: down for \d+s, the next try is (in \d+s|due|under way); no token is left$")

    def test_subjects_are_counted(self):
        self.assertEqual(self.daemon.view("developer").get("subjects"), 0)
        for subject in ("a", "b", "c"):
            self.daemon.token("developer", f"?subject={subject}")
        self.assertEqual(self.daemon.view("developer")["subjects"], 3)

    def test_unknown(self):
        for name in ("nobody", "develope", "developer2", "Developer", "x" * 64, "x" * 65, "x" * 2000, ".", "..",
                     "develop%20er", "%64eveloper%00", "developer%2F", "*", "%", "%zz"):
            with self.subTest(name=name):
                for path in (f"/v1/credentials/{name}", f"/v1/token/{name}"):
                    self.assertIn(self.daemon.get(path).status, (400, 404))
        self.assertStatus(self.daemon.get("/v1/credentials/nobody"), 404, "not_found")
        self.assertStatus(self.daemon.get("/v1/token/nobody"), 404, "not_found")


class Interactive(EndToEnd):
    """Types whose turn has not come."""

    def test_authorization_required(self):
        for name in ("web", "pkce", "device"):
            for path in (f"/v1/token/{name}", f"/v1/token/{name}?subject=alice"):
                answer = self.daemon.get(path)
                self.assertStatus(answer, 409, "authorization_required")
                self.assertIn(name, answer.description)
            self.assertStatus(self.daemon.post(f"/v1/token/{name}", {}), 409, "authorization_required")
        self.assertEqual(self.emulator.requests(), 0)


class Sockets(EndToEnd):
    """More sockets, each showing only some credentials."""

    def sections(self):
        return f"""
            [socket app1]
            path = {self.directory}/app1.sock
            credentials = sat, developer
            mode = 0600
        """

    def setUp(self):
        super().setUp()
        self.app1 = f"{self.directory}/app1.sock"

    def test_only_some(self):
        views = self.daemon.get("/v1/credentials", socket=self.app1).json["credentials"]
        self.assertEqual(sorted(v["name"] for v in views), ["developer", "sat"])
        self.assertStatus(self.daemon.get("/v1/token/sat", socket=self.app1), 200)
        for name in ("pat", "channel", "web", "nobody"):
            with self.subTest(name=name):
                hidden = [self.daemon.get(f"/v1/token/{name}", socket=self.app1),
                          self.daemon.get(f"/v1/credentials/{name}", socket=self.app1),
                          self.daemon.ask("PUT", f"/v1/credentials/{name}/secret", {"token": new_token()},
                                          socket=self.app1)]
                for answer in hidden:
                    self.assertStatus(answer, 404, "not_found")
        self.assertEqual(self.daemon.token("pat").token, self.emulator.static_token("pat"))

    def test_not_even_from_memory(self):
        """What the main socket has in memory is no less hidden."""
        self.daemon.token("channel")
        self.assertStatus(self.daemon.get("/v1/token/channel", socket=self.app1), 404, "not_found")
        first = self.daemon.token("developer").token
        self.assertEqual(self.daemon.get("/v1/token/developer", socket=self.app1).token, first)

    def test_health(self):
        for path in ("/healthz", "/readyz"):
            self.assertStatus(self.daemon.get(path, socket=self.app1), 200)

    @NEEDS_ROOT
    def test_modes(self):
        as_user(ALICE, lambda: self.daemon.get("/healthz"))
        with self.assertRaises(PermissionError):
            as_user(ALICE, lambda: self.daemon.get("/healthz", socket=self.app1))


@NEEDS_ROOT
class Rights(EndToEnd):
    """Who may use, who may administer: told by the kernel."""

    daemon_keys = f"admin_users = {BOB}"

    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[credential hers]\n{developer}allow_users = {ALICE}\n\n"
                f"[credential theirs]\n{developer}allow_groups = {CREW}\n\n"
                f"[credential nowhere]\n{developer}allow_units = nothing-of-that-name.service\n\n"
                f"[credential both]\n{developer}allow_users = {BOB}\nallow_groups = {CREW}\n")

    def get(self, path, uid, **identity):
        return as_user(uid, lambda: self.daemon.get(path), **identity)

    def test_use(self):
        rows = [("hers", ALICE, {}, 200), ("hers", BOB, {}, 403), ("hers", ALICE + 10, {}, 403),
                ("theirs", ALICE, {}, 403), ("theirs", ALICE, {"gid": CREW}, 200),
                ("theirs", ALICE, {"groups": [5, CREW, 7]}, 200), ("theirs", CREW, {"gid": 1}, 403),
                ("hers", BOB, {"gid": ALICE, "groups": [ALICE]}, 403), ("nowhere", ALICE, {}, 403),
                ("both", BOB, {}, 200), ("both", ALICE, {"groups": [CREW]}, 200), ("both", ALICE, {}, 403),
                ("developer", ALICE, {}, 200), ("developer", OVERFLOW, {}, 200), ("hers", OVERFLOW, {}, 403)]
        for cached in (False, True):
            for name, uid, identity, status in rows:
                with self.subTest(name=name, uid=uid, **identity, cached=cached):
                    answer = self.get(f"/v1/token/{name}", uid, **identity)
                    self.assertStatus(answer, status, "access_denied" if status == 403 else None)
                    view = self.get(f"/v1/credentials/{name}", uid, **identity)
                    self.assertStatus(view, status, "access_denied" if status == 403 else None)

    def test_many_groups(self):
        self.assertStatus(self.get("/v1/token/theirs", ALICE, groups=[*range(3000, 3200), CREW]), 200)

    def test_list_hides(self):
        def names(uid, **identity):
            return {v["name"] for v in self.get("/v1/credentials", uid, **identity).json["credentials"]}

        self.assertEqual(names(ALICE), {*NAMES, "hers"})
        self.assertEqual(names(ALICE, groups=[CREW]), {*NAMES, "hers", "theirs", "both"})
        self.assertEqual(names(BOB), {*NAMES, "both"})
        self.assertEqual(names(OVERFLOW), {*NAMES})

    def test_administer(self):
        old = self.emulator.static_token("pat")

        def put(uid, token):
            self.daemon.secrets.add(token)
            return as_user(uid, lambda: self.daemon.put("/v1/credentials/pat/secret", {"token": token}))

        for uid in (ALICE, OVERFLOW):
            self.assertStatus(put(uid, new_token()), 403, "access_denied")
            self.assertEqual(self.daemon.token("pat").token, old)
        for uid in (BOB, 0):
            new = new_token()
            self.assertStatus(put(uid, new), 200)
            self.assertEqual(self.daemon.token("pat").token, new)

    def test_refused_before_the_body_counts(self):
        """Who may not does not learn what would have been right."""
        answer = as_user(ALICE, lambda: self.daemon.put("/v1/credentials/pat/secret", {"nonsense": 1}))
        self.assertStatus(answer, 403, "access_denied")

    def test_rejecting_needs_the_right_too(self):
        first = as_user(ALICE, lambda: self.daemon.get("/v1/token/hers")).json
        self.assertStatus(self.get(f"/v1/token/hers?rejected={first['fingerprint']}", BOB), 403, "access_denied")
        self.assertEqual(self.emulator.requests(), 1)


class Ready(EndToEnd):
    """/readyz: every keep_fresh = always token is good."""

    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        return (f"[credential one]\n{developer}keep_fresh = always\n\n"
                f"[credential two]\n{developer}keep_fresh = always\n")

    def start(self):
        self.emulator.fault("hang")
        self.daemon.start()

    def test_ready(self):
        eventually(lambda: self.emulator.requests() >= 2, "both are fetched without being asked for")
        answer = self.assertStatus(self.daemon.get("/readyz"), 503)
        for name in ("one", "two"):
            self.assertIn(name, answer.text)
        self.assertStatus(self.daemon.get("/healthz"), 200)
        self.emulator.heal()
        eventually(lambda: self.daemon.get("/readyz").status == 200, "both are there")
        for name in ("one", "two"):
            self.assertEqual(self.daemon.view(name)["state"], "ready")


if __name__ == "__main__":
    main()
