# SPDX-License-Identifier: Apache-2.0
"""What the agent costs: the daemon as it ships, in a guest (QEMU, one processor, a nanosecond an instruction), where costs are
counted and not timed.

The system calls of others without and with it, alternating in one run; then 250 protected containers: what it occupies, and
what it does while nothing happens, the self-test of each minute included. In a second guest the same calls beside the tier that
kills, whose tracepoints everybody pays for and which the first guest must not have; and on this machine's own processor
beside whatever loads here."""

import os
import re
import statistics
import subprocess

import machine

RUNS = 20  # alternating
RUNS_REACTIVE = 5
RUNS_NATIVE = 11
PROTECTED = 250
IDLE_SECONDS = 180  # three self-tests
SECONDS = 2400  # for all of a guest, on a busy machine
COUNTING = ("-accel", "tcg", "-icount", "shift=0,sleep=off", "-smp", "1")

BEGIN = """
ifconfig lo 127.0.0.1
log=/tmp/agent.log
mkdir /sys/fs/cgroup/agent
# The daemon, in a cgroup of its own, until it has proven itself.
begin() {{
    : >$log
    sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec cloudtaser-agent run {options} --metrics-listen 127.0.0.1:9100' \\
        >$log 2>&1 &
    agent=$!
    until grep -q '"kind":"selftest"' $log || ! kill -0 $agent 2>/dev/null; do
        sleep 1
    done
    sleep 2
    echo "@tracepoints $(ls /sys/fs/bpf/cloudtaser/gen-*/ | grep -c '^rk_')"
}}
finish() {{
    kill $agent
    wait $agent
    cloudtaser-agent uninstall >/dev/null
    # The kernel takes programs off in its own time.
    sleep 2
}}
"""

ALTERNATE = """
for run in $(seq {runs}); do
    agent_cost | sed 's/^/@cost without /'
    begin
    agent_cost | sed 's/^/@cost with /'
    finish
done
"""

# What its processes have run (the ended ones too), by the kernel's account of their cgroup.
IDLE = """
begin
mkfifo /tmp/hold
exec 3<>/tmp/hold
pod=/sys/fs/cgroup/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice
for n in $(seq {protected}); do
    at=$pod/cri-containerd-$(printf '%064x' $n).scope
    mkdir -p $at
    sh -c 'echo 0 >"$0/cgroup.procs"; exec registrant vetted </tmp/hold' $at >/dev/null 2>&1 &
done
waited=0
until [ "$(grep -c '"decision":"protected"' $log)" = {protected} ] || [ $((waited += 1)) = 300 ]; do
    sleep 1
done
sleep 5
metric() {{
    wget -q -O - http://127.0.0.1:9100/metrics | sed -n "s/^cloudtaser_agent_$1 /@$2 /p"
}}
used() {{
    sed -n 's/^usage_usec //p' /sys/fs/cgroup/agent/cpu.stat
}}
metric protected_processes protected
from=$(used) since=$(sed 's/ .*//' /proc/uptime)
sleep {seconds}
echo "@idle $from $(used) $since $(sed 's/ .*//' /proc/uptime)"
metric selftest_seconds selftest
metric selftest_failures_total failures
for process in $(cat /sys/fs/cgroup/agent/cgroup.procs); do
    sed -n 's/^VmRSS:[^0-9]*/@rss /p' /proc/$process/status
done
"""


class Said:
    """What a guest has said."""

    def __init__(self, build, kernel, script, options="", **numbers):
        programs = [build / "test/bench/agent_cost", build / "test/agent/registrant",
                    build / "static-agent/bpf/cloudtaser-agent"]
        self.lines = machine.run(build, kernel, "secretmem.enable=1", programs,
                                 BEGIN.format(options=options) + script.format(**numbers), COUNTING, seconds=SECONDS)
        self.costs = {}
        for side, name, value in self.all(r"@cost (\w+) (\w+) ([\d.]+)"):
            self.costs.setdefault((name, side), []).append(float(value))
        self.tracepoints = set(self.all(r"@tracepoints (\d+)"))

    def all(self, pattern):
        return re.findall(pattern, "\n".join(self.lines))

    def one(self, pattern):
        found = self.all(pattern)
        if not found:
            raise RuntimeError(f"the guest did not say {pattern}; its last words: {self.lines[-5:]}")
        return found[-1]


def medians(costs):
    """{name: (without, with)}"""
    names = [name for name, side in costs if side == "without"]
    return {name: tuple(statistics.median(costs[name, side]) for side in ("without", "with")) for name in names}


def percent(costs):
    """{name: percent more}"""
    return {name: 100 * (after / before - 1) for name, (before, after) in medians(costs).items()}


def measure_guest(build, kernel, number):
    """{figure: (value, unit)} of the daemon with the tiers that it chooses."""
    said = Said(build, kernel, ALTERNATE + IDLE, runs=number, protected=PROTECTED, seconds=IDLE_SECONDS)
    protected, failures = int(said.one(r"@protected (\d+)")), int(said.one(r"@failures (\d+)"))
    if protected < PROTECTED or failures > 0:
        raise RuntimeError(f"{protected} of {PROTECTED} processes are protected, {failures} self-tests have failed")
    if said.tracepoints != {"0"}:
        raise RuntimeError(f"the tier that kills is attached where another holds: {said.tracepoints} of its programs")
    first, last, since, until = map(float, said.one(r"@idle (\d+) (\d+) ([\d.]+) ([\d.]+)"))
    figures = {f"icount_{name}_pct": (value, "%") for name, value in percent(said.costs).items()}
    figures["rss_mb"] = (sum(map(int, said.all(r"@rss (\d+) kB"))) / 1024, "MB")
    figures["idle_cpu_pct"] = ((last - first) / 1e6 / (until - since) * 100, "%")
    figures["selftest_ms"] = (float(said.one(r"@selftest ([\d.]+)")) * 1000, "ms")
    return figures


def measure_reactive(build, kernel, number):
    """The same calls, beside the tier that kills alone."""
    said = Said(build, kernel, ALTERNATE, "--tiers reactive", runs=number)
    if said.tracepoints != {"2"}:
        raise RuntimeError(f"the tier that kills has {said.tracepoints} programs attached, not two")
    return {f"reactive_icount_{name}_pct": (value, "%") for name, value in percent(said.costs).items()}


def measure_native(build, number):
    """Nanoseconds that a call takes longer on this machine, beside what loads here; nothing where nothing loads."""
    agent, cost = build / "static-agent/bpf/cloudtaser-agent", build / "test/bench/agent_cost"
    if os.geteuid() != 0 or subprocess.run([agent, "probe"], capture_output=True, check=False).returncode != 0:
        return {}
    costs = {}

    def count(side):
        for line in subprocess.run([cost], check=True, capture_output=True, text=True).stdout.splitlines():
            name, value = line.split()
            costs.setdefault((name, side), []).append(float(value))

    for _ in range(number):
        count("without")
        with subprocess.Popen([agent, "guard", "--", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as guard:
            guard.stdout.readline()
            count("with")
            guard.stdin.close()
    return {f"native_{name}_ns": (after - before, "ns") for name, (before, after) in medians(costs).items()}


def measure(build, kernel="6.1", number=RUNS):
    """{figure: (value, unit)}, without the figures' first word."""
    return (measure_guest(build, kernel, number) | measure_reactive(build, kernel, min(number, RUNS_REACTIVE)) |
            measure_native(build, min(number, RUNS_NATIVE)))
