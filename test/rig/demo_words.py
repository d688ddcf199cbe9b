# SPDX-License-Identifier: Apache-2.0
"""How tools/demo says things: lines with a mark and a word, a patch told in sentences, facts about a
process read from /proc."""

import base64
import ctypes
import json
import os
import re
import sys

SYS_MEMFD_SECRET = 447  # x86-64 and arm64 alike

GREEN, RED, BOLD, PLAIN = "\033[32m", "\033[31m", "\033[1m", "\033[0m"


class Speaker:
    """One line a fact. Colours on a terminal only; the words say the same without."""

    def __init__(self, out=sys.stdout):
        self.out = out
        self.colours = out.isatty()
        self.steps = 0
        self.failures = []

    def _print(self, text, colour=""):
        if self.colours and colour:
            text = colour + text + PLAIN
        print(text, file=self.out, flush=True)

    def step(self, text):
        self.steps += 1
        self._print("\n%d. %s" % (self.steps, text), BOLD)

    def ok(self, text):
        self._print("   ✓ ok: " + text, GREEN)

    def wrong(self, text):
        self.failures.append(text)
        self._print("   ✗ WRONG: " + text, RED)

    def item(self, text):
        self._print("       " + text)

    def check(self, condition, good, bad):
        if condition:
            self.ok(good)
        else:
            self.wrong(bad)
        return condition

    def end(self, seconds):
        """The last lines, and the exit status."""
        if not self.failures:
            self._print("\n✓ The demo is through after %.1f s: everything was as it must be."
                        % seconds, GREEN)
            return 0
        self._print("\n✗ The demo has failed after %.1f s; this was not so:" % seconds, RED)
        for text in self.failures:
            self._print("   - " + text.splitlines()[0], RED)
        return 1


def decode_patch(answer):
    """The operations of an admission response; [] without a patch."""
    if "patch" not in answer:
        return []
    return json.loads(base64.b64decode(answer["patch"]))


def by_name(items):
    return {item["name"]: item for item in items or []}


def describe(before, after):
    """What a patch has changed in a pod, and why: sentences."""
    lines = []
    old, new = before["spec"], after["spec"]
    for kind in ("initContainers", "containers"):
        had = by_name(old.get(kind))
        for name, container in by_name(new.get(kind)).items():
            if name not in had:
                lines.append("init container %s, first of all: it copies the wrapper out of %s "
                             "into a volume of the pod" % (name, container["image"]))
            elif container != had[name]:
                lines += _describe_container(had[name], container)
    had = by_name(old.get("volumes"))
    for name, volume in by_name(new.get("volumes")).items():
        if name not in had:
            lines.append(_describe_volume(name, volume))
    if old.get("affinity") != new.get("affinity"):
        lines.append("a required node affinity: only nodes that reach the pod's minimum score")
    had = before["metadata"].get("annotations") or {}
    for key, value in (after["metadata"].get("annotations") or {}).items():
        if had.get(key) != value:
            lines.append("annotation %s: %s" % (key, value))
    return lines


def _describe_container(old, new):
    where = "container %s: " % new["name"]
    lines = []
    if old.get("command") != new.get("command"):
        lines.append(where + "its command is started by the wrapper: " + " ".join(new["command"]))
    had = by_name(old.get("env"))
    for name, variable in by_name(new.get("env")).items():
        if name == "CLOUDTASER_CONFIG":
            lines.append(where + "variable %s: the wrapper's settings, where and as whom to ask "
                         "for secrets" % name)
        elif had.get(name) != variable:
            lines.append(where + "variable %s: a reference, %s" % (name, variable.get("value")))
    had = by_name(old.get("volumeMounts"))
    for name, mount in by_name(new.get("volumeMounts")).items():
        if name not in had:
            lines.append(where + "volume %s at %s, %s" % (
                name, mount["mountPath"],
                "read-only" if mount.get("readOnly") else "writable"))
    for key in sorted(set(old) | set(new)):
        if key not in ("command", "env", "volumeMounts") and old.get(key) != new.get(key):
            lines.append(where + "%s is another one" % key)
    return lines


def _describe_volume(name, volume):
    if "emptyDir" in volume:
        return "volume %s: empty, at most %s, for the wrapper" % (
            name, (volume["emptyDir"] or {}).get("sizeLimit", "what the node has"))
    paths = [next(iter(s.values())).get("path", "") for s in volume["projected"]["sources"]]
    return "volume %s: short-lived service-account tokens, with which the wrapper proves who it " \
           "is (%s)" % (name, ", ".join(p for p in paths if p))


def service_account_token(audience, _seconds):
    """A token such as an API server would sign, for a Vault that does not ask one."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    claims = {"iss": "demo", "aud": [audience or "https://kubernetes.default.svc"],
              "sub": "system:serviceaccount:default:shop"}
    return ".".join([part({"alg": "none"}), part(claims), "ZGVtbw"])


def status_of(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def confinement(wrapper, app):
    """Who runs: two lines."""
    for what, pid in (("wrapper", wrapper), ("app", app)):
        status = status_of(pid)
        inside = status["NSpid"].split()[-1]
        yield "%s: process %d on this machine, %s in its container (%s)" % (
            what, pid, inside, status["Name"])


def is_confined(pid, user):
    status = status_of(pid)
    with open("/proc/%d/mountinfo" % pid, encoding="utf-8") as f:
        root = [line.split() for line in f if line.split()[4] == "/"]
    return (status["Uid"].split() == [str(user)] * 4
            and all(int(status[c], 16) == 0 for c in ("CapPrm", "CapEff", "CapBnd", "CapInh"))
            and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
            and "ro" in root[-1][5].split(","))


def score_of(log):
    """("55/75" or None, the checks' lines) of a wrapper's log."""
    found = re.search(r"^\[cloudtaser-wrapper\] Protection score: (\d+/\d+)$", log, re.M)
    lines = re.findall(r"^\[cloudtaser-wrapper\] (\w+: (?:OK|FAIL) \(\+\d+\))", log, re.M)
    return found and found.group(1), lines


def memfd_secret_works():
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_MEMFD_SECRET, 1 << 19)  # O_CLOEXEC
    if fd < 0:
        return False
    os.close(fd)
    return True
