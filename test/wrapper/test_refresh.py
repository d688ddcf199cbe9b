#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Secrets that change at Vault while the app runs: kept, told by a signal, or taken by a restart."""
import functools
import os
import pathlib
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
# Lives on when it is told to end, as one that finishes its work first.
PATIENT = APP.replace("if n == signal.SIGTERM:", "if n == signal.SIGUSR1:")
# Leaves a long message and no /proc behind.
VANDAL = """
import ctypes, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print(f"ready {os.getppid()} {os.environ['S'][-6:]}", flush=True)
open("/dev/termination-log", "w").write("stale " * 200)
signal.sigwait({signal.SIGTERM})
sys.exit(7 if ctypes.CDLL(None).umount2(b"/proc", 2) == 0 else 8)
"""
# Leaves a grandchild of its own session behind, which tells its number.
LEAVER = APP.replace('print(f"ready', """
if os.fork() == 0:
    os.setsid()
    left = os.fork()
    while left == 0:
        signal.pause()
    print(left, flush=True)
    os._exit(0)
os.wait()
print(f"ready""", 1)
LOGIN, LOOKUP = "/v1/auth/kubernetes/login", "/v1/auth/token/lookup-self"
bad_vault.ANSWERS["changing"] = lambda s: (
    bad_vault.errors(403, "permission denied") if s.value is None
    else s.value(s) if callable(s.value) else bad_vault.secret({"password": s.value}))


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

    def start(self, on_change, prefix=(), app=APP, first=True, **changes):
        settings = self.rig.settings(**{
            "address": self.vault.address, "refresh_interval_ms": 1000, "on_change": on_change,
            **changes})
        environment = self.rig.environment(settings, S="vault:secret/data/changing#password")
        process = subprocess.Popen([*prefix, harness.WRAPPER, "--", harness.PYTHON, "-c", app],
                                   env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        self.addCleanup(self.put_down, process)
        if first:
            self.assertIn(f"{OLD[-6:]}\n", process.stdout.readline())
        return process

    def put_down(self, process):
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()

    def asked(self, path):
        return len([r for r in list(self.vault.requests) if r[1] == path])

    def looks(self):
        return self.asked(PATH)

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

    def test_a_restart_leaves_nobody_behind(self):
        """Who stayed would hold the app's ports and files."""
        for reaction, stays in ("restart", False), ("keep", True):
            with self.subTest(reaction=reaction):
                self.vault.value = OLD
                process = self.start(reaction, app=LEAVER, first=False)
                left = pathlib.Path("/proc") / process.stdout.readline().strip()
                self.assertIn(OLD[-6:], process.stdout.readline())
                self.assertEqual(harness.status(left.name, "PPid:"[:-1]), str(process.pid))
                self.vault.value = NEW
                if stays:
                    self.more_looks(2)
                    self.assertTrue(left.exists(), "the control")
                    os.kill(int(left.name), signal.SIGKILL)
                else:
                    self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
                    self.addCleanup(os.kill, int(process.stdout.readline()), signal.SIGKILL)
                    self.assertEqual(process.stdout.readline(), f"ready {process.pid} {NEW[-6:]}\n")
                    self.assertFalse(left.exists())

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

    def test_no_secret_ends_the_app(self):
        """Whoever may write a secret may make any JSON of it."""
        process = self.start("restart", retry_budget_ms=0)
        for name in "deep-lists", "deep-objects", "bloated", "long-text", "not-json":
            with self.subTest(answer=name):
                self.vault.value = bad_vault.ANSWERS[name]
                self.more_looks(1)
        self.vault.value = OLD
        self.more_looks(2)
        self.end(process)
        self.assertEqual(process.stdout.read(), f"signal 15 {OLD[-6:]}\n")

    def test_a_void_token_is_replaced_when_a_read_shows_it(self):
        """A renewal would be hours away."""
        self.vault.lease = 36000
        process = self.start("keep", retry_budget_ms=0)
        self.vault.lookup = "denied"
        self.vault.value = lambda s: (bad_vault.errors(403, "permission denied") if self.asked(LOGIN) < 2
                                      else bad_vault.secret({"password": NEW}))
        until(lambda: self.asked(LOGIN) >= 2, "a login again")
        self.more_looks(2)
        self.assertEqual((self.asked(LOGIN), self.asked(LOOKUP)), (2, 1))
        said = self.end(process).split("started ", 1)[1].splitlines()[1:]
        self.assertEqual(len(said), 3, said)
        self.assertIn("the Vault token is void; logging in again: looking the token up: ", said[0])
        self.assertIn("the Vault token is good again", said[1])
        self.assertIn("secrets have changed at Vault (S)", said[2])

    def test_a_refused_read_alone_makes_no_token_void(self):
        process = self.start("keep", retry_budget_ms=0)
        self.vault.value = None
        self.more_looks(3)
        self.assertEqual((self.asked(LOGIN), self.asked(LOOKUP)), (1, 1), "asked once, and believed")
        self.vault.value = OLD
        self.more_looks(2)
        self.vault.value = None
        self.more_looks(2)
        self.assertEqual((self.asked(LOGIN), self.asked(LOOKUP)), (1, 2))
        self.end(process)

    def test_logins_do_not_pile_up_where_no_read_is_allowed(self):
        """Nor may this token look itself up."""
        process = self.start("keep", retry_budget_ms=0)
        self.vault.lookup, self.vault.value = "denied", None
        self.more_looks(5)
        self.assertEqual((self.asked(LOGIN), self.asked(LOOKUP)), (2, 1))
        self.end(process)

    def test_an_app_that_was_asked_to_end_is_left_to_it(self):
        process = self.start("restart", app=PATIENT)
        process.terminate()
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        self.vault.value = NEW
        self.more_looks(3)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(10), 7)
        self.assertEqual(process.stdout.read(), f"signal 10 {OLD[-6:]}\n", "not told to end again")
        self.assertIn("the app was asked to end, and is left to it", process.stderr.read())

    def test_an_app_that_is_asked_to_end_while_it_is_being_restarted(self):
        process = self.start("restart", app=PATIENT)
        self.vault.value = NEW
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        process.terminate()
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(12)  # it would have been killed after ten
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(10), 7)
        self.assertEqual(process.stdout.read(), f"signal 10 {OLD[-6:]}\n", "not started again")

    @unittest.skipIf(os.geteuid() != 0, "only root can make namespaces")
    def test_a_restart_that_fails_is_not_the_apps_end(self):
        message = self.rig.folder / "message"
        message.write_text("")
        process = self.start("restart", [
            "/usr/bin/unshare", "--mount", "/bin/sh", "-c", "mount -t tmpfs none /dev && : >/dev/termination-log && "
            f"mount --bind {message} /dev/termination-log && exec \"$@\"", "sh"], app=VANDAL)
        self.vault.value = NEW
        self.assertEqual(process.wait(10), 125)
        said = message.read_text()
        self.assertEqual(said, "the app was ended and cannot be started again: /proc/self/exe: No such file or "
                               "directory (ENOENT)\n")
        self.assertIn(said, process.stderr.read())

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
