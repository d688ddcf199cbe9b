#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Launchers, real ones: followed to the app at no cost, with placeholders until then; nothing of the
secret in them or their helpers; signals, stops and exit codes as without the wrapper."""
import contextlib
import functools
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

import bad_vault
import harness
from harness import children, status, tree
from test_traces import memory_of

REFERENCE = "vault:secret/data/fine#password"
PLACEHOLDER = "cloudtaser:secret"
FULL = "Protection score: 55/75"
NOBODY = pwd.getpwnam("nobody").pw_uid
NEEDED = ("dash", "bash", "busybox", "tini", "dumb-init", "gosu", "setpriv", "timeout")
FOUR = ("memfd_secret", "mlock", "madv_dontdump", "pr_set_dumpable")
until = functools.partial(harness.until, seconds=20)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# Tells what it was given, then does what it is told to.
APP = """
import json, os, sys, time
text = open("/proc/self/status").read().split()
after = lambda key: text[text.index(key) + 1]
print(json.dumps({"value": os.environ.get("S"), "pid": os.getpid(), "parent": os.getppid(), "uid": os.getuid(),
                  "tracer": int(after("TracerPid:")), "arguments": sys.argv[2:]}), flush=True)
if sys.argv[1] == "wait":
    sys.stdin.read()
    sys.exit(0)
sys.exit(int(sys.argv[1]))
"""
# In the way of those of well-known images: helpers, a database that is waited for, another user,
# itself again, and the program at last.
ENTRYPOINT = """#!/bin/SHELL
set -e
note() {
    printf '%s\\n' "$(date) $*" >>"$NOTES"
}
_main() {
    note "S is $(printenv S)"
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$DATA"
        chown -R nobody "$DATA"
        exec gosu nobody "$0" "$@"
    fi
    sed 's/^/: /' >"$DATA/helped" <<-TEXT
	not a command: exec nothing
	TEXT
    until [ -e "$DATA/helped" ]; do
        sleep 0.1
    done
    if [ -n "$HOLD" ]; then
        sleep 1000 >"$DATA/sleeps" 2>&1 &
        : >"$DATA/waits"
        read -r _ <"$DATA/hold" || true
    fi
    case "$1" in
        -*) set -- default "$@" ;;
    esac
    exec "$@"
}
_main "$@"
"""


# Connects to every socket of its kind that shows up under a name of the kernel's own, and asks for
# descriptors; tells of each that it met, and with how many.
THIEF = """
import socket, sys, time
met = set()
print("ready", flush=True)
while True:
    for line in open("/proc/net/unix"):
        fields = line.split()
        if len(fields) == 8 and fields[4] == "0005" and fields[7].startswith("@") and fields[3] == "00010000":
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.settimeout(0.5)
                try:
                    s.connect("\\0" + fields[7][1:])
                    _, fds, _, _ = socket.recv_fds(s, 1, 1)
                    print("met", len(fds), flush=True)
                except OSError:
                    print("met 0", flush=True)
"""


class Base(harness.RigCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rig.folder.chmod(0o755)

    def setUp(self):
        self.data = self.rig.folder / "data"
        self.notes = self.rig.folder / "notes"
        self.notes.write_text("")
        self.notes.chmod(0o666)
        shutil.rmtree(self.data, ignore_errors=True)

    def variables(self, **more):
        return {"S": REFERENCE, "PATH": PATH, "DATA": str(self.data), "NOTES": str(self.notes), "HOLD": "", **more}

    def app(self, what, *arguments):
        return [harness.PYTHON, "-c", APP, str(what), *map(str, arguments)]

    def run_it(self, command, variables=None, prefix=(), **settings):
        environment = self.rig.environment(self.rig.settings(**settings), **self.variables(**(variables or {})))
        return subprocess.run([*prefix, harness.WRAPPER, "--", *command], env=environment, text=True, timeout=60,
                              capture_output=True, errors="replace", check=False)

    def start(self, command, variables=None, prefix=(), **settings):
        environment = self.rig.environment(self.rig.settings(**settings), **self.variables(**(variables or {})))
        # A group of its own, whose parent is another's: in an orphaned one SIGTSTP stops nobody.
        process = subprocess.Popen([*prefix, harness.WRAPPER, "--", *command], env=environment, text=True,
                                   process_group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            for pid in reversed(tree(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.communicate()

    def entrypoint(self, shell):
        path = self.rig.folder / f"entrypoint-{shell}.sh"
        path.write_text(ENTRYPOINT.replace("SHELL", shell))
        path.chmod(0o755)
        return str(path)

    def left_over(self):
        """Processes of this test's that live: they have its variable."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if f"NOTES={self.notes}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def assert_followed(self, result, code=0):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(FULL, result.stderr)
        self.assertIn("following ", result.stderr)
        self.assertIn(f"S holds the placeholder {PLACEHOLDER}", result.stderr)
        told = json.loads(result.stdout)
        self.assertTrue(told["value"] == bad_vault.VALUE, "the app has its secret")
        self.assertEqual(told["tracer"], 0)
        return told


def launchers(test):
    """Name, command in front of the app, uid of the app."""
    shells = [["dash"], ["bash"], ["busybox", "sh"]]
    for shell in shells:
        name = shell[-1] if shell[0] != "busybox" else "busybox sh"
        yield f"{name}: exec", [*shell, "-c", 'exec "$@"', "x"], 0
        yield f"{name}: helpers, exec", [*shell, "-ec", 'ls / >/dev/null; id -u >/dev/null; exec "$@"', "x"], 0
        yield f"{name}: one command", [*shell, "-c", '"$@"', "x"], 0
        yield f"{name}: cd and one command", [*shell, "-c", 'cd / && "$@"', "x"], 0
    yield "tini", ["tini", "-s", "--"], 0
    yield "tini, another group", ["tini", "-s", "-g", "--"], 0
    yield "dumb-init", ["dumb-init"], 0
    yield "dumb-init, its own session", ["dumb-init", "--"], 0
    yield "gosu", ["gosu", "nobody"], NOBODY
    yield "setpriv", ["setpriv", f"--reuid={NOBODY}", "--clear-groups"], NOBODY
    yield "env", ["env", "A=b"], 0
    yield "nice nohup env", ["nice", "nohup", "env"], 0
    yield "timeout", ["timeout", "50"], 0
    yield "busybox timeout", ["busybox", "timeout", "50"], 0
    yield "setsid", ["setsid"], 0
    for shell in "dash", "bash":
        yield f"entrypoint of {shell}", [test.entrypoint(shell)], NOBODY
    yield "tini, entrypoint", ["tini", "-s", "--", test.entrypoint("bash")], NOBODY
    yield "all of them", ["tini", "-s", "--", "dash", "-c", 'mkdir -p "$DATA"; exec gosu nobody "$@"', "x",
                          "env", "A=b", "busybox", "sh", "-c", 'exec "$@"', "x", "timeout", "50"], NOBODY


class Followed(Base):
    def each(self, **options):
        for name, command, uid in launchers(self):
            with self.subTest(name):
                self.setUp()
                for code in 0, 42:
                    told = self.assert_followed(self.run_it([*command, *self.app(code, "a b", "")], **options), code)
                    self.assertEqual((told["uid"], told["arguments"]), (uid, ["a b", ""]))

    def test_each_reaches_the_app_at_no_cost(self):
        self.each()

    def test_without_the_right_to_trace_others(self):
        """As in a container, whose root has no CAP_SYS_PTRACE."""
        self.each(prefix=["setpriv", "--bounding-set=-sys_ptrace"])

    def test_as_an_ordinary_user(self):
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all",
                  "--no-new-privs"]
        self.data.mkdir()
        self.data.chmod(0o777)
        for command in (["tini", "-s", "--"], ["dash", "-c", 'ls / >/dev/null; exec "$@"', "x"],
                        [self.entrypoint("dash")]):
            with self.subTest(command=command):
                told = self.assert_followed(self.run_it([*command, *self.app(3)], prefix=prefix), 3)
                self.assertEqual(told["uid"], NOBODY)

    def test_a_variable_that_no_shell_heeds(self):
        """ENV names a start-up file of interactive shells alone; many give it other meanings."""
        for shell in ["dash"], ["bash"], ["busybox", "sh"]:
            with self.subTest(shell=shell):
                self.assert_followed(self.run_it([*shell, "-c", 'cd / && "$@"', "x", *self.app(0)], {"ENV": "production"}))

    def test_helpers_see_placeholders(self):
        seen = set()
        for start in 1, 2:
            self.setUp()
            self.assert_followed(self.run_it([self.entrypoint("bash"), *self.app(0)]))
            notes = self.notes.read_text()
            found = re.findall(rf"S is ({PLACEHOLDER}:[0-9a-f]{{24}})\n", notes)
            self.assertEqual((len(found), len(set(found))), (2, 1), notes)
            seen.update(found)
            self.assertEqual(len(seen), start, "another at each start: it may end up as a password")

    def test_secret_memory_is_handed_to_the_app_alone(self):
        log = self.rig.folder / "thief"
        with open(log, "wb") as out, subprocess.Popen([harness.PYTHON, "-c", THIEF], stdout=out) as thief:
            self.addCleanup(thief.kill)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as careless:
                careless.bind("")
                careless.listen(1)
                connection, _ = careless.accept()
                with connection:
                    socket.send_fds(connection, [b"x"], [0])
                    until(lambda: "met 1" in log.read_text(), "the control: it takes what it is given")
            before = len(log.read_text())
            for _ in range(100):
                self.assert_followed(self.run_it(["env", *self.app(0)]))
                said = log.read_text()[before:]
                if said.count("met 0") >= 2:
                    break
            thief.kill()
        self.assertIn("met 0", said, "the thief was there")
        self.assertNotIn("met 1", said)

    def test_a_launcher_that_is_given_the_secret_holds_it(self):
        """The control of the next: the same look finds it in a launcher that is not followed, and its child."""
        process = self.start(["tini", "-s", "--", *self.app("wait")], launcher="deliver")
        self.assertTrue(json.loads(process.stdout.readline())["value"] == bad_vault.VALUE)
        child = tree(process.pid)[-1]
        self.assertTrue(bad_vault.VALUE.encode() in memory_of(child))
        self.assertIn(b"S=" + bad_vault.VALUE.encode(), pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0"))
        process.communicate("", timeout=20)

    def test_no_process_but_the_app_holds_it(self):
        """While the entrypoint waits, and once the app runs: all that root can read of every process."""
        command = ["tini", "-s", "--", self.entrypoint("dash"), *self.app("wait")]
        self.data.mkdir()
        os.mkfifo(self.data / "hold")
        process = self.start(command, {"HOLD": "1", "PLANTED": "x" + bad_vault.VALUE[3:]})
        until(lambda: (self.data / "waits").exists(), "the entrypoint")
        for phase, name in ("entrypoint", "entrypoint-dash"), ("app", "python3"):
            def names():
                return sorted(status(pid, "Name") for pid in tree(process.pid)[1:])
            wanted = sorted(["tini", "sleep", name])
            until(lambda: names() == wanted, f"{names()} to become {wanted}")
            pids = tree(process.pid)[1:]
            for pid in pids:
                with self.subTest(phase=phase, name=status(pid, "Name")):
                    found = memory_of(pid)
                    # No assertIn: it would print all of the memory.
                    self.assertTrue(b"S=" + PLACEHOLDER.encode() in found, "the control")
                    self.assertTrue(bad_vault.VALUE[3:].encode() in found, "the planted one")
                    known = found.count(b"x" + bad_vault.VALUE[3:].encode())
                    self.assertEqual(known, found.count(bad_vault.VALUE[3:].encode()) - found.count(
                        bad_vault.VALUE.encode()))
                    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                    self.assertTrue(any(e.startswith(b"S=" + PLACEHOLDER.encode() + b":") for e in environ))
                    links = [os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
                    self.assertFalse([link for link in links if "secretmem" in link])
                    if phase == "entrypoint" or status(pid, "Name") != "python3":
                        self.assertFalse(bad_vault.VALUE.encode() in found)
                        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
                        self.assertNotIn("secretmem", maps)
            if phase == "entrypoint":
                (self.data / "hold").write_text("go on\n")
                told = json.loads(process.stdout.readline())
                self.assertTrue(told["value"] == bad_vault.VALUE)
                # Nobody is traced any more.
                until(lambda: all(status(pid, "TracerPid") == "0" for pid in tree(process.pid)), "the release")
        process.communicate("", timeout=20)
        self.assertEqual(process.returncode, 0)
        for pid in self.left_over():
            os.kill(pid, signal.SIGKILL)


class NotFollowed(Base):
    def assert_in_the_clear(self, result, reason):
        self.assertIn("Protection score: 10/75", result.stderr)
        for check in FOUR:
            self.assertIn(f"{check}: FAIL (+0) {reason}", result.stderr)
        self.assertNotIn("following", result.stderr)

    def test_what_cannot_be_told_apart_loses_points_and_works(self):
        cases = [
            ('ls / >/dev/null; "$@"; exit 7', "its script starts programs as its children: write exec"),
            ('"$@" & wait $!; exit 7', "its script starts programs as its children"),
            ('[ "$S" != ' + PLACEHOLDER + ' ] && exec "$@"', "its script uses a secret's variable itself"),
        ]
        for text, reason in cases:
            for shell in ["dash"], ["bash"], ["busybox", "sh"]:
                with self.subTest(text=text, shell=shell):
                    result = self.run_it([*shell, "-c", text, "x", *self.app(7)])
                    self.assertEqual(result.returncode, 7, result.stderr)
                    self.assertTrue(json.loads(result.stdout)["value"] == bad_vault.VALUE)
                    self.assert_in_the_clear(result, f"{shell[-1]} hands its environment on in the clear ({reason}")

    def test_a_start_up_file_is_a_script_too(self):
        startup = self.rig.folder / "startup"
        startup.write_text('printenv S >>"$NOTES"\n')
        shell = ["bash", "-c", '"$@"', "x", *self.app(0)]
        self.assert_in_the_clear(self.run_it(shell, {"BASH_ENV": str(startup)}),
                                 "bash hands its environment on in the clear (its script starts programs")
        # Set by a launcher on the way: what the file starts must not be taken for the app.
        result = self.run_it(["env", f"BASH_ENV={startup}", *shell])
        self.assertIn("Protection score: 10/75", result.stderr)
        self.assertTrue(json.loads(result.stdout)["value"] == bad_vault.VALUE)

    def test_below_the_minimum_the_whole_tree_is_killed(self):
        command = ["tini", "-s", "--", "dash", "-c", 'sleep 100 & mkdir "$DATA"; exec "$@"', "x",
                   "bash", "-c", 'mkdir "$DATA/too"; "$@"', "x", *self.app(0)]
        for minimum, code in ((10, 0), (11, 100)):
            with self.subTest(minimum=minimum):
                self.setUp()
                # What is left of it would hold its output open.
                result = self.run_it(command, prefix=["sh", "-c", '"$@" >"$NOTES" 2>&1; e=$?; cat "$NOTES"; exit $e', "x"],
                                     min_score=minimum)
                self.assertEqual(result.returncode, code, result.stdout)
                self.assertIn("(its script starts programs as its children", result.stdout)
                self.assertTrue(self.data.exists(), "the entrypoint ran")
                self.assertEqual((self.data / "too").exists(), code == 0, "what was judged did not")
                left = self.left_over()
                self.assertEqual(len(left), 1 if code == 0 else 0, "the control: without the refusal one is left")
                for pid in left:
                    os.kill(pid, signal.SIGKILL)

    def test_the_annotation_decides(self):
        clear = self.run_it(["dash", "-c", 'exec "$@"', "x", *self.app(0)], launcher="deliver")
        self.assert_in_the_clear(clear, "dash hands its environment on in the clear")
        self.assertTrue(json.loads(clear.stdout)["value"] == bad_vault.VALUE)
        # Followed by order: the expansion is the placeholder, and the app has the secret.
        result = self.run_it(["dash", "-c", 'exec "$@" "$S"', "x", *self.app(0)], launcher="follow")
        told = self.assert_followed(result)
        self.assertRegex(told["arguments"][0], f"^{PLACEHOLDER}:[0-9a-f]{{24}}$")

    def test_no_program_comes_of_it(self):
        for script, code in (("exec /no/such/program", 127), ("kill -9 $$; exec x", 137), ("exit 5; exec x", 5)):
            for first in [], ["tini", "-s", "--"]:
                with self.subTest(script, first=first):
                    result = self.run_it([*first, "dash", "-c", script])
                    self.assertEqual(result.returncode, code, result.stderr)
                    self.assertIn(f"no program came of {(first or ['dash'])[0]}: whatever it ran got placeholders",
                                  result.stderr)
                    self.assertNotIn("Protection score", result.stderr)

    def test_a_changed_variable_is_told_of(self):
        for change, value in (("env S=own", "own"), ("env -u S", None), ("env -i", None)):
            with self.subTest(change):
                result = self.run_it([*change.split(), *self.app(0)])
                self.assertEqual(json.loads(result.stdout)["value"], value, result.stderr)
                self.assertIn("1 of 1 secrets were not delivered", result.stderr)

    def test_set_uid_that_would_be_lost(self):
        program = self.rig.folder / "set-uid"
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        user = ["setpriv", f"--reuid={NOBODY}", "--clear-groups"]
        plain = subprocess.run([*user, "env", program, "-u"], capture_output=True, text=True, check=True)
        self.assertEqual(plain.stdout, "0\n", "the control: it works without the wrapper")
        result = self.run_it(["env", str(program), "-u"], prefix=user)
        self.assertEqual((result.returncode, result.stdout), (125, ""), result.stderr)
        self.assertIn("is set-uid, which a program loses when its launcher is followed", result.stderr)
        # A helper of a shell is not traced, and keeps it.
        script = f'{program} -u; exec "$@"'
        result = self.run_it(["dash", "-c", script, "x", "/bin/true"], prefix=user)
        self.assertEqual((result.returncode, result.stdout), (0, "0\n"), result.stderr)
        self.assertIn(FULL, result.stderr)

    def test_where_tracing_is_forbidden(self):
        fault = harness.BUILD / "test/fault/ct-fault"
        command = ["dash", "-c", 'exec "$@"', "x", *self.app(0)]
        result = self.run_it(command, prefix=[fault, "ptrace", "--"])
        self.assertEqual((result.returncode, result.stdout), (125, ""), result.stderr)
        self.assertIn("this container may not use ptrace (EPERM)", result.stderr)
        result = self.run_it(command, prefix=[fault, "ptrace", "--"], plain_environment=True)
        self.assertTrue(json.loads(result.stdout)["value"] == bad_vault.VALUE, result.stderr)
        self.assertIn("Protection score: 10/75", result.stderr)

    def test_faults_cost_their_own_points(self):
        fault = harness.BUILD / "test/fault/ct-fault"
        for name, points in (("memfd_secret", 40), ("process_vm", 55), ("memfd_secret,mlock", 30)):
            with self.subTest(name):
                result = self.run_it(["tini", "-s", "--", "gosu", "nobody", *self.app(0)], prefix=[fault, name, "--"])
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(f"Protection score: {points}/75", result.stderr)
                self.assertTrue(json.loads(result.stdout)["value"] == bad_vault.VALUE)

    def test_a_fork_bomb_under_a_launcher_ends(self):
        script = "import os, time\nfor _ in range(500):\n    os.fork() or time.sleep(1000)\ntime.sleep(1000)"
        program = self.rig.folder / "tini"
        shutil.copy(os.path.realpath(harness.PYTHON), program)
        program.chmod(0o755)
        result = self.run_it([str(program), "-c", script])
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertIn("it started more than 128 processes", result.stderr)
        until(lambda: self.left_over() == [], "the end of all")


class WhileFollowed(Base):
    WAITS = 'trap "echo got TERM; exit 33" TERM; trap "echo got HUP" HUP; echo ready; while [ -e "$DATA" ]; do ' \
            'sleep 0.02; done; exec "$@"'

    def held(self, shell="dash", script=None):
        self.data.mkdir()
        process = self.start([shell, "-c", script or self.WAITS, "x", *self.app(0)])
        self.assertEqual(process.stdout.readline(), "ready\n")
        launcher = until(lambda: [pid for pid in children(process.pid) if status(pid, "Name") == shell],
                         "the launcher")[0]
        self.assertEqual(int(status(launcher, "TracerPid")), process.pid)
        return process, launcher

    def test_signals_reach_the_launcher(self):
        process, _ = self.held()
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.stdout.readline(), "got HUP\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stdout.readline(), "got TERM\n")
        process.wait(20)
        self.assertEqual(process.returncode, 33)

    def test_signals_reach_another_user_without_the_right_to_send_them(self):
        """Root without CAP_KILL, as where all capabilities are dropped but those that gosu needs."""
        app = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(21))\nprint('ready', flush=True)\nsignal.pause()"
        prefix = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
        control = subprocess.Popen(["sleep", "1000"], user=NOBODY)
        self.addCleanup(self.end, control)
        refused = subprocess.run([*prefix, "kill", str(control.pid)], capture_output=True, text=True, check=False)
        self.assertIn("not permitted", refused.stderr, "the control: it may not")
        control.kill()
        for launcher in ["gosu", "nobody"], ["dash", "-c", 'exec gosu nobody "$@"', "x"]:
            with self.subTest(launcher=launcher):
                process = self.start([*launcher, harness.PYTHON, "-c", app], prefix=prefix)
                self.assertEqual(process.stdout.readline(), "ready\n")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(20), 21)

    def test_an_untrapped_signal_ends_it(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGKILL:
            with self.subTest(number.name):
                shutil.rmtree(self.data, ignore_errors=True)
                process, launcher = self.held(script='echo ready; while [ -e "$DATA" ]; do sleep 0.02; done; exec "$@"')
                os.kill(launcher if number == signal.SIGKILL else process.pid, number)
                process.wait(20)
                self.assertEqual(process.returncode, 128 + number)

    def test_stop_and_continue(self):
        for number in signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN:
            with self.subTest(number.name):
                shutil.rmtree(self.data, ignore_errors=True)
                process, launcher = self.held("bash")
                os.kill(launcher, number)
                until(lambda: status(launcher, "State") in "tT", "the stop of the launcher")
                # As without following, whoever does job control sees the wrapper stop too.
                until(lambda: status(process.pid, "State") == "T", "the stop of the wrapper")
                shutil.rmtree(self.data)
                time.sleep(0.1)
                self.assertIn(status(launcher, "State"), "tT", "it stays stopped")
                os.kill(process.pid, signal.SIGCONT)
                out, err = process.communicate("", timeout=20)
                self.assertEqual(process.returncode, 0, err)
                self.assertTrue(json.loads(out.splitlines()[-1])["value"] == bad_vault.VALUE)

    def test_orphans_are_reaped(self):
        script = '(sleep 0.05 &) ; (true &) ; echo ready; while [ -e "$DATA" ]; do sleep 0.02; done; exec "$@"'
        process, launcher = self.held(script=script)
        until(lambda: children(process.pid) == [launcher], "the end of orphans")
        shutil.rmtree(self.data)
        process.communicate("", timeout=20)
        self.assertEqual(process.returncode, 0)

    def test_it_may_take_its_time(self):
        process, _ = self.held()
        time.sleep(3)
        shutil.rmtree(self.data)
        out, err = process.communicate("", timeout=20)
        self.assertIn(FULL, err)
        self.assertTrue(json.loads(out.splitlines()[-1])["value"] == bad_vault.VALUE)

    def test_signals_reach_the_app_through_its_launcher(self):
        app = "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(21))\nprint('ready', flush=True)\nsignal.pause()"
        for launcher in ["tini", "-s", "--"], ["dumb-init"], ["dash", "-c", 'exec "$@"', "x"]:
            with self.subTest(launcher=launcher):
                process = self.start([*launcher, harness.PYTHON, "-c", app])
                self.assertEqual(process.stdout.readline(), "ready\n")
                process.send_signal(signal.SIGTERM)
                process.wait(20)
                self.assertEqual(process.returncode, 21)

    def test_a_wrapper_that_is_killed_takes_the_launcher_along(self):
        process, launcher = self.held()
        process.kill()
        process.wait()
        until(lambda: not pathlib.Path(f"/proc/{launcher}").exists() or status(launcher, "State") == "Z",
              "the end of the launcher")


if __name__ == "__main__":
    harness.require_wrapper()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(f"needs root and {', '.join(missing) or 'nothing more'}", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
