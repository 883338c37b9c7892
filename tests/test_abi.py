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
            found = sorted((TREE / "client" / "examples").glob("*.c*"))
            self.assertGreater(len(found), 5)
            for example in found:
                compiler = "g++" if example.suffix == ".cpp" else "gcc"
                for library in (SHARED, STATIC):
                    if not shutil.which(compiler):
                        continue
                    if library == STATIC and "san" in output("nm", STATIC):
                        continue
                    program = f"{directory}/program"
                    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", f"-I{LIBRARY}", "-o", program,
                                    example, library, "-pthread"], check=True, timeout=60)
                    arguments = {"options": ["bot", "alice", "7361"], "threads": ["bot", "alice"]}.get(example.stem, ["bot"])
                    done = subprocess.run([program, *arguments], env={"BEARERD_SOCKET": "relative/" * 40,
                                                                 "LD_LIBRARY_PATH": str(SHARED.parent)},
                                          capture_output=True, text=True, timeout=60, check=False)
                    if "san" not in output("nm", SHARED):
                        self.assertEqual((done.returncode, done.stderr),
                                         (1, "$BEARERD_SOCKET is longer than 107 bytes\n"))


    def test_loaded_and_unloaded(self):
        """A thread that used it and ends after dlclose() still finds what wipes its tokens."""
        if not shutil.which("gcc") or "san" in output("nm", SHARED):
            self.skipTest("NOT TESTED: needs gcc, and a build without sanitizers")
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "load.c").write_text(LOADER)
            subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", f"-I{LIBRARY}", "-pthread", "-o", f"{directory}/load",
                            f"{directory}/load.c", "-ldl"], check=True, timeout=60)
            subprocess.run([f"{directory}/load", SHARED], check=True, timeout=60)

    def test_all_static(self):
        if not shutil.which("gcc") or "san" in output("nm", STATIC):
            self.skipTest("NOT TESTED: needs gcc, and a build without sanitizers")
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(["gcc", "-static", "-Wall", "-Wextra", "-Werror", f"-I{LIBRARY}", "-o", f"{directory}/get",
                                   TREE / "client" / "examples" / "get.c", STATIC, "-pthread"], capture_output=True, text=True,
                                  timeout=60, check=False)
            if "cannot find -lc" in done.stderr:
                self.skipTest("NOT TESTED: there is no static libc on this machine")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = subprocess.run([f"{directory}/get", "bot"], env={"BEARERD_SOCKET": "relative/" * 40}, capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (1, "$BEARERD_SOCKET is longer than 107 bytes\n"))

    def test_pages(self):
        """Each function is in the synopsis of one page, as the header has it."""
        def declarations(text):
            text = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
            return {re.sub(r"\s*([*(),])\s*", r"\1", found)
                    for found in re.findall(r"(?:const )?(?:int64_t|int|char|struct \w+)[ *]+bearer_\w+\([^;]*\);", text)}

        pages = []
        for page in sorted(LIBRARY.glob("*.scd")):
            synopsis = page.read_text().split("# SYNOPSIS")[1].split("# DESCRIPTION")[0]
            synopsis = synopsis.replace("\\_", "\0").replace("\\*", "\1")
            pages.append(declarations(re.sub(r"[*]|(?<!\w)_|_(?!\w)|[+]{2}", "", synopsis)
                                      .replace("\0", "_").replace("\1", "*")))
        header = declarations((LIBRARY / "bearer.h").read_text())
        self.assertEqual(len(header), len(mapped()))
        self.assertEqual(sorted(sum(map(list, pages), [])), sorted(header))

    def test_pages_by_name(self):
        """man finds each function."""
        build = (LIBRARY / "meson.build").read_text()
        listed = re.findall(r"^        '(\w+)': \[(.*?)\]", build, re.MULTILINE | re.DOTALL)
        self.assertEqual({page for page, _ in listed}, {file.name.split(".")[0] for file in LIBRARY.glob("*.scd")})
        for page, names in listed:
            names = {*re.findall(r"'(\w+)'", names), page} - {"libbearer", "bearer_request", "bearer_token"}
            text = (LIBRARY / f"{page}.3.scd").read_text()
            self.assertEqual(names, set(re.findall(r"\*(bearer_\w+)\*\(", text.split("# DESCRIPTION")[0]))
                             - {"bearer_callback", "bearer_watch_callback"})


LOADER = r"""
#include <bearer.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static pthread_barrier_t used, closed;
static void *library;

static void *use(void *arg) {
        __typeof__(bearer_new) *make = (__typeof__(bearer_new) *) dlsym(library, "bearer_new");
        struct bearer *client;

        if (!make || make(&client, "") != -EINVAL)
                arg = NULL;
        pthread_barrier_wait(&used);
        pthread_barrier_wait(&closed);
        return arg;
}

int main(int argc, char **argv) {
        void *result = NULL;
        pthread_t thread;

        library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
        if (!library)
                return 2;
        pthread_barrier_init(&used, NULL, 2);
        pthread_barrier_init(&closed, NULL, 2);
        if (pthread_create(&thread, NULL, use, argv) != 0)
                return 3;
        pthread_barrier_wait(&used);
        dlclose(library);
        pthread_barrier_wait(&closed);
        pthread_join(thread, &result);
        return result ? 0 : 4;
}
"""


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
