#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Secrets that change at Vault while the app runs: kept, told by a signal, or taken by a restart."""
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
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
LOGIN, LOOKUP = "/v1/auth/kubernetes/login", "/v1/auth/token/lookup-self"
bad_vault.ANSWERS["changing"] = lambda s: (
    bad_vault.errors(403, "permission denied") if s.value is None
    else s.value(s) if callable(s.value) else bad_vault.secret({"password": s.value}))


class Base(harness.RigCase):
    def setUp(self):
        self.vault = bad_vault.BadVault(self.rig.folder / "server.pem",
                                        self.rig.folder / "server.key")
        self.vault.value = OLD
        self.addCleanup(self.vault.close)

    def start(self, on_change, prefix=(), command=(harness.PYTHON, "-c", APP), **changes):
        settings = self.rig.settings(**{
            "address": self.vault.address, "refresh_interval_ms": 1000, "on_change": on_change,
            **changes})
        environment = self.rig.environment(settings, S="vault:secret/data/changing#password")
        process = subprocess.Popen([*prefix, harness.WRAPPER, "--", *command], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(harness.put_down, process)
        process.first_line = process.stdout.readline()
        self.assertIn(f"{OLD[-6:]}\n", process.first_line)
        return process

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


class Refresh(Base):
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
        process = self.start("restart", command=(harness.PYTHON, "-c", PATIENT))
        process.terminate()
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        self.vault.value = NEW
        self.more_looks(3)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(10), 7)
        self.assertEqual(process.stdout.read(), f"signal 10 {OLD[-6:]}\n", "not told to end again")
        self.assertIn("the app was asked to end, and is left to it", process.stderr.read())

    def test_an_app_that_is_asked_to_end_while_it_is_being_restarted(self):
        process = self.start("restart", command=(harness.PYTHON, "-c", PATIENT))
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
            f"mount --bind {message} /dev/termination-log && exec \"$@\"", "sh"], (harness.PYTHON, "-c", VANDAL))
        self.vault.value = NEW
        self.assertEqual(process.wait(10), 125)
        said = message.read_text()
        self.assertEqual(said, "the app cannot be started again: /proc/self/exe: No such file or "
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


# Tells its number, what it was given and each signal. With a marker it leaves a process of that name behind.
BELOW = """
import os, signal, subprocess, sys
handled = {signal.SIGHUP, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, handled)
if sys.argv[2:]:
    subprocess.Popen(["sleep", sys.argv[2]], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"ready {os.getpid()} {os.environ['S'][-6:]}", flush=True)
while True:
    n = signal.sigwait(handled)
    print(f"signal {int(n)} {os.environ['S'][-6:]}", flush=True)
    if n == signal.SIGTERM and sys.argv[1] == "heeds":
        sys.exit(7)
"""
TINI = ["tini", "-s", "--"]
STAYS = ["dash", "-c", 'cd / && "$@"; exit $?', "x"]  # a shell that waits for its child, and passes no signal on
GOES = ["dash", "-c", 'exec "$@"', "x"]
FULL = "Protection score: 55/75"


def sleeping(marker):
    """What the apps with this marker have left behind."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == f"sleep\0{marker}\0".encode():
                found.append(int(pid))
        except OSError:
            continue
    return found


def sleeping_one(marker):
    """The same, once it is there: a program closes its parent's pipe a moment before its command line is its own."""
    harness.until(lambda: len(sleeping(marker)) == 1, f"sleep {marker}", 5)
    return sleeping(marker)


class Restarted(Base):
    def start_below(self, launcher, on_change="restart", heeds="heeds", marker=None, **more):
        command = [*launcher, harness.PYTHON, "-c", BELOW, heeds, *([marker] if marker else [])]
        return self.start(on_change, command=command, **more)

    def app_of(self, line, value):
        word, pid, said = line.split()
        self.assertEqual((word, said), ("ready", value[-6:]))
        return int(pid)

    def end_app(self, process, pid):
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(process.wait(10), 7)
        return process.stderr.read()

    def test_under_a_launcher(self):
        for launcher in [], TINI, STAYS, GOES:
            with self.subTest(launcher=launcher):
                self.vault.value = OLD
                process = self.start_below(launcher)
                self.vault.value = NEW
                self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
                app = self.app_of(process.stdout.readline(), NEW)
                said = self.end_app(process, app)
                self.assertEqual((said.count(FULL), said.count("following ")), (2, 2 if launcher else 0), said)

    def test_a_signal_goes_to_the_app_itself(self):
        for launcher in TINI, STAYS, GOES:
            with self.subTest(launcher=launcher):
                self.vault.value = OLD
                process = self.start_below(launcher, "signal:SIGHUP")
                self.vault.value = NEW
                self.assertEqual(process.stdout.readline(), f"signal 1 {OLD[-6:]}\n")
                self.assertIsNone(process.poll())
                self.end_app(process, self.app_of(process.first_line, OLD))

    def test_below_the_minimum_the_second_time(self):
        """The entrypoint has become another meanwhile, one that cannot be followed."""
        entrypoint = self.rig.folder / "entrypoint"
        entrypoint.write_text('#!/bin/dash\nexec "$@"\n')
        entrypoint.chmod(0o755)
        process = self.start_below([str(entrypoint)], min_score=55)
        other = self.rig.folder / "other"
        other.write_text('#!/bin/dash\nls / >/dev/null\n"$@"\n')
        other.chmod(0o755)
        other.rename(entrypoint)
        self.vault.value = NEW
        self.assertEqual(process.stdout.read(), f"signal 15 {OLD[-6:]}\n", "it was not started again")
        self.assertEqual(process.wait(10), 100)
        said = process.stderr.read()
        self.assertIn(FULL, said)
        self.assertIn("error: protection score 10 is below the minimum of 55, the app is not started", said)

    def test_an_app_that_ignores_it_is_killed(self):
        markers = [f"1000.{os.getpid()}{i}" for i in (1, 2)]
        processes = [self.start_below(launcher, heeds="ignores", marker=marker)
                     for launcher, marker in zip(([], TINI), markers)]
        before = [self.app_of(process.first_line, OLD) for process in processes]
        left = [sleeping_one(marker) for marker in markers]
        self.vault.value = NEW
        for process in processes:
            self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        begin = time.monotonic()
        for process, old, marker, pids in zip(processes, before, markers, left):
            new = self.app_of(process.stdout.readline(), NEW)
            self.assertGreater(time.monotonic() - begin, 8, "it has its time")
            self.assertLess(time.monotonic() - begin, 25)
            self.assertFalse(pathlib.Path(f"/proc/{old}").exists())
            # So is what it left behind, though this wrapper is no PID 1.
            self.assertEqual([pid for pid in sleeping(marker) if pid in pids], [])
            os.kill(new, signal.SIGKILL)
            self.assertEqual(process.wait(10), 137)
            for pid in sleeping(marker):
                os.kill(pid, signal.SIGKILL)

    def test_another_user_without_the_right_to_signal_it(self):
        """Root without CAP_KILL, as where all capabilities are dropped but those that gosu needs."""
        prefix = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "setpriv",
                  "--bounding-set=-kill", "--inh-caps=-kill"]
        marker = f"1000.{os.getpid()}3"
        process = self.start_below(["gosu", "nobody"], prefix=prefix, marker=marker)
        (before,) = sleeping_one(marker)
        self.vault.value = NEW
        self.assertEqual(process.stdout.readline(), f"signal 15 {OLD[-6:]}\n")
        self.app_of(process.stdout.readline(), NEW)
        self.assertFalse(pathlib.Path(f"/proc/{before}").exists())

    def test_where_it_cannot_begin_anew(self):
        """The wrapper's own program is found through /proc."""
        prefix = ["/usr/bin/unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "x"]
        process = self.start_below([], prefix=prefix)
        self.vault.value = NEW
        self.assertEqual(process.wait(20), 125)
        self.assertIn("error: the app cannot be started again: /proc/self/exe: No such file", process.stderr.read())


if __name__ == "__main__":
    harness.require_wrapper()
    needed = [name for name in ("tini", "dash", "gosu", "setpriv") if shutil.which(name) is None]
    if needed or os.geteuid() != 0:
        print(f"needs root and {', '.join(needed) or 'nothing more'}", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
