#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Registration on each kernel, by each tier: who is let in, who is not, and what becomes of marks. And whom the operator exempts,
and what `probe` advises.

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

# The tiers that refuse the two attacks that a program is exempt from.
REFUSE_BPF = ("lsm", "fmod_ret", "kprobe")
REFUSE_TRACEFS = ("lsm", "fmod_ret", "reactive")
# Those that see who writes into a program.
REFUSE_WRITES = ("lsm", "fmod_ret", "reactive")

POD = "01234567-89ab-cdef-0123-456789abcdef"

# Each case has a container of its own, and says what it prints as `@case NAME WORDS`.
INNER = """#!/bin/busybox sh
tier=$1
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
# However busy the machine is, but not for good.
until_in() {
    for i in $(seq 240); do
        grep -q "$1" "$2" && break
        sleep 0.5
    done
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
new_container
case_of measured registrant measured sh -c 'echo 0 >"$0/cgroup.procs"; exec registrant once' "$at"
fresh measures-itself registrant enter registrant measured echo forked
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
until_in release /tmp/victim
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
# Others of its container take all the room that it has.
inside registrant flood 20 >/tmp/fellows &
until_in heard /tmp/fellows
case_of fellows cat /tmp/fellows
printf x >&4
until grep -q -e EISCONN -e ECONNREFUSED /tmp/later; do
    sleep 1
done
case_of later cat /tmp/later
case_of old-descriptor dd bs=1 skip=$((0x$2)) count=25 <&5 2>/dev/null
exec 4>&- 3<&- 5<&-
case_of not-asked-for registrant enter
# A victim of a container whose processes' threads have ended at the same moment, again and again.
new_container
TEXT=what-only-the-victim-may-know inside registrant ends row_victim >/tmp/ends &
for i in $(seq 400); do
    grep -q '^[0-9]' /tmp/ends && break
    sleep 1
done
set -- $(grep -v '^[a-z]' /tmp/ends)
case_of attack-after-ends row_vm_readv "$@"
kill $1
# A victim by the number of a thread that it has not forked.
new_container
inside registrant enter row_worker >/tmp/worker &
until_in '^[0-9]' /tmp/worker
set -- $(grep '^[0-9]' /tmp/worker)
case_of worker echo "$@"
case_of attack-on-worker row_vm_readv "$1" "$2" "$3"
kill $4
# Processes that ask and stay, from a few containers: many times more than each has room for.
: >/tmp/flood
for i in 1 2 3 4 5 6 7 8; do
    new_container
    inside registrant flood 160 >>/tmp/flood &
done
for i in $(seq 120); do
    [ "$(grep -c heard /tmp/flood)" = 8 ] && break
    sleep 1
done
case_of flood sort -u /tmp/flood
fresh after-flood registrant once
# A container that is started again: what it writes onto its volume, and runs, the one before it has run.
fresh write-again registrant enter row_library 1 0 0
new_container
TEXT=what-only-the-victim-may-know inside registrant enter row_victim >/tmp/victim &
until_in release /tmp/victim
case_of started-again cat /tmp/victim
fresh write-of-another registrant enter row_library 1 0 0
# Two run it, and the first one ends.
new_container
TEXT=what-only-the-victim-may-know inside registrant enter row_victim >/tmp/second &
until_in release /tmp/second
kill $(grep -v '^[a-z]' /tmp/victim | cut -d ' ' -f 1)
sleep 1
fresh write-of-a-third registrant enter row_library 1 0 0
kill $(grep -v '^[a-z]' /tmp/second | cut -d ' ' -f 1)
sleep 1
fresh write-after-both registrant enter row_library 1 0 0
case_of write-outside row_library 1 0 0
case $tier in
lsm | fmod_ret) racing=yes ;;
*) racing= ;; # who kills, or goes by numbers, comes too late for what follows
esac
# Processes that are being made, and that end.
victim_of() {
    new_container
    inside registrant enter $1 1 0 0 >/tmp/victim &
    until_in release /tmp/victim
    set -- $(grep -v '^[a-z]' /tmp/victim)
    pid=$1 address=$2 fd=$3
}
if [ $racing ]; then
    victim_of row_storm
    case_of newborn row_newborn $pid $address 0
    kill $pid
    victim_of row_doomed
    case_of dying row_dying $pid $address $fd
    case_of dying-fd row_dying_fd $pid $address $fd
    kill -KILL $pid
fi
fresh limit registrant many 1010 </dev/null
fresh often registrant often
new_container
overlays with sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$at" registrant enter
"""

# A program and its libraries on an overlay, started by a command, and all ways to write into them: while they run, and after.
OVERLAYS = """#!/bin/busybox sh
when=$1
shift
at=/overlays-$when
mkdir $at
mount -t tmpfs tmpfs $at
cd $at
mkdir lower lower/lib upper work merged empty other other-work beside beside-upper beside-work
cp /bin/overlaid lower
for name in lower upper merged other copied beside own; do
    dd if=/dev/zero of=lower/lib/$name bs=4096 count=1 2>/dev/null
done
layered() { mount -t overlay overlay -o lowerdir=$at/$1,upperdir=$at/$2,workdir=$at/$3 $at/$4; }
layered lower upper work merged || exit 0
# Its upper folder is what the others lie on; and one that lies on the same.
layered empty lower other-work other
layered lower beside-upper beside-work beside
# Copied into the upper folder.
chmod 700 merged/lib/upper merged/lib/merged merged/lib/own
write_all() {
    for file in lower/overlaid lower/lib/lower upper/lib/upper merged/lib/merged other/lib/other "$@"; do
        overlaid write $at/$file >said
        status=$?
        echo "@case overlay-$when-$prefix${file##*/} $status $(cat said)"
    done
}
"$@" $at/merged/overlaid hold $at/merged/lib >victim 2>&1 &
for i in $(seq 60); do
    grep -q ready victim && break
    sleep 1
done
prefix=
write_all merged/lib/copied beside/lib/beside
sleep 1
kill $(sed -n 's/^ready //p' victim)
wait
echo "@case overlay-$when-victim 0 $(tr '\\n' ';' <victim)"
prefix=ended-
write_all
"""

SCRIPT = """
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod +x /bin/inner
for module in $(cat /modules/order 2>/dev/null); do
    insmod /modules/$module.ko
done
overlays without
case_of() {{ "$@" 2>&1 | tr '\\n' ';'; }}
echo "@case without 0 $(case_of registrant query)"
echo "@call $(cloudtaser-agent probe {options} -o json)"
cloudtaser-agent guard {options} --allow-cgroup '/allowed-*' --min-wrapper-version 0.1.0 --max-tasks-per-cgroup 1000 -- inner {tier} 2>/tmp/log
echo "@case inner 0 status $?"
grep '"decision"' /tmp/log | sed 's/^/@log /'

# Who is exempt: from loading BPF programs one file, from tracefs another in one cgroup.
cp /bin/row_bpf /tmp/loader
cp /bin/row_tracefs /tmp/tracer
cp /bin/row_tracefs /tmp/else
cp /bin/row_bpf /tmp/copy
mkdir /sys/fs/cgroup/exempt
cat >/tmp/script <<'END'
#!/bin/sh
echo 'p:ct_row ksys_write' >/sys/kernel/tracing/kprobe_events && exit 1
exit 0
END
chmod +x /tmp/script
export TEXT=what-only-the-victim-may-know
attack() {{
    name=$1
    shift
    "$@" $victim >/tmp/said 2>&1
    echo "@case $name $? $(tr '\n' ';' </tmp/said)"
}}
in_cgroup() {{ sh -c 'echo 0 >/sys/fs/cgroup/exempt/cgroup.procs; exec "$@"' sh "$@"; }}
await() {{
    until grep -q ' ' /tmp/victim; do
        sleep 1
    done
    victim=$(cat /tmp/victim)
}}
row_victim >/tmp/victim &
await
attack bpf-without /tmp/loader
attack tracefs-without /tmp/tracer
attack script-without /tmp/script
echo >/sys/kernel/tracing/kprobe_events
kill $!
: >/tmp/victim
exempt="--exempt bpf_prog_load:/tmp/loader --exempt bpf_prog_load+tracefs:/tmp/tracer@/exempt --exempt bpf_prog_load:/tmp/else"
cloudtaser-agent guard {options} $exempt -- row_victim >/tmp/victim 2>/tmp/log &
guard=$!
await
attack bpf-exempt /tmp/loader
attack bpf-copy /tmp/copy
attack tracefs-exempt in_cgroup /tmp/tracer
attack tracefs-elsewhere /tmp/tracer
attack tracefs-else in_cgroup /tmp/else
attack script in_cgroup /tmp/script
kill -KILL ${{victim%% *}}
wait $guard
echo "@exempt $(cloudtaser-agent probe {options} $exempt -o json)"
echo "@case advice 0 $(cloudtaser-agent probe --tiers lsm --tiers kprobe | grep '^to ' | tr '\n' ';')"
"""

NO_OVERRIDE = "to have system calls refused where lsm and fmod_ret do not: take a kernel that is built with CONFIG_BPF_KPROBE_OVERRIDE=y;"
NO_TIERS = "to get more: leave --tiers out, or name lsm and fmod_ret too;"
# What `probe` advises on each kernel where it may use lsm and kprobe alone.
ADVICE = {
    "5.10": NO_TIERS + "to get more: boot with lsm=[a-z,]+,bpf;" + NO_OVERRIDE,
    "6.1": "",
    "6.1 without bpf in lsm=": NO_TIERS + "to get more: boot with lsm=lockdown,capability,bpf;" + NO_OVERRIDE,
    "6.12": "",
    "override, kprobe": NO_TIERS + "to get more: take a kernel that is built with CONFIG_BPF_LSM=y, and boot with lsm=[a-z,]+,bpf;",
}

ACCEPTED = "answer EALREADY;answer EISCONN;"
REFUSED = "answer ECONNREFUSED;"
# By case: what it prints, and the reason in the audit (None: no refusal).
EXPECTED = {
    "without": (r"query EINVAL;", None),
    "inner": (r"status 0", None),
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
    "measured": (REFUSED, "perf events follow it, .*"),
    "measures-itself": (ACCEPTED + "(release (EISCONN|EPERM);)?forked;(release (EISCONN|EPERM);)?", None),
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
    "fellows": (r"heard 1[678];", None),
    "old-descriptor-before": (r"what-the-wrapper-may-know", None),
    "later": (r"(\d+ [0-9a-f]+;)answer EALREADY;\1answer EISCONN;", None),
    "old-descriptor": (r"", None),
    "write-again": (ACCEPTED + r"(release (EISCONN|EPERM);)?leaked;(release (EISCONN|EPERM);)?", None),
    "write-after-both": (ACCEPTED + r"(release (EISCONN|EPERM);)?leaked;(release (EISCONN|EPERM);)?", None),
    "started-again": (ACCEPTED + r"(release (EISCONN|EPERM);)?\d+ [0-9a-f]+ \d+;(release (EISCONN|EPERM);)?", None),
    "not-asked-for": (REFUSED, "it is in no cgroup of its own"),
    "worker": (r"\d+ [0-9a-f]+ \d+ \d+;", None),
    # A few more where two processors count at once.
    "flood": (r"(heard 1[678];)+", None),
    "after-flood": (r"answer EALREADY;", None),
    # It is one of the thousand itself.
    "limit": (ACCEPTED + "protected 999, not 11;afterwards EISCONN;not meanwhile \\d+;", None),
    "often": (r"heard 20, not 20;later EINPROGRESS;", None),
}
# What the victim runs, and is written into.
OVERLAID = ["overlaid", "lower", "upper", "merged", "other"]
# What is written into is a copy, which the victim does not run.
COPIED = ["copied", "beside"]
LEAKED, KILLED = 1, 137


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
    _, name, boot_options, options, tier = kernel
    scripts = {folder / "inner": INNER, folder / "overlays": OVERLAYS}
    for path, text in scripts.items():
        path.write_text(text)
        path.chmod(0o755)
    rows = [BUILD / f"test/attacks/rows/row_{row}" for row in (
        "victim", "vm_readv", "worker", "library", "storm", "newborn", "doomed", "dying", "dying_fd", "bpf",
        "tracefs")]
    programs = [REGISTRANT, signed(folder, "unsigned", None), signed(folder, "older", "0.0.9"),
                signed(folder, "newer", "7.0.0"), signed(folder, "changed", "7.0.0", spoil=True), *scripts, *rows,
                BUILD / "test/agent/overlaid"]
    return machine.run(BUILD, name, boot_options, programs, SCRIPT.format(options=options, tier=tier), files=machine.modules_of(name))


class Result(machine.Checks):
    """What one kernel's cases came to."""

    def __init__(self, lines):
        super().__init__()
        self.cases, self.audit, self.call, self.exempt = {}, [], "{}", "{}"
        for line in lines:
            found = re.search(r"@(case|log|call|exempt) (.*)", line)
            if not found:
                continue
            kind, rest = found.groups()
            if kind == "case":
                name, status, said = (rest + " ").split(" ", 2)
                self.cases[name] = (int(status), said.strip())
            elif kind in ("call", "exempt"):
                setattr(self, kind, rest)
            elif rest.startswith("{"):
                self.audit.append(json.loads(rest))

    def judge_overlays(self):
        # Older kernels keep the file below busy while it runs.
        busy = self.cases.get("overlay-without-overlaid", (None, ""))[1] == "Text file busy"
        for name in OVERLAID:
            for ended in ("", "ended-"):
                if busy and name == "overlaid" and not ended:
                    continue
                without, status = (self.cases.get(f"overlay-{when}-{ended}{name}", (None,))[0] for when in ("without", "with"))
                self.check(f"{ended}{name} below an overlay", without == LEAKED and status in (0, KILLED),
                           f"ends with {without} without the agent, and with {status}")
        for name in COPIED:
            self.check(f"{name} from an overlay", self.cases.get(f"overlay-with-{name}", (None,))[0] == LEAKED,
                       self.cases.get(f"overlay-with-{name}"))
        without, said = (self.cases.get(f"overlay-{when}-victim", (None, ""))[1] for when in ("without", "with"))
        changed = set(re.findall(r"changed (\w+);", without))
        self.check("what runs from an overlay changes", changed == {*OVERLAID[1:], *([] if busy else ["program"])}, without)
        self.check("what runs protected from an overlay does not",
                   all(f"{word};" in said for word in ("EISCONN", "own written")) and "changed" not in said, said)

    def refused(self, name, refused):
        """Or, without a hook for it, not: the attack succeeds."""
        status, said = self.cases.get(name, (None, "nothing"))
        self.check(name, status in (0, KILLED) if refused else status == LEAKED, (status, said))

    def judge_exempt(self, kernel, tier):
        for name in ("bpf-without", "tracefs-without", "script-without", "bpf-exempt", "tracefs-exempt"):
            self.refused(name, False)
        self.refused("bpf-copy", tier in REFUSE_BPF)
        for name in ("tracefs-elsewhere", "tracefs-else", "script"):
            self.refused(name, tier in REFUSE_TRACEFS)
        before, after = json.loads(self.call), json.loads(self.exempt)
        self.check("the points that are left", after.get("points") == (15 if before.get("memfd_secret") else 0), after.get("points"))
        outcomes = {v["name"]: v["outcome"] for v in after.get("vectors", [])}
        for name, tiers in (("bpf_prog_load", REFUSE_BPF), ("tracefs", REFUSE_TRACEFS)):
            self.check(name, outcomes.get(name) == ("open (exempt)" if tier in tiers else "open"), outcomes)
        self.check("another vector", outcomes.get("process_vm_readv") == "refused", outcomes)
        if kernel in ADVICE:
            said = self.cases.get("advice", (None, "nothing"))[1]
            self.check("advice", re.fullmatch(ADVICE[kernel], said), said)

    def judge(self, tier):
        reasons = [a.get("reason", "") for a in self.audit]
        for name, (words, reason) in EXPECTED.items():
            said = self.cases.get(name, (None, "nothing"))
            self.check(name, re.fullmatch(words, said[1]), said)
            if reason:
                self.check(f"{name}, in the audit", any(re.fullmatch(reason, r) for r in reasons), reasons)
        racing = ("newborn", "dying", "dying-fd") if tier in ("lsm", "fmod_ret") else ()
        for name in ("attack", "attack-from-within", "attack-after-ends", "attack-on-worker", *racing):
            self.refused(name, True)
        for name in ("write-of-another", "write-of-a-third", "write-outside"):
            said = self.cases.get(name)
            self.check(name, said is not None and ("leaked;" in said[1]) == (tier not in REFUSE_WRITES), said)
        self.check("the call's tier", f'"registration":"{tier}"' in self.call.replace(" ", ""), self.call[:300])
        kept = [a for a in self.audit if a.get("decision") == "protected"]
        self.check("the audit names the pod", kept and any(
            a.get("pod_uid") == POD for a in self.audit if a.get("decision") == "accepted"), self.audit[:3])


def measure(kernel):
    with tempfile.TemporaryDirectory(prefix="cloudtaser-registration-") as folder:
        lines = boot(kernel, pathlib.Path(folder))
    result = Result(lines)
    result.judge(kernel[4])
    # There are none in the other kernel.
    if machine.modules_of(kernel[1]):
        result.judge_overlays()
    result.judge_exempt(kernel[0], kernel[4])
    if not result.cases:
        result.failures.append("it said: " + " | ".join(lines[-8:]))
    return result


def main(wanted):
    return machine.tell(machine.on_each(machine.chosen(KERNELS, wanted), measure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
