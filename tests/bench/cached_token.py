#!/usr/bin/env python3
"""A cached token: bearerd beside a bare libmicrohttpd server. README.md says how to read it."""

import argparse
import statistics
import time

import rig

FORMS = (("json", "application/json"), ("text", "text/plain"))
CONNECTIONS = (1, 64, 128, 256, 1000)
PATH = "/v1/token/developer"
STORM_SUBJECTS = 500
STORM_CALLERS = 100
READERS = ("--connections", "32", "--rate", "10000")
RATE_AIM = 0.9
RSS_AIM_KIB = 18 * 1024
QUIET_S = 0.3


class Bench:
    def __init__(self, r, rounds, seconds, warmup):
        self.rig = r
        self.rounds, self.seconds, self.warmup = rounds, seconds, warmup
        self.problems = []
        self.notes = []
        self.stalls = 0
        self.answers = 0
        self.servers = (("bearerd", r.socket, r.bearerd.pid), ("bare", r.bare_socket, r.bare.pid))

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def judge(self, who, what, result):
        """Errors and stalls are failures, slowness is not."""
        if result["errors"]:
            self.problems.append(f"{who}, {what}: {result['errors']} bad answers")
        stalled = (result["stalls"] or not result["answers"] or
                   result["longest_gap_ms"] > 900 * result["seconds"])
        if stalled:
            self.stalls += who == "bearerd"
            self.problems.append(f"{who}, {what}: a stall, no answer for "
                                 f"{result['longest_gap_ms']:.0f} ms, {result['answers']} answers in all")
        elif result["unserved"] and "rate" not in what:
            self.note(f"{who}, {what}: {result['unserved']} connections got no answer in a round")
        if who == "bearerd":
            self.answers += result["answers"]

    def interleaved(self, what, *options):
        """A B A B ...: {server: [result of each round]}."""
        results = {"bearerd": [], "bare": []}
        for _ in range(self.rounds):
            for who, socket, pid in self.servers:
                result = self.rig.load(socket, "--path", PATH, "--seconds", str(self.seconds), "--warmup",
                                       str(self.warmup), "--pid", str(pid), *options)
                self.judge(who, what, result)
                results[who].append(result)
        return results

    def row(self, label, connections, results):
        cells = []
        for who, _, _ in self.servers:
            rate, p99, cpu = (median(results[who], key) for key in ("rate", "p99_us", "server_cpu_us"))
            cells.append(f"{rate:9,.0f} {p99:9,.0f} {cpu:6.2f}")
        rate, cpu = (paired(results, key) for key in ("rate", "server_cpu_us"))
        mark = "" if rate is None or rate >= RATE_AIM or connections == 1 else f"  below {RATE_AIM}"
        print(f"{label:5} {connections:5} | {cells[0]} | {cells[1]} | {show(rate)}  {show(cpu)}{mark}",
              flush=True)
        if max(median(results[who], "load_core") for who in results) > 0.97:
            self.note(f"{label}, {connections} connections: the load itself was at its limit")

    def table(self):
        r = self.rig
        pins = (f"server on core {r.server_core}, load on core {r.load_core}"
                if r.server_core is not None else "one core for server and load")
        print(f"GET {PATH}, cached. {pins}; {self.rounds} rounds of {self.seconds} s, medians.\n"
              f"Body: {r.json_size} bytes of JSON, {r.text_size} of text.\n")
        print("                       bearerd             |            bare            | bearerd / bare\n"
              "form  conns |     req/s    p99 us cpu us |     req/s    p99 us cpu us | req/s  cpu")
        for form, accept in FORMS:
            for n in CONNECTIONS:
                results = self.interleaved(f"{form}, {n} connections", "--connections", str(n), "--header",
                                           f"Accept: {accept}")
                self.row(form, n, results)
        results = self.interleaved("a connection per request", "--connections", "64", "--close",
                                   "--header", "Accept: text/plain")
        self.row("close", 64, results)
        print(f"\nstalls of bearerd: {self.stalls or 'none'}")

    def idle_memory(self, socket, pid):
        with self.rig.load_driven(socket, "--path", PATH, "--idle", "--connections", "1000") as held:
            result = held.line()
            if result["errors"] or result["answers"] != 1000:
                self.problems.append(f"of 1,000 idle connections {result['answers']} were served")
            return rig.memory_kib(pid)

    def memory(self, at_start):
        pid = self.rig.bearerd.pid
        after = rig.memory_kib(pid)
        idle = self.idle_memory(self.rig.socket, pid)
        bare_before = rig.memory_kib(self.rig.bare.pid)
        bare_idle = self.idle_memory(self.rig.bare_socket, self.rig.bare.pid)
        print("\nmemory of bearerd (KiB)        resident  anonymous")
        for label, (resident, anonymous) in (("at start, one token", at_start), ("after the load", after),
                                             ("1,000 idle connections", idle)):
            mark = "  above 18 MiB" if resident > RSS_AIM_KIB and label != "1,000 idle connections" else ""
            print(f"  {label:27} {resident:9,} {anonymous:10,}{mark}")
        print(f"  bare: after the load {bare_before[0]:,}, 1,000 idle connections {bare_idle[0]:,}")

    def log_growth(self):
        size = self.rig.log.stat().st_size
        print(f"log: {size / max(self.answers, 1):.3f} bytes for each of {self.answers:,} answers")

    def reading(self, meanwhile):
        """(p99 of paced cached reads while `meanwhile` runs, its result)."""
        with self.rig.load_driven(self.rig.socket, "--path", PATH, "--header", "Accept: text/plain",
                                  "--driven", *READERS) as readers:
            time.sleep(0.1)  # they warm up
            readers.begin()
            done = meanwhile()
            result = readers.end()
        self.judge("bearerd", "paced reads at a rate", result)
        return result["p99_us"], done

    def storm_round(self, name):
        result = self.rig.load(self.rig.socket, "--path", f"/v1/token/storm?subject={name}-{{}}",
                               "--connections", str(STORM_CALLERS), "--requests", str(STORM_SUBJECTS),
                               nice=19)
        if result["errors"] or result["answers"] != STORM_SUBJECTS:
            self.problems.append(f"storm: {result['answers']} of {STORM_SUBJECTS} subjects fetched, "
                                 f"{result['errors']} bad answers")
        return result

    def storm(self):
        quiet, busy, fetches = [], [], []
        for i in range(self.rounds):
            quiet.append(self.reading(lambda: time.sleep(QUIET_S))[0])
            p99, fetched = self.reading(lambda: self.storm_round(f"round{i}"))
            busy.append(p99)
            fetches.append(fetched["rate"])
        ratio = statistics.median(b / max(q, 0.1) for q, b in zip(quiet, busy))
        print(f"\np99 of cached reads at 10,000/s: quiet {statistics.median(quiet):,.0f} us, while "
              f"{STORM_SUBJECTS} subjects of another credential are fetched "
              f"({statistics.median(fetches):,.0f}/s) {statistics.median(busy):,.0f} us: "
              f"ratio {ratio:.2f}")


def median(results, key):
    return statistics.median(r[key] for r in results)


def paired(results, key):
    """The median of the rounds' ratios: what disturbs both servers of a round cancels out."""
    ratios = [a[key] / b[key] for a, b in zip(results["bearerd"], results["bare"]) if b[key]]
    return statistics.median(ratios) if ratios else None


def show(ratio):
    return " -   " if ratio is None else f"{ratio:5.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    parser.add_argument("--quick", action="store_true", help="about 25 s instead of 2 minutes")
    arguments = parser.parse_args()
    rounds, seconds, warmup = (2, 0.3, 0.1) if arguments.quick else (3, 1.0, 0.2)

    with rig.Rig(arguments.build) as r:
        at_start = rig.memory_kib(r.bearerd.pid)
        r.start_bare()
        bench = Bench(r, rounds, seconds, warmup)
        bench.table()
        bench.memory(at_start)
        bench.log_growth()
        bench.storm()
        if r.bearerd.poll() is not None:
            bench.problems.append(f"bearerd ended with {r.bearerd.returncode}")
    for note in bench.notes:
        print(f"note: {note}")
    return bench.problems


if __name__ == "__main__":
    rig.run(main)
