#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon under attack for a long time, on Linux 6.12: processes register, fork, execute, end; their containers come and
go; others attack all the while, a million times in one burst. When all of them have ended nothing may be left of it, in the
kernel or in the agent, and each attack has been refused and counted.

  test/agent/soak.py [MINUTES]

Ten minutes without an argument, and four more to get warm and to come to rest. Ends with the line `N passed, M failed`.
"""

import collections
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test/rig"))

import machine  # noqa: E402  (the path above must be set first)
from machine import BUILD  # noqa: E402

KERNEL = "6.12"
WARM_SECONDS = 60
BURST = 1000000
# Row, and the vector that counts it; each makes one attempt.
ROWS = {
    "ptrace": "ptrace", "mem_read": "proc_mem_read", "mem_write": "proc_mem_write", "vm_readv": "process_vm_readv",
    "vm_writev": "process_vm_writev", "environ": "proc_environ", "maps": "proc_maps", "comm": "proc_comm",
    "links": "proc_links", "pidfd_getfd": "pidfd_getfd", "madvise": "process_madvise", "kcmp": "kcmp",
    "perf": "perf_event_open", "setns": "setns", "proc_write": "proc_write", "tracefs": "tracefs",
}
# The kernel itself drops the oldest of its entries, and never all.
BOUNDED = {"ct_rates": 1024}
# What may have grown since it was warm, in kB: what the kernel keeps for later is not all given back when asked for.
ROOM = {"agent resident": 256, "Percpu": 256, "SUnreclaim": 1536, "KernelStack": 128}

SCRIPT = """
ifconfig lo 127.0.0.1
export TEXT=what-only-the-victim-may-know
log=/tmp/agent.log
mkdir /sys/fs/cgroup/agent
sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec cloudtaser-agent run --metrics-listen 127.0.0.1:9100' >$log 2>&1 &
agent=$!
until grep -q '"kind":"selftest"' $log || ! kill -0 $agent; do
    sleep 1
done

metrics() {{
    wget -q -O - http://127.0.0.1:9100/metrics | sed 's/^cloudtaser_agent_//'
}}
# What there is of everything, as `@state WHEN NAME NUMBER`.
state() {{
    sync
    echo 3 >/proc/sys/vm/drop_caches
    sleep 3
    {{
        metrics | sed -n 's/^map_entries{{map="\\(.*\\)"}} /map \\1=/p; s/^open_descriptors /agent descriptors=/p'
        sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/agent resident=\\1/p' /proc/$agent/status
        bpf_count | sed 's/ /=/; s/^/BPF /'
        sed -n 's/^\\(Slab\\|SUnreclaim\\|Percpu\\|KernelStack\\|PageTables\\):[^0-9]*\\([0-9]*\\) kB/\\1=\\2/p' /proc/meminfo
    }} | sed "s/^/@state $1 /"
    metrics | sed -n 's/^\\(attacks_total\\|registrations_total\\|events_lost\\|lines_dropped\\|selftest_failures\\)/@count '$1' &/p'
}}
pods=/sys/fs/cgroup/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice
new_container() {{
    at=$pods/cri-containerd-$(printf '%08x%056x' $1 $2).scope
    mkdir -p $at
}}
inside() {{
    sh -c 'echo 0 >"$0/cgroup.procs"; exec "$@"' $at "$@"
}}
remove() {{
    until rmdir $at 2>/dev/null; do
        sleep 0.1
    done
}}
# A victim of its own: its arguments in /tmp/victim.N.
victim() {{
    new_container $1 $phase
    inside registrant enter row_victim >/tmp/said.$1 2>&1
    remove
}}
await_victim() {{
    tries=0
    until grep -q '^[0-9].* .*' /tmp/said.$1 2>/dev/null && grep -q '^release EISCONN' /tmp/said.$1; do
        sleep 0.2
        if [ $((tries += 1)) = 300 ]; then
            echo "@bad no victim: $(cat /tmp/said.$1)"
            poweroff -f
        fi
    done
    grep '^[0-9]' /tmp/said.$1 >/tmp/victim.$1
}}
churn() {{
    n=0
    until [ -e /tmp/stop ]; do
        n=$((n + 1))
        new_container $1 $((phase * 1000000 + n))
        case $((n % 4)) in
        0) inside registrant crowd ;;
        1) inside registrant vetted /bin/sh -c 'for i in 1 2 3; do /bin/true; (sleep 0.01 &); done; wait' ;;
        2) inside registrant enter ;;
        3) inside unsigned once ;;
        esac </dev/null 2>/dev/null >>/tmp/churned.$1
        remove
    done
}}
# Each way of attacking in turn: `ROW STATUS` a line.
attack() {{
    until [ -e /tmp/stop ]; do
        for row in {rows}; do
            row_$row $(cat /tmp/victim.$2) >/dev/null 2>&1
            echo "$row $?"
        done
    done >/tmp/tried.$1
}}
# phase NAME SECONDS BURST
phase=0
phase() {{
    phase=$((phase + 1))
    rm -f /tmp/stop /tmp/said.* /tmp/victim.* /tmp/churned.* /tmp/tried.*
    # One after the other: the second one finds the library that the first one runs.
    victim 101 &
    await_victim 101
    victim 102 &
    await_victim 102
    workers=
    for i in 1 2 3; do
        churn $i &
        workers="$workers $!"
    done
    attack 1 101 &
    workers="$workers $!"
    attack 2 102 &
    workers="$workers $!"
    UNTIL=/tmp/stop row_again $(cat /tmp/victim.102) >/tmp/again &
    workers="$workers $!"
    sleep $(($2 / 2))
    if [ $3 -gt 0 ]; then
        before=$(cat /tmp/churned.* | wc -l)
        COUNT=$3 row_burst $(cat /tmp/victim.101) | sed "s/^burst/@burst $1/"
        echo "@during $1 $(($(cat /tmp/churned.* | wc -l) - before))"
    fi
    sleep $(($2 / 2))
    touch /tmp/stop
    wait $workers
    sed "s/^again/@again $1/" /tmp/again
    cat /tmp/tried.* | sort | uniq -c | sed "s/^/@tried $1 /"
    cat /tmp/churned.* | grep '^[a-z-]* [A-Z0-9]*$' | sort | uniq -c | sed "s/^/@churned $1 /"
    kill $(cut -d ' ' -f 1 /tmp/victim.101 /tmp/victim.102)
    # Containers are forgotten by the agent's sweep, each minute.
    for i in $(seq 130); do
        metrics | grep -q '^map_entries{{map="ct_cgroups"}} 0$' && break
        sleep 1
    done
    state $1
}}
state start
phase warm {warm} 0
phase end {seconds} {burst}
echo "@lines $(grep -c '"kind":"attack"' $log) $(sed -n 's/.*"kind":"attacks".*"more":\\([0-9]*\\).*/\\1/p' $log | awk '{{ n += $1 }} END {{ print n + 0 }}')"
grep -E '"kind":"(vector|unmarked|selftest-failed|stop)"' $log | sed 's/^/@bad /'
kill -0 $agent && echo "@lives"
"""


class Soak:
    """What the guest has said."""

    def __init__(self, lines):
        self.text = "\n".join(lines)
        self.state = collections.defaultdict(dict)
        for when, name, number in re.findall(r"@state (\w+) (.+)=(\d+)", self.text):
            self.state[name][when] = int(number)
        self.counts = collections.defaultdict(collections.Counter)
        for when, name, number in re.findall(r"@count (\w+) (\S+) (\d+)", self.text):
            self.counts[when][name] = int(number)
        self.failures, self.passed = [], 0

    def check(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failures.append(what)

    def numbers(self, pattern):
        """Of the first line that says so; zeros when none does."""
        found = re.search(pattern, self.text)
        return [int(n) for n in found.groups()] if found else [0] * re.compile(pattern).groups

    def attempts(self, when):
        """By vector, and how many of them were not refused."""
        attempts, let_through = collections.Counter(), 0
        for n, row, status in re.findall(rf"@tried {when} +(\d+) (\w+) (\d+)", self.text):
            attempts[ROWS[row]] += int(n)
            let_through += int(n) if status != "0" else 0
        again, hits = self.numbers(rf"@again {when} (\d+) (\d+)")
        burst, refused = self.numbers(rf"@burst {when} (\d+) (\d+)")
        # A wrapper that reads a child which it has released is an attacker as well.
        released = self.numbers(rf"@churned {when} +(\d+) wrapper-reads-released EPERM")[0]
        attempts["process_vm_readv"] += again + burst + released
        attempts["proc_environ"] += again
        return attempts, let_through + hits + burst - refused

    def decided(self, decision):
        return self.counts["end"][f'registrations_total{{decision="{decision}"}}']

    def counted(self, when):
        """Attacks by vector, so far."""
        counted = collections.Counter()
        for name, number in self.counts[when].items():
            found = re.match(r'attacks_total\{vector="(\w+)"', name)
            if found:
                counted[found[1]] += number
        return counted


def judge_leftovers(soak):
    maps = {name: values for name, values in soak.state.items() if name.startswith("map ")}
    soak.check(len(maps) >= 8, f"the maps are not told: {sorted(maps)}")
    for name, values in maps.items():
        if name[4:] in BOUNDED:
            soak.check(values.get("end", 1 << 20) <= BOUNDED[name[4:]], f"{name} has {values} entries")
        else:
            soak.check(values.get("end", -1) == values.get("start"), f"entries are left in {name}: {values}")
    for name in ("agent descriptors", "BPF programs", "BPF maps", "BPF links", "BPF btfs"):
        values = soak.state[name]
        soak.check("end" in values and values["end"] == values.get("warm"), f"the number of {name} has changed: {values}")
    for name, room in ROOM.items():
        values = soak.state[name]
        soak.check(0 < values.get("end", 0) <= values.get("warm", 0) + room, f"{name} has grown, in kB: {values}")


def judge_attacks(soak):
    before = soak.counted("start")
    for when in ("warm", "end"):
        attempts, let_through = soak.attempts(when)
        after = soak.counted(when)
        soak.check(let_through == 0, f"{let_through} attacks were let through, {when}")
        soak.check(len(attempts) >= len(set(ROWS.values())) and min(attempts.values()) > 10,
                   f"too few attacks, {when}: {attempts}")
        for vector in sorted(set(attempts) | set(after)):
            n = after[vector] - before[vector]
            soak.check(n == attempts[vector], f"{vector}: {n} of {attempts[vector]} attacks are counted, {when}")
        before = after
    told, more = soak.numbers(r"@lines (\d+) (\d+)")
    total = sum(soak.counted("end").values())
    soak.check(told + more == total > BURST, f"{told} lines and {more} more tell of {total} attacks")
    soak.check(soak.numbers(r"@burst end (\d+) (\d+)") == [BURST, BURST], "the burst was not refused")
    soak.check(soak.numbers(r"@during end (\d+)")[0] > 0, "nobody registered during the burst")


def judge_agent(soak):
    soak.check("@lives" in soak.text, f"the agent has ended, or the guest: {soak.text[-1000:]}")
    soak.check("@bad" not in soak.text, f"what the agent says: {re.findall('@bad .*', soak.text)[:5]}")
    soak.check(soak.counts["end"]["selftest_failures_total"] == 0, "a self-test has failed")
    for decision in ("protected", "refused"):
        soak.check(soak.decided(decision) > 50, f"too few were {decision}: {soak.decided(decision)}")


def boot(minutes, unsigned):
    rows = [BUILD / f"test/attacks/rows/row_{row}" for row in (*ROWS, "victim", "again", "burst")]
    programs = [*rows, BUILD / "test/agent/registrant", BUILD / "test/agent/bpf_count", unsigned]
    shipped = BUILD / "static-agent/bpf/cloudtaser-agent"
    script = SCRIPT.format(rows=" ".join(ROWS), warm=WARM_SECONDS, seconds=minutes * 60, burst=BURST)
    return machine.run(BUILD, KERNEL, "", [*programs, *([shipped] if shipped.exists() else [])], script,
                       seconds=minutes * 60 + machine.BOOT_SECONDS)


def main(arguments):
    if len(arguments) > 1 or not all(a.isdigit() and int(a) > 0 for a in arguments):
        sys.exit("usage: test/agent/soak.py [MINUTES]")
    minutes = int(arguments[0]) if arguments else 10
    with tempfile.TemporaryDirectory(prefix="cloudtaser-soak-") as folder:
        unsigned = pathlib.Path(folder) / "unsigned"
        unsigned.write_bytes((BUILD / "test/agent/registrant").read_bytes()[:-76])
        unsigned.chmod(0o755)
        soak = Soak(boot(minutes, unsigned))
    judge_leftovers(soak)
    judge_attacks(soak)
    judge_agent(soak)
    print(f"{minutes} min: {sum(soak.counted('end').values())} attacks, {soak.decided('protected')} registered, "
          f"{soak.decided('refused')} refused")
    for name, values in soak.state.items():
        print(f"  {name}: " + ", ".join(f"{when} {n}" for when, n in values.items()))
    for what in soak.failures:
        print(f"FAIL {what}")
    print(f"{soak.passed} passed, {len(soak.failures)} failed")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
