# SPDX-License-Identifier: Apache-2.0
"""What the tests of the built wrapper share: where it is, how it is run, what must never be seen."""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import bad_vault

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "rig")]

BUILD = pathlib.Path(os.environ.get("CT_BUILD_DIR", "build"))
WRAPPER = pathlib.Path(os.environ.get("CT_WRAPPER", BUILD / "static/wrapper/cloudtaser-wrapper"))
PYTHON = "/usr/bin/python3"
RESERVED_SIGNALS = (32, 33)  # glibc keeps these for its threads and refuses to touch them
RT_SIGACTION = 13  # of x86-64


def default_reserved_signals():
    """GNU make starts its children with these ignored, which the wrapper rightly hands on."""
    default = ctypes.create_string_buffer(32)  # the kernel's struct sigaction: SIG_DFL, no flags
    for number in RESERVED_SIGNALS:
        if ctypes.CDLL(None).syscall(RT_SIGACTION, number, default, None, 8) != 0:
            raise OSError(f"signal {number} cannot be set to its default")


default_reserved_signals()


def require_wrapper():
    """Skips (77) when there is no static wrapper; a failure where tests must run."""
    if not WRAPPER.is_file():
        print(f"{WRAPPER} is missing: build the target `static`", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)


def until(condition, what, seconds):
    """What `condition` gives once it is true; the test has failed when that takes longer. It may look at a process that has
    ended since it was listed: then it is not true yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            value = condition()
            if value:
                return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


def status(pid, key):
    """The first word behind `key` in /proc/PID/status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(line.split()[1] for line in text.splitlines() if line.startswith(key + ":"))


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_program(pid, name):
    """The wrapper has other, passing children before the app."""
    try:
        return status(pid, "Name") == name and status(pid, "State") != "t"
    except (FileNotFoundError, ProcessLookupError):
        return False


def tree(pid):
    return [pid] + [p for child in children(pid) for p in tree(child)]


def put_down(process):
    """Ends a wrapper and all below it: what is no PID 1 would leave its app behind."""
    if process.poll() is None:
        for pid in tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
    for stream in process.stdin, process.stdout, process.stderr:
        if stream:
            stream.close()


class Rig:
    """Certificates, a token file and a good Vault, for one test class."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="ct-wrapper-")
        self.folder = pathlib.Path(self._temporary.name)
        bad_vault.make_certificates(self.folder)
        (self.folder / "jwt").write_text(bad_vault.JWT + "\n")
        self.vault = bad_vault.BadVault(self.folder / "server.pem", self.folder / "server.key")

    def close(self):
        self.vault.close()
        self._temporary.cleanup()

    def settings(self, **changes):
        base = {"version": 1, "address": self.vault.address, "role": "fine",
                "ca-file": str(self.folder / "ca.pem"), "token-file": str(self.folder / "jwt"),
                "retry-budget-ms": 300, "timeout-ms": 2000}
        base.update({name.replace("_", "-"): value for name, value in changes.items()})
        return {name: value for name, value in base.items() if value is not None}

    def environment(self, settings, **variables):
        text = settings if isinstance(settings, str) else json.dumps(settings)
        return {"PATH": os.environ["PATH"], "CLOUDTASER_CONFIG": text, **variables}

    def run(self, command, settings=None, variables=None, **options):
        """Runs the wrapper to its end; stdout and stderr as text."""
        environment = self.environment(self.settings() if settings is None else settings,
                                       **(variables or {}))
        return subprocess.run([WRAPPER, "--", *command], env=environment, text=True, timeout=60,
                              capture_output=True, errors="replace", check=False, **options)

    def start(self, command, settings=None, variables=None, **options):
        environment = self.environment(self.settings() if settings is None else settings,
                                       **(variables or {}))
        return subprocess.Popen([WRAPPER, "--", *command], env=environment, **options)


class RigCase(unittest.TestCase):
    """Tests that share a rig."""

    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()

    @classmethod
    def tearDownClass(cls):
        cls.rig.close()


def assert_nothing_leaks(test, *texts):
    """Neither a hidden string nor a run of 8 of its characters may be seen."""
    for text in texts:
        for hidden in bad_vault.HIDDEN:
            for i in range(len(hidden) - 7):
                test.assertNotIn(hidden[i:i + 8], text)
