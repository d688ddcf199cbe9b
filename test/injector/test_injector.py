#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The injector as a program, in volumes that are full, read-only or in use.

usage: test_injector.py INJECTOR WRAPPER    the injector, and what it was built with"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

NOBODY = 65534


class Injector(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ct-injector-")
        os.chmod(self.folder, 0o755)
        self.program = shutil.copy(PROGRAM, os.path.join(self.folder, "injector"))
        self.source = shutil.copy(WRAPPER, os.path.join(self.folder, "source"))
        self.volume = os.path.join(self.folder, "volume")
        os.mkdir(self.volume)
        os.chmod(self.volume, 0o777)
        self.target = os.path.join(self.volume, "wrapper")
        self.mounted = False

    def tearDown(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.volume], check=True)
        shutil.rmtree(self.folder)

    def mount(self, options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.volume], check=True)
        self.mounted = True

    def run_program(self, *args, **options):
        return subprocess.run([self.program] + list(args), capture_output=True, text=True,
                              check=False, timeout=20, **options)

    def copy(self, **options):
        return self.run_program(self.source, self.target, **options)

    def assert_refused(self, done, *parts):
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("[cloudtaser-injector] error: "), done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_copies(self):
        done = self.copy()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.stat(self.target).st_mode & 0o7777, 0o555)
        with open(self.source, "rb") as a, open(self.target, "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.assertEqual(os.listdir(self.volume), ["wrapper"])

    def test_copies_as_an_ordinary_user(self):
        done = self.copy(user=NOBODY, group=NOBODY, extra_groups=[])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.stat(self.target).st_uid, NOBODY)

    def test_replaces_a_program_that_runs(self):
        shutil.copy(WRAPPER, self.target)
        with subprocess.Popen([self.target], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as old:
            self.assertEqual(old.stdout.readline(), b"running\n")
            done = self.copy()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIsNone(old.poll())
            with subprocess.Popen([self.target], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) as new:
                self.assertEqual(new.stdout.readline(), b"running\n")
                new.communicate()
            old.communicate()
            self.assertEqual((old.returncode, new.returncode), (0, 0))

    def test_volume_full(self):
        self.mount("size=8k,mode=1777")
        self.assert_refused(self.copy(), "is full (ENOSPC)", self.volume, "of 8192 are free",
                            "needs %d bytes" % os.path.getsize(WRAPPER))
        self.assertEqual(os.listdir(self.volume), [])
        self.assertEqual(os.statvfs(self.volume).f_bfree, 2)

    def test_full_volume_keeps_what_it_had(self):
        self.mount("size=8k,mode=1777")
        with open(self.target, "w", encoding="ascii") as f:
            f.write("before")
        self.assert_refused(self.copy(), "is full (ENOSPC)")
        with open(self.target, encoding="ascii") as f:
            self.assertEqual(f.read(), "before")

    def test_volume_read_only(self):
        self.mount("ro")
        self.assert_refused(self.copy(), self.volume, "is mounted read-only (EROFS)")

    def test_volume_of_another_user(self):
        os.chmod(self.volume, 0o755)
        done = self.copy(user=NOBODY, group=NOBODY, extra_groups=[])
        self.assert_refused(done, self.volume, "not writable for user 65534 (EACCES)")
        self.assertEqual(os.listdir(self.volume), [])

    def test_source_missing(self):
        os.unlink(self.source)
        self.assert_refused(self.copy(), self.source, "does not exist")

    def test_source_changed(self):
        with open(self.source, "r+b") as f:
            f.seek(os.path.getsize(self.source) // 2)
            byte = f.read(1)[0]
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte ^ 1]))
        digests = [subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True)
                   .stdout.split()[0] for path in (WRAPPER, self.source)]
        self.assert_refused(self.copy(), "is not the wrapper", "SHA-256 " + digests[0],
                            "with " + digests[1])
        self.assertEqual(os.listdir(self.volume), [])

    def test_version_help_and_nonsense(self):
        done = self.run_program("--version")
        self.assertEqual((done.returncode, done.stdout.split()[0]), (0, "cloudtaser-injector"))
        self.assertEqual(self.run_program("--help").returncode, 0)
        self.assert_refused(self.run_program("--frobnicate"), "--help")
        self.assert_refused(self.run_program("a", "b", "c"), "--help")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root")
        sys.exit(1 if os.environ.get("CT_MUST_RUN") else 77)
    WRAPPER = sys.argv.pop()
    PROGRAM = sys.argv.pop()
    unittest.main()
