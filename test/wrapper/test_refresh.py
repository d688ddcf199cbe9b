#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Secrets that change at Vault while the app runs: kept, told by a signal, or taken by a restart."""
import functools
import os
import signal
import subprocess
import time
import unittest

import bad_vault
import harness

OLD, NEW = bad_vault.VALUE, "planted-Value-that-is-new-77"
until = functools.partial(harness.until, seconds=15)
PATH = "/v1/secret/data/changing"
APP = """
import os, signal, sys
handled = {signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, handled)
print(f"ready {os.getppid()} {os.environ['S'][-6:]}", flush=True)
while True:
    n = signal.sigwait(handled)
    print(f"signal {int(n)} {os.environ['S'][-6:]}", flush=True)
    if n == signal.SIGTERM:
        sys.exit(7)
"""
bad_vault.ANSWERS["changing"] = lambda s: (
    bad_vault.errors(403, "permission denied") if s.value is None
    else bad_vault.secret({"password": s.value}))


class Refresh(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = harness.Rig()

    @classmethod
    def tearDownClass(cls):
        cls.rig.close()

    def setUp(self):
        self.vault = bad_vault.BadVault(self.rig.folder / "server.pem",
                                        self.rig.folder / "server.key")
        self.vault.value = OLD
        self.addCleanup(self.vault.close)

    def start(self, on_change, prefix=(), **changes):
        settings = self.rig.settings(**{
            "address": self.vault.address, "refresh_interval_ms": 1000, "on_change": on_change,
            **changes})
        environment = self.rig.environment(settings, S="vault:secret/data/changing#password")
        process = subprocess.Popen([*prefix, harness.WRAPPER, "--", harness.PYTHON, "-c", APP],
                                   env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        self.addCleanup(self.put_down, process)
        self.assertIn(f"{OLD[-6:]}\n", process.stdout.readline())
        return process

    def put_down(self, process):
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()

    def looks(self):
        return len([r for r in list(self.vault.requests) if r[1] == PATH])

    def more_looks(self, n):
        before = self.looks()
        until(lambda: self.looks() >= before + n, "looks")

    def end(self, process):
        process.terminate()
        self.assertEqual(process.wait(10), 7)
        said = process.stderr.read()
        for value in OLD, NEW:
            self.assertNotIn(value[:8], said)
        return said

    def test_kept_and_told(self):
        process = self.start("keep")
        begin, before = time.monotonic(), self.looks()
        self.more_looks(3)
        self.assertGreater(time.monotonic() - begin, 2.4, "not more often than asked for")
        self.vault.value = NEW
        self.more_looks(3)
        said = self.end(process)
        self.assertEqual(process.stdout.read(), f"signal 15 {OLD[-6:]}\n")
        self.assertEqual(said.count("secrets have changed at Vault (S): the app keeps those it has"), 1)
        self.assertGreater(before, 0)

    def test_a_signal(self):
        process = self.start("signal:SIGHUP")
        self.vault.value = NEW
        self.assertEqual(process.stdout.readline(), f"signal 1 {OLD[-6:]}\n")
        self.more_looks(2)
        said = self.end(process)
        self.assertEqual(process.stdout.read(), f"signal 15 {OLD[-6:]}\n", "told once")
        self.assertIn("the app is told by a signal", said)

    def test_a_restart_in_the_same_process(self):
        process = self.start("restart")
        self.vault.value = NEW
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        self.assertEqual(process.stdout.readline(), f"ready {process.pid} {NEW[-6:]}\n")
        self.more_looks(2)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.stdout.readline(), f"signal 10 {NEW[-6:]}\n")
        said = self.end(process)
        self.assertEqual(said.count("Protection score:"), 2, "proven again")
        self.assertEqual(said.count("the app is ended and started again"), 1)

    @unittest.skipIf(os.geteuid() != 0, "only root can make namespaces")
    def test_a_restart_as_pid_1(self):
        process = self.start("restart", ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc",
                                         "--kill-child"])
        self.vault.value = NEW
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        self.assertEqual(process.stdout.readline(), f"ready 1 {NEW[-6:]}\n")

    def test_what_cannot_be_read_changes_nothing(self):
        process = self.start("restart", retry_budget_ms=0)
        self.vault.value = None
        self.more_looks(3)
        self.vault.value = OLD
        self.more_looks(2)
        said = self.end(process)
        self.assertEqual(process.stdout.read(), f"signal 15 {OLD[-6:]}\n")
        self.assertEqual(said.count("the secrets cannot be read again; trying on: variable S"), 1)
        self.assertEqual(said.count("the secrets can be read again"), 1)

    def test_never_without_the_setting(self):
        process = self.start(None, refresh_interval_ms=None)
        before = self.looks()
        time.sleep(2.5)
        self.assertEqual(self.looks(), before)
        self.end(process)

    def test_a_login_that_works_once_cannot_be_restarted(self):
        path = self.rig.folder / "wrapped"
        path.write_text(bad_vault.WRAPPING + "good")
        settings = self.rig.settings(refresh_interval_ms=1000, on_change="restart", auth="approle",
                                     role="fine", token_file=str(path), secret_id_wrapped=True,
                                     auth_path="approle")
        result = self.rig.run(["/bin/true"], settings)
        self.assertEqual(result.returncode, 104, result.stderr)
        self.assertIn('on-change "restart" needs a login that can be repeated', result.stderr)


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
