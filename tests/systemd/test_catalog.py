#!/usr/bin/env python3
"""Every event that has a MESSAGE_ID is explained, in both languages, and stands in bearerd-systemd(7).

Usage: test_catalog.py TREE
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(sys.argv[1])
CATALOGS = ("systemd/bearerd.catalog", "systemd/bearerd.zh_CN.catalog")
ENTRY = re.compile(r"^-- ([0-9a-f]{32})\nSubject: (.+)\nDefined-By: bearerd\nDocumentation: man:bearerd-systemd\(7\)\n\n"
                   r"((?:.*\n)+?)(?=\n-- |\Z)", re.MULTILINE)


def read(name):
    return (TREE / name).read_text()


def events():
    return re.findall(r'{ "(\w+)", "([0-9a-f]+)" }', read("daemon/base/journal.c"))


def daemon():
    return "".join(f.read_text() for f in sorted((TREE / "daemon").rglob("*.c")))


def logged():
    """{event: the levels at which it is logged}; a command of a hook has a function of its own for that."""
    source = re.sub(r'"\s*\n?\s*"', "", daemon())
    found = {}
    for level, line in re.findall(r'log_(error|warning|info|debug|write)\(((?:[^;]|;(?!\n))+);\n', source):
        for name in re.findall(r"\bevent=(\w+)", line):
            found.setdefault(name, set()).add(level)
    for name in re.findall(r'command_log\(\w+, "(\w+)"', source):
        found.setdefault(name, set()).add("warning")
    return found


def entries(name):
    """{id: subject and text}"""
    return {i: subject + "\n" + text for i, subject, text in ENTRY.findall(read(name))}


class Catalog(unittest.TestCase):
    def test_ids(self):
        names, ids = zip(*events())
        self.assertGreater(len(ids), 20)
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(len(set(names)), len(names))
        for i in ids:
            self.assertRegex(i, r"^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$", "as systemd-id128 new makes them")

    def test_events_happen(self):
        """Each one is logged somewhere."""
        source = daemon()
        names = re.search(r"authorization_state_names\[\w+\] = {(.+?)};", source, re.DOTALL)[1]
        states = set(re.findall(r'"(\w+)"', names))
        for name, _ in events():
            self.assertTrue(name in logged() or re.search(rf"\bevent={name}\b", source) or
                            (name.startswith("authorization_") and name.removeprefix("authorization_") in states), name)

    def test_whatever_needs_somebody(self):
        """Each event that is logged as a warning or an error has an id, and so an explanation."""
        known = {name for name, _ in events()}
        for name, levels in logged().items():
            if levels & {"error", "warning"}:
                self.assertIn(name, known)

    def test_explained(self):
        for name in CATALOGS:
            self.assertEqual(list(entries(name)), [i for _, i in events()], name)
            self.assertEqual(len(entries(name)), read(name).count("\n-- "), name)
            for line in read(name).splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_languages(self):
        """The same fields in both."""
        english, chinese = map(entries, CATALOGS)
        for i, text in english.items():
            self.assertEqual(set(re.findall(r"@\w+@", text)), set(re.findall(r"@\w+@", chinese[i])), text)
            self.assertRegex(chinese[i], "[\u4e00-\u9fff]")

    def test_fields(self):
        """What stands between @ is a key of the lines of that event."""
        source = re.sub(r'"\s*\n?\s*"', "", daemon())
        lines = re.findall(r'log_(?:error|warning|info|debug|write)\(((?:[^;]|;(?!\n))+);\n', source)
        for name, i in events():
            about = [line for line in lines if re.search(rf"\bevent={name}\b", line)]
            for field in re.findall(r"@BEARERD_(\w+)@", entries(CATALOGS[0])[i]):
                for line in about:
                    self.assertRegex(line, rf"\b{field.lower()}=", f"{name}: {field}")

    def test_manual_page(self):
        listed = re.findall(r"^(\w+) +([0-9a-f]{32})$", read("systemd/bearerd-systemd.7.scd"), re.MULTILINE)
        self.assertEqual(listed, events())

    def test_compiles(self):
        if not shutil.which("journalctl"):
            self.skipTest("NOT TESTED: there is no journalctl on this machine")
        with tempfile.TemporaryDirectory(prefix="bearerd-catalog-") as root:
            directory = pathlib.Path(root, "usr/lib/systemd/catalog")
            directory.mkdir(parents=True)
            pathlib.Path(root, "var/lib/systemd/catalog").mkdir(parents=True)
            for name in CATALOGS:
                shutil.copy(TREE / name, directory)
            done = subprocess.run(["journalctl", f"--root={root}", "--update-catalog"], capture_output=True, text=True,
                                  timeout=60, check=True)
            self.assertEqual(done.stderr, "")
            listed = subprocess.run(["journalctl", f"--root={root}", "--list-catalog"], capture_output=True, text=True,
                                    timeout=60, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
            self.assertEqual({line.split()[0] for line in listed.splitlines()}, {i for _, i in events()})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
