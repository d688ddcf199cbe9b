# SPDX-License-Identifier: Apache-2.0
"""The aarch64 programs under QEMU's user emulation, which knows neither memfd_secret nor ptrace: the
score says so, and what is refused is refused with a sentence."""

import hashlib
import os
import pathlib
import struct
import subprocess
import unittest

import certs
import world

QEMU = "/usr/bin/qemu-aarch64-static"
NO_AGENT = "FAIL (+0) no agent on this node"
AARCH64, PT_LOAD, PT_DYNAMIC, PT_INTERP, DT_TEXTREL = 183, 1, 2, 3, 22
PAGE_MAX = 65536  # of aarch64 kernels


def segments(elf):
    """(type, offset, size in the file, alignment) of each."""
    offset, entry, count = *struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, start, _, _, size, _, align = struct.unpack_from("<IIQQQQQQ", elf,
                                                                  offset + i * entry)
        yield kind, start, size, align


class Emulated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = world.World()
        cls.addClassCleanup(cls.world.close)

    def run_wrapper(self, *command, reference="vault:secret/data/db#password", **changes):
        # As PID 1, as in a container: the emulation refuses what another would ask for.
        text = self.world.settings("127.0.0.1", self.world.ca, self.world.jwt, **changes)
        result = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", QEMU, world.WRAPPER,
             "--", *command], text=True, capture_output=True, check=False, timeout=60,
            env={"PATH": os.environ["PATH"], "CLOUDTASER_CONFIG": text, "DB_PASSWORD": reference})
        self.assertNotIn(world.JWT, result.stdout + result.stderr)
        self.assertNotIn(world.VALUE, result.stderr)
        return result

    def test_version_and_help(self):
        for program, name in ((world.WRAPPER, "cloudtaser-wrapper"),
                              (world.INJECTOR, "cloudtaser-injector")):
            told = subprocess.run([QEMU, program, "--version"], text=True, capture_output=True,
                                  check=True).stdout
            self.assertRegex(told, rf"^{name} \d+\.\d+\.\d+\n$")
            told = subprocess.run([QEMU, program, "--help"], text=True, capture_output=True,
                                  check=True).stdout
            self.assertIn(f"usage: {name}", told)

    def test_static_relocatable_and_fit_for_every_page_size(self):
        for path in (world.WRAPPER, world.INJECTOR):
            elf = path.read_bytes()
            self.assertEqual(struct.unpack_from("<HH", elf, 16), (3, AARCH64), path)
            found = list(segments(elf))
            self.assertNotIn(PT_INTERP, [kind for kind, *_ in found])
            for kind, start, size, align in found:
                if kind == PT_LOAD:
                    self.assertGreaterEqual(align, PAGE_MAX)
                if kind == PT_DYNAMIC:
                    tags = [tag for tag, _ in struct.iter_unpack("<QQ", elf[start:start + size])]
                    self.assertNotIn(DT_TEXTREL, tags)

    def test_the_injector_copies_the_wrapper(self):
        target = pathlib.Path(self.world.folder) / "copy"
        subprocess.run([QEMU, world.INJECTOR, world.WRAPPER, target], check=True,
                       capture_output=True)
        self.assertEqual(hashlib.sha256(target.read_bytes()).digest(),
                         hashlib.sha256(world.WRAPPER.read_bytes()).digest())
        refused = subprocess.run([QEMU, world.INJECTOR, world.APP, target], text=True,
                                 capture_output=True, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("is not the wrapper that this injector was built with", refused.stderr)

    def test_without_ptrace_nothing_is_delivered(self):
        result = self.run_wrapper(QEMU, world.APP, "show", "DB_PASSWORD")
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertIn("this container may not use ptrace (ENOSYS), through which secrets are "
                      "delivered", result.stderr)
        self.assertIn("or permit plain-environment", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_with_permission_it_is_delivered_and_no_point_is_claimed(self):
        result = self.run_wrapper(QEMU, world.APP, "show", "DB_PASSWORD", plain_environment=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"[app] DB_PASSWORD={world.VALUE}\n", result.stdout)
        total, checks = world.score(result.stderr)
        self.assertEqual(checks["memfd_secret"], "FAIL (+0) ENOSYS")
        self.assertEqual(checks["ebpf_connected"], NO_AGENT)
        self.assertEqual(total, "0/75", checks)
        self.assertTrue(all(told.startswith("FAIL (+0) ") for told in checks.values()), checks)

    def test_a_minimum_is_kept(self):
        result = self.run_wrapper(QEMU, world.APP, "show", "DB_PASSWORD", plain_environment=True,
                                  min_score=40)
        self.assertEqual(result.returncode, 100, result.stderr)
        self.assertIn("is below the minimum of 40, the app is not started: memfd_secret: ENOSYS",
                      result.stderr)
        self.assertEqual(result.stdout, "")

    def test_what_vault_refuses(self):
        result = self.run_wrapper(QEMU, world.APP, "exit", "0", role="nobody")
        self.assertEqual(result.returncode, 101, result.stderr)
        self.assertIn("role nobody", result.stderr)
        result = self.run_wrapper(QEMU, world.APP, "exit", "0",
                                  reference="vault:secret/data/none#key")
        self.assertEqual(result.returncode, 102, result.stderr)
        self.assertIn("secret/data/none", result.stderr)

    def test_a_certificate_that_does_not_verify(self):
        other = certs.Authority(self.world.folder, "other").certificate
        result = self.run_wrapper(QEMU, world.APP, "exit", "0", retry_budget_ms=5000,
                                  ca_file=str(other))
        self.assertEqual(result.returncode, 103, result.stderr)
        self.assertRegex(result.stderr, "certificate.*verif|verif.*certificate")
