#!/usr/bin/env python3
"""What the shells complete for bearerctl: its verbs, the options of each, the names that the daemon lists.

A shell that is not on the machine is skipped. Usage: test_completions.py TREE BEARERCTL
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TREE, BEARERCTL = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
COMPLETIONS = TREE / "client/completions"


def output(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, **more).stdout


class Completions(unittest.TestCase):
    def setUp(self):
        """A bearerctl that lists names without a daemon, and is itself in all else."""
        self.bin = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-completions-"))
        self.addCleanup(shutil.rmtree, self.bin)
        program = self.bin / "bearerctl"
        program.write_text(f'#!/bin/sh\n[ "$1" = list ] && {{ echo bot; echo boat; echo site; exit; }}\nexec {BEARERCTL} "$@"\n')
        program.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.bin)}
        self.verbs = set(re.findall(r"^  ([a-z]+) ", output(BEARERCTL, "--help"), re.MULTILINE)) - {"bearerctl"}
        self.assertGreater(len(self.verbs), 10)

    def bash(self, *words):
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bearerctl; printf "%s\\n" "${COMPREPLY[@]}"')
        return set(output("bash", "-c", script, "bash", str(COMPLETIONS / "bearerctl.bash"), *words, env=self.environment).split())

    def fish(self, *words):
        script = f'source {COMPLETIONS}/bearerctl.fish; complete -C "{" ".join(words)}"'
        lines = output("fish", "--no-config", "-c", script, env=self.environment).splitlines()
        return {line.split("\t")[0] for line in lines}

    def check(self, complete):
        self.assertLessEqual(self.verbs, complete("bearerctl", ""))
        self.assertEqual({w for w in complete("bearerctl", "he") if not w.startswith("-")}, {"health", "help"})
        self.assertEqual(complete("bearerctl", "get", "bo"), {"bot", "boat"})
        self.assertEqual(complete("bearerctl", "help", "sta"), {"status"})
        self.assertEqual(complete("bearerctl", "set", "--ex"), {"--expires-at"})
        self.assertEqual(complete("bearerctl", "status", "--ex"), set())

    def test_bash(self):
        self.check(self.bash)
        self.assertIn("printenv", self.bash("bearerctl", "exec", "bot", "--", "print"))

    @unittest.skipUnless(shutil.which("fish"), "NOT TESTED: there is no fish on this machine")
    def test_fish(self):
        self.check(self.fish)

    @unittest.skipUnless(shutil.which("zsh"), "NOT TESTED: there is no zsh on this machine")
    def test_zsh(self):
        """It is read without a mistake; completing takes a terminal."""
        output("zsh", "-n", str(COMPLETIONS / "_bearerctl"), env=self.environment)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
