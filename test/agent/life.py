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
# A runtime's own programs go on working, and so does what is counted of a whole processor.
harmless() {{
    case_of harmless-device row_bpf_plain_device 1 0 0
    case_of harmless-sock row_bpf_plain_sock $victim
    case_of harmless-count row_perf_plain 1 0 0
}}
metrics() {{
    wget -q -O - http://127.0.0.1:9100/metrics
}}
run="run --metrics-listen 127.0.0.1:9100 --max-tasks-per-cgroup 8"
mkdir /sys/fs/cgroup/agent
id=$(printf '%064x' 1)
pod=/sys/fs/cgroup/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-$id.scope
mkdir -p $pod

# Starts that are cut short: once a program is on the root cgroup, and about the time at which it is.
writable() {{
    sh -c 'echo 1 >/proc/sys/kernel/ftrace_enabled'
}}
cut() {{
    sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec "$@"' sh cloudtaser-agent $run >/tmp/cut 2>&1 &
    AGENT=$!
    while [ ! -e $PINS/maps/ct_config ] && kill -0 $AGENT; do
        sleep 0.1
    done
    "$@"
    kill -KILL $AGENT
    wait $AGENT
}} >/dev/null 2>&1
until_closed() {{
    while writable && kill -0 $AGENT; do
        sleep 0.05
    done
}}
case_of writable-before writable
cut until_closed
case_of cut-short ls $PINS
case_of left-behind writable
cut sleep 0.2
cut sleep 1
case_of not-cut-short cloudtaser-agent uninstall
case_of writable-again writable

# Whoever has the name of its control socket does not keep it from starting.
registrant hold cloudtaser-agent >/tmp/hold &
holder=$!
sleep 1
agent cloudtaser-agent $run
case_of name-is-held cat /tmp/hold $log
kill $holder
ended TERM
cloudtaser-agent uninstall >/dev/null
# What root takes before anything is enforced, and uses after.
WAIT=/tmp/claim row_agent_claim 1 0 0 >/tmp/claimed 2>&1 &
claimer=$!
agent cloudtaser-agent $run
touch /tmp/claim
wait $claimer
echo "@case claimed $? $(tr '\\n' ';' </tmp/claimed)"
TEXT=$TEXT sh -c 'echo 0 >'$pod'/cgroup.procs; exec registrant enter row_victim' >/tmp/victim 2>&1 &
for i in $(seq 60); do
    grep -q '^[0-9]' /tmp/victim && break
    sleep 1
done
victim=$(grep '^[0-9]' /tmp/victim)
case_of registered cat /tmp/victim
case_of protected row_vm_readv $victim
harmless
UNTIL=/tmp/stop row_again $victim >/tmp/again &
again=$!

ended KILL
case_of killed row_vm_readv $victim
UNTIL=/tmp/started row_agent_restart 1 0 0 >/tmp/taken 2>&1 &
taker=$!
sleep 2
agent cloudtaser-agent $run
touch /tmp/started
wait $taker
echo "@case restarted $? $(sort /tmp/taken | uniq -c | tr '\\n' ';')"
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
# What the agent forks for its self-test has its descriptors for a moment, and is as closed as the agent is.
look() {{
    for pid in "$@"; do
        cat /proc/$pid/environ >/tmp/environ 2>&1 && [ ! -s /tmp/environ ] && continue
        grep -o -a -E 'what-only-the-victim-may-know|ermi.*' /tmp/environ
    done
}}
sleep 1000 &
case_of look-without look $!
kill $!
kill -USR1 $AGENT
for i in $(seq 50); do
    look $(pidof cloudtaser-agent)
    sleep 0.1
done >/tmp/looked
case_of look sort -u /tmp/looked
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

mkdir -p ${{pod%/*}}/cri-containerd-$(printf '%064x' 2).scope
case_of many sh -c 'echo 0 >$0/cgroup.procs; exec registrant many 12' ${{pod%/*}}/cri-containerd-$(printf '%064x' 2).scope </dev/null
sleep 3
case_of unmarked grep -c '[0-9] processes that should be protected are not' $log
case_of metrics-of-many metrics

ended TERM
# A pipe that is full, and that nobody reads.
mkfifo /tmp/deaf
sleep 10000 </tmp/deaf &
deaf=$!
dd if=/dev/zero of=/tmp/deaf bs=4096 count=16 2>/dev/null
sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec "$@"' sh cloudtaser-agent $run >/tmp/deaf 2>/tmp/deaf-errors &
AGENT=$!
until metrics >/dev/null 2>&1 || ! kill -0 $AGENT; do
    sleep 1
done
COUNT=10000 row_burst $victim >/dev/null
case_of deaf timeout 8 wget -q -O - http://127.0.0.1:9100/metrics
began=$(date +%s)
ended TERM
case_of deaf-ends echo $(($(date +%s) - began)) s
kill $deaf
case_of fill row_mark $PINS 1 fill
agent cloudtaser-agent $run
case_of full tail -n 1 $log
case_of uninstall cloudtaser-agent uninstall
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
agent cloudtaser-agent $run --tiers {tier} --self-test-interval 2s
# Nobody asks for a self-test here.
lines() {{
    grep -c "$1" $log
}}
until_said() {{
    i=0
    until [ "$(lines "$1")" -ge "$2" ] || [ $i = 30 ]; do
        i=$((i + 1))
        sleep 1
    done
}}
case_of timer metrics
case_of switched-off sh -c 'echo 0 >/proc/sys/kernel/ftrace_enabled'
# What is tried first is the last to be known for lost, where it was switched off in the midst of a self-test.
until_said '"vector":"ptrace".*"is":"none"' 1
sleep 1
case_of timer-lost metrics
echo 1 >/proc/sys/kernel/ftrace_enabled
sed 's/^/@lost /' $log
until_said again, "$(lines '"is":"none"')"
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


def judge_cut_short(run):
    run.expect("writable-before", 0)
    run.expect("cut-short", 0, "maps;")
    run.check("pinned", "gen-" not in run.cases.get("cut-short", (0, ""))[1], "the start was not cut short")
    run.expect("left-behind", 1, "not permitted")
    # A start first removes what one before it has left: one that is cut short then leaves nothing.
    run.expect("not-cut-short", 0, "nothing enforces on this node any more|there was nothing to remove")
    run.expect("writable-again", 0)


def judge_deaf(run):
    run.expect("deaf", 0, "lines_dropped_total [1-9]")
    seconds = run.number("deaf-ends", r"(\d+) s")
    run.check("deaf-ends", seconds is not None and seconds < 8, f"it takes {seconds} s to end")


def judge_life(run):
    run.expect("name-is-held", 0, "hold 0;", "another process listens at the control socket cloudtaser-agent", "selftest")
    run.expect("registered", 0, "EISCONN")
    for name in ("protected", "killed", "stopped", "upgraded", "downgraded"):
        run.expect(name, REFUSED)
    run.expect("claimed", REFUSED, "in hand;claim: run, 2;")
    run.expect("restarted", REFUSED, "[1-9][0-9]+ programs were refused, 0 taken")
    for name in ("harmless-device", "harmless-sock", "harmless-count"):
        run.expect(name, LEAKED)
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
    run.expect("uninstall", 0, r"removed from .*: [1-9]\d* pinned programs, 1 programs of the root cgroup, 2\d maps",
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
    run.expect("look-without", 0, "^what-only-the-victim-may-know;")
    run.expect("look", 0, "^ermi[a-z ]*;$")
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
    run.expect("many", 0, "protected 7, not 5;afterwards EISCONN")
    run.expect("unmarked", 0)
    meanwhile = run.number("many", r"not meanwhile (\d+);")
    run.check("many, meanwhile", meanwhile is not None, "it does not say how many were not protected")
    run.expect("metrics-of-many", 0, f"unmarked_total {5 + int(meanwhile or 0)};")
    spent = [run.number(name, r'cpu_seconds_total\{process="selftest"\} ([0-9.]+)') or 0 for name in ("timer", "timer-lost")]
    run.check("timer", spent[0] < spent[1], f"nothing is tried anew by itself: {spent} s")
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
    rows = [BUILD / f"test/attacks/rows/row_{row}" for row in (
        "victim", "vm_readv", "bpf_plain_device", "bpf_plain_sock", "perf_plain", "again", "burst", "mark", "stand_in",
        "agent_claim", "agent_restart")]
    programs = [*rows, BUILD / "test/agent/registrant", BUILD / "bpf/cloudtaser-agent-next"]
    run = Run(machine.run(BUILD, name, options, programs, SCRIPT.format(burst=BURST, tier=tier)))
    judge_cut_short(run)
    judge_deaf(run)
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
