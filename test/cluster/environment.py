# SPDX-License-Identifier: Apache-2.0
"""What all tests share: one cluster with CloudTaser in it, and how long that took."""

import contextlib
import fcntl
import shutil
import sys
import time

import process
import try_out
from cluster import APPS, Cluster, missing

__all__ = ["current", "missing", "open_environment"]

# Short, so that certificates are renewed while the tests run: after two minutes.
CERTIFICATE_LIFE = "3m"
# From `helm install` to the first protected pod, on a machine that does nothing else.
SECONDS_TO_FIRST_POD = 90

_current = None


def current():
    """The environment of this run."""
    return _current


@contextlib.contextmanager
def open_environment():
    global _current
    with contextlib.ExitStack() as stack:
        _current = Environment(stack)
        try:
            yield _current
        finally:
            _current = None


def _tell(text):
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


class _Log:
    """A log of the node's, as the suite shows it below a failure."""

    def __init__(self, path):
        self.log = path

    def tail(self, lines):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"    {line[:300]}" for line in text.splitlines()[-lines:])


class Environment:
    WHAT = "control plane, node, Vault and CloudTaser"

    def __init__(self, stack):
        self.base = process.build_dir() / "cluster"
        self.base.mkdir(parents=True, exist_ok=True)
        self._only_run(stack)
        self.logs, self.work = self.base / "logs", self.base / "work"
        for folder in (self.logs, self.work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, mode=0o700)
        # A disk image and its changes: nothing that anybody looks at afterwards.
        stack.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.cluster = Cluster(process.testenv(), self.work, self.logs, stack, _tell)
        start = time.monotonic()
        _tell("helm install")
        try:
            self.cluster.install(certificates={"life": CERTIFICATE_LIFE})
            self.cluster.api.create(try_out.WEB, APPS)
            self.cluster.wait_running(APPS, "app=web", 240)
        except process.RigError:
            sys.stdout.write("\n".join(f"{s.log}:\n{s.tail(15)}\n" for s in self.suspects("")))
            raise
        self.first_pod = time.monotonic() - start
        print(f"cluster_install_to_first_pod_s {self.first_pod:.1f} (at most "
              f"{SECONDS_TO_FIRST_POD})", flush=True)

    def _only_run(self, stack):
        lock = stack.enter_context(open(self.base / "lock", "wb"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise process.RigError(f"another run is under way in {self.base}") from None

    def suspects(self, _text):
        """The logs that may explain a failure."""
        return [_Log(path) for path in self.cluster.node.log_files()]
