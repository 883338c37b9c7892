#!/usr/bin/env python3
"""What a newcomer reads is true, in both languages.

README.md and README.zh-CN.md have the same sections, tables, commands and names; whatever they name exists: files,
options, keys, calls, errors. The manual pages build, without a warning, and name all that there is to name.

Usage: test_readme.py TREE BEARERD BEARERCTL
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TREE, BEARERD, BEARERCTL = (pathlib.Path(a) for a in sys.argv[1:4])
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
READMES = (ENGLISH, CHINESE)
PAGES = {"bearerd(8)": "daemon/bearerd.8.scd", "bearerd.conf(5)": "daemon/conf/bearerd.conf.5.scd",
         "bearerctl(1)": "client/bearerctl.1.scd", "libbearer(3)": "client/libbearer/libbearer.3.scd",
         "bearerd-systemd(7)": "systemd/bearerd-systemd.7.scd"}

# Each manual page there is: those that the readmes name, and those that these name.
EVERY_PAGE = {re.sub(r"\.(\d)\.scd$", r"(\1)", file.name): str(file.relative_to(TREE))
              for room in ("client", "daemon", "systemd") for file in sorted((TREE / room).rglob("*.scd"))}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
COMMENT = re.compile(r"\s+# .*$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

# Written as if they were names of ours, but they are the SDKs', the provider's or other programs' own.
FOREIGN = {"libbearer", "ssh-agent", "chmod", "fingerprint", "docker"}


def read(name):
    return (TREE / name).read_text()


def output(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True).stdout


def prose(text):
    return FENCE.sub("", text)


def blocks(text):
    return [(language, COMMENT.sub("", body)) for language, body in FENCE.findall(text)]


def sections(text):
    """The text below each heading."""
    return re.split(r"^#+ .*$", prose(text), flags=re.MULTILINE)


def shell_lines(text):
    """Commands: those of the shell blocks, and those in the text."""
    lines = [line for language, body in blocks(text) if language == "sh" for line in body.splitlines()]
    return lines + SPAN.findall(prose(text))


def sources(*globs):
    return "\n".join(f.read_text() for glob in globs for f in sorted(TREE.glob(glob)))


def configuration_keys():
    """Section: its keys, as conf/bearerd.conf has them."""
    keys, section = {}, None
    for line in read("conf/bearerd.conf").splitlines():
        if match := re.match(r"#?\[(\w+)( \w+)?\]$", line):
            section = keys.setdefault(match[1], set())
        elif (match := re.match(r"#?(\w+) =", line)) and section is not None:
            section.add(match[1])
    return keys


def routes():
    """{("GET", "/v1/token/NAME"), ("DELETE", "/v1/authorizations/ID"), ...} of daemon/api/route.c."""
    found = re.findall(r'{ "([A-Z]+)", "(/[^"]*)", RIGHT', read("daemon/api/route.c"))
    return {(method, path.replace("*", "NAME").replace("#", "ID")) for method, path in found}


def errors():
    """What `error` may be, as far as anything in the daemon says it."""
    api = sources("daemon/api/*.c")
    words = re.findall(r"#define (PROTOCOL_[A-Z_]+) +\"([a-z_]+)\"", read("client/protocol.h"))
    return {word for name, word in words if re.search(rf"\b{name}\b", api)}


def options(program, *words):
    """The options that a help text lists."""
    lists = re.findall(r"^  ((?:--[a-z-]+(?:, )?)+)", output(program, *words), re.MULTILINE)
    return set(OPTION.findall(" ".join(lists)))


def verbs():
    return set(re.findall(r"^  ([a-z]+) ", output(BEARERCTL, "--help"), re.MULTILINE)) - {"bearerctl"}


class Languages(unittest.TestCase):
    """Both say the same."""

    def setUp(self):
        self.texts = [read(name) for name in READMES]

    def test_headings(self):
        levels = [[level for level, _ in HEADING.findall(FENCE.sub("", text))] for text in self.texts]
        self.assertGreater(len(levels[0]), 8)
        self.assertEqual(*levels)

    def test_blocks(self):
        found = [blocks(text) for text in self.texts]
        self.assertGreater(len(found[0]), 8)
        self.assertEqual(*found)

    def test_names(self):
        """Section by section, the same names in `...`."""
        for english, chinese in zip(*map(sections, self.texts)):
            self.assertEqual(set(SPAN.findall(english)), set(SPAN.findall(chinese)), english[:200])

    def test_tables_and_lists(self):
        for start in (r"\|", "- "):
            counts = [[len(re.findall(rf"^{start}", section, re.MULTILINE)) for section in sections(text)]
                      for text in self.texts]
            self.assertGreater(sum(counts[0]), 5)
            self.assertEqual(*counts)

    def test_links(self):
        english, chinese = ([link for link in LINK.findall(text) if link not in READMES] for text in self.texts)
        self.assertGreater(len(english), 5)
        self.assertEqual(english, chinese)

    def test_numbers(self):
        """Status codes, lifetimes, exit codes: what is a number in one language is that in the other."""
        for english, chinese in zip(*map(sections, self.texts)):
            numbers = [sorted(set(re.findall(r"(?<![\w.])\d+(?![\w.])", SPAN.sub("", LINK.sub("", s)))))
                       for s in (english, chinese)]
            self.assertEqual(*numbers, english[:200])

    def test_chinese_emphasis(self):
        """Markdown does not end **emphasis。**文 there: the mark has to stand outside."""
        self.assertEqual(re.findall(r"[。，：；]\*\*\w", self.texts[1]), [])


class Names(unittest.TestCase):
    """Whatever they name exists."""

    def each(self):
        return map(read, READMES)

    def test_links_resolve(self):
        for text in self.each():
            for link in LINK.findall(text):
                if not re.match(r"https?:", link):
                    self.assertTrue((TREE / link).exists(), link)

    def test_scripts(self):
        for text in self.each():
            found = {line.split()[0] for line in shell_lines(text) if line.startswith("./")}
            self.assertEqual(found, {"./quickstart", "./runtests"})
            for script in found:
                self.assertTrue((TREE / script).stat().st_mode & 0o100, script)
            for line in shell_lines(text):
                if line.startswith("./quickstart"):
                    for option in OPTION.findall(line):
                        self.assertIn(f"{option})", read("quickstart"))

    def test_options(self):
        """Each option and verb behind one of our programs is one of its own."""
        for text in self.each():
            seen = set()
            for line in shell_lines(text):
                for command in re.split(r"\s*[|&;]\s*", line.split(" -- ")[0]):
                    program, *words = command.split() or [""]
                    if program == "bearerd":
                        known = options(BEARERD, "--help")
                    elif program == "bearerctl" and words:
                        self.assertIn(words[0], verbs(), line)
                        known = options(BEARERCTL, "help", words[0])
                    else:
                        continue
                    used = set(OPTION.findall(command))
                    self.assertLessEqual(used, known, line)
                    seen |= used
            self.assertLessEqual({"--user", "--header", "--expires-at"}, seen, "this test sees what it is about")

    def test_bare_options(self):
        known = options(BEARERD, "--help").union(*(options(BEARERCTL, "help", verb) for verb in verbs()))
        for text in self.each():
            bare = {span for span in SPAN.findall(prose(text)) if span.startswith("--")}
            self.assertTrue(bare)
            self.assertLessEqual(bare, known)

    def test_configuration(self):
        keys = configuration_keys()
        self.assertGreater(sum(map(len, keys.values())), 40)
        for text in self.each():
            examples = [body for _, body in blocks(text) if re.search(r"^\[\w+ \w+\]$", body, re.MULTILINE)]
            self.assertEqual(len(examples), 2)
            for example in examples:
                section = None
                for line in example.splitlines():
                    if match := re.match(r"\[(\w+) \w+\]$", line):
                        self.assertIn(match[1], keys)
                        section = keys[match[1]]
                    elif match := re.match(r"(\w+) = ", line):
                        self.assertIn(match[1], section, line)

    def test_words(self):
        """snake_case and single words in `...`: keys, types, errors, members of the API."""
        known = set(re.findall(r"\w+", sources("conf/bearerd.conf", "client/protocol.h", "daemon/**/*.[ch]")))
        for text in self.each():
            words = [span for span in SPAN.findall(prose(text)) if re.fullmatch(r"[a-z_]+=?", span)]
            self.assertGreater(len(words), 40)
            for word in words:
                self.assertTrue(word.rstrip("=") in known | FOREIGN, word)

    def test_calls(self):
        for text in self.each():
            calls = {tuple(span.split()) for span in SPAN.findall(prose(text)) if re.match(r"[A-Z]+ /", span)}
            self.assertEqual(calls, routes())

    def test_types(self):
        source = read("daemon/conf/option.c")
        types = set(re.findall(r'\[CREDENTIAL_\w+\] = "(\w+)"', source))
        for text in self.each():
            self.assertEqual(set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) - {"type"}, types)

    def test_manual_pages(self):
        for text in self.each():
            self.assertEqual(set(re.findall(r"`([\w.-]+\(\d\))`", text)), set(PAGES))

    def test_paths(self):
        """Paths on a machine that the two readmes promise are those of the manual pages."""
        pages = "".join(map(read, PAGES.values()))
        for text in self.each():
            for span in SPAN.findall(prose(text)):
                if span.startswith(("/etc/", "/run/", "/var/")):
                    self.assertIn(span, pages)


class ManualPages(unittest.TestCase):
    def text(self, page):
        return output("sh", "-c", f"scdoc <'{TREE / EVERY_PAGE[page]}'")

    def setUp(self):
        if not shutil.which("scdoc"):
            self.skipTest("NOT TESTED: there is no scdoc on this machine")

    def test_build(self):
        for page in EVERY_PAGE:
            with self.subTest(page=page):
                name, section = page.rstrip(")").split("(")
                self.assertRegex(self.text(page), rf'(?m)^\.TH "{re.escape(name)}" "{section}"')

    def test_no_warning_of_man(self):
        if not shutil.which("man"):
            self.skipTest("NOT TESTED: there is no man on this machine")
        for page in EVERY_PAGE:
            for width in ("80", "120"):
                with self.subTest(page=page, width=width):
                    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", "-"],
                                          input=self.text(page), capture_output=True, text=True, timeout=60, check=True,
                                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": width})
                    self.assertEqual(done.stderr, "")
                    self.assertTrue(done.stdout)

    def test_no_warning_of_mandoc(self):
        if not shutil.which("mandoc"):
            self.skipTest("NOT TESTED: there is no mandoc on this machine")
        scdocs_own = re.compile("paragraph macro: PP|tab in filled text")
        for page in EVERY_PAGE:
            with self.subTest(page=page):
                done = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=self.text(page), capture_output=True,
                                      text=True, timeout=60, check=False)
                said = (done.stdout + done.stderr).splitlines()
                self.assertEqual([line for line in said if not scdocs_own.search(line)], [])

    def test_see_also(self):
        """Each page names the others."""
        for page, file in PAGES.items():
            named = set(re.findall(r"\*([\w.-]+)\*(\(\d\))", read(file)))
            self.assertLessEqual({*PAGES} - {page}, {name + section for name, section in named}, page)

    def test_every_page_is_reached(self):
        self.assertLessEqual(set(PAGES.items()), set(EVERY_PAGE.items()))
        reached = {page for text in map(read, PAGES.values()) for page in re.findall(r"\*([\w.-]+)\*\(\d\)", text)}
        self.assertLessEqual({page.split("(")[0] for page in EVERY_PAGE}, reached)

    def test_bearerd_options(self):
        self.assertEqual(set(re.findall(r"^\*(?:-\w\*, \*)?(--[a-z-]+)\*", read(PAGES["bearerd(8)"]), re.MULTILINE)),
                         options(BEARERD, "--help"))

    def test_bearerd_calls(self):
        calls = re.findall(r"\*([A-Z]+) (/[\w/]*)\*(?:_(NAME|ID)_)?(?:\*(/\w+)\*)?", read(PAGES["bearerd(8)"]))
        self.assertEqual({(method, "".join(path)) for method, *path in calls}, routes())

    def test_bearerd_parameters(self):
        listed = set(re.findall(r"^\t(?:\t)?_(\w+)_$", read(PAGES["bearerd(8)"]), re.MULTILINE))
        source = read("daemon/api/token.c")
        table = source[source.index("token_parameters[] = {"):]
        parameters = set(re.findall(r'{ "(\w+)", token_set', table[:table.index("};")]))
        self.assertGreater(len(parameters), 3)
        self.assertEqual(listed, parameters | {"duration_seconds", "scope", "session_context"})

    def test_bearerd_errors(self):
        named = re.findall(r"^\*(\d{3})\* _(\w+)_$", read(PAGES["bearerd(8)"]), re.MULTILINE)
        self.assertEqual({word for _, word in named}, errors())
        for text in map(read, READMES):
            rows = re.findall(r"^\| ([\d、, ]+) \| (`[^|]+) \|", text, re.MULTILINE)
            table = {(status, word) for codes, words in rows
                     for status in re.findall(r"\d+", codes) for word in SPAN.findall(words)}
            self.assertGreater(len(table), 9)
            self.assertLessEqual(table, set(named))

    def test_problems(self):
        """What bearerd --diagnose has words for, and what bearerctl check knows to say about them."""
        page = read(PAGES["bearerd(8)"])
        table = dict(re.findall(r"^_(\w+)_\n\t([\w, ]+)$", page[page.index("# DIAGNOSIS"):], re.MULTILINE))
        listed = {(check, word) for check, words in table.items() for word in words.split(", ")}
        said = set(re.findall(r'^ {8}{ "(\w+)", "(\w+)",', read("client/diagnosis.c"), re.MULTILINE))
        said = {(check, word) for check, word in said if check != "daemon"}
        self.assertGreater(len(said), 30)
        self.assertEqual(said - listed, set())
        names = read("daemon/http/probe.c")
        steps = set(re.findall(r'\] = "(\w+)"', names[names.index("probe_problem_names["):names.index("};")])) - {"none"}
        self.assertLessEqual(steps, {word for check, word in listed if check in ("name", "connection", "tls", "answer")})

    def test_causes(self):
        source = read("client/diagnosis.c")
        rules = source[source.index("} rules[] = {"):source.index("static bool said(")]
        ids = set(re.findall(r'(?:\d|[A-Z]), "([a-z_]+)",', rules)) | {"advice"}
        self.assertGreater(len(ids), 25)
        page = read(PAGES["bearerctl(1)"])
        listed = page[page.index("The causes are"):]
        self.assertEqual(set(re.findall(r"_([a-z_]+)_", listed[:listed.index(".\n")])), ids)

    def test_bearerctl_verbs(self):
        named = set(re.findall(r"^\*([a-z]+)\*(?: [_\[\*]|$)", read(PAGES["bearerctl(1)"]), re.MULTILINE))
        self.assertLessEqual(verbs(), named)


class Changelog(unittest.TestCase):
    def test_this_version(self):
        version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
        self.assertEqual(output(BEARERD, "--version"), f"bearerd {version}\n")
        newest = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)[1]
        self.assertEqual(newest, version)

    def test_verbs(self):
        self.assertLessEqual(verbs() - {"help"}, set(" ".join(SPAN.findall(read("CHANGELOG.md"))).split()))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
