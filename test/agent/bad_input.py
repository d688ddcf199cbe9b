#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the agent says where it cannot work, or finds what it did not make: a sentence, an end that is no crash, and no claim.
What life.py tries is not tried again.

  test/agent/bad_input.py [KERNEL...]

Boots the kernels of tools/build-kernels. Ends with the line `N passed, M failed`.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test/rig"))

import life  # noqa: E402  (the path above must be set first)
import machine  # noqa: E402
from machine import BUILD  # noqa: E402

CAPABILITIES = ("bpf", "perfmon", "sys_admin", "sys_ptrace")

BEGIN = """
ifconfig lo 127.0.0.1
log=/tmp/agent.log
export PINS=/sys/fs/bpf/cloudtaser
case_of() {
    name=$1
    shift
    # An agent that begins where it should not would go on for good.
    timeout 120 "$@" >/tmp/said 2>&1
    echo "@case $name $? $(tr '\\n' ';' </tmp/said)"
}
# agent OPTION...: until it has proven itself, or ended.
agent() {
    : >$log
    cloudtaser-agent run "$@" >>$log 2>&1 &
    AGENT=$!
    until grep -q '"kind":"selftest"' $log || ! kill -0 $AGENT 2>/dev/null; do
        sleep 1
    done
}
ended() {
    kill -TERM $AGENT
    wait $AGENT
}
begins() {
    agent "$@"
    kill -0 $AGENT
}
# For a minute: the kernel takes programs off in its own time after `uninstall`, and until then they guard the pins and let
# nobody load any.
at_last() {
    for i in $(seq 30); do
        "$@" 2>/dev/null && break
        sleep 2
    done
}
"""

ORDINARY = BEGIN + """
case_of control cloudtaser-agent probe
for capability in CAPABILITIES; do
    case_of "run-$capability" /bin/setpriv --bounding-set -$capability cloudtaser-agent run
done
# In a container other things are where the node has them, and where its links lead.
mkdir /tmp/edr
cp /bin/setpriv /tmp/edr/edr
ln -s /tmp/edr/edr /tmp/edr/link
cat >/tmp/contained <<'END'
#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs none /tmp/edr && exec "$@"' sh "$@"
END
chmod +x /tmp/contained
case_of exempt-hidden /tmp/contained ls /tmp/edr/edr
case_of exempt /tmp/contained cloudtaser-agent probe --exempt process_vm_readv:/tmp/edr/link
case_of exempt-shell /tmp/contained cloudtaser-agent probe --exempt process_vm_readv:/bin/cat
case_of probe-without /bin/setpriv --bounding-set -bpf,-perfmon,-sys_admin cloudtaser-agent probe

: >/tmp/empty
mount --bind /tmp/empty /sys/kernel/btf/vmlinux
case_of no-btf-probe cloudtaser-agent probe
case_of no-btf-run cloudtaser-agent run
case_of no-btf-left ls $PINS/maps
# Who advertises stays, and begins as soon as it can.
tells="run --advertise --node-name node --self-test-interval 3s --metrics-listen 127.0.0.1:9100"
cloudtaser-agent $tells >$log 2>&1 &
AGENT=$!
sleep 10
case_of standby kill -0 $AGENT
case_of standby-lines grep -c '"kind":"standby"' $log
case_of standby-log cat $log
# Between two tries nobody answers.
case_of standby-metrics sh -c 'until wget -q -O - http://127.0.0.1:9100/metrics; do sleep 0.3; done | grep cloudtaser_agent_'
umount /sys/kernel/btf/vmlinux
until grep -q '"kind":"selftest"' $log || ! kill -0 $AGENT 2>/dev/null; do
    sleep 1
done
case_of standby-over sh -c 'wget -q -O - http://127.0.0.1:9100/metrics | grep -E "_standby|proc_environ.*tier="'
kill -KILL $AGENT
while pidof cloudtaser-agent >/dev/null; do
    sleep 1
done
mount --bind /tmp/empty /sys/kernel/btf/vmlinux
case_of pinned-before cloudtaser-agent run --advertise --node-name node
umount /sys/kernel/btf/vmlinux
case_of after-btf cloudtaser-agent uninstall

# The kernel takes programs off in its own time, and until then nobody unmounts what they were pinned in.
for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    umount /sys/fs/bpf && break
done
case_of no-bpffs cloudtaser-agent run
case_of no-bpffs-uninstall cloudtaser-agent uninstall
mount -t bpf bpf /sys/fs/bpf
ln -s /sys/fs/bpf/elsewhere /sys/fs/bpf/link
case_of link cloudtaser-agent run --pin-dir /sys/fs/bpf/link

agent --metrics-listen 127.0.0.1:9100
case_of lives kill -0 $AGENT
case_of second-elsewhere cloudtaser-agent run --pin-dir /sys/fs/bpf/second
case_of second-uninstall cloudtaser-agent uninstall --pin-dir /sys/fs/bpf/second
case_of port-taken cloudtaser-agent run --pin-dir /sys/fs/bpf/second --metrics-listen 127.0.0.1:9100
case_of lives-on kill -0 $AGENT
ended
mkdir $PINS/foreign
agent
case_of foreign-beside kill -0 $AGENT
ended
case_of foreign-stays cloudtaser-agent uninstall
at_last rmdir $PINS/foreign
case_of foreign-gone cloudtaser-agent uninstall

# Programs that do not run for a while cannot keep their pins.
at_last begins --tiers lsm
ended
echo 0 >/proc/sys/kernel/ftrace_enabled
rm $PINS/maps/ct_pids
ln $PINS/maps/ct_own $PINS/maps/ct_pids
case_of corrupt cloudtaser-agent run
rm $PINS/maps/ct_ring
case_of no-ring cloudtaser-agent run
rm $PINS/maps/ct_config
ln $PINS/maps/ct_own $PINS/maps/ct_config
case_of foreign-config cloudtaser-agent run
rm $PINS/maps/ct_config
case_of no-config cloudtaser-agent run
case_of corrupt-uninstall cloudtaser-agent uninstall
echo 1 >/proc/sys/kernel/ftrace_enabled
at_last begins
case_of all-is-well kill -0 $AGENT
ended
case_of end cloudtaser-agent uninstall
""".replace("CAPABILITIES", " ".join(CAPABILITIES))

# With more than that the kernel lets nobody's programs read it.
LOCKED = BEGIN + """
case_of lockdown cat /sys/kernel/security/lockdown
case_of locked-probe cloudtaser-agent probe
case_of locked-json cloudtaser-agent probe -o json
case_of locked-run cloudtaser-agent run
case_of locked-guard cloudtaser-agent guard -- echo it-runs
case_of locked-left cloudtaser-agent uninstall
"""


def judge_ordinary(run):
    run.expect("control", 0, "share of the score: [1-9]")
    for capability in CAPABILITIES:
        run.expect(f"run-{capability}", 1, f"the agent lacks CAP_{capability.upper()}: run it as root")
    run.expect("exempt-hidden", 1)
    run.expect("exempt", 0, r"process_vm_readv +open \(exempt\)", "share of the score: (0|15)/35")
    run.expect("exempt-shell", 1, "is a script, an interpreter, or no program at all")
    run.expect("probe-without", 1, "takes no BPF programs of ours: the agent lacks CAP_BPF")
    for name in ("no-btf-probe", "no-btf-run"):
        run.expect(name, 1, "has no BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF")
    run.expect("standby", 0)
    run.expect("standby-lines", 0, "^1;")
    run.expect("standby-log", 0, '"node":"node","message":"this kernel has no BTF', "CONFIG_DEBUG_INFO_BTF")
    run.expect("standby-metrics", 0, "cloudtaser_agent_standby 1;")
    run.expect("standby-over", 0, "cloudtaser_agent_standby 0;", 'proc_environ",tier="lsm"} 1')
    run.expect("pinned-before", 1, "has no BTF")
    said = run.cases.get("pinned-before", (0, "standby"))[1]
    run.check("pinned-before", "standby" not in said, f"what an agent before has pinned is told to be nothing: {said}")
    run.expect("no-bpffs", 1, "is no BPF file system", "mount -t bpf")
    run.expect("link", 1, "/sys/fs/bpf/link")
    run.expect("lives", 0)
    run.expect("second-elsewhere", 1, "this node's agent runs, and lets nobody else load any")
    run.expect("port-taken", 1, "metrics-listen", "9100")
    run.expect("lives-on", 0)
    run.expect("foreign-beside", 0)
    run.expect("foreign-stays", 1, "something foreign is in it")
    run.expect("foreign-gone", 0)
    run.expect("corrupt", 1, "maps/ct_pids is not what this agent's programs work on", "corrupt, or foreign", "uninstall")
    run.expect("no-ring", 1, "maps/ct_ring is not an agent's", "uninstall")
    run.expect("foreign-config", 1, "maps/ct_config is not an agent's", "uninstall")
    run.expect("no-config", 1, "not complete", "uninstall")
    run.expect("corrupt-uninstall", 0)
    run.expect("all-is-well", 0)
    run.expect("end", 0, "removed from")


def judge_locked(run):
    run.expect("lockdown", 0, r"\[confidentiality\]")
    for name in ("locked-probe", "locked-json", "locked-run"):
        run.expect(name, 1, "lockdown=confidentiality", "integrity")
    run.expect("locked-guard", 1, "lockdown=confidentiality")
    run.check("locked-guard", "it-runs" not in run.cases.get("locked-guard", (0, ""))[1], "runs what it does not protect")
    run.expect("locked-left", 0)


# Name, folder of the kernel, boot options, what is done, what is to come of it.
KERNELS = [
    ("6.1", "6.1", "secretmem.enable=1", ORDINARY, judge_ordinary),
    ("6.12", "6.12", "", ORDINARY, judge_ordinary),
    ("6.1 locked down", "6.1", "lockdown=confidentiality", LOCKED, judge_locked),
    ("6.12 locked down", "6.12", "lockdown=confidentiality", LOCKED, judge_locked),
]


def boot(kernel):
    _, name, options, script, judge = kernel
    run = life.Run(machine.run(BUILD, name, options, ["/usr/bin/setpriv"], script))
    judge(run)
    for case, (status, said) in run.cases.items():
        run.check(case, status in (0, 1, 2), f"ends with {status}: {said}")
    return run


def main(arguments):
    return machine.tell(machine.on_each(machine.chosen(KERNELS, arguments), boot))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
