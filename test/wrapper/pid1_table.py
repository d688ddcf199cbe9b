#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The duties of PID 1 as a table: what is done, what must come of it, what came. Each row is done with
the wrapper as PID 1 of a PID namespace ("pid1") and as an ordinary process ("child"), unless it says
otherwise. Ends with the line `N passed, N failed`."""
import collections
import concurrent.futures
import ctypes
import os
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time

import harness
from harness import is_program
from test_pid1 import Terminal, children, status, until

APP = str((harness.BUILD / "test/wrapper/pid1_app").resolve())
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
NOBODY = "61517"  # a user of no other process
ENDING = [n for n in range(1, 65) if n not in (17, 18, 19, 20, 21, 22, 23, 28)]
FORWARDED = [n for n in range(1, 65) if n not in (9, 19)]
PLAIN = "^(Umask|Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Cpus_allowed):?"

Row = collections.namedtuple("Row", "name done expected run ways")
ROWS = []


def row(name, done, expected, ways=("pid1", "child")):
    """Registers a function of a Way that returns what came. `expected` may differ by way."""
    def register(run):
        ROWS.append(Row(name, done, expected, run, ways))
        return run
    return register


class Way:
    """How the wrapper is started, and what has to be ended afterwards."""

    def __init__(self, name, rig):
        self.name, self.rig = name, rig
        self.started, self.terminals = [], []
        self.unread = {}
        self.patient = rig.settings(retry_budget_ms=30000, timeout_ms=10000)  # on a busy machine too

    def command(self, app, before=(), terminal=False):
        front = UNSHARE + (["setsid", "--ctty"] if terminal else []) if self.name == "pid1" else []
        return [*front, *before, str(harness.WRAPPER.resolve()), "--", *app]

    def start(self, app, settings=None, before=(), **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL,
                   "start_new_session": True, **options}
        environment = self.rig.environment(settings or self.patient)
        process = subprocess.Popen(self.command(app, before), env=environment, text=True, **options)
        self.started.append(process)
        return process

    def code(self, *app, **options):
        process = self.start(app, **options)
        process.communicate(timeout=30)
        return process.returncode

    def output(self, *app, **options):
        process = self.start(app, **options)
        out, _ = process.communicate(timeout=30)
        return out, process.returncode

    def wrapper(self, process):
        """Its pid, seen from here."""
        if self.name == "child":
            return process.pid
        return until(lambda: children(process.pid), "the namespace's first process")[0]

    def ready(self, *app, **options):
        """Starts an app that says so: the process, the wrapper's pid, the app's pid."""
        process = self.start(app, **options)
        if self.line(process, 30) != "ready":
            raise AssertionError("the app did not get ready")
        wrapper = self.wrapper(process)
        return process, wrapper, children(wrapper)[0]

    def line(self, process, seconds=5):
        """The next line that it writes; not by readline(), whose buffer select(2) does not see."""
        text, end = self.unread.get(process, b""), time.monotonic() + seconds
        while b"\n" not in text:
            if not select.select([process.stdout], [], [], max(end - time.monotonic(), 0))[0]:
                return "nothing"
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                return "its end"
            text += more
        first, _, self.unread[process] = text.partition(b"\n")
        return first.decode()

    def codes(self, mode, numbers, expected):
        """How many of the starts end as expected."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ends = pool.map(lambda n: self.code(APP, mode, str(n)) == expected(n), numbers)
            return count(sum(ends), len(numbers))

    def sleeping(self, settings=None, **options):
        process = self.start(["/bin/sleep", "60"], settings, **options)
        wrapper = self.wrapper(process)
        found = until(lambda: [p for p in children(wrapper) if is_program(p, "sleep")], "the app")
        return process, wrapper, found[0]

    def terminal(self, *app):
        terminal = Terminal(self.command(app, terminal=True),
                            self.rig.environment(self.patient, TERM="dumb"))
        self.terminals.append(terminal)
        return terminal

    def end(self):
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # and whom it left behind
            except ProcessLookupError:
                pass
            process.wait()
            if process.stdout:
                process.stdout.close()
        for terminal in self.terminals:
            terminal.close()
        self.started, self.terminals, self.unread = [], [], {}


def state(pid):
    try:
        return "ended" if status(pid, "State") == "Z" else "stopped" if status(pid, "State") == "T" else "runs"
    except FileNotFoundError:
        return "ended"


def count(good, of):
    return f"{good} of {of}"


# ---- how it ends

@row("exit codes", "the app ends with each of 0 to 255", "256 of 256")
def _(way):
    return way.codes("exit", range(256), lambda n: n)


@row("death by signal", "the app ends by each signal that ends it", count(len(ENDING), len(ENDING)))
def _(way):
    return way.codes("die", ENDING, lambda n: 128 + n)


@row("fault", "the app reads where nothing is", 139)
def _(way):
    return way.code(APP, "fault")


@row("kill -9 of the app", "from outside", 137)
def _(way):
    process, _, app = way.ready(APP, "listen")
    os.kill(app, signal.SIGKILL)
    return process.wait(10)


@row("kill -9 of the wrapper", "what becomes of the app",
     {"pid1": "app ended", "child": "app runs"})
def _(way):
    _, wrapper, app = way.ready(APP, "listen")
    os.kill(wrapper, signal.SIGKILL)
    time.sleep(0.2)
    return f"app {state(app)}"


@row("exec: missing", "/no/such/program", 127)
def _(way):
    return way.code("/no/such/program")


@row("exec: missing in PATH", "no-such-program-anywhere", 127)
def _(way):
    return way.code("no-such-program-anywhere")


@row("exec: empty name", "''", 127)
def _(way):
    return way.code("")


@row("exec: found in PATH", "true", 0)
def _(way):
    return way.code("true")


@row("exec: a folder", "/tmp", 126)
def _(way):
    return way.code("/tmp")


def script(way, text, mode):
    path = way.rig.folder / "script"
    path.write_text(text)
    path.chmod(mode)
    return way.code(str(path))


@row("exec: not executable", "a file without x", 126)
def _(way):
    return script(way, "#!/bin/sh\n", 0o644)


@row("exec: no program", "a text without #!", 126)
def _(way):
    return script(way, "exit 3\n", 0o755)


@row("exec: interpreter missing", "#!/no/such/interpreter", 127)
def _(way):
    return script(way, "#!/no/such/interpreter\n", 0o755)


@row("exec: a script", "#!/bin/sh that exits 9", 9)
def _(way):
    return script(way, "#!/bin/sh\nexit 9\n", 0o755)


# ---- signals: each has a row of its own; see signal_rows()

@row("queued signals keep their values", "sigqueue(3) of 40 with 0, 1, 2", "40 -1 0, 40 -1 1, 40 -1 2")
def _(way):
    process, wrapper, _ = way.ready(APP, "listen")
    for value in range(3):
        ctypes.CDLL(None).sigqueue(wrapper, 40, ctypes.c_void_p(value))
    return ", ".join(way.line(process) for _ in range(3))


@row("a burst", "200 real-time signals at once", "200 of 200")
def _(way):
    process, wrapper, _ = way.ready(APP, "listen")
    for _ in range(200):
        os.kill(wrapper, 50)
    return count(sum(way.line(process) == "50 0 0" for _ in range(200)), 200)


@row("from the app itself", "it sends its parent HUP, INT, USR1, TERM, 34, 64", "1 2 10 15 34 64")
def _(way):
    return " ".join(str(way.code(APP, "ring", str(n))) for n in (1, 2, 10, 15, 34, 64))


@row("an app in a session of its own", "TERM to the wrapper", "15 0 0")
def _(way):
    process, wrapper, app = way.ready(APP, "session")
    os.kill(wrapper, signal.SIGTERM)
    said = way.line(process)
    os.kill(app, signal.SIGKILL)  # no signal to the wrapper's group reaches it
    return said


@row("a deaf app", "TERM, INT, HUP, QUIT; then kill -9 of the app", "both run, 137")
def _(way):
    process, wrapper, app = way.ready(APP, "deaf")
    for number in (15, 2, 1, 3):
        os.kill(wrapper, number)
    time.sleep(0.2)
    both = "both run" if (state(wrapper), state(app)) == ("runs", "runs") else "not both run"
    os.kill(app, signal.SIGKILL)
    return f"{both}, {process.wait(10)}"


def early(way, number):
    before = len(way.rig.vault.requests)
    process = way.start(["/bin/sleep", "60"], way.rig.settings(role="slow", retry_budget_ms=5000))
    until(lambda: len(way.rig.vault.requests) > before, "the login")
    os.kill(way.wrapper(process), number)
    return process.wait(20)


@row("before there is an app", "USR1 while Vault is asked: the app gets it", 138)
def _(way):
    return early(way, signal.SIGUSR1)


@row("before there is an app: an end", "TERM while Vault is asked", 143)
def _(way):
    return early(way, signal.SIGTERM)


@row("started with SIGCHLD ignored", "the app ends with 7", 7)
def _(way):
    return way.code(APP, "exit", "7", before=["env", "--ignore-signal=CHLD"])


@row("started with HUP ignored", "HUP to the wrapper, as under nohup", "app runs")
def _(way):
    _, wrapper, app = way.sleeping(before=["env", "--ignore-signal=HUP"])
    os.kill(wrapper, signal.SIGHUP)
    time.sleep(0.2)
    return f"app {state(app)}"


# ---- children

@row("nested orphans", "10 times a child of a child of a child is left behind", "10 adopted, 1 child left")
def _(way):
    process = way.start([APP, "nest", "10"])
    wrapper = way.wrapper(process)
    parents = [way.line(process) for _ in range(10)]
    adopted = sum(p == ("1" if way.name == "pid1" else str(wrapper)) for p in parents)
    until(lambda: len(children(wrapper)) == 1, "all are reaped")
    return f"{adopted} adopted, {len(children(wrapper))} child left"


@row("orphans without end", "5,000 of them, as fast as can be", "1 child left")
def _(way):
    process = way.start([APP, "flood", "5000"])
    wrapper = way.wrapper(process)
    if way.line(process, 30) != "done":
        return "the app did not come through"
    until(lambda: len(children(wrapper)) == 1, "all are reaped")
    return f"{len(children(wrapper))} child left"


@row("a thousand children", "alive at a time; the app waits for each", "1000 124716")
def _(way):
    return way.output(APP, "family", "1000")[0].strip()


@row("a zombie of the app's own", "is not taken away from it", 42)
def _(way):
    return way.code(APP, "own-zombie", "42")


@row("an orphan's exit code", "is not mistaken for the app's", 4)
def _(way):
    return way.code(APP, "mislead", "4")


@row("an app that ignores SIGCHLD", "its children vanish, its code stays", 6)
def _(way):
    return way.code(APP, "ignore", "6")


@row("an app that adopts", "a child subreaper keeps its orphans", 7)
def _(way):
    return way.code(APP, "adopt")


@row("an app that becomes a daemon", "two forks and a session; what was started ends with 0",
     {"pid1": "code 0, daemon ended", "child": "code 0, daemon runs"})
def _(way):
    process = way.start([APP, "daemon"])
    code = process.wait(10)
    if way.name == "pid1":  # the namespace ends with its first process: nobody holds the pipe
        alive = not select.select([process.stdout], [], [], 5)[0]
        return f"code {code}, daemon {'runs' if alive else 'ended'}"
    daemon = int(way.line(process))
    said = f"code {code}, daemon {state(daemon)}"
    os.kill(daemon, signal.SIGKILL)
    return said


@row("an app that forks without end", "within 40 processes, as a user", "EAGAIN after 30 or more, code 5")
def _(way):
    user = ["prlimit", "--nproc=40:40", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    process = way.start([APP, "bomb", "5"], before=user)
    forks, _, why = way.line(process, 20).partition(" ")  # the rest are wrapper and app
    return f"{why} after {'30 or more' if int(forks) >= 30 else forks}, code {process.wait(20)}"


# ---- stops

def stop(way, number, to, **options):
    """Stops, looks, continues, looks."""
    process, wrapper, app = way.sleeping(**options)
    os.kill({"app": app, "wrapper": wrapper}[to], number)
    until(lambda: state(app) == "stopped", "the app stops")
    time.sleep(0.1)
    seen = f"app {state(app)}, wrapper {state(wrapper)}"
    os.kill(wrapper, signal.SIGCONT)
    until(lambda: (state(app), state(wrapper)) == ("runs", "runs"), "both go on")
    os.kill(wrapper, signal.SIGTERM)
    return f"{seen}; on: {process.wait(10)}"


GROUP = {"start_new_session": False, "preexec_fn": lambda: os.setpgid(0, 0)}
for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
    to = "app" if number == signal.SIGSTOP else "wrapper"
    # PID 1 has nobody above that would continue it.
    row(f"{number.name} to the {to}", "the app stops; CONT to the wrapper",
        {"pid1": "app stopped, wrapper runs; on: 143", "child": "app stopped, wrapper stopped; on: 143"})(
            lambda way, number=number, to=to: stop(way, number, to, **GROUP))


@row("SIGSTOP under a session's leader", "nobody would continue it: it goes on",
     "app stopped, wrapper runs; on: 143", ways=("child",))
def _(way):
    return stop(way, signal.SIGSTOP, "app")


# ---- terminals and descriptors

@row("no terminal", "what the app has of one, and which descriptors", "tty=0 front=0 leader=0 fds=0,1,2,")
def _(way):
    return way.output(APP, "describe")[0].strip()


@row("a descriptor of the caller's", "9 is handed on", "tty=0 front=0 leader=0 fds=0,1,2,9,")
def _(way):
    return way.output("/bin/sh", "-c", f"exec {APP} describe 9</dev/null")[0].strip()


@row("started without 0, 1 and 2", "the app ends with 6", 6)
def _(way):
    return way.code(APP, "exit", "6", before=["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])


@row("an app that closes everything", "0 to 4095, and ends with 5", 5)
def _(way):
    return way.code(APP, "close", "5")


@row("a terminal", "the app has it, in the foreground", "tty=1 front=1 leader=0")
def _(way):
    return way.terminal(APP, "describe").read_until(r"tty=\d front=\d leader=\d").group()


def once(terminal, number):
    """Waits for the signal, and for another one of it."""
    terminal.read_until(f"<{number}>")
    time.sleep(0.2)
    while select.select([terminal.fd], [], [], 0.1)[0]:
        terminal.seen += os.read(terminal.fd, 65536).decode(errors="replace")
    return "twice" if f"<{number}>" in terminal.seen else "once"


@row("keys and window", "^C, ^\\, a new size, and INT by kill(2)", "once, once, once, once")
def _(way):
    terminal = way.terminal(APP, "tell")
    terminal.read_until("<ready>")
    told = []
    for number, act in ((2, lambda: terminal.type("\x03")), (3, lambda: terminal.type("\x1c")),
                        (28, lambda: termios.tcsetwinsize(terminal.fd, (33, 99))),
                        (2, lambda: os.kill(front(way, terminal), signal.SIGINT))):
        act()
        told.append(once(terminal, number))
    return ", ".join(told)


def front(way, terminal):
    return terminal.pid if way.name == "child" else children(terminal.pid)[0]


@row("^Z with nobody to continue", "the kernel spares the app, and it still hears", "once")
def _(way):
    terminal = way.terminal(APP, "tell")
    terminal.read_until("<ready>")
    terminal.type("\x1a")
    time.sleep(0.2)
    terminal.type("\x03")
    return once(terminal, 2)


@row("the terminal hangs up", "the app dies of HUP", 129)
def _(way):
    terminal = way.terminal("/bin/sh", "-c", "printf '<ready>'; exec sleep 60")
    terminal.read_until("<ready>")
    until(lambda: any(is_program(p, "sleep") for p in children(front(way, terminal))), "the app")
    os.close(terminal.fd)
    way.terminals.remove(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1])


@row("^Z, fg, ^C in a shell", "the whole job stops, goes on, ends", "Stopped, code=130", ways=("child",))
def _(way):
    terminal = Terminal(["bash", "--norc", "--noprofile", "-i"],
                        way.rig.environment(way.rig.settings(), TERM="dumb", PS1="$ "))
    way.terminals.append(terminal)
    terminal.read_until(r"\$ ")
    terminal.type(" ".join(way.command(["sleep", "60"])) + " 2>/dev/null\n")
    until(lambda: any(is_program(a, "sleep") for w in children(terminal.pid) for a in children(w)),
          "the app")
    time.sleep(0.1)
    terminal.type("\x1a")
    said = terminal.read_until(r"(Stopped)[^$]*\$ ").group(1)
    terminal.type("fg\n")
    until(lambda: os.tcgetpgrp(terminal.fd) != terminal.pid, "the job has the terminal, and with it ^C")
    terminal.type("\x03")
    terminal.read_until(r"\$ ")
    terminal.type("echo code=$?\n")
    return f"{said}, {terminal.read_until(r'code=[0-9]+').group()}"


# ---- what the app starts with

@row("arguments", "empty, with blanks, stars, newlines, UTF-8", "<><a b><*><\n><é>")
def _(way):
    return way.output("/usr/bin/printf", "<%s>", "", "a b", "*", "\n", "é")[0]


@row("ten thousand arguments", "how many arrive", "10000")
def _(way):
    return str(len(way.output("/usr/bin/printf", "%s\n", *["x"] * 10000)[0].split()))


def with_and_without(way, command):
    def prepare():
        os.umask(0o027)
        os.nice(3)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    plain = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=prepare, cwd="/usr")
    out, _ = way.output(*command, preexec_fn=prepare, cwd="/usr")
    return "the same" if out == plain.stdout and out else f"{plain.stdout!r} and {out!r}"


@row("mask, actions, user, groups, capabilities", "as without the wrapper", "the same")
def _(way):
    return with_and_without(way, ["/bin/grep", "-E", PLAIN, "/proc/self/status"])


@row("limits", "as without the wrapper", "the same")
def _(way):
    return with_and_without(way, ["/bin/cat", "/proc/self/limits"])


@row("folder and niceness", "as without the wrapper", "the same")
def _(way):
    return with_and_without(way, ["/bin/sh", "-c", "pwd; nice"])


# ---- running and telling

def signal_rows(way):
    """A row for each signal, with one app for all of them."""
    process, wrapper, _ = way.ready(APP, "listen")
    for number in FORWARDED:
        os.kill(wrapper, number)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        yield (f"{name} ({number})", "sent to the wrapper: the app gets it", f"{number} 0 0", way.line(process))
    yield ("no signal twice", "after all of them", "nothing", way.line(process, 0.3))


def attempt(run, way):
    try:
        return run(way)
    except (AssertionError, OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"


def results(way):
    """Rows as (name, done, expected, got)."""
    for entry in ROWS:
        if way.name in entry.ways:
            expected = entry.expected[way.name] if isinstance(entry.expected, dict) else entry.expected
            yield entry.name, entry.done, expected, attempt(entry.run, way)
            way.end()
    try:
        yield from signal_rows(way)
    finally:
        way.end()


def cell(text, width):
    text = re.sub(r"\s", " ", str(text))
    return text if len(text) <= width else text[:width - 1] + "…"


def main():
    shape = "{:4}  {:5}  {:42}  {:62}  {:36}  {}"
    counts = collections.Counter()
    rig = harness.Rig()
    for path in (rig.folder, *rig.folder.iterdir()):  # one row has another user
        path.chmod(path.stat().st_mode | (0o055 if stat.S_ISDIR(path.stat().st_mode) else 0o044))
    print(shape.format("", "way", "row", "what is done", "expected", "got"))
    for name in ("pid1", "child"):
        for title, done, expected, got in results(Way(name, rig)):
            verdict = "passed" if got == expected else "failed"
            counts[verdict] += 1
            width = 36 if verdict == "passed" else 1000
            print(shape.format("ok" if verdict == "passed" else "FAIL", name, cell(title, 42), cell(done, 62),
                               cell(expected, 36), cell(got, width)), flush=True)
    rig.close()
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 0 if counts["passed"] > 150 and not counts["failed"] else 1


if __name__ == "__main__":
    harness.require_wrapper()
    if os.geteuid() != 0:
        print("a PID namespace is root's to make", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    sys.exit(main())
