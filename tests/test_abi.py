#!/usr/bin/env python3
"""What libbearer shows to a program: the names of bearer.map and of bearer.h, and no library but libc.

Usage: test_abi.py TREE SHARED STATIC
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TREE, SHARED, STATIC = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
LIBRARY = TREE / "client" / "libbearer"
SANITIZER = re.compile(r"lib(a|t|ub)san|libgcc_s")


def output(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True).stdout


def mapped():
    return set(re.findall(r"^\s+(bearer_\w+);", (LIBRARY / "bearer.map").read_text(), re.MULTILINE))


class Abi(unittest.TestCase):
    def test_shared(self):
        symbols = re.findall(r" [TDBRVW] (\S+)", output("nm", "-D", "--defined-only", "--with-symbol-versions", SHARED))
        self.assertEqual(set(symbols), {f"{name}@@LIBBEARER_0.1" for name in mapped()})

    def test_static(self):
        symbols = set(re.findall(r" [TDBRC] (\S+)", output("nm", "--defined-only", "--extern-only", STATIC)))
        self.assertEqual({name for name in symbols if "san" not in name}, mapped())

    def test_header(self):
        header = re.sub(r"/\*.*?\*/", "", (LIBRARY / "bearer.h").read_text(), flags=re.DOTALL)
        self.assertEqual(set(re.findall(r"\b(bearer_\w+)\(", header)) - {"bearer_callback", "bearer_watch_callback"}, mapped())

    def test_needs_libc_only(self):
        needed = re.findall(r"NEEDED\s+(\S+)", output("objdump", "-p", SHARED))
        self.assertTrue(needed)
        self.assertEqual([n for n in needed if not re.match(r"libc\.so|ld-linux", n) and not SANITIZER.match(n)], [])
        self.assertRegex(output("objdump", "-p", SHARED), r"SONAME\s+libbearer\.so\.0\n")

    def test_header_in_every_language(self):
        rows = [(cc, "c", std) for cc in ("gcc", "clang") for std in ("c99", "c11")]
        rows += [(cc, "c++", std) for cc in ("g++", "clang++") for std in ("c++11", "c++20")]
        tried = 0
        for compiler, language, standard in rows:
            if not shutil.which(compiler):
                continue
            tried += 1
            with self.subTest(compiler=compiler, standard=standard):
                subprocess.run([compiler, "-fsyntax-only", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                                f"-I{LIBRARY}", "-x", language, "-include", "bearer.h", "/dev/null"], check=True, timeout=60)
        self.assertGreater(tried, 0)

    def test_examples(self):
        """They compile as it is written there, with the shared and the static library."""
        with tempfile.TemporaryDirectory() as directory:
            for example, compiler in (("get.c", "gcc"), ("loop.c", "gcc"), ("watch.c", "gcc"), ("token.cpp", "g++")):
                for library in (SHARED, STATIC):
                    if not shutil.which(compiler):
                        continue
                    if library == STATIC and "san" in output("nm", STATIC):
                        continue
                    program = f"{directory}/program"
                    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", f"-I{LIBRARY}", "-o", program,
                                    TREE / "client" / "examples" / example, library, "-pthread"], check=True, timeout=60)
                    done = subprocess.run([program, "bot"], env={"BEARERD_SOCKET": "relative/" * 40,
                                                                 "LD_LIBRARY_PATH": str(SHARED.parent)},
                                          capture_output=True, text=True, timeout=60, check=False)
                    if "san" not in output("nm", SHARED):
                        self.assertEqual((done.returncode, done.stderr),
                                         (1, "$BEARERD_SOCKET is longer than 107 bytes\n"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
