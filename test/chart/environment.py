# SPDX-License-Identifier: Apache-2.0
"""What the chart's tests share: one control plane, without anything of CloudTaser in it."""

import contextlib
import fcntl
import shutil

import control_plane
import process

# Those that the integration's control plane has, and what an uninstall and the policies need.
CONTROLLERS = (*control_plane.CONTROLLERS, "garbage-collector-controller",
               "validatingadmissionpolicy-status-controller", "disruption-controller")

_current = None


def current():
    """The environment of this run."""
    return _current


def missing():
    """Why the tests cannot run here, or None."""
    return None if shutil.which("openssl") else "openssl is not installed (tools/setup does it)"


@contextlib.contextmanager
def open_environment():
    global _current
    with contextlib.ExitStack() as stack:
        _current = Environment(stack)
        try:
            yield _current
        finally:
            _current = None


class Environment:
    WHAT = "etcd and kube-apiserver"

    def __init__(self, stack):
        self.base = process.build_dir() / "chart"
        self.base.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(open(self.base / "lock", "wb"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise process.RigError(f"another run is under way in {self.base}") from None
        self.logs, self.work = self.base / "logs", self.base / "work"
        for folder in (self.logs, self.work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, mode=0o700)
        process.product("cloudtaser-webhook")
        self.binaries = process.testenv()
        self.cluster = control_plane.ControlPlane(self.binaries, self.work, self.logs, CONTROLLERS)
        stack.callback(self.cluster.close)
        self.cluster.add_node("modern", "6.12.41-cloud-amd64")

    def suspects(self, text):
        """The services whose logs may explain a failure with this text."""
        del text
        return [s for s in self.cluster.services if s.process.poll() is not None]
