#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon's life on each kernel: what becomes of a protected process when the agent is killed, started again, upgraded,
downgraded, uninstalled; what an agent says of pins that it cannot use; a burst of attacks; what it keeps of its rights.

  test/agent/life.py [KERNEL...]

Boots the kernels of tools/build-kernels. Ends with the line `N passed, M failed`.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test/rig"))

import machine  # noqa: E402  (the path above must be set first)
from machine import BUILD  # noqa: E402

# Name, folder of the kernel, boot options, the tier of what reads memory.
KERNELS = [
    ("5.10", "5.10", "", "fmod_ret"),
    ("6.1", "6.1", "secretmem.enable=1", "lsm"),
    ("6.12", "6.12", "", "lsm"),
]

BURST = 1000000
NEXT = "99.1.2"  # the version of cloudtaser-agent-next
REFUSED, LEAKED = 0, 1
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_KILL": 5, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38,
                "CAP_BPF": 39}

SCRIPT = """
ifconfig lo 127.0.0.1
export TEXT=what-only-the-victim-may-know PINS=/sys/fs/bpf/cloudtaser
log=/tmp/agent.log
: >$log
case_of() {{
    name=$1
    shift
    "$@" >/tmp/said 2>&1
    echo "@case $name $? $(tr '\\n' ';' </tmp/said)"
}}
# agent PROGRAM OPTION...: in a cgroup of its own; until it has proven itself, or ended.
agent() {{
    proofs=$(grep -c '"kind":"selftest"' $log)
    sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec "$@"' sh "$@" >>$log 2>&1 &
    AGENT=$!
    until [ "$(grep -c '"kind":"selftest"' $log)" -gt "$proofs" ] || ! kill -0 $AGENT 2>/dev/null; do
        sleep 1
    done
}}
ended() {{
    kill -$1 $AGENT
    wait $AGENT
    echo "@case ended-by-$1 $?"
}}
metrics() {{
    wget -q -O - http://127.0.0.1:9100/metrics
}}
run="run --metrics-listen 127.0.0.1:9100"
mkdir /sys/fs/cgroup/agent
id=$(printf '%064x' 1)
pod=/sys/fs/cgroup/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-$id.scope
mkdir -p $pod

agent cloudtaser-agent $run
TEXT=$TEXT sh -c 'echo 0 >'$pod'/cgroup.procs; exec registrant enter row_victim' >/tmp/victim 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    grep -q '^[0-9]' /tmp/victim && break
    sleep 1
done
victim=$(grep '^[0-9]' /tmp/victim)
case_of registered cat /tmp/victim
case_of protected row_vm_readv $victim
UNTIL=/tmp/stop row_again $victim >/tmp/again &
again=$!

ended KILL
case_of killed row_vm_readv $victim
agent cloudtaser-agent $run
ended TERM
case_of stopped row_vm_readv $victim
agent cloudtaser-agent-next $run
case_of upgraded row_vm_readv $victim
ended KILL
case_of downgrade cloudtaser-agent $run
case_of bait rm $PINS/maps/ct_config
agent cloudtaser-agent $run --allow-downgrade
case_of downgraded row_vm_readv $victim
case_of second cloudtaser-agent run
case_of uninstall-of-a-living-one cloudtaser-agent uninstall
case_of guard-beside cloudtaser-agent probe
touch /tmp/stop
wait $again
case_of again cat /tmp/again

proofs=$(grep -c '"kind":"selftest"' $log)
kill -USR1 $AGENT
sleep 5
case_of asked-to-prove test "$(grep -c '"kind":"selftest"' $log)" -gt "$proofs"
case_of rights grep CapEff /proc/$AGENT/status
case_of memory grep VmRSS /proc/$AGENT/status
case_of metrics metrics
sleep 3
lines=$(wc -l <$log)
COUNT={burst} case_of burst row_burst $victim
sleep 5
case_of metrics-after metrics
tail -n +$((lines + 1)) $log | sed 's/^/@line /'

ended TERM
case_of fill row_mark $PINS 1 fill
agent cloudtaser-agent $run
case_of full tail -n 1 $log
case_of uninstall cloudtaser-agent uninstall
# The kernel frees programs in its own time after their last pin has gone: 0 is a refusal.
for i in $(seq 30); do
    row_vm_readv $victim >/dev/null 2>&1 || break
    sleep 2
done
case_of uninstalled row_vm_readv $victim
case_of nothing-left ls $PINS
case_of uninstall-nothing cloudtaser-agent uninstall

mkdir -m 755 /sys/fs/bpf/foreign
case_of foreign cloudtaser-agent run --pin-dir /sys/fs/bpf/foreign
row_stand_in /sys/fs/bpf/stranger &
mkdir -m 700 /sys/fs/bpf/half /sys/fs/bpf/half/gen-3
sleep 1
case_of stranger cloudtaser-agent run --pin-dir /sys/fs/bpf/stranger
case_of half cloudtaser-agent run --pin-dir /sys/fs/bpf/half
case_of no-bpffs cloudtaser-agent run --pin-dir /tmp/pins
case_of relative cloudtaser-agent run --pin-dir pins
case_of bad-address cloudtaser-agent run --metrics-listen nowhere
case_of uninstall-half cloudtaser-agent uninstall --pin-dir /sys/fs/bpf/half

: >$log
agent cloudtaser-agent run --tiers {tier}
case_of switched-off sh -c 'echo 0 >/proc/sys/kernel/ftrace_enabled'
kill -USR1 $AGENT
sleep 6
echo 1 >/proc/sys/kernel/ftrace_enabled
sed 's/^/@lost /' $log
kill -USR1 $AGENT
sleep 6
grep -c again, $log | sed 's/^/@case back 0 /'
ended TERM
case_of uninstall-at-last cloudtaser-agent uninstall
"""


class Run(machine.Checks):
    """What one machine has said, and what is wrong with it."""

    def __init__(self, lines):
        super().__init__()
        self.cases, self.lines, self.lost = {}, [], []
        for line in lines:
            found = re.search(r"@(case|line|lost) (.*)", line)
            if not found:
                continue
            kind, rest = found.groups()
            if kind == "case":
                name, status, said = (rest + "  ").split(" ", 2)
                self.cases[name] = (int(status), said.strip())
            elif rest.startswith("{"):
                (self.lines if kind == "line" else self.lost).append(json.loads(rest))

    def expect(self, name, status, *words):
        got, said = self.cases.get(name, (None, "it did not come to it"))
        self.check(name, got == status and all(re.search(word, said) for word in words),
                   f"ends with {got}, not {status}: {said}")

    def number(self, name, pattern):
        found = re.search(pattern, self.cases.get(name, (0, ""))[1])
        return float(found.group(1)) if found else None


def judge_life(run):
    run.expect("registered", 0, "EISCONN")
    for name in ("protected", "killed", "stopped", "upgraded", "downgraded"):
        run.expect(name, REFUSED)
    run.expect("ended-by-KILL", 137)
    run.expect("ended-by-TERM", 0)
    run.expect("downgrade", 1, rf"version {re.escape(NEXT)}, later than this .*--allow-downgrade replaces it")
    run.expect("second", 1, "is this node's agent and lives|another agent holds the pins|that lives keeps them")
    run.expect("uninstall-of-a-living-one", 1, "lives|holds")
    run.expect("guard-beside", 1, "this node's agent runs, and lets nobody else load any")
    run.expect("bait", 1, "Operation not permitted")
    tries = run.number("again", r"again (\d+) ")
    hits = run.number("again", r"again \d+ (\d+)")
    run.check("again", tries is not None and tries > 100 and hits == 0, f"{hits} of {tries} attacks succeeded")
    run.expect("uninstall", 0, r"removed from .*: [1-9]\d* pinned programs, 1 programs of the root cgroup, 1\d maps",
               "nothing enforces on this node any more")
    run.expect("uninstalled", LEAKED)
    run.expect("nothing-left", 1)
    run.expect("uninstall-nothing", 0, "there was nothing to remove")


def judge_input(run):
    run.expect("full", 0, "the map of protected processes is full")
    run.expect("foreign", 1, "with mode 755 and not to root alone", "--pin-dir")
    run.expect("stranger", 1, "are of layout 0, and this agent knows layout")
    run.expect("half", 1, "not complete", "uninstall")
    run.expect("no-bpffs", 1, "is no BPF file system", "mount -t bpf")
    run.expect("relative", 1, "is no folder for pins")
    run.expect("bad-address", 1, "metrics-listen")
    run.expect("uninstall-half", 0)


def judge_daemon(run, tier):
    run.expect("asked-to-prove", 0)
    run.expect("rights", 0, f"CapEff:\\s*{sum(1 << n for n in CAPABILITIES.values()):016x};")
    memory = run.number("memory", r"(\d+) kB")
    run.check("memory", memory is not None and memory < 15 * 1024, f"{memory} kB resident")
    run.expect("metrics", 0, 'vector_tier{vector="process_vm_readv",tier="' + tier + '"} 1',
               'vector_tier{vector="ftrace_enabled",tier="cgroup"} 1', "protected_processes [1-9]",
               'registrations_total{decision="protected"}', "map_entries{map=\"ct_marks\"} [1-9]", "generation 4")
    run.expect("burst", REFUSED, f"burst {BURST} {BURST}")
    pattern = r'attacks_total{vector="process_vm_readv",action="denied"} (\d+)'
    counted = (run.number("metrics-after", pattern) or 0) - (run.number("metrics", pattern) or 0)
    run.check("counted", counted == BURST, f"{counted} attacks are counted, of {BURST}")
    told = sum(1 for line in run.lines if line["kind"] == "attack" and line["vector"] == "process_vm_readv")
    more = sum(line["more"] for line in run.lines if line["kind"] == "attacks" and line["vector"] == "process_vm_readv")
    run.check("told", told + more == BURST and 0 < told < 1000, f"{told} lines and {more} more, of {BURST}")
    attack = next((line for line in run.lines if line["kind"] == "attack"), None)
    where = attack["victim"] if attack else {}
    run.check("line", attack is not None and attack["attacker"]["program"] == "/bin/row_burst" and
              where.get("pod_uid") == "01234567-89ab-cdef-0123-456789abcdef" and
              where.get("container", "").endswith("0001"), f"a line says {attack}")
    lost = {line["vector"] for line in run.lost if line["kind"] == "vector" and line["is"] == "none"}
    back = run.number("back", r"(\d+)") or 0
    if run.cases.get("switched-off", (None, ""))[0] == 0:
        run.check("lost", {"process_vm_readv", "ptrace", "proc_mem_read"} <= lost, f"what is lost without ftrace: {lost}")
        run.check("back", back >= len(lost), "what was lost does not come back")
    else:
        # Older kernels keep it on themselves, while programs stand on it.
        run.expect("switched-off", 1, "busy")
        run.check("lost", not lost and back == 0, f"something is lost though nothing was switched off: {lost}")


def boot(kernel):
    _, name, options, tier = kernel
    rows = [BUILD / f"test/attacks/rows/row_{row}" for row in ("victim", "vm_readv", "again", "burst", "mark", "stand_in")]
    programs = [*rows, BUILD / "test/agent/registrant", BUILD / "bpf/cloudtaser-agent-next"]
    run = Run(machine.run(BUILD, name, options, programs, SCRIPT.format(burst=BURST, tier=tier)))
    judge_life(run)
    judge_input(run)
    judge_daemon(run, tier)
    return run


def figures(run):
    return f"{run.number('memory', r'([0-9]+) kB')} kB resident, {run.number('again', r'again ([0-9]+) ')} attacks meanwhile"


def main(arguments):
    runs = machine.on_each(machine.chosen(KERNELS, arguments), boot)
    return machine.tell((name, run, figures(run)) for name, run in runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
