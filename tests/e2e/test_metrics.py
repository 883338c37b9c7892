"""/metrics in its two forms, what watches it (conf/), and /readyz."""

import json
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import EndToEnd, eventually, main

CONF = pathlib.Path(__file__).resolve().parents[2] / "conf"
PROMTOOL = shutil.which("promtool")
NEEDS_PROMTOOL = unittest.skipUnless(PROMTOOL, "NOT TESTED: promtool (Debian's package prometheus) is not here")
SAMPLE = re.compile(r'(?P<name>[a-z_]+)(\{(?P<labels>[^}]*)\})? (?P<value>[-+.\dInf]+)')
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def parse(text):
    """The samples of OpenMetrics text, {name: {labels: value}}, when it keeps the rules."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""], lines[-2:]
    samples, family, kind, seen = {}, None, None, set()
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in seen, f"{family} is not in one piece"
            seen.add(family)
        elif line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert name == family and what in ("HELP", "UNIT"), line
            assert what == "HELP" or family.endswith("_" + rest), line
        else:
            m = SAMPLE.fullmatch(line)
            assert m and m["name"] in [family + s for s in SUFFIXES[kind]], line
            labels = dict(re.findall(r'(\w+)="([^"]*)"', m["labels"] or ""))
            key = tuple(sorted(labels.items()))
            assert key not in samples.setdefault(m["name"], {}), f"twice: {line}"
            samples[m["name"]][key] = float(m["value"])
    return samples


class Metrics(EndToEnd):
    def sections(self):
        return (f"[socket app1]\npath = {self.directory}/app1.sock\ncredentials = sat\n")

    def metrics(self, socket=None):
        answer = self.assertStatus(self.daemon.get("/metrics", socket=socket), 200)
        self.assertEqual(answer.headers["content-type"],
                         "application/openmetrics-text; version=1.0.0; charset=utf-8")
        return parse(answer.text)

    def sample(self, name, **labels):
        return self.metrics()[name][tuple(sorted(labels.items()))]

    def renewals(self, outcome):
        return self.sample("bearerd_renewals_total", credential="developer", outcome=outcome)

    def handed_out(self, credential):
        return self.sample("bearerd_tokens_handed_out_total", credential=credential)

    def test_tokens(self):
        self.assertEqual(self.handed_out("developer"), 0)
        self.daemon.token("developer")  # the long way
        for _ in range(4):
            self.daemon.token("developer")  # from the cache
        self.daemon.token("pat")
        self.daemon.get("/v1/token/web")  # none to be had
        self.daemon.post("/v1/token/developer", {})
        self.assertEqual((self.handed_out("developer"), self.handed_out("pat"), self.handed_out("web")), (6, 1, 0))
        self.assertEqual(self.renewals("success"), 1)
        left = self.sample("bearerd_token_remaining_seconds", credential="developer")
        self.assertTrue(800 < left <= 900, left)

    def test_state(self):
        def states(credential):
            return {dict(k)["state"] for k, v in self.metrics()["bearerd_credential_state"].items()
                    if dict(k)["credential"] == credential and v == 1}

        self.assertEqual(states("developer"), {"idle"})
        self.emulator.fault("invalid_client", times=1)
        self.daemon.get("/v1/token/developer")
        self.assertEqual(states("developer"), {"failing"})
        self.assertEqual((self.renewals("configuration"), self.renewals("success")), (1, 0))
        self.assertEqual(states("web"), {"authorization_required"})
        self.assertEqual(self.sample("bearerd_grants", credential="web"), 0)

    def test_waiting(self):
        self.emulator.fault("hang", times=1)
        waiting = [self.daemon.send("GET", f"/v1/token/developer?subject={i}&wait=2") for i in range(1)]
        eventually(lambda: self.sample("bearerd_callers_waiting", credential="developer") == 1, "one waits")
        for w in waiting:
            w.answer()
        self.assertEqual(self.sample("bearerd_callers_waiting", credential="developer"), 0)

    def test_latency(self):
        self.daemon.token("developer")
        buckets = [v for k, v in self.metrics()["bearerd_upstream_duration_seconds_bucket"].items()]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], 1)
        self.assertEqual(self.sample("bearerd_upstream_duration_seconds_count", provider="coze-test"), 1)
        self.assertGreater(self.sample("bearerd_upstream_duration_seconds_sum", provider="coze-test"), 0)

    def test_forecast(self):
        self.assertEqual(self.sample("bearerd_provider_breaker", provider="coze-test", state="closed"), 1)
        self.assertEqual(self.sample("bearerd_survives_seconds", credential="pat"), float("inf"))
        self.daemon.token("developer")
        self.assertTrue(0 < self.sample("bearerd_survives_seconds", credential="developer") <= 900)

    def test_only_what_the_socket_shows(self):
        self.daemon.token("developer")
        samples = self.metrics(f"{self.directory}/app1.sock")
        names = {dict(k).get("credential", "sat") for family in samples.values() for k in family}
        self.assertEqual(names, {"sat"})

    def test_never_a_secret(self):
        o = self.daemon.token("developer", "?subject=alice").json
        text = self.daemon.get("/metrics").text
        for hidden in (o["access_token"], o["fingerprint"], "alice"):
            self.assertNotIn(hidden, text)

    @NEEDS_PROMTOOL
    def test_promtool(self):
        self.daemon.token("developer")
        old = self.daemon.get("/metrics", {"Accept": "text/plain"})
        self.assertIn("version=0.0.4", old.headers["content-type"])
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=old.text, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([PROMTOOL, "check", "rules", CONF / "bearerd-alerts.yml"], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_watches_it(self):
        """Each metric that the dashboard and the alert rules name is there, and each that is there is in the manual."""
        there = set(self.metrics())
        for name in ("bearerd-alerts.yml", "bearerd-dashboard.json"):
            text = (CONF / name).read_text()
            wanted = set(re.findall(r"\bbearerd_[a-z_]+", text))
            self.assertTrue(wanted)
            # what has no sample before somebody logs in
            self.assertLessEqual(wanted - {"bearerd_grant_remaining_seconds", "bearerd_token_remaining_seconds"}, there, name)
        json.loads((CONF / "bearerd-dashboard.json").read_text())
        manual = (CONF.parent / "daemon" / "bearerd.8.scd").read_text()
        for line in self.daemon.get("/metrics").text.splitlines():
            if line.startswith("# TYPE "):
                self.assertIn(f"_{line.split()[2]}_", manual)


class Ready(EndToEnd):
    daemon_keys = ""

    def sections(self):
        return (f"[credential always]\nprovider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
                "keep_fresh = always\n")

    def test_flips_back(self):
        """Without a caller: ready, not ready when the token has gone, and ready again by itself."""
        eventually(lambda: self.daemon.get("/readyz").status == 200, "ready")
        self.emulator.lifetime(2)
        self.daemon.restart()
        eventually(lambda: self.daemon.get("/readyz").status == 200, "ready")
        self.emulator.fault("internal_error")
        answer = eventually(lambda: (a := self.daemon.get("/readyz")).status == 503 and a, "the token ends")
        self.assertEqual(answer.json["missing"], ["always"])
        self.emulator.heal()
        self.emulator.lifetime(0)
        eventually(lambda: self.daemon.get("/readyz").status == 200, "ready again")


if __name__ == "__main__":
    main()
