# SPDX-License-Identifier: Apache-2.0
"""What the agent costs: the daemon as it ships, in a guest (QEMU, one processor, a nanosecond an instruction), where costs are
counted and not timed.

The system calls of others without and with it, alternating in one run; then 250 protected containers: what it occupies, and
what it does while nothing happens, the self-test of each minute included. In a second guest the same calls beside the tier that
kills, whose tracepoints everybody pays for and which the first guest must not have; and on this machine's own processor
beside whatever loads here. There too: how many wrappers can register in a second, and what a wrapper's canary takes."""

import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import machine
import test_registration as registration

RUNS = 20  # alternating
RUNS_REACTIVE = 5
RUNS_NATIVE = 11
RUNS_REGISTRATION = 5
WRAPPERS = 10
CANARY_SECONDS = 70
CANARY_INTERVAL = 7  # wrapper/enforcement.c
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


def agent_of(build):
    return build / "static-agent/bpf/cloudtaser-agent"


def loads_here(build):
    return os.geteuid() == 0 and subprocess.run([agent_of(build), "probe"], capture_output=True,
                                                check=False).returncode == 0


def measure_native(build, number):
    """Nanoseconds that a call takes longer on this machine, beside what loads here."""
    agent, cost = agent_of(build), build / "test/bench/agent_cost"
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


def measure_registrations(build, agent, folder):
    """Copies of a program of the wrapper's size that register at a time, hashing included, each vetted twice."""
    copies = registration.make_copies(folder, build / "test/agent/registrant")
    times = []
    for _ in range(RUNS_REGISTRATION):
        seconds, said = registration.register(agent, copies)
        if said != ["answer EALREADY\nanswer EISCONN\n"] * len(copies):
            raise RuntimeError(f"not all of them were let in: {set(said)}")
        times.append(seconds)
    return {"registrations_per_s": (len(copies) / statistics.median(times), "1/s")}


def used_us(containers):
    return sum(int(re.search(r"^usage_usec (\d+)", (path / "cpu.stat").read_text(), re.M)[1]) for path in containers)


def measure_canary(agent, folder, wrapper):
    """What protected wrappers and their waiting apps take of the processor, by the kernel's account of their cgroups: the
    canaries, and the little besides. `wrapper`: command and environment."""
    command, environment = wrapper
    containers = [agent.container() for _ in range(WRAPPERS)]
    processes, logs = [], []
    try:
        for i, container in enumerate(containers):
            logs.append(folder / f"wrapper-{i}.log")
            with open(logs[-1], "w", encoding="utf-8") as log:
                processes.append(agent.run(*command, container=container, env=environment, stderr=log))
        if not registration.wait_until(lambda: all("ebpf_connected: OK" in log.read_text() for log in logs)):
            raise RuntimeError(f"a wrapper is not protected; one said: {logs[0].read_text()[-1000:]}")
        time.sleep(CANARY_INTERVAL)
        before, began = used_us(containers), time.monotonic()
        time.sleep(CANARY_SECONDS)
        used, seconds = used_us(containers) - before, time.monotonic() - began
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=30)
    share = used / 1e6 / seconds / WRAPPERS
    return {"canary_ms": (share * CANARY_INTERVAL * 1000, "ms"), "canary_cpu_pct": (share * 100, "%")}


def measure_here(build, number, wrapper):
    """On this machine, beside what loads here; nothing where nothing loads."""
    if registration.UNIFIED is None or not loads_here(build):
        return {}
    figures = measure_native(build, number)
    with tempfile.TemporaryDirectory(prefix="ct-bench-agent-") as name:
        folder = pathlib.Path(name)
        agent = registration.Agent(folder, program=agent_of(build))
        try:
            if not registration.wait_until(agent.listens):
                raise RuntimeError(f"no agent here: {(folder / 'log').read_text()[-1000:]}")
            figures |= measure_registrations(build, agent, folder)
            figures |= measure_canary(agent, folder, wrapper)
        finally:
            agent.end()
    return figures


def measure(build, wrapper, kernel="6.1", number=RUNS, here_alone=False):
    """{figure: (value, unit)}, without the figures' first word. `wrapper`: command and environment of one whose app stays."""
    guests = {} if here_alone else (measure_guest(build, kernel, number) |
                                    measure_reactive(build, kernel, min(number, RUNS_REACTIVE)))
    return guests | measure_here(build, min(number, RUNS_NATIVE), wrapper)
