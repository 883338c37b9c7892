#!/usr/bin/env python3
"""The rooms of the tree, and who may include whom.

Prints the include graph of daemon/ and client/ and fails on an edge that the table below does not
allow, on a header that does not compile alone, on a clock read outside base/clock.c, and on a
path of somebody's machine. Usage: test_rooms.py TREE [CC...]
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys

# Requests go down the list. A room may include itself, base/ and what stands here: a room ("sched"),
# or just one header of it ("store/store.h"), which is the seam.
PLAIN_DATA = "conf/conf.h"  # the configuration once read: no code, drags in nothing but base/
NAMES_AND_LIMITS = "client/protocol.h"  # what both ends of the socket agree on: no code either
REFUSAL = "provider/dialect.h"  # a seam; a provider's refusal is data and travels up to the answer
TRANSPORT = "http/transport.h"  # a seam: types only, handed down by main
MAY_INCLUDE = {
    "main": {"conf", "api", "policy", "broker", "sched", "provider", "http", "store",
             "hook", "service", "check", NAMES_AND_LIMITS},
    "hook": {"broker", "sched/timer.h", PLAIN_DATA},
    "check": {"conf", "provider", "http", "store/keyfile.h"},  # who diagnoses goes where requests go
    "service": {"conf", "api", "broker", "provider/scope.h"},
    "conf": set(),
    "api": {"policy", "broker", PLAIN_DATA, "conf/difference.h", NAMES_AND_LIMITS, REFUSAL,
            "conf/url.h"},  # pure functions
    "policy": {PLAIN_DATA},
    "broker": {"sched", "store/store.h", PLAIN_DATA, "conf/difference.h", NAMES_AND_LIMITS, REFUSAL, TRANSPORT,
               "provider/scope.h", "provider/pkce.h"},  # pure functions
    "sched": {"provider"},
    "provider": {TRANSPORT, PLAIN_DATA},
    "http": set(),
    "store": set(),
    "base": set(),
    "client": {"client"},
}

# Libraries that have one home each. The client links none of them: it is started in loops.
LIBRARY_ROOMS = {
    "curl/": {"http", "main"},
    "microhttpd.h": {"api"},
    "sqlite3.h": {"store"},
    "ini.h": {"conf"},
    "systemd/sd-journal.h": {"base"},
    "openssl/": {"base", "http", "provider", "store", "broker"},
}

CLOCK_READERS = {"daemon/base/clock.c", "daemon/base/log.c"}  # log.c: the time stamp of a line
CLOCK_CALL = re.compile(r"(?<![\w.>])(clock_gettime|gettimeofday|timespec_get|time)\s*\(")
MACHINE_PATH = re.compile(r"(?<![\w.~*-])/(work|root|home/\w+)/")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                             re.DOTALL)


def room_of(path):
    """daemon/api/peer.c -> api; daemon/main.c -> main; client/get.c -> client."""
    if path.parts[0] == "client":
        return "client"
    return path.parts[1] if len(path.parts) > 2 else "main"


def edge_problem(room, path, quote, name):
    """Why `path` of `room` may not include `name`, or None."""
    if room not in MAY_INCLUDE:
        return f"the room {room}/ is not in the table"
    if quote == "<":
        for library, rooms in LIBRARY_ROOMS.items():
            if name.startswith(library) and room not in rooms:
                return f"<{library}> belongs to {', '.join(sorted(rooms))}"
        return None
    if "/" not in name:
        return 'name the room: "room/file.h"'
    target = name.split("/")[0]
    if room != "client" and target in (room, "base"):
        return None
    if target in MAY_INCLUDE[room] or name in MAY_INCLUDE[room]:
        return None
    allowed = sorted({"base"} - {room} | MAY_INCLUDE[room]) if room != "client" else ["client"]
    return f"{room}/ may include {', '.join(allowed) or 'nothing of ours'}"


def without_comments_and_texts(source):
    return COMMENT_OR_TEXT.sub(lambda m: "\n" * m.group().count("\n"), source)


def clock_calls(source):
    """(line, function) of every call that reads a clock."""
    source = without_comments_and_texts(source)
    return [(source.count("\n", 0, m.start()) + 1, m.group(1)) for m in CLOCK_CALL.finditer(source)]


def includes(source):
    """(line, quote, name) of every include, commented ones left out."""
    live = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), source, flags=re.DOTALL)
    return [(live.count("\n", 0, m.start(2)) + 1, m.group(1), m.group(2))
            for m in INCLUDE.finditer(live)]


# The rules can fail: rows that must be refused (True) or let through (False).
EDGES = [
    ("api", '"', "broker/broker.h", False),
    ("api", '"', "store/store.h", True),
    ("api", '"', "http/transport.h", True),
    ("api", '"', "conf/conf.h", False),
    ("api", '"', "conf/option.h", True),
    ("broker", '"', "store/store.h", False),
    ("broker", '"', "store/sqlite.h", True),
    ("broker", '"', "api/api.h", True),
    ("broker", '"', "provider/coze.h", True),
    ("broker", '"', "http/curl.h", True),
    ("api", '"', "provider/coze.h", True),
    ("provider", '"', "http/transport.h", False),
    ("provider", '"', "http/curl.h", True),
    ("base", '"', "base/text.h", False),
    ("base", '"', "conf/conf.h", True),
    ("policy", '"', "broker/broker.h", True),
    ("client", '"', "client/wire.h", False),
    ("client", '"', "base/text.h", True),
    ("client", "<", "openssl/evp.h", True),
    ("client", "<", "json-c/json.h", False),
    ("broker", "<", "curl/curl.h", True),
    ("main", "<", "systemd/sd-journal.h", True),
    ("broker", '"', "cache.h", True),
    ("attic", '"', "base/text.h", True),
]
CLOCKS = [
    ("t = time(NULL);", True),
    ("clock_gettime(CLOCK_REALTIME, &t);", True),
    ("if (!gettimeofday (&t, NULL))", True),
    ("/* time(NULL) */", False),
    ('puts("time(s)");', False),
    ("mono_t next_time(void);", False),
    ("c->time(c->self); c.time(0);", False),
]
PATHS = [
    ('"/' + 'work/main"', True),
    ("in /" + "root/.ssh", True),
    ("/" + "home/alice/x", True),
    ("https://example.com/" + "work/", False),
    ("$HOME/" + "work/", False),
]


def check_rules():
    wrong = [row for row in EDGES if bool(edge_problem(row[0], None, row[1], row[2])) != row[3]]
    wrong += [row for row in CLOCKS if bool(clock_calls(row[0])) != row[1]]
    wrong += [row for row in PATHS if bool(MACHINE_PATH.search(row[0])) != row[1]]
    return [f"test_rooms.py itself decides wrongly about {row}" for row in wrong]


def check_includes(tree, sources, graph):
    problems = []
    for path in sources:
        room = room_of(path)
        for line, quote, name in includes((tree / path).read_text()):
            problem = edge_problem(room, path, quote, name)
            if problem:
                problems.append(f"{path}:{line}: includes {name}; {problem}")
            if quote == '"':
                graph.setdefault(room, set()).add(name.split("/")[0])
    return problems


def check_clocks(tree, sources):
    return [f"{path}:{line}: {call}() reads a clock; take a struct clock (base/clock.h)"
            for path in sources
            if path.parts[0] == "daemon" and str(path) not in CLOCK_READERS
            for line, call in clock_calls((tree / path).read_text())]


def check_machine_paths(tree):
    problems = []
    tops = [p for p in tree.iterdir()
            if p.name not in (".git", "subprojects") and not p.name.startswith("build")]
    files = [f for top in tops for f in ([top] if top.is_file() else top.rglob("*"))
             if f.is_file() and "__pycache__" not in f.parts]
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except UnicodeDecodeError:
            continue  # a corpus, not a source
        problems += [f"{file.relative_to(tree)}:{n}: the path of a machine: {line.strip()[:80]}"
                     for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    return problems


def check_headers(tree, headers, cc):
    """Every header compiles with nothing before it."""
    flags = subprocess.run(["pkg-config", "--cflags", "json-c", "libsystemd", "sqlite3", "libcurl",
                            "libmicrohttpd"], capture_output=True, text=True, check=False).stdout
    command = cc + ["-fsyntax-only", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                    f"-I{tree / 'daemon'}", f"-I{tree}", *flags.split(), "-x", "c"]

    def compile_alone(path):
        done = subprocess.run(command + ["-include", str(tree / path), "/dev/null"],
                              capture_output=True, text=True, check=False)
        return f"{path}: does not compile alone:\n{done.stderr}" if done.returncode else None

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [problem for problem in pool.map(compile_alone, headers) if problem]


def main():
    tree = pathlib.Path(sys.argv[1]).resolve()
    cc = sys.argv[2:] or ["cc"]
    sources = sorted(p.relative_to(tree) for top in ("daemon", "client")
                     for p in (tree / top).rglob("*.[ch]"))
    graph = {}
    problems = check_rules() + check_includes(tree, sources, graph)
    problems += check_clocks(tree, sources)
    problems += check_machine_paths(tree)
    problems += check_headers(tree, [p for p in sources if p.suffix == ".h"], cc)
    if not sources:
        problems.append(f"no sources below {tree}")

    for room in [r for r in MAY_INCLUDE if r in graph]:
        print(f"{room:9} -> {' '.join(sorted(graph[room] - {room}))}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
