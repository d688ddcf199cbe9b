# SPDX-License-Identifier: Apache-2.0
"""What the agent costs everybody else: instructions of a guest (QEMU, one processor, a nanosecond an instruction)
for each system call of an unprotected process, without and with enforcement, alternating in one run."""

import re
import statistics

import machine

RUNS = 20
COUNTING = ("-accel", "tcg", "-icount", "shift=0,sleep=off", "-smp", "1")

SCRIPT = """
for run in {runs}; do
    /bin/agent_cost | sed 's/^/@cost without /'
    # It enforces once its program runs.
    cloudtaser-agent guard {options} -- /bin/sh -c 'touch /tmp/ready; exec sleep 100000' 2>/tmp/said &
    guard=$!
    for second in 1 2 3 4 5 6 7 8 9 10; do
        [ -e /tmp/ready ] || sleep 1
    done
    sleep 1
    echo "@rss $(sed -n 's/^VmRSS:[^0-9]*//p' /proc/$guard/status)"
    /bin/agent_cost | sed 's/^/@cost with /'
    kill $guard
    wait $guard
    killall sleep
    rm /tmp/ready
    # The kernel takes programs off in its own time.
    sleep 2
done
"""


def measure(build, kernel="6.1", options=""):
    """{name: percent more} of the medians, and the agent's resident megabytes."""
    lines = machine.run(build, kernel, "secretmem.enable=1", [build / "test/bench/agent_cost"],
                        SCRIPT.format(runs=" ".join(map(str, range(RUNS))), options=options), COUNTING)
    costs, rss = {}, None
    for line in lines:
        found = re.search(r"@cost (with|without) (\w+) ([\d.]+)", line)
        if found:
            costs.setdefault((found[2], found[1]), []).append(float(found[3]))
        found = re.search(r"@rss (\d+) kB", line)
        if found:
            rss = int(found[1]) / 1024
    medians = {key: statistics.median(values) for key, values in costs.items()}
    names = sorted({name for name, _ in medians})
    return {name: 100 * (medians[name, "with"] / medians[name, "without"] - 1) for name in names}, rss, medians
