#!/usr/bin/env python3
"""The Dockerfile, without an engine and a registry: what it copies is there, and its image has the libraries that it takes.

Usage: test_dockerfile.py TREE BEARERD BEARERCTL
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TREE = pathlib.Path(sys.argv[1])
PROGRAMS = sys.argv[2:]
TEXT = (TREE / "Dockerfile").read_text().replace("\\\n", " ")
BUILD, IMAGE = re.split(r"(?m)^FROM ", TEXT)[1:]


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Dockerfile(unittest.TestCase):
    def test_sources(self):
        copied = [word for line in re.findall(r"(?m)^COPY (.*)$", BUILD) for word in line.split()[:-1]]
        self.assertIn("daemon", copied)
        for name in copied:
            self.assertTrue((TREE / name).exists(), name)
        for directory in re.findall(r"(?m)^subdir\('(\w+)'\)", (TREE / "meson.build").read_text()):
            self.assertIn(directory, copied)

    @unittest.skipUnless(shutil.which("dpkg") and shutil.which("readelf") and pathlib.Path("/etc/debian_version").exists(),
                         "NOT TESTED: this machine is no Debian with binutils")
    def test_libraries(self):
        """What each program names is of a package of the image, of the release that this machine has."""
        packages = set(re.search(r"--no-install-recommends (.*?)&&", IMAGE).group(1).split())
        needed = {name for program in PROGRAMS for name in re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", program))}
        loaded = set(re.findall(r'#define \w+_LIBRARY "(.*)"', (TREE / "client/qr.c").read_text()))
        self.assertIn("libmicrohttpd.so.12", needed)
        self.assertEqual(len(loaded), 1)
        names = [n for n in needed | loaded if not n.startswith(("libasan", "libubsan", "ld-linux", "libc.so"))]
        owners = {line.split(":")[0] for line in output("dpkg", "-S", *(f"*/{name}" for name in names)).splitlines()}
        self.assertEqual(packages - {"ca-certificates"}, owners)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
