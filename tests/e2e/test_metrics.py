"""/metrics in its two forms, what watches it (conf/), and /readyz."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from harness import EndToEnd, eventually, main

CONF = pathlib.Path(__file__).resolve().parents[2] / "conf"
ALERTS = CONF.parent / "tests" / "e2e" / "alerts.yml"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
NEEDS_PROMTOOL = unittest.skipUnless(PROMTOOL, "NOT TESTED: promtool (Debian's package prometheus) is not here")
SAMPLE = re.compile(r'(?P<name>[a-z_]+)(\{(?P<labels>[^}]*)\})? (?P<value>[-+.\dInf]+)')
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def families(text):
    """What the text declares, {name: kind}, with samples or without."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def reference_parser():
    """A Python that has the parser of OpenMetrics' own authors, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import prometheus_client.openmetrics.parser"], capture_output=True,
                          check=False).returncode == 0:
            return python
    return None


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

    def test_requests(self):
        def results(outcome):
            return self.sample("bearerd_upstream_results_total", provider="coze-test", outcome=outcome)

        def gauge(name):
            return self.sample(f"bearerd_upstream_{name}", provider="coze-test")

        self.assertEqual((gauge("requests_total"), results("success"), gauge("active")), (0, 0, 0))
        self.assertNotIn("bearerd_provider_clock_skew_seconds", self.metrics())
        self.daemon.token("developer")
        self.emulator.fault("invalid_client", times=1)
        self.daemon.get("/v1/token/channel")
        self.assertEqual((gauge("requests_total"), results("success"), results("configuration")), (2, 1, 1))
        self.assertEqual((gauge("active"), gauge("queued")), (0, 0))
        self.assertLess(abs(self.sample("bearerd_provider_clock_skew_seconds", provider="coze-test")), 5)
        self.emulator.fault("hang", times=1)
        waiting = self.daemon.send("GET", "/v1/token/enterprise?wait=60")
        eventually(lambda: gauge("active") == 1, "one is under way")
        waiting.connection.close()

    def test_reload(self):
        """Counters go on; what is removed is gone, and what is new begins at 0. A refusal is seen until it is mended."""
        good = self.daemon.conf.read_text()
        self.daemon.token("developer")
        self.assertEqual(self.sample("bearerd_configuration_refused"), 0)
        self.daemon.conf.write_text(good + "nonsense\n")
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 400)
        self.assertEqual(self.sample("bearerd_configuration_refused"), 1)
        self.daemon.conf.write_text(good.replace("[credential pat]", "[credential renamed]"))
        self.assertStatus(self.daemon.ask("POST", "/v1/reload"), 200)
        self.assertEqual(self.sample("bearerd_configuration_refused"), 0)
        self.assertEqual((self.handed_out("developer"), self.renewals("success"), self.handed_out("renamed")), (1, 1, 0))
        self.assertEqual(self.sample("bearerd_upstream_requests_total", provider="coze-test"), 1)
        self.assertNotIn('credential="pat"', self.daemon.get("/metrics").text)

    def test_outage(self):
        """The breaker opens, and says so."""
        def state():
            return [dict(k)["state"] for k, v in self.metrics()["bearerd_provider_breaker"].items() if v == 1]

        self.assertEqual(state(), ["closed"])
        self.emulator.fault("internal_error")

        def asked_in_vain():
            for name in ("developer", "channel", "enterprise"):
                self.daemon.get(f"/v1/token/{name}?wait=0")
            return state() == ["open"]

        eventually(asked_in_vain, "it opens")
        failures = self.sample("bearerd_upstream_results_total", provider="coze-test", outcome="transient")
        self.assertGreaterEqual(failures, 3)
        self.assertEqual(self.sample("bearerd_credential_state", credential="developer", type="jwt", state="failing"), 1)
        self.assertEqual(self.sample("bearerd_survives_seconds", credential="developer"), 0)

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
        text = self.daemon.get("/metrics", socket=f"{self.directory}/app1.sock").text
        self.assertNotIn("coze.com", text)  # nor a provider that has nothing there

    def test_never_a_secret(self):
        o = self.daemon.token("developer", "?subject=alice").json
        text = self.daemon.get("/metrics").text
        for hidden in (o["access_token"], o["fingerprint"], "alice"):
            self.assertNotIn(hidden, text)

    def test_openmetrics(self):
        """As the reference parser reads it, with every kind of sample there."""
        python = reference_parser()
        if not python:
            self.skipTest("NOT TESTED: python3-prometheus-client is not here")
        self.daemon.token("developer")
        program = ("import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n"
                   "for f in parse(sys.stdin.read()): print(f.name, f.type, f.unit or '-', len(f.samples))")
        answer = self.daemon.get("/metrics")
        done = subprocess.run([python, "-c", program], input=answer.text, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        read = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
        self.assertEqual({name: kind for name, (kind, _, _) in read.items()}, families(answer.text))
        for name, (_, unit, _) in read.items():
            self.assertEqual(unit, "seconds" if name.endswith("_seconds") else "-", name)

    def test_which_form(self):
        openmetrics, old = "application/openmetrics-text; version=1.0.0; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"
        for accept, form in ((None, openmetrics), ("*/*", openmetrics), ("text/html", openmetrics), ("text/plain", old),
                             ("text/plain;version=0.0.4;q=1,*/*;q=0.1", old),
                             ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3", openmetrics)):
            with self.subTest(accept=accept):
                answer = self.daemon.get("/metrics", {"Accept": accept} if accept else None)
                self.assertEqual(answer.headers["content-type"], form)
                self.assertEqual(answer.text.endswith("# EOF\n"), form == openmetrics)
                # the same series in both: names, and bounds of buckets
                self.assertIn("bearerd_tokens_handed_out_total{", answer.text)
                self.assertIn('le="0.005"', answer.text)
                self.assertIn('le="1.0"' if form == openmetrics else 'le="1"', answer.text)
        self.assertStatus(self.daemon.get("/metrics?x=1"), 400)

    @NEEDS_PROMTOOL
    def test_promtool(self):
        self.daemon.token("developer")
        old = self.daemon.get("/metrics", {"Accept": "text/plain"})
        for arguments, text in ((["check", "metrics"], old.text), (["check", "rules", CONF / "bearerd-alerts.yml"], None),
                                (["test", "rules", ALERTS], None)):
            with self.subTest(arguments=arguments):
                done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_every_alert_is_tested(self):
        """Once where it fires, and once where it does not."""
        alerts = re.findall(r"- alert: (\w+)", (CONF / "bearerd-alerts.yml").read_text())
        self.assertGreater(len(alerts), 5)
        blocks = re.findall(r"alertname: (\w+)\n(\s+exp_alerts:.*)", ALERTS.read_text())
        for alert in alerts:
            about = [rest for name, rest in blocks if name == alert]
            self.assertTrue(any(rest.strip().endswith("[]") for rest in about), f"{alert} always fires")
            self.assertTrue(any(not rest.strip().endswith("[]") for rest in about), f"{alert} never fires")

    def test_what_watches_it(self):
        """Each metric that the dashboard, the alert rules and their tests name is there, and each that is there is in the
        manual."""
        declared = families(self.daemon.get("/metrics").text)
        there = {name + suffix for name, kind in declared.items() for suffix in SUFFIXES[kind]}
        for file in (CONF / "bearerd-alerts.yml", CONF / "bearerd-dashboard.json", ALERTS):
            wanted = set(re.findall(r"\bbearerd_[a-z_]+", file.read_text()))
            self.assertTrue(wanted)
            self.assertLessEqual(wanted, there, file)
        dashboard = json.loads((CONF / "bearerd-dashboard.json").read_text())
        queried = {name for panel in dashboard["panels"] for target in panel["targets"]
                   for name in re.findall(r"\bbearerd_[a-z_]+", target["expr"])}
        unseen = {name for name, kind in declared.items() if not queried & {name + s for s in SUFFIXES[kind]}}
        self.assertEqual(unseen, set(), "no panel shows it")
        manual = (CONF.parent / "daemon" / "bearerd.8.scd").read_text()
        for name in declared:
            self.assertIn(f"_{name}_", manual)


class Ready(EndToEnd):
    daemon_keys = ""

    def sections(self):
        return (f"[credential always]\nprovider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
                f"keep_fresh = always\n[socket app1]\npath = {self.directory}/app1.sock\ncredentials = sat\n")

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

    def test_for_whom_it_names_what(self):
        """The status is of all credentials, the names only of those that the socket shows."""
        self.emulator.fault("internal_error")
        self.daemon.restart()
        eventually(lambda: self.daemon.get("/readyz").status == 503, "not ready")
        answer = self.daemon.get("/readyz", socket=f"{self.directory}/app1.sock")
        self.assertEqual((answer.status, answer.json["missing"]), (503, []))
        self.assertNotIn("always\"", answer.text)


if __name__ == "__main__":
    main()
