# SPDX-License-Identifier: Apache-2.0
"""Wrapper and injector on real aarch64 kernels, with pages of 4 and of 16 KiB: exec-stop injection,
and the score that it proves."""

import os
import pathlib
import subprocess
import unittest

import guest
import process
import world

ROOT = process.ROOT
WRAPPER = "/cloudtaser/wrapper --"
AS_USER = f"/app as 65532 {WRAPPER}"
SHOW = "/app show DB_PASSWORD"
NO_AGENT = "FAIL (+0) no agent on this node"


def steps(here):
    """In this order: the last one cannot be undone."""
    def config(**changes):
        text = here.settings(world.HOST, "/ca.pem", "/jwt", **changes)
        return f"export CLOUDTASER_CONFIG='{text}'; "
    # In the background, until its app runs; a wrapper that does not start it has said so after a minute.
    def running(command):
        return (f": >/tmp/said; {command} /app wait >/tmp/said 2>&1 & pids=\"$pids $!\"; "
                "for i in $(seq 60); do grep -q 'started /app' /tmp/said && break; sleep 1; done; ")
    # A neighbour of the same user holds its secret memory while the next one starts.
    neighbour = running(AS_USER)
    return {
        "inject": "/cloudtaser-injector",
        "root": config(min_score=55) + f"{WRAPPER} {SHOW}",
        "user": config(min_score=55) + f"{AS_USER} {SHOW}",
        "other-libc": config() + f"{WRAPPER} /bin/busybox awk "
                               "'BEGIN { print ENVIRON[\"DB_PASSWORD\"] }'",
        "shell": config(min_score=55) + f"{AS_USER} /bin/busybox sh -c "
                                        f"'/bin/busybox id -u; exec {SHOW}'",
        "exit": config() + f"{WRAPPER} /app exit 42",
        "killed": config() + f"{WRAPPER} /app kill 9",
        "term": config() + running(WRAPPER) + "tr '\\0' '\\n' </proc/$(pidof app)/environ; kill -TERM $!; wait $!; "
                           "code=$?; cat /tmp/said; exit $code",
        "floor": config(min_score=56) + f"{WRAPPER} {SHOW}",
        "login": config(role="nobody") + f"{WRAPPER} {SHOW}",
        "no-secret": config() + f"DB_PASSWORD='vault:secret/data/none#key' {WRAPPER} {SHOW}",
        "32-bit": "/app32",
        "32-bit-wrapped": config() + f"{WRAPPER} /app32",
        "small-limit": config() + f"ulimit -l 64; {AS_USER} {SHOW}",
        "shared-limit": config() + f"ulimit -l 2304; {neighbour}{neighbour}{AS_USER} {SHOW}; "
                                   "code=$?; kill $pids; exit $code",
        "no-ptrace": config() + "echo 3 >/proc/sys/kernel/yama/ptrace_scope; "
                                f"{AS_USER} {SHOW}",
        "plain": config(plain_environment=True) + f"{AS_USER} {SHOW}",
    }


class Kernel:
    """The tests, for one size of pages."""

    size = ""
    page = 0

    @classmethod
    def setUpClass(cls):
        tool = ROOT / "tools/build-vm-arm64"
        folder = os.environ.get("CT_VM_ARM64")
        if not folder:
            subprocess.run([tool], check=True)
            folder = subprocess.run([tool, "--print"], check=True, stdout=subprocess.PIPE,
                                    text=True).stdout.strip()
        here = world.World()
        try:
            cls.results = guest.boot(pathlib.Path(folder), cls.size, here, steps(here))
        finally:
            here.close()

    def expect(self, step, status):
        found, output = self.results[step]
        self.assertEqual(found, status, output)
        return output

    def expect_secret(self, output):
        self.assertIn(f"[app] DB_PASSWORD={world.VALUE}\n", output)

    def expect_all_points(self, step):
        output = self.expect(step, 0)
        total, checks = world.score(output)
        self.assertEqual(total, "55/75", output)
        self.assertEqual(checks, {
            "memfd_secret": "OK (+15)", "mlock": "OK (+10)", "madv_dontdump": "OK (+10)",
            "pr_set_dumpable": "OK (+10)", "token_protected": "OK (+10)",
            "ebpf_connected": NO_AGENT, "kprobes_active": NO_AGENT})
        self.expect_secret(output)
        self.assertRegex(output, r"DB_PASSWORD lies in /secretmem \(deleted\) with.* dd")
        self.assertIn(f"dumpable 0, pages of {self.page} bytes", output)
        return output

    def test_the_injector_copies_the_wrapper(self):
        self.assertIn("verified", self.expect("inject", 0))

    def test_root_gets_every_point_that_can_be_had_without_the_agent(self):
        self.expect_all_points("root")

    def test_a_user_without_privileges_too(self):
        output = self.expect_all_points("user")
        self.assertIn("[app] user 65532,", output)
        self.assertIn("[app] its own environ: Permission denied", output)

    def test_a_program_of_another_libc(self):
        output = self.expect("other-libc", 0)
        self.assertEqual(world.score(output)[0], "55/75", output)
        self.assertIn(f"\n{world.VALUE}\n", output)

    def test_a_shell_is_followed_to_the_program(self):
        self.assertIn("\n65532\n", self.expect_all_points("shell"))

    def test_the_exit_code_is_the_apps(self):
        self.expect("exit", 42)
        self.expect("killed", 128 + 9)

    def test_a_signal_is_passed_on_and_the_environ_shows_none(self):
        output = self.expect("term", 128 + 15)
        self.assertIn("DB_PASSWORD=", output)
        self.assertNotIn(world.VALUE, output)

    def test_below_the_minimum_nothing_is_started(self):
        output = self.expect("floor", 100)
        self.assertIn("below the minimum of 56", output)
        self.assertNotIn("[app]", output)

    def test_what_vault_refuses(self):
        self.assertIn("role nobody", self.expect("login", 101))
        self.assertIn("secret/data/none", self.expect("no-secret", 102))

    def test_a_32_bit_program_is_refused(self):
        self.expect("32-bit", 32)  # the kernel would run it
        self.assertIn("it is a 32-bit program; secrets can be delivered to 64-bit ones only",
                      self.expect("32-bit-wrapped", 125))

    def test_a_limit_costs_points_and_nothing_else(self):
        output = self.expect("small-limit", 0)
        total, checks = world.score(output)
        self.assertEqual(total, "30/75", output)
        self.assertEqual(checks["memfd_secret"], "FAIL (+0) RLIMIT_MEMLOCK 64 KiB < 2048 KiB")
        self.assertTrue(checks["mlock"].startswith("FAIL (+0) RLIMIT_MEMLOCK 64 KiB < "), checks)
        self.assertEqual(checks["madv_dontdump"], "OK (+10)")
        self.expect_secret(output)

    def test_a_limit_that_neighbours_of_the_same_user_have_used_up(self):
        output = self.expect("shared-limit", 0)
        total, checks = world.score(output)
        self.assertEqual(total, "40/75", output)
        self.assertEqual(checks["memfd_secret"], "FAIL (+0) RLIMIT_MEMLOCK 2304 KiB used up by all "
                                                 "processes of user 65532 together")
        self.expect_secret(output)

    def test_without_ptrace_only_with_permission(self):
        output = self.expect("no-ptrace", 125)
        self.assertIn("this container may not use ptrace (EPERM)", output)
        self.assertNotIn("[app]", output)
        output = self.expect("plain", 0)
        self.assertEqual(world.score(output)[0], "10/75", output)
        self.expect_secret(output)
        self.assertIn("DB_PASSWORD lies in [stack] with", output)

    def test_no_secret_where_none_belongs(self):
        told = {"root", "user", "shell", "other-libc", "small-limit", "shared-limit", "plain"}
        for step, (_, output) in self.results.items():
            self.assertNotIn(world.JWT, output, step)
            self.assertEqual(world.VALUE in output, step in told, f"{step}: {output}")


class Pages4K(Kernel, unittest.TestCase):
    size, page = "4k", 4096


class Pages16K(Kernel, unittest.TestCase):
    size, page = "16k", 16384
