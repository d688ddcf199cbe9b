#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The duties of PID 1: signals, orphans, stops, terminals. See pid1_table.py for all the ways of them."""
import ctypes
import functools
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
import unittest

import harness
from harness import children, is_program, status, tree

until = functools.partial(harness.until, seconds=10)
UNCATCHABLE = {signal.SIGKILL, signal.SIGSTOP}
RESERVED = set(harness.RESERVED_SIGNALS)  # a Python program cannot wait for them
ALL = [n for n in range(1, 65) if n not in UNCATCHABLE | RESERVED]

# Waits for signals, tells each as "NUMBER CODE" on stdout, and ends by SIGKILL alone.
LISTENER = """
import signal, sys
all = set(range(1, 65)) - {9, 19, 32, 33}
signal.pthread_sigmask(signal.SIG_BLOCK, all)
print("ready", flush=True)
while True:
    info = signal.sigwaitinfo(all)
    print(info.si_signo, info.si_code, flush=True)
"""


def python(script, *arguments):
    return [harness.PYTHON, "-c", script, *map(str, arguments)]


def app_of(process, name):
    """The app's pid, once it has become `name`: the wrapper has other, passing children before."""
    return until(lambda: next((pid for pid in children(process.pid) if is_program(pid, name)), None), f"the app {name}")


class Base(harness.RigCase):
    def start(self, command, settings=None, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.DEVNULL)
        process = self.rig.start(command, settings, text=True, **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            for child in children(process.pid):
                os.kill(child, signal.SIGKILL)
            process.kill()
        process.wait()
        for stream in process.stdout, process.stderr:
            if stream:
                stream.close()

    def listener(self, **options):
        process = self.start(python(LISTENER), **options)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process, children(process.pid)[0]


class Signals(Base):
    def test_each_is_forwarded_once(self):
        process, _ = self.listener()
        for number in ALL:
            with self.subTest(signal=number):
                os.kill(process.pid, number)
                # The kernel gives several pending ones in its own order: one at a time.
                self.assertEqual(process.stdout.readline(), f"{number} 0\n")
        self.assertEqual(select.select([process.stdout], [], [], 0.2)[0], [], "nothing came twice")

    def test_those_that_c_libraries_reserve(self):
        for number in RESERVED:
            process = self.start(["/bin/sleep", "60"])
            app_of(process, "sleep")
            os.kill(process.pid, number)
            self.assertEqual(process.wait(10), 128 + number)

    def test_queued_ones_keep_their_kind(self):
        process, _ = self.listener()
        libc = ctypes.CDLL(None, use_errno=True)
        for value in range(3):
            self.assertEqual(libc.sigqueue(process.pid, 40, ctypes.c_void_p(value)), 0)
        for _ in range(3):
            self.assertEqual(process.stdout.readline(), "40 -1\n")  # SI_QUEUE

    def test_one_that_came_too_early_is_kept(self):
        before = len(self.rig.vault.requests)
        process = self.start(["/bin/sleep", "60"], self.rig.settings(role="slow", retry_budget_ms=5000))
        until(lambda: len(self.rig.vault.requests) > before, "the login")
        os.kill(process.pid, signal.SIGUSR1)
        self.assertEqual(process.wait(10), 128 + signal.SIGUSR1)

    def test_the_app_starts_with_mask_and_actions_as_they_were(self):
        script = ["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]

        def prepare():
            signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        for preparation in None, prepare:
            plain = subprocess.run(script, capture_output=True, text=True, check=True,
                                   preexec_fn=preparation)
            wrapped = self.start(script, preexec_fn=preparation, stderr=subprocess.PIPE)
            out, err = wrapped.communicate()
            self.assertEqual(out, plain.stdout, err)

    def test_ignored_sigchld_does_not_lose_the_exit_code(self):
        process = self.start(["/bin/sh", "-c", "exit 7"],
                             preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(process.wait(10), 7)

    def test_the_app_keeps_its_core_limit(self):
        import resource
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        soft = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        process = self.start(["/bin/grep", "core file", "/proc/self/limits"], preexec_fn=lambda:
                             resource.setrlimit(resource.RLIMIT_CORE, (soft, hard)))
        self.assertRegex(process.communicate()[0], rf"size\s+{soft}\s")

    def test_broken_stderr_ends_nothing(self):
        reader, writer = os.pipe()
        os.close(reader)
        process, _ = self.listener(stderr=writer)
        os.close(writer)
        os.kill(process.pid, signal.SIGUSR1)
        self.assertEqual(process.stdout.readline(), f"{int(signal.SIGUSR1)} 0\n",
                         "the wrapper's own SIGPIPE must not reach the app")


class Orphans(Base):
    NESTED = """
import os, sys, time
for _ in range(10):
    if os.fork() == 0:                 # a child that leaves a child that leaves a child behind
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.3)
                print(os.getppid(), flush=True)
                os._exit(3)
            os._exit(2)
        os._exit(1)
    os.wait()
time.sleep(60)
"""

    def test_nested_orphans_are_reaped(self):
        process = self.start(python(self.NESTED))
        lines = [process.stdout.readline().strip() for _ in range(10)]
        self.assertEqual(lines, [str(process.pid)] * 10, "the wrapper adopts them")
        app = until(lambda: len(children(process.pid)) == 1 and children(process.pid), "all are reaped")
        self.assertEqual(status(app[0], "State"), "S")

    def test_an_orphan_does_not_decide_the_exit_code(self):
        script = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.1)
        os._exit(9)
    os._exit(8)
os.wait()
time.sleep(0.5)
os._exit(4)
"""
        self.assertEqual(self.start(python(script)).wait(10), 4)

    def test_as_pid_1(self):
        """In a PID namespace of its own, where default actions of signals do not apply to PID 1."""
        environment = self.rig.environment(self.rig.settings())
        process = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
                                    harness.WRAPPER, "--", *python(self.NESTED)], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(self.end, process)
        self.assertEqual([process.stdout.readline() for _ in range(10)], ["1\n"] * 10)
        wrapper = children(process.pid)[0]
        until(lambda: len(children(wrapper)) == 1, "all are reaped")
        os.kill(wrapper, signal.SIGTERM)
        self.assertEqual(process.wait(10), 128 + signal.SIGTERM)


class Stops(Base):
    def group(self, leader_of_session):
        action = os.setsid if leader_of_session else lambda: os.setpgid(0, 0)
        return self.listener(preexec_fn=action)

    def stopped(self, pid):
        return status(pid, "State") == "T"

    def test_a_stop_is_passed_on(self):
        process, app = self.group(False)
        for _ in range(3):
            os.kill(app, signal.SIGSTOP)
            until(lambda: self.stopped(app) and self.stopped(process.pid), "both stop")
            os.kill(process.pid, signal.SIGCONT)
            until(lambda: not self.stopped(app) and not self.stopped(process.pid), "both go on")
            self.assertEqual(process.stdout.readline(), f"{int(signal.SIGCONT)} 0\n")

    def test_a_terminal_stop_sent_to_the_wrapper_stops_the_app(self):
        process = self.start(["/bin/sleep", "60"], preexec_fn=lambda: os.setpgid(0, 0))
        app = app_of(process, "sleep")
        for number in signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU:
            with self.subTest(signal=number):
                os.kill(process.pid, number)
                until(lambda: self.stopped(app) and self.stopped(process.pid), "both stop")
                os.kill(process.pid, signal.SIGCONT)
                until(lambda: not self.stopped(app) and not self.stopped(process.pid), "both go on")

    def test_the_leader_of_a_session_goes_on(self):
        """Nobody would ever continue it, as in a pod that shares its PID namespace."""
        process, app = self.group(True)
        os.kill(app, signal.SIGSTOP)
        until(lambda: self.stopped(app), "the app stops")
        time.sleep(0.1)
        self.assertFalse(self.stopped(process.pid))
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: not self.stopped(app), "the app goes on")


class Terminal:
    """A program on a pseudo-terminal of its own, as leader of a session."""

    def __init__(self, command, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Whoever runs the tests in the background has them ignored, and ^C and ^\ with them.
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(command[0], [str(c) for c in command], environment)
        self.seen = ""

    def read_until(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        there = {p: (status(p, "Name"), status(p, "State")) for p in tree(self.pid)}
        raise AssertionError(f"{pattern!r} did not come: {self.seen!r}; the terminal's: {there}")

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        os.close(self.fd)
        for child in [*children(self.pid), self.pid]:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.waitpid(self.pid, 0)


# Counts signals with handlers, so that a second one is seen, and tells them on the terminal.
COUNTER = """
import os, signal, time
def told(number, frame):               # os.write: a print may be interrupted by itself
    os.write(1, b"<%s>" % signal.Signals(number).name.encode())
for n in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGCONT, signal.SIGTERM):
    signal.signal(n, told)
os.write(1, b"<ready>")
while True:
    time.sleep(0.05)
"""


class Terminals(Base):
    def terminal(self, command, settings=None, **variables):
        environment = self.rig.environment(settings or self.rig.settings(), TERM="dumb",
                                           **variables)
        terminal = Terminal(command, environment)
        self.addCleanup(terminal.close)
        return terminal

    def once(self, terminal, name):
        terminal.read_until(f"<{name}>")
        time.sleep(0.3)
        terminal.type("\n")
        while select.select([terminal.fd], [], [], 0.1)[0]:
            terminal.seen += os.read(terminal.fd, 65536).decode(errors="replace")
        self.assertNotIn(f"<{name}>", terminal.seen, "it came twice")

    def test_keys_reach_the_app_once(self):
        terminal = self.terminal([harness.WRAPPER, "--", *python(COUNTER)])
        terminal.read_until("<ready>")
        terminal.type("\x03")
        self.once(terminal, "SIGINT")
        terminal.type("\x1c")
        self.once(terminal, "SIGQUIT")
        termios.tcsetwinsize(terminal.fd, (30, 100))
        self.once(terminal, "SIGWINCH")
        os.kill(terminal.pid, signal.SIGINT)  # and one that is not the terminal's
        self.once(terminal, "SIGINT")

    def test_a_group_of_the_apps_own_gets_them_too(self):
        """An app that has left the group is not reached by the terminal: then they are forwarded."""
        terminal = self.terminal([harness.WRAPPER, "--", *python(
            "import os; os.setpgid(0, 0)\n" + COUNTER)])
        terminal.read_until("<ready>")
        terminal.type("\x03")
        self.once(terminal, "SIGINT")

    def test_a_key_before_there_is_an_app(self):
        before = len(self.rig.vault.requests)
        terminal = self.terminal(["bash", "--norc", "--noprofile", "-i"],
                                 self.rig.settings(role="slow", retry_budget_ms=5000), PS1="$ ")
        terminal.read_until(r"\$ ")
        terminal.type(f"{harness.WRAPPER.resolve()} -- sleep 60\n")
        until(lambda: len(self.rig.vault.requests) > before, "the login")
        terminal.type("\x1a")
        terminal.read_until("Stopped")
        terminal.type("fg\n")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.read_until(r"\$ ")
        terminal.type("echo code=$?\n")
        terminal.read_until("code=130")

    def test_hang_up(self):
        with tempfile.TemporaryDirectory() as folder:
            mark = pathlib.Path(folder, "mark")
            script = ("import signal, sys, time\n"
                      f"signal.signal(signal.SIGHUP, lambda *_: (open({str(mark)!r}, 'w').write('hup'), sys.exit(5)))\n"
                      "print('<ready>', flush=True)\nwhile True: time.sleep(0.05)")
            terminal = Terminal([harness.WRAPPER, "--", *python(script)],
                                self.rig.environment(self.rig.settings(), TERM="dumb"))
            terminal.read_until("<ready>")
            os.close(terminal.fd)
            _, code = os.waitpid(terminal.pid, 0)
            self.assertEqual((os.waitstatus_to_exitcode(code), mark.read_text()), (5, "hup"))

    def test_job_control(self):
        script = self.rig.folder / "counter.py"
        script.write_text(COUNTER)
        terminal = self.terminal(["bash", "--norc", "--noprofile", "-i"], PS1="$ ")
        terminal.read_until(r"\$ ")
        terminal.type(f"{harness.WRAPPER.resolve()} -- {harness.PYTHON} {script}\n")
        terminal.read_until("<ready>")
        terminal.type("\x1a")
        terminal.read_until(r"Stopped")
        terminal.type("jobs\n")
        terminal.read_until(r"Stopped")
        terminal.type("fg\n")
        terminal.read_until("<SIGCONT>")
        terminal.type("\x03")
        self.once(terminal, "SIGINT")
        terminal.type("\x1a")
        terminal.read_until(r"Stopped")
        terminal.type("bg\n")
        terminal.read_until("<SIGCONT>")
        terminal.type("kill -9 $(cat /proc/$(jobs -p)/task/*/children); wait %1; echo code=$?\n")
        terminal.read_until("code=137")

    def test_a_shell_under_the_wrapper_controls_jobs(self):
        terminal = self.terminal([harness.WRAPPER, "--", "bash", "--norc", "--noprofile", "-i"],
                                 PS1="$ ")
        terminal.read_until(r"\$ ")
        self.assertNotIn("no job control", terminal.seen)
        terminal.type("sleep 60\n")
        time.sleep(0.3)
        terminal.type("\x1a")
        terminal.read_until("Stopped")
        terminal.type("fg\n")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.read_until(r"\$ ")
        terminal.type("echo code=$?\n")
        terminal.read_until("code=130")


class Standing(unittest.TestCase):
    """The program by itself."""

    def test_in_an_empty_root(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(harness.WRAPPER, folder)
            for option in "--version", "--help":
                result = subprocess.run(["/usr/sbin/chroot", folder, f"/{harness.WRAPPER.name}", option],
                                        capture_output=True, text=True, check=False, env={})
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertIn("cloudtaser-wrapper", result.stdout)

    def test_size(self):
        self.assertLessEqual(harness.WRAPPER.stat().st_size, 5_000_000)
        kind = subprocess.run(["readelf", "-ld", harness.WRAPPER], capture_output=True, text=True,
                              check=True).stdout
        self.assertNotIn("INTERP", kind)
        self.assertNotIn("(NEEDED)", kind)

    def test_termination_message(self):
        script = ("mount -t tmpfs none /dev && : > /dev/termination-log && "
                  f"{harness.WRAPPER.resolve()} -- true; echo $?; cat /dev/termination-log")
        result = subprocess.run(["unshare", "--mount", "sh", "-c", script], text=True, check=True,
                                capture_output=True, env={"PATH": os.environ["PATH"]})
        code, _, message = result.stdout.partition("\n")
        self.assertEqual(code, "104")
        self.assertIn("CLOUDTASER_CONFIG is missing", message)
        self.assertIn(message.strip(), result.stderr)


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
