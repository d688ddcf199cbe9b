# SPDX-License-Identifier: Apache-2.0
"""Programs that a test run starts: on free loopback ports, with a log each, ended with the run."""

import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LONGEST_INTERVAL_S = 0.3
# For the environment of programs in Go: there is more memory here than processor time to collect garbage in. What ends soon
# collects none.
GO_SERVICE = {"GOGC": "400"}
GO_TOOL = {"GOGC": "off"}
_LIBC = ctypes.CDLL(None, use_errno=True)


class RigError(Exception):
    """Something of the rig itself does not work (not: what is being tested)."""


def build_dir():
    """The product's build folder: CT_BUILD_DIR, else build/."""
    return pathlib.Path(os.environ.get("CT_BUILD_DIR") or ROOT / "build").resolve()


def product(name):
    """The path of one of the product's programs; RigError says how to build it."""
    places = {
        "cloudtaser-webhook": "webhook/cloudtaser-webhook",
        "cloudtaser": "cli/cloudtaser",
        "cloudtaser-wrapper": "static/wrapper/cloudtaser-wrapper",
        "cloudtaser-injector": "static/injector/cloudtaser-injector",
    }
    path = build_dir() / places[name]
    if not os.access(path, os.X_OK):
        raise RigError(f"{path} is missing: run make build first")
    return path


def testenv():
    """The folder with etcd, kube-apiserver, kube-controller-manager, kubectl and vault:
    CT_TESTENV_BIN, or else what tools/build-testenv builds if it must."""
    if os.environ.get("CT_TESTENV_BIN"):
        return pathlib.Path(os.environ["CT_TESTENV_BIN"])
    tool = ROOT / "tools" / "build-testenv"
    subprocess.run([tool], check=True)
    found = subprocess.run([tool, "--print"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(found.stdout.strip())


_CLAIMS = []


def free_port():
    """A port that nobody listens on, outside of the range that the kernel hands to clients. It is this process's to its end:
    another test's, that looks before the server listens, would find it free too."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                claim.bind(f"\0cloudtaser-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _CLAIMS.append(claim)
        return port
    raise RigError("no free port on 127.0.0.1 between 20000 and 32000")


def wait_until(probe, what, seconds=30.0, interval=0.03):
    """Calls probe until it gives something true and returns that; RigError after `seconds`. What takes long is asked for ever
    less often, down to a third of a second: each question costs what it waits for a part of the processor."""
    end = time.monotonic() + seconds
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > end:
            raise RigError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(interval)
        interval = max(interval, min(interval * 1.1, LONGEST_INTERVAL_S))


def _die_with_parent():
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def spawn(argv, **options):
    """Popen whose process ends with this one, however this one ends."""
    # preexec_fn and not a helper program: the process's id must be the program's own.
    return subprocess.Popen([str(a) for a in argv], preexec_fn=_die_with_parent,
                            stdin=subprocess.DEVNULL, **options)


class Service:
    """A program in the background. Its output goes to LOGDIR/NAME.log."""

    def __init__(self, name, argv, log_dir, env=None):
        self.name = name
        self.log = pathlib.Path(log_dir) / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = spawn(argv, stdout=log, stderr=subprocess.STDOUT, env=env)

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        """All that it has logged so far."""
        return self.log.read_text(errors="replace")

    def tail(self, lines=25):
        return "\n".join(f"    {line}" for line in self.text().splitlines()[-lines:])

    def wait_for(self, probe, what, seconds=60.0):
        """wait_until(), but gives up at once when the program has ended."""
        def alive_probe():
            if self.process.poll() is not None:
                raise RigError(f"{self.name} ended with status {self.process.returncode} "
                               f"({self.log}):\n{self.tail()}")
            return probe()
        try:
            return wait_until(alive_probe, what, seconds)
        except RigError as error:
            raise RigError(f"{error}\n  the end of {self.log}:\n{self.tail()}") from None

    def end(self, sig=signal.SIGKILL, seconds=10.0):
        """Ends it and returns its status (None if it had to be killed after `seconds`)."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return None
        return self.process.returncode
