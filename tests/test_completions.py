#!/usr/bin/env python3
"""What the shells complete for bearerctl: its verbs, the options of each, the names that the daemon lists.

A shell that is not on the machine is skipped. Usage: test_completions.py TREE BEARERCTL
"""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

TREE, BEARERCTL = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
LIMIT_S = 20
COMPLETIONS = TREE / "client/completions"


# Notes what is offered before zsh itself takes it; Ctrl-X is the end.
ZSHRC = """
fpath=({completions} $fpath)
autoload -Uz compinit && compinit -u -C -d {completions_dump}
compadd() {{
        local -a hits
        builtin compadd -A hits "$@"
        print -rl -- $hits >>{offered}
        builtin compadd "$@"
}}
leave() {{ exit }}
zle -N leave
bindkey '^X' leave
PROMPT='ready> '
"""


def output(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True, **more).stdout


class Completions(unittest.TestCase):
    def setUp(self):
        """A bearerctl that lists names without a daemon, and is itself in all else."""
        self.bin = pathlib.Path(tempfile.mkdtemp(prefix="bearerd-completions-"))
        self.addCleanup(shutil.rmtree, self.bin)
        program = self.bin / "bearerctl"
        program.write_text(f'#!/bin/sh\n[ "$1 $2" != "--socket /hangs" ] || exec sleep 100\n[ "$1" != --socket ] || shift 2\n[ "$1" = list ] && {{ echo bot; echo boat; echo site; exit; }}\n'
                           f'[ "$1" = authorizations ] && {{ printf "ID CREDENTIAL\\nabcd bot\\nabce bot\\nxyz site\\n"; exit; }}\n'
                           f'exec {BEARERCTL} "$@"\n')
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
        self.assertEqual(complete("bearerctl", "status", "bot", "--sub"), {"--subjects"})
        self.assertEqual(complete("bearerctl", "authorizations", "--cancel", "abc"), {"abcd", "abce"})
        self.assertEqual(complete("bearerctl", "--socket", "/nowhere", "get", "si"), {"site"})
        for words in (["get", "bot", "b"], ["get", "--subject", "b"], ["health", "b"], ["list", "b"]):
            self.assertEqual(complete("bearerctl", *words), set(), words)
        self.assertEqual(complete("bearerctl", "get", "--subject", "x", "--min-ttl", "5s", "bo"), {"bot", "boat"})
        for before in [], ["--"]:
            self.assertIn("printenv", complete("bearerctl", "exec", "bot", *before, "print"))
        for words in (["--socket"], ["check"], ["rekey"], ["get", "bot", "--socket"]):
            found = complete("bearerctl", *words, str(self.bin / "bearer"))
            self.assertIn("bearerctl", {pathlib.Path(file).name for file in found}, words)
        # a daemon that hangs does not hold up the shell
        self.assertEqual(complete("bearerctl", "--socket", "/hangs", "get", "s"), set())
        self.environment.update(LANG="zh_CN.UTF-8")
        self.assertEqual(complete("bearerctl", "relo"), {"reload"})
        self.assertEqual(complete("bearerctl", "get", "--re"), {"--rejected"})

    def test_bash(self):
        self.check(self.bash)

    @unittest.skipUnless(shutil.which("fish"), "NOT TESTED: there is no fish on this machine")
    def test_fish(self):
        self.check(self.fish)

    def zsh(self, *words):
        """Types the words and a tab at a terminal, and looks at what is offered."""
        offered = self.bin / "offered"
        offered.write_text("")
        (self.bin / ".zshrc").write_text(ZSHRC.format(completions=COMPLETIONS, completions_dump=self.bin / "dump", offered=offered))
        process, terminal = pty.fork()
        if process == 0:
            os.execvpe("zsh", ["zsh", "-d", "-i"], {**self.environment, "ZDOTDIR": str(self.bin), "TERM": "xterm"})
        screen, typed = b"", False
        try:
            while select.select([terminal], [], [], LIMIT_S)[0]:
                screen += os.read(terminal, 65536)
                if b"ready> " in screen and not typed:
                    os.write(terminal, " ".join(words).encode() + b"\t\x18")
                    typed = True
            self.fail(f"zsh does not end: {screen}")
        except OSError:  # EIO: it has ended
            pass
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(terminal)
        return set(offered.read_text().split())

    @unittest.skipUnless(shutil.which("zsh"), "NOT TESTED: there is no zsh on this machine")
    def test_zsh(self):
        self.check(self.zsh)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
