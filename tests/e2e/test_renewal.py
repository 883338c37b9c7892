"""Renewal in the background: design.md section 5. Tokens live for seconds here."""

import os
import struct
import time
from unittest import mock

from harness import ENVIRONMENT, EndToEnd, eventually, main


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


class Leaps(EndToEnd):
    """The machine was suspended, or somebody has set its clock; the provider's time goes on."""

    def start(self):
        self.clock = self.directory / "clock"
        self.leap()
        more = {"LD_PRELOAD": os.environ["LEAPING_CLOCK"], "LEAPING_CLOCK_FILE": str(self.clock),
                "ASAN_OPTIONS": "verify_asan_link_order=0"}
        with mock.patch.dict(ENVIRONMENT, more):
            self.daemon.start()

    def leap(self, boot_s=0, real_s=0):
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as f:
            f.write(struct.pack("qq", boot_s, real_s))

    def test_suspend(self):
        """Who asks first after it gets no token that has died meanwhile, and what is kept fresh is so again."""
        first = self.daemon.token("developer").token
        self.leap(3600, 3600)
        self.emulator.control("POST", "clock", offset=3600)
        self.assertFalse(self.emulator.accepts(first))
        token = self.daemon.token("developer")
        self.assertTrue(self.emulator.accepts(token.token))
        self.assertTrue(880 < token.json["expires_in"] <= 900, token)
        self.assertEqual(self.emulator.requests(), 2)

    def test_clock_that_is_set(self):
        """Forward or back, by a day: nothing is renewed for it, nothing dies of it."""
        first = self.daemon.token("developer").token
        for day in (1, -1):
            self.leap(0, day * 86400)
            token = self.daemon.token("developer")
            self.assertEqual(token.token, first)
            self.assertTrue(800 < token.json["expires_in"] <= 900, token)
        self.assertEqual(self.emulator.requests(), 1)
        self.assertTrue(self.emulator.accepts(self.daemon.token("developer", "?subject=alice").token))
        self.assertIn(time.strftime("\n%Y-%m-%dT", time.gmtime(time.time() - 86400)), self.daemon.log, "it was set indeed")


if __name__ == "__main__":
    main()
