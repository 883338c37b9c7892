#!/usr/bin/env python3
"""Everything that bearerctl says to people can be said in each language of client/po/.

Each sentence of the sources is marked, each marked one is translated, with the formats of the original, and no translation
is left of what is not said any more. Usage: test_messages.py TREE
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TREE = pathlib.Path(sys.argv[1]).resolve()
PO = TREE / "client" / "po"
MARKS = {"_", "N_"}  # what goes through the catalogue
PRINTERS = {"say", "puts", "printf", "fputs"}  # what writes to people
MAKERS = {"snprintf", "strcpy", "stpcpy"}  # what makes something of it before
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|^[ \t]*#[^\n]*(?:\\\n[^\n]*)*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
                   r'|[A-Za-z_]\w*|\S', re.DOTALL | re.MULTILINE)
LITERAL = r'"((?:\\.|[^"\\])*)"'
SENTENCE = re.compile(r"[A-Za-z][a-z']+,? [a-z]{2,}")  # two words
FORMAT = re.compile(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|j|z|t)?[a-zA-Z]|\\[a-z]|\\033\S+")

COMMAND = re.compile(r"\bbearerctl( [a-z]+)?| --[a-z-]+")

SILENT = {"client/events.c", "client/wire.c"}  # they speak HTTP, to the daemon

# Words, but for programs, or the same in each language.
FOR_PROGRAMS = {
    "client/ask.c": {"; logid ", "no credential is called", "nothing to forget", "of type"},  # of the daemon
    "client/bearerctl.c": {"NAME -- COMMAND...", " [OPTION...]"},
    "client/diagnosis.c": {"connector app should bind", "invalid app type", "verify jwt empty",  # as Coze says it
                           "permission denied"},
}


def unescape(text):
    simple = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda m: simple.get(m[1], m[0]), text)


def texts(source):
    """(line, text, the names of the calls it stands in, innermost first) of all string literals; neighbours are one."""
    found, calls, before = [], [], ""
    for match in TOKEN.finditer(source):
        token = match[0]
        if token.startswith(("/*", "//")) or token.lstrip().startswith("#"):
            continue
        if token.startswith('"'):
            if before.startswith('"'):
                line, text, inside = found.pop()
            else:
                line, text, inside = source.count("\n", 0, match.start()) + 1, "", tuple(reversed(calls))
            found.append((line, text + unescape(token[1:-1]), inside))
        elif token in "([{":
            calls.append(before if token == "(" else token)
        elif token in ")]}" and calls:
            calls.pop()
        before = token
    return found


def is_for_people(text, calls):
    bare = COMMAND.sub("", FORMAT.sub("", text))
    if SENTENCE.search(bare):
        return True
    called = calls[0] if calls else None
    return bool(called in PRINTERS and re.search("[A-Za-z]{2}", bare) or
                called in MAKERS and re.search(r"(?<![\w/])[a-z]{3,}(?![\w/\"])", bare))


class Source(unittest.TestCase):
    """The scan itself."""

    def test_scan(self):
        self.assertEqual(texts('say(_("a \\"b\\"\\n" /* "c" */\n    "d"), f(x, "e"));\n#include "g"\n'),
                         [(1, 'a "b"\nd', ("_", "say")), (2, "e", ("f", "say"))])
        self.assertEqual(texts("int c = '\"'; t[] = { N_(\"x\") };"), [(1, "x", ("N_", "{"))])

    def test_what_is_for_people(self):
        for text, calls, expected in (("the daemon is back", ("say",), True), ("ready", ("puts",), True),
                                      ("%s: %s\n", ("say",), False), ("pending", ("ask_is",), False),
                                      ("cannot wait", (), True), ("%-9s ", ("printf",), False),
                                      (", ends %s", ("snprintf",), True), ("%s_%s", ("snprintf",), False),
                                      ("bearerctl set %s", ("printf",), False), ("state", ("strcpy",), True)):
            self.assertEqual(is_for_people(text, calls), expected, text)


def sources():
    return sorted(f for f in (TREE / "client").glob("*.c"))


def marked():
    """{msgid: "file:line"}"""
    return {text: f"{file.relative_to(TREE)}:{line}" for file in sources() for line, text, calls in texts(file.read_text())
            if calls and calls[0] in MARKS}


def entries(catalogue):
    """(msgid, msgstr, is it fuzzy or obsolete) of each entry but the first."""
    for block in re.split(r"\n\s*\n", catalogue.read_text()):
        live = re.sub(r"^#~ ?", "", block, flags=re.MULTILINE)
        parts = {}
        for name, lines in re.findall(rf"^(msg\w+)(?:\[\d\])? ((?:{LITERAL.replace('(', '(?:', 1)}\s*)+)", live, re.MULTILINE):
            parts[name] = unescape("".join(re.findall(LITERAL, lines)))
        if parts.get("msgid"):
            yield parts["msgid"], parts.get("msgstr", ""), bool(re.search(r"^#(~|,.*fuzzy)", block, re.MULTILINE))


class Sentences(unittest.TestCase):
    def test_all_are_marked(self):
        for file in sources():
            name = str(file.relative_to(TREE))
            if name in SILENT:
                continue
            for line, text, calls in texts(file.read_text()):
                if not (calls and calls[0] in MARKS) and is_for_people(text, calls):
                    with self.subTest(text=text):
                        self.assertIn(text, FOR_PROGRAMS.get(name, ()),
                                      f"{name}:{line}: mark it with _(), and translate it in client/po/")

    def test_exceptions_are_needed(self):
        for name, exceptions in FOR_PROGRAMS.items():
            self.assertLessEqual(exceptions, {text for _, text, _ in texts((TREE / name).read_text())}, name)

    def test_files_are_listed(self):
        listed = (PO / "POTFILES").read_text().split()
        self.assertEqual(listed, sorted(listed))
        self.assertEqual(set(listed), {place.split(":")[0] for place in marked().values()})


def literals(source):
    """Texts, with the macros that stand between their parts."""
    for name, text in re.findall(r'^#define (\w+)(?: +|\s*\\\n\s*)"([^"]*)"$', source, re.MULTILINE):
        source = re.sub(rf"\b{name}\b", lambda m, text=text: f'"{text}"', source)
    return {text for _, text, _ in texts(source)}


class Advice(unittest.TestCase):
    """What the daemon advises about refusals, client/advice.c knows."""

    def test_all_is_known(self):
        source = (TREE / "daemon" / "provider" / "coze_refusal.c").read_text()
        advised = {text for text in literals(source) if len(text) > 36 and SENTENCE.search(text)}
        known = {text for _, text, calls in texts((TREE / "client" / "advice.c").read_text()) if calls[:1] == ("N_",)}
        self.assertGreater(len(advised), 20)
        self.assertEqual(advised, known, "the sentences differ")

    def test_clock(self):
        beginning = re.search(r'^#define ADVICE_CLOCK "([^"]+)"', (TREE / "client" / "advice.c").read_text(), re.MULTILINE)[1]
        source = (TREE / "daemon" / "provider" / "coze_answer.c").read_text()
        self.assertTrue(any(text.startswith(beginning) for text in literals(source)))


class Mistakes(unittest.TestCase):
    """What client/mistake.c knows, the daemon says of configurations."""

    def test_is_said(self):
        files = [*sorted((TREE / "daemon" / "conf").glob("*.[ch]")), TREE / "daemon/base/file.c", TREE / "daemon/base/key.c"]
        said = "\0".join(FORMAT.sub(what, text.replace("%%", "\1")).replace("\1", "%") for what in ("\0", "user", "group")
                         for f in files for text in literals(f.read_text()))
        known = [text for _, text, calls in texts((TREE / "client" / "mistake.c").read_text()) if calls[:1] == ("N_",)]
        self.assertGreater(len(known), 50)
        for text in known:
            for part in re.split(r"\{\d\}|; |: ", text):  # what is put together of parts
                if re.search("[a-z]{3}", part):
                    self.assertTrue(part in said, f"{text}: the daemon does not say so any more: {part}")


class Units(unittest.TestCase):
    """Why a unit is unknown, client/verb_explain.c knows as the daemon says it."""

    def test_all_is_known(self):
        source = (TREE / "daemon" / "policy" / "peer.c").read_text()
        reasons = source[source.index("peer_unit_reasons["):]
        said = {text for _, text, _ in texts(reasons[:reasons.index("};")])}
        self.assertGreater(len(said), 3)
        self.assertLessEqual(said, set(marked()), "the sentences differ")


class Catalogues(unittest.TestCase):
    maxDiff = None

    def each(self):
        catalogues = sorted(PO.glob("*.po"))
        self.assertTrue(catalogues)
        return catalogues

    def test_complete(self):
        wanted = marked()
        self.assertGreater(len(wanted), 100)
        for catalogue in self.each():
            translated = {msgid: msgstr for msgid, msgstr, _ in entries(catalogue)}
            self.assertEqual([f"{place}: {text}" for text, place in wanted.items() if not translated.get(text)], [],
                             f"not translated in {catalogue.name}")
            self.assertEqual([msgid for msgid in translated if msgid not in wanted], [], f"{catalogue.name}: not said any more")
            self.assertEqual([msgid for msgid, _, unfit in entries(catalogue) if unfit], [],
                             f"{catalogue.name}: fuzzy or obsolete")

    def test_formats(self):
        if not shutil.which("msgfmt"):
            self.skipTest("NOT TESTED: there is no msgfmt (gettext) on this machine")
        for catalogue in self.each():
            done = subprocess.run(["msgfmt", "--check", "--output-file=/dev/null", catalogue], capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_members(self):
        """{host}, of a fact (client/diagnosis.c), stands in both languages."""
        members = re.compile(r"\{\w+\}")
        for catalogue in self.each():
            self.assertEqual([msgid for msgid, msgstr, _ in entries(catalogue)
                              if set(members.findall(msgid)) != set(members.findall(msgstr))], [])

    def test_formats_are_checked(self):
        """msgfmt compares only what is called a format."""
        for catalogue in self.each():
            blocks = re.split(r"\n\s*\n", catalogue.read_text())
            for block in blocks[1:]:
                if FORMAT.search(block.split("msgstr")[0].replace("\\n", "")):
                    self.assertRegex(block, "(?m)^#, .*c-format", block)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
