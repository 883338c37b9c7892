#!/usr/bin/env python3
"""What auditing costs a cached token: bearerd with audit = all beside one with audit = off. README.md says how to read it."""

import argparse
import statistics

import rig

PATH = "/v1/token/developer"
CASES = (("json", 64, ("--header", "Accept: application/json")), ("text", 64, ("--header", "Accept: text/plain")),
         ("text", 256, ("--header", "Accept: text/plain")),
         ("close", 64, ("--header", "Accept: text/plain", "--close")))
RATE_AIM = 0.9


def start_unaudited(r):
    """A second daemon, on the same core, that writes nothing down: its socket and its process."""
    socket = str(r.directory / "off.sock")
    (r.directory / "off").mkdir(mode=0o700)
    file = r.directory / "off.conf"
    text = r.configuration().replace(f"socket = {r.socket}", f"socket = {socket}\naudit = off")
    file.write_text(text.replace(f"state_dir = {r.directory}/state", f"state_dir = {r.directory}/off"))

    def serves():
        try:
            return rig.ask(socket, PATH)[0] == 200
        except OSError:
            return False

    process = r.start("bearerd", "--config", str(file), core=r.server_core, log=r.directory / "off.log")
    r.wait(process, "bearerd hands out no token", serves)
    return socket, process


def compare(r, servers, rounds, options, problems):
    """The medians of the rounds' ratios, audited to not: (rate, CPU of the server for each answer)."""
    ratios = []
    for _ in range(rounds):
        results = {}
        for who, socket, pid in servers:
            results[who] = r.load(socket, "--path", PATH, "--pid", str(pid), *options)
            if results[who]["errors"] or not results[who]["answers"]:
                problems.append(f"{who}: {results[who]['errors']} bad answers of {results[who]['answers']}")
                return None
        ratios.append([results["all"][key] / results["off"][key] for key in ("rate", "server_cpu_us")])
    return [statistics.median(values) for values in zip(*ratios)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build directory; default: build")
    parser.add_argument("--quick", action="store_true", help="about 10 s instead of half a minute")
    arguments = parser.parse_args()
    rounds, seconds, warmup = (3, 0.3, 0.1) if arguments.quick else (5, 0.7, 0.2)
    problems = []

    with rig.Rig(arguments.build) as r:
        socket, process = start_unaudited(r)
        servers = (("all", r.socket, r.bearerd.pid), ("off", socket, process.pid))
        print(f"GET {PATH}, cached; audit = all / audit = off, medians of {rounds} rounds\nform  conns | req/s   cpu")
        for form, n, options in CASES:
            ratios = compare(r, servers, rounds, ("--connections", str(n), "--seconds", str(seconds), "--warmup",
                                                  str(warmup), *options), problems)
            if ratios:
                mark = "" if ratios[0] >= RATE_AIM else f"  below {RATE_AIM}"
                print(f"{form:5} {n:5} | {ratios[0]:5.2f} {ratios[1]:5.2f}{mark}", flush=True)
        size = r.log.stat().st_size
        r.stop(r.bearerd)
        lines = [line for line in r.log.read_text().splitlines() if "event=token_handed_out" in line]
        counted = sum(int(line.rpartition("count=")[2]) for line in lines)
        print(f"log: {len(lines)} lines for {counted:,} tokens, {size:,} bytes while it ran")
    return problems


if __name__ == "__main__":
    rig.run(main)
