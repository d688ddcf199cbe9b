#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the containers of an admitted pod for real, by runc, without a kubelet.

Init containers run in order, native sidecars (restartPolicy Always) go on beside what follows, then
the containers start. Volumes, tokens, environment, users, capabilities, seccomp, read-only roots and
limits are those that kubelet and containerd would give. The network is this machine's own, so that
servers on loopback can be reached. Nothing is restarted. Needs root and runc.

    with PodRunner(pod, images={"app:1": "/path/to/rootfs"}, token=lambda audience, s: "…") as run:
        run.start()
        run.wait(30)
        print(run.containers["app"].exit_code, run.containers["app"].log())

As a program it does the same and prints what happened as one JSON document.
"""

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import oci
import volumes
from oci import Image, PodError

CGROUP_ROOT = "/sys/fs/cgroup"
START_TIMEOUT = 20
SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim.py")
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None)


class Container:
    """One started container."""

    def __init__(self, name, ident, bundle, process):
        self.name = name
        self.id = ident
        self.bundle = bundle
        self.process = process  # its shim: it ends as the container does
        self.pid = None         # of the container's first process, on the host

    @property
    def exit_code(self):
        """None while it runs; 128 + n when signal n ended it."""
        return self.process.poll()

    @property
    def running(self):
        return self.exit_code is None

    @property
    def log_path(self):
        return os.path.join(self.bundle, "log")

    def log(self):
        """Everything written to stdout and stderr so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    @property
    def message(self):
        """The termination message."""
        with open(os.path.join(self.bundle, "termination-log"), encoding="utf-8",
                  errors="replace") as f:
            return f.read(4096)

    def processes(self):
        """The host pids of all processes below the first one, parents before children."""
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop(0)
            children = children_of(pid)
            found += children
            queue += children
        return found

    def app_pid(self, timeout=START_TIMEOUT):
        """The host pid of the first process's first child: the app of a wrapped container."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.running:
            children = children_of(self.pid)
            if children:
                return children[0]
            time.sleep(0.01)
        raise PodError("container %s has not started an app:\n%s" % (self.name, self.log()))

    def wait_log(self, text, timeout=START_TIMEOUT):
        """Waits until the log holds a text; the log, or a PodError."""
        end = time.monotonic() + timeout
        while True:
            ended = not self.running
            log = self.log()
            if text in log:
                return log
            if ended or time.monotonic() > end:
                raise PodError("container %s %s and has not said %r:\n%s"
                               % (self.name, "ended with %s" % self.exit_code if ended
                                  else "runs", text, log))
            time.sleep(0.01)

    def report(self):
        return {"name": self.name, "pid": self.pid, "exitCode": self.exit_code,
                "message": self.message, "log": self.log()}


@contextlib.contextmanager
def _signals_blocked():
    """A signal's exception must not come between a step and what tells that it was taken."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_shim():
    """Runs in the shim's process before its program; all settings survive the exec."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid):
    result = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as f:
                result += [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return result


class PodRunner:
    """Runs one pod once. images: {image name: folder, oci.Image or None for a name that is not to be
    found}; configmaps, secrets: {name: {key: text} or folder}; token(audience or None, seconds)
    gives a service-account token. rlimits ({"RLIMIT_MEMLOCK": bytes}) and deny_syscalls (names that
    answer ENOSYS) make a narrower machine of this one. Everything is below `work`, a folder of its
    own that is removed by close()."""

    def __init__(self, pod, *, images, configmaps=None, secrets=None, token=None, work=None,
                 rlimits=None, deny_syscalls=(), runc="runc"):
        self.pod = pod.get("object", pod)
        self.images = images
        self.rlimits = rlimits
        self.deny_syscalls = deny_syscalls
        self.runc = runc
        self.objects = volumes.Objects(configmaps, secrets, token)
        self.containers = {}  # by name, init containers too, in the order of their start
        self._volumes = None
        self._failed = None
        self._work = tempfile.mkdtemp(prefix="ct-pod-%d-" % os.getpid(), dir=work)
        os.chmod(self._work, 0o711)
        self._cgroup = "/" + os.path.basename(self._work)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- starting ------------------------------------------------------------------------------

    def start(self, timeout=120):
        """Init containers to their end, then starts the containers. PodError when an init container
        fails, or for what kubelet would refuse."""
        self.run_init(timeout)
        for container in self.pod["spec"]["containers"]:
            self._start(container)

    def run_init(self, timeout=120):
        with _signals_blocked():
            self._volumes = volumes.Volumes(self.pod, os.path.join(self._work, "volumes"),
                                            self.objects)
        for container in self.pod["spec"].get("initContainers") or []:
            started = self._start(container)
            if container.get("restartPolicy") == "Always":
                continue
            try:
                code = started.process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise PodError("init container %s has not ended after %d s:\n%s"
                               % (started.name, timeout, started.log())) from None
            if code != 0:
                self._failed = started
                raise PodError("init container %s ended with %d:\n%s"
                               % (started.name, code, started.log()))

    def _image(self, container):
        found = self.images.get(container.get("image"))
        if found is None:
            raise PodError("container %s: no folder was named for its image %s"
                           % (container["name"], container.get("image")))
        return found if isinstance(found, Image) else Image(found)

    def _start(self, container):
        image = self._image(container)
        bundle = os.path.join(self._work, "containers", container["name"])
        os.makedirs(bundle)
        self._root(image, bundle)
        env, own = oci.environment(self.pod, container, image, self.objects)
        env.setdefault("HOSTNAME", self.pod["metadata"].get("name", "pod"))
        config = oci.config(
            self.pod, container, image, env=env,
            args=oci.command_line(container, image, own),
            mounts=oci.standard_mounts() + self._files(container, bundle)
            + self._volumes.mounts(container),
            cgroup=os.path.join(self._cgroup, container["name"]),
            rlimits=self.rlimits, deny_syscalls=self.deny_syscalls)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)
        return self._run(container["name"], bundle)

    def _root(self, image, bundle):
        """A root of the container's own over the image's files: an overlay, or a plain copy where
        there is none."""
        root = os.path.join(bundle, "rootfs")
        for name in ("rootfs", "upper", "overlay-work"):
            os.mkdir(os.path.join(bundle, name))
        options = "lowerdir=%s,upperdir=%s,workdir=%s" % (
            image.rootfs, os.path.join(bundle, "upper"), os.path.join(bundle, "overlay-work"))
        with _signals_blocked():
            done = subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root],
                                  capture_output=True, check=False)
        if done.returncode != 0:
            shutil.copytree(image.rootfs, root, symlinks=True, dirs_exist_ok=True)

    def _files(self, container, bundle):
        """The small files that kubelet mounts: hosts, hostname, resolv.conf, termination-log."""
        name = self.pod["metadata"].get("name", "pod")
        files = {
            "/etc/hosts": "127.0.0.1\tlocalhost %s\n" % name,
            "/etc/hostname": name + "\n",
            "/etc/resolv.conf": _read("/etc/resolv.conf"),
        }
        message = container.get("terminationMessagePath") or "/dev/termination-log"
        result = []
        for target, content in list(files.items()) + [(message, "")]:
            last = target == message
            source = os.path.join(bundle, "termination-log" if last else os.path.basename(target))
            with open(source, "w", encoding="utf-8") as f:
                f.write(content)
            os.chmod(source, 0o666 if last else 0o644)
            result.append(oci.bind(source, target, False))
        return result

    def _run(self, name, bundle):
        ident = "%s-%s" % (os.path.basename(self._work), name)
        pid_file = os.path.join(bundle, "pid")
        command = [self.runc, "--root", os.path.join(self._work, "runc"), "run", "--detach",
                   "--bundle", bundle, "--pid-file", pid_file, ident]
        with open(os.path.join(bundle, "log"), "wb") as log, _signals_blocked():
            process = subprocess.Popen(
                [sys.executable, "-ISE", SHIM, pid_file, *command], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=_prepare_shim)
            container = Container(name, ident, bundle, process)
            self.containers[name] = container
        end = time.monotonic() + START_TIMEOUT
        while not os.path.exists(pid_file) and container.running:
            if time.monotonic() > end:
                raise PodError("runc has not started container %s:\n%s" % (name, container.log()))
            time.sleep(0.002)
        text = _read(pid_file)
        if not text.isdigit():
            self._failed = container
            raise PodError("runc could not start container %s:\n%s" % (name, container.log()))
        container.pid = int(text)
        return container

    # -- running and ending --------------------------------------------------------------------

    def _main(self):
        names = [c["name"] for c in self.pod["spec"]["containers"]]
        return [self.containers[n] for n in names if n in self.containers]

    def wait(self, timeout=60):
        """Until the containers (sidecars aside) have ended: {name: exit code}."""
        end = time.monotonic() + timeout
        for container in self._main():
            try:
                container.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise PodError("container %s still runs after %d s:\n%s"
                               % (container.name, timeout, container.log())) from None
        return {c.name: c.exit_code for c in self._main()}

    def kill(self, name, signum=signal.SIGTERM):
        """Signals the container's first process, as the container runtime does."""
        subprocess.run([self.runc, "--root", os.path.join(self._work, "runc"), "kill",
                        self.containers[name].id, str(int(signum))],
                       check=False, capture_output=True)

    def stop(self, grace=10):
        """SIGTERM, then SIGKILL after the grace time: containers together, then the sidecars in the
        reverse order of their start. {name: exit code} of the containers."""
        main = self._main()
        self._end(main, grace)
        for container in reversed(list(self.containers.values())):
            self._end([container], grace)
        return {c.name: c.exit_code for c in main}

    def _end(self, containers, grace):
        running = [c for c in containers if c.running]
        for container in running:
            self.kill(container.name)
        end = time.monotonic() + grace
        for container in running:
            try:
                container.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill(container.name, signal.SIGKILL)
                container.process.wait(START_TIMEOUT)

    def report(self):
        """What happened so far, as plain data."""
        main = [c["name"] for c in self.pod["spec"]["containers"]]
        codes = [self.containers[n].exit_code if n in self.containers else None for n in main]
        if self._failed is not None or any(code not in (0, None) for code in codes):
            phase = "Failed"
        elif all(code == 0 for code in codes):
            phase = "Succeeded"
        else:
            phase = "Running" if any(n in self.containers for n in main) else "Pending"
        return {
            "phase": phase,
            "initContainers": [c.report() for n, c in self.containers.items() if n not in main],
            "containers": [c.report() for n, c in self.containers.items() if n in main],
        }

    def close(self):
        """Ends and removes all that was started, mounted and written. Safe to call twice."""
        runc = [self.runc, "--root", os.path.join(self._work, "runc")]
        for container in reversed(list(self.containers.values())):
            subprocess.run(runc + ["delete", "--force", container.id], check=False,
                           capture_output=True)
            try:
                # It ends by itself once its container has, unless that was only being started.
                container.process.wait(0.5 if container.pid else 0)
            except subprocess.TimeoutExpired:
                _kill_group(container.process)
        # By looking, not by remembering: a signal may have come between a step and its note.
        for path in reversed(_mounts_below(self._work)):
            subprocess.run(["umount", "-l", path], check=False)
        self._end_cgroups()
        shutil.rmtree(self._work, ignore_errors=True)
        if os.path.exists(self._work):
            raise RuntimeError("%s could not be removed" % self._work)

    def _end_cgroups(self):
        """Kills what still lives in the pod's cgroups (runc may have been stopped half-way) and
        removes them."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            left = [path for path in (os.path.join(c, self._cgroup.lstrip("/"))
                                      for c in _folders(CGROUP_ROOT) + [CGROUP_ROOT])
                    if os.path.isdir(path)]
            for path in left:
                _kill_members(path)
                _remove_empty(path)
            if not left:
                return
            time.sleep(0.005)


def _read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return ""


def _folders(path):
    try:
        return [e.path for e in os.scandir(path) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _mounts_below(folder):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        points = [line.split()[1] for line in f]
    return [point for point in points if point.startswith(folder + "/")]


def _kill_group(process):
    """Kills a shim with the runc that it has just started, and waits until both are gone: as long
    as runc lives it writes files and makes cgroups."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.002)


def _kill_members(path):
    for child in _folders(path):
        _kill_members(child)
    for pid in _read(os.path.join(path, "cgroup.procs")).split():
        try:
            if int(pid) > 0:  # 0: one that this pid namespace does not see
                os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


def _remove_empty(path):
    """Removes a tree of cgroups: folders only, children first."""
    for child in _folders(path):
        _remove_empty(child)
    try:
        os.rmdir(path)
    except OSError:
        pass


# -- the program -----------------------------------------------------------------------------------


def _pairs(items, what):
    result = {}
    for item in items or []:
        name, sep, value = item.rpartition("=") if what == "image" else item.partition("=")
        if not sep:
            raise SystemExit("--%s wants NAME=PATH, not %s" % (what, item))
        result[name] = value
    return result


def _arguments():
    p = argparse.ArgumentParser(description="Runs an admitted pod's containers by runc.")
    p.add_argument("pod", help="the pod as JSON; - for standard input")
    p.add_argument("--image", action="append", metavar="NAME=DIR",
                   help="the folder of an image: a root file system, or one with rootfs/ and "
                        "image.json in it")
    p.add_argument("--token", action="append", metavar="AUDIENCE=FILE",
                   help="the service-account token for an audience; an empty one is the default")
    p.add_argument("--configmap", action="append", metavar="NAME=DIR")
    p.add_argument("--secret", action="append", metavar="NAME=DIR")
    p.add_argument("--memlock", type=int, metavar="BYTES", help="RLIMIT_MEMLOCK of the containers")
    p.add_argument("--deny-syscall", action="append", default=[], metavar="NAME",
                   help="a system call that answers ENOSYS in the containers")
    p.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    p.add_argument("--keep", action="store_true",
                   help="print the report once all run (with host pids), go on until standard input "
                        "ends or SIGTERM comes, stop them, print the final report")
    return p.parse_args()


def _stop_on_signal(signum, _frame):
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # what follows is the cleaning up
    raise SystemExit(128 + signum)


def main():
    args = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop_on_signal)
    with (sys.stdin if args.pod == "-" else open(args.pod, encoding="utf-8")) as f:
        pod = json.load(f)
    tokens = _pairs(args.token, "token")

    def token(audience, _seconds):
        if (audience or "") not in tokens:
            raise PodError("no --token for audience %r" % (audience or ""))
        return _read(tokens[audience or ""])

    with PodRunner(pod, images=_pairs(args.image, "image"), token=token,
                   configmaps=_pairs(args.configmap, "configmap"),
                   secrets=_pairs(args.secret, "secret"), deny_syscalls=args.deny_syscall,
                   rlimits={"RLIMIT_MEMLOCK": args.memlock} if args.memlock else None) as run:
        error = None
        try:
            run.start(args.timeout)
            if args.keep:
                print(json.dumps(run.report()), flush=True)
                sys.stdin.read()
                run.stop()
            else:
                run.wait(args.timeout)
        except PodError as e:
            error = str(e)
        report = run.report()
        if error:
            report["error"] = error
        print(json.dumps(report, indent=1), flush=True)
        return 0 if report["phase"] == "Succeeded" and not error else 1


if __name__ == "__main__":
    sys.exit(main())
