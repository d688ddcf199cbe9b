#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Registration on each kernel, by each tier: who is let in, who is not, and what becomes of marks.

  test/agent/registration.py [KERNEL...]

Boots the kernels of tools/build-kernels. Ends with the line `N passed, M failed`.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test/rig"))

import machine  # noqa: E402  (the path above must be set first)
from machine import BUILD  # noqa: E402

REGISTRANT = BUILD / "test/agent/registrant"

# Name, folder of the kernel, boot options, options of the agent, the tier that is to answer.
KERNELS = [
    ("5.10", "5.10", "", "", "fmod_ret"),
    ("5.10, reactive", "5.10", "", "--tiers reactive", "reactive"),
    ("6.1", "6.1", "secretmem.enable=1", "", "lsm"),
    ("6.1 without bpf in lsm=", "6.1", "secretmem.enable=1 lsm=lockdown,capability", "", "fmod_ret"),
    ("6.12", "6.12", "", "", "lsm"),
    ("override, kprobe", "override", "", "--tiers kprobe", "kprobe"),
    ("6.12, reactive", "6.12", "", "--tiers reactive", "reactive"),
]

POD = "01234567-89ab-cdef-0123-456789abcdef"

# Each case has a container of its own, and says what it prints as `@case NAME WORDS`.
INNER = """#!/bin/busybox sh
n=0
new_container() {
    n=$((n + 1))
    id=$(printf '%064x' $n)
    at=/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-$id.scope
    mkdir -p "$at"
}
# In the container, as its first process.
inside() { sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$at" "$@" 2>&1; }
case_of() {
    name=$1
    shift
    "$@" >/tmp/said
    echo "@case $name $? $(tr '\\n' ';' </tmp/said)"
}
fresh() {
    new_container
    name=$1
    shift
    case_of "$name" inside "$@"
}
fresh accepted registrant enter
case_of second-of-container inside registrant enter
fresh unsigned unsigned enter
fresh older older enter
fresh newer newer enter
fresh changed changed enter
fresh threads registrant threads
fresh traced registrant traced
fresh race registrant race registrant query
fresh exec registrant exec unsigned once
fresh exec-itself registrant exec registrant once
fresh impostor registrant impostor /bin/busybox
mkdir -p /sys/fs/cgroup/elsewhere
at=/sys/fs/cgroup/elsewhere
case_of no-pod inside registrant enter
at=/sys/fs/cgroup/allowed-1
mkdir -p $at
case_of allowed inside registrant once
new_container
sleep 1000 &
elder=$!
echo $elder >"$at/cgroup.procs"
sleep 1
case_of second-process inside registrant enter
kill $elder
# A victim that its wrapper has released, attacked from outside and from its own container.
new_container
TEXT=what-only-the-victim-may-know inside registrant enter row_victim >/tmp/victim &
for i in 1 2 3 4 5 6 7 8 9 10; do
    grep -q release /tmp/victim && break
    sleep 1
done
set -- $(grep -v '^[a-z]' /tmp/victim)
case_of attack row_vm_readv "$@"
case_of attack-from-within inside row_vm_readv "$@"
kill $1
sleep 1
case_of query-outside registrant query
case_of query-outside-32 registrant query-32
# Descriptors of a wrapper's memory from before it registered.
new_container
mkfifo /tmp/go
inside registrant later </tmp/go >/tmp/later &
exec 4>/tmp/go
until grep -q '^[0-9]' /tmp/later; do
    sleep 1
done
set -- $(cat /tmp/later)
exec 3</proc/$1/mem 5</proc/$1/mem
case_of old-descriptor-before dd bs=1 skip=$((0x$2)) count=25 <&3 2>/dev/null
printf x >&4
until [ "$(grep -c '^[0-9]' /tmp/later)" = 2 ]; do
    sleep 1
done
printf x >&4
until grep -q -e EISCONN -e ECONNREFUSED /tmp/later; do
    sleep 1
done
case_of later cat /tmp/later
case_of old-descriptor dd bs=1 skip=$((0x$2)) count=25 <&5 2>/dev/null
exec 4>&- 3<&- 5<&-
case_of not-asked-for registrant enter
"""

SCRIPT = """
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod +x /bin/inner
case_of() {{ "$@" 2>&1 | tr '\\n' ';'; }}
echo "@case without 0 $(case_of registrant query)"
echo "@call $(cloudtaser-agent probe {options} -o json)"
cloudtaser-agent guard {options} --allow-cgroup '/allowed-*' --min-wrapper-version 0.1.0 -- inner 2>/tmp/log
sed 's/^/@log /' /tmp/log
"""

ACCEPTED = "answer EALREADY;answer EISCONN;"
REFUSED = "answer ECONNREFUSED;"
# By case: what it prints, and the reason in the audit (None: no refusal).
EXPECTED = {
    "without": (r"query EINVAL;", None),
    "accepted": (ACCEPTED + "child-reads-wrapper 0;child-leaves ENOTCONN;outsider-reads-wrapper (EPERM|KILLED);"
                 "grandchild-leaves ENOTCONN;child-releases EPERM;wrapper-reads-held 0;release-foreign EPERM;"
                 "release EISCONN;release-again EISCONN;child-reads-wrapper-again 0;(wrapper-reads-released EPERM;|Killed;)",
                 None),
    "second-of-container": (REFUSED, "its container has registered already, by process [0-9]+"),
    "unsigned": (REFUSED, "its program is not signed"),
    "older": (REFUSED, "its version 0.0.9 is older than 0.1.0, the least allowed"),
    "newer": (ACCEPTED + ".*", None),
    "changed": (REFUSED, "its program's signature is by none of the trusted keys, or the program was changed"),
    "threads": (REFUSED, "it has 2 threads"),
    "traced": (REFUSED, "process [0-9]+ traces it"),
    "race": (r"asked EINPROGRESS;query ENOTCONN;", None),
    "exec": (r"answer EALREADY;answer ECONNREFUSED;", "its program is not signed"),
    "exec-itself": (ACCEPTED, None),
    # Under the mark: the same file is busy without it.
    "impostor": (r"answer EALREADY;(exe-file EPERM;|Killed;)", None),
    "no-pod": (REFUSED, "its cgroup /elsewhere is not that of a pod's container"),
    "allowed": (r"answer EALREADY;", None),
    "second-process": (REFUSED, "it is not the first process of its container: process [0-9]+ is older"),
    "query-outside": (r"query ENOTCONN;", None),
    "query-outside-32": (r"query ENOTCONN;", None),
    "old-descriptor-before": (r"what-the-wrapper-may-know", None),
    "later": (r"(\d+ [0-9a-f]+;)answer EALREADY;\1answer EISCONN;", None),
    "old-descriptor": (r"", None),
    "not-asked-for": (REFUSED, "it is in no cgroup of its own"),
}
KILLED = 137


def signed(folder, name, version, spoil=False):
    """A copy of the registrant under that name, signed as that version, or not at all."""
    path = folder / name
    shutil.copy(REGISTRANT, path)
    if version:
        subprocess.run([ROOT / "tools/sign", path, version], check=True)
    else:
        path.write_bytes(path.read_bytes()[:-76])
    if spoil:
        content = bytearray(path.read_bytes())
        at = content.index(b"wrapper-reads-released")
        content[at:at + 7] = b"WRAPPER"
        path.write_bytes(bytes(content))
    return path


def boot(kernel, folder):
    _, name, boot_options, options, _ = kernel
    inner = folder / "inner"
    inner.write_text(INNER)
    inner.chmod(0o755)
    rows = [BUILD / f"test/attacks/rows/row_{row}" for row in ("victim", "vm_readv")]
    programs = [REGISTRANT, signed(folder, "unsigned", None), signed(folder, "older", "0.0.9"),
                signed(folder, "newer", "7.0.0"), signed(folder, "changed", "7.0.0", spoil=True), inner, *rows]
    return machine.run(BUILD, name, boot_options, programs, SCRIPT.format(options=options))


class Result(machine.Checks):
    """What one kernel's cases came to."""

    def __init__(self, lines):
        super().__init__()
        self.cases, self.audit, self.call = {}, [], ""
        for line in lines:
            found = re.search(r"@(case|log|call) (.*)", line)
            if not found:
                continue
            kind, rest = found.groups()
            if kind == "case":
                name, status, said = (rest + " ").split(" ", 2)
                self.cases[name] = (int(status), said.strip())
            elif kind == "call":
                self.call = rest
            elif rest.startswith("{"):
                self.audit.append(json.loads(rest))

    def judge(self, tier):
        reasons = [a.get("reason", "") for a in self.audit]
        for name, (words, reason) in EXPECTED.items():
            said = self.cases.get(name, (None, "nothing"))
            self.check(name, re.fullmatch(words, said[1]), said)
            if reason:
                self.check(f"{name}, in the audit", any(re.fullmatch(reason, r) for r in reasons), reasons)
        for name in ("attack", "attack-from-within"):
            self.check(name, self.cases.get(name, (None,))[0] in (0, KILLED), self.cases.get(name))
        self.check("the call's tier", f'"registration":"{tier}"' in self.call.replace(" ", ""), self.call[:300])
        kept = [a for a in self.audit if a.get("decision") == "protected"]
        self.check("the audit names the pod", kept and any(
            a.get("pod_uid") == POD for a in self.audit if a.get("decision") == "accepted"), self.audit[:3])


def measure(kernel):
    with tempfile.TemporaryDirectory(prefix="cloudtaser-registration-") as folder:
        lines = boot(kernel, pathlib.Path(folder))
    result = Result(lines)
    result.judge(kernel[4])
    if not result.cases:
        result.failures.append("it said: " + " | ".join(lines[-8:]))
    return result


def main(wanted):
    return machine.tell(machine.on_each(machine.chosen(KERNELS, wanted), measure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
