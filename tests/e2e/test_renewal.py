"""Renewal in the background: design.md section 5. Tokens live for seconds here."""

from harness import EndToEnd, eventually, main


class Fresh(EndToEnd):
    def sections(self):
        developer = self.emulator.console_file("developer")
        common = f"provider = coze-test\nconfig_file = {developer}\n"
        return (f"[credential always]\n{common}keep_fresh = always\n\n"
                f"[credential never]\n{common}keep_fresh = never\n")

    def start(self):
        self.emulator.lifetime(4)
        self.daemon.start()

    def test_before_it_expires(self):
        """Nobody asks, and yet there is a new one before the old one has ended."""
        first = self.daemon.token("developer").json

        def renewed():
            view = self.daemon.view("developer")
            self.assertIn(view["state"], ("ready", "renewing"))
            self.assertIn("fingerprint", view, "the old token has ended before its renewal")
            return view["fingerprint"] != first["fingerprint"]

        eventually(renewed, "a used token is renewed")
        self.assertNotEqual(self.daemon.token("developer", "?wait=0").token, first["access_token"])

    def test_unused_ends(self):
        """While-used: a token that nobody has asked for since is not renewed again."""
        self.daemon.token("developer")
        eventually(lambda: self.daemon.view("developer")["state"] == "idle", "the unused token ends")
        self.assertNotIn("fingerprint", self.daemon.view("developer"))
        self.daemon.token("developer")

    def test_always(self):
        """Fetched at the start and kept up, though nobody uses it."""
        seen = set()

        def thrice():
            view = self.daemon.view("always")
            seen.add(view.get("fingerprint"))
            return len(seen - {None}) >= 3

        eventually(thrice, "the token is renewed time and again")
        self.assertEqual(self.daemon.get("/readyz").status, 200)

    def test_never(self):
        first = self.daemon.token("never").json

        def ended():
            view = self.daemon.view("never")
            self.assertIn(view.get("fingerprint"), (None, first["fingerprint"]))
            return view["state"] == "idle"

        eventually(ended, "the token ends")
        self.assertNotEqual(self.daemon.token("never").token, first["access_token"])

    def test_failure_is_overcome(self):
        """The provider is down when the renewal is due: the old token is used up, then it goes on."""
        first = self.daemon.token("developer").json
        self.emulator.fault("drop_before")
        eventually(lambda: self.daemon.view("developer")["state"] == "failing", "the renewal fails")
        answer = self.daemon.get("/v1/token/developer?wait=0&min_ttl=0")
        if answer.status == 200:  # it may have ended by now
            self.assertEqual(answer.token, first["access_token"])
        self.emulator.heal()
        eventually(lambda: self.daemon.view("developer")["state"] == "ready", "the provider is back")
        self.assertNotIn("last_error", self.daemon.view("developer"))


class Clocks(EndToEnd):
    """The provider's time is not ours: lifetimes come out the same."""

    def check_lifetime(self, credential="developer"):
        o = self.daemon.token(credential).json
        self.assertTrue(880 < o["expires_in"] <= 900, o)

    def test_provider_ahead(self):
        self.emulator.control("POST", "clock", offset=200)
        self.check_lifetime()

    def test_provider_behind(self):
        self.emulator.control("POST", "clock", offset=-200)
        self.check_lifetime()

    def test_date_that_lies(self):
        """Only the header is wrong: a token may be taken for shorter-lived than it is, never for longer."""
        for offset in (-200, 200):
            self.emulator.heal()
            self.emulator.fault("date_offset", seconds=offset)
            o = self.daemon.token("developer", f"?subject={offset}").json
            self.assertTrue(600 < o["expires_in"] <= 900, o)

    def test_no_date(self):
        self.emulator.fault("no_date")
        self.check_lifetime()

    def test_relative_expires_in(self):
        self.emulator.fault("relative_expires_in")
        self.check_lifetime()

    def test_members_nobody_knows(self):
        self.emulator.fault("extra_members")
        self.emulator.fault("token_type")
        self.check_lifetime()


if __name__ == "__main__":
    main()
