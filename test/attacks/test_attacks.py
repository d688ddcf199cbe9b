#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The attack programs can tell a leak from a defence: each finds the secret of an unprotected
process, and none finds it in a process that holds it in secret memory alone."""

import os
import subprocess
import sys
import tempfile
import unittest

FOLDER = sys.argv.pop(1)
SECRET = "tr0ub4dor-and-3-more-words"
OTHER = "a needle that nobody holds"
VECTORS = ["environ", "pidfd_getfd", "proc_mem", "process_vm_readv", "ptrace_peek"]


class Holder:
    def __init__(self, mode):
        self.process = subprocess.Popen([os.path.join(FOLDER, "holder"), mode],
                                        env={"SECRET": SECRET}, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def __enter__(self):
        if self.process.stdout.readline() != b"ready\n":
            raise unittest.SkipTest("this kernel has no memfd_secret")
        return self.process.pid

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def run(program, pid, *needles):
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for i, needle in enumerate(needles):
            files.append(os.path.join(folder, str(i)))
            with open(files[-1], "w", encoding="ascii") as f:
                f.write(needle + "\n")
        done = subprocess.run([os.path.join(FOLDER, program), str(pid)] + files,
                              capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Attacks(unittest.TestCase):
    def test_each_finds_the_secret_of_an_unprotected_process(self):
        with Holder("plain") as pid:
            for vector in VECTORS + ["map_files"]:
                with self.subTest(vector):
                    code, text = run("attack_" + vector, pid, SECRET)
                    self.assertEqual(code, 1, text)
                    self.assertIn("LEAKED", text)

    def test_each_finds_nothing_that_is_not_there(self):
        with Holder("plain") as pid:
            for vector in VECTORS + ["map_files"]:
                with self.subTest(vector):
                    code, text = run("attack_" + vector, pid, OTHER)
                    self.assertEqual(code, 0, text)

    def test_none_finds_what_is_in_secret_memory(self):
        with Holder("protected") as pid:
            for vector in VECTORS + ["map_files"]:
                with self.subTest(vector):
                    code, text = run("attack_" + vector, pid, SECRET)
                    self.assertEqual(code, 0, text)

    def test_memory_vectors_name_the_refused_mapping(self):
        with Holder("protected") as pid:
            for vector, cause in (("process_vm_readv", "EFAULT"), ("proc_mem", "EIO"),
                                  ("ptrace_peek", "EIO")):
                with self.subTest(vector):
                    _, text = run("attack_" + vector, pid, SECRET)
                    self.assertIn("refused (%s, /secretmem" % cause, text)

    def test_a_process_that_is_gone_is_no_success_of_a_defence(self):
        with Holder("plain") as pid:
            pass
        for vector in VECTORS:
            with self.subTest(vector):
                code, _ = run("attack_" + vector, pid, SECRET)
                self.assertNotEqual(code, 1)


class Residue(unittest.TestCase):
    def test_finds_a_copy_and_names_its_mapping(self):
        with Holder("plain") as pid:
            code, text = run("residue", pid, OTHER, SECRET)
        self.assertEqual(code, 1, text)
        self.assertIn("needle 2:", text)
        self.assertIn("[heap]", text)
        self.assertNotIn("needle 1:", text)
        self.assertNotIn(SECRET, text)

    def test_finds_none_in_secret_memory(self):
        with Holder("protected") as pid:
            code, text = run("residue", pid, SECRET, OTHER)
        self.assertEqual(code, 0, text)
        self.assertIn("0 copies of 2 needles", text)

    def test_a_needle_too_short_is_refused(self):
        with Holder("plain") as pid:
            code, text = run("residue", pid, "abc")
        self.assertEqual(code, 2)
        self.assertIn("shorter than", text)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root")
        sys.exit(1 if os.environ.get("CT_MUST_RUN") else 77)
    result = unittest.main(exit=False, verbosity=1).result
    if result.skipped and os.environ.get("CT_MUST_RUN"):
        print("skipped although CT_MUST_RUN is set")
        sys.exit(1)
    sys.exit(0 if result.wasSuccessful() else 1)
