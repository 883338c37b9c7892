#!/usr/bin/env python3
"""Lets libFuzzer at the parsers, beginning with the corpus of the ordinary tests; what it finds is left in DIRECTORY.

    CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
    ninja -C build-fuzz
    tests/fuzz/libfuzzer.py build-fuzz SECONDS [TARGET...]

Each target runs for SECONDS, two at once. Exit status: 1 if one of them has found something.
"""

import codecs
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BUILD, SECONDS = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])


def unescape(line):
    return codecs.escape_decode(line)[0]


def run(name):
    directory = BUILD / "libfuzzer" / name
    seeds, found = directory / "seeds", directory / "found"
    seeds.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for i, line in enumerate((HERE / "corpus" / f"{name}.txt").read_bytes().splitlines()):
        (seeds / str(i)).write_bytes(unescape(line))
    done = subprocess.run([BUILD / "tests/fuzz" / f"fuzz_{name}", f"-max_total_time={SECONDS}", "-max_len=65536", "-timeout=10",
                           f"-artifact_prefix={directory}/", found, seeds], capture_output=True, text=True, check=False,
                          env={**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"})
    end = re.findall(r"#(\d+)\s+DONE\s+cov: (\d+)", done.stderr)
    if done.returncode == 0 and end:
        return f"{name}: {end[-1][0]} runs, {end[-1][1]} edges", True
    return f"{name}: see {directory}\n{done.stderr[-3000:]}", False


def main():
    names = sys.argv[3:] or sorted(f.stem for f in (HERE / "corpus").glob("*.txt"))
    good = True
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for text, is_good in pool.map(run, names):
            print(text, flush=True)
            good = good and is_good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
