#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The wrapper, run by runc as kubelet's containers are, and the node's agent: which points it proves on each kernel, and that
it claims none that it does not have. Everything happens in virtual machines without a disk.

  test/agent/score.py [MACHINE...]

Ends with the line `N passed, M failed`.
"""

import json
import os
import pathlib
import re
import shlex
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CT_BUILD_DIR", "build")).resolve()
sys.path.insert(0, str(ROOT / "test/rig"))

import machine  # noqa: E402  (the path above must be set first)
import oci  # noqa: E402

WRAPPER = BUILD / "static/wrapper/cloudtaser-wrapper"
CLOUDTASER = BUILD / "cli/cloudtaser"
AGENT = BUILD / "bpf/cloudtaser-agent"
RUNC = pathlib.Path("/usr/sbin/runc")
POD = "11111111-2222-3333-4444-555555555555"
SETTINGS = {"version": 1, "address": "http://127.0.0.1:8200", "role": "app", "token-file": "/jwt"}
VALUE = "what-only-the-app-may-know"
SHOW = 'echo "app: $PGPASSWORD"'
BINDS = [oci.bind("/bin/cloudtaser-wrapper", "/wrapper", True), oci.bind("/bin/busybox", "/busybox", True)]
NO_AGENT = "FAIL (+0) no agent on this node"

# Name: what kubelet would make of it, and the app.
CONTAINERS = {
    "root": ({}, ["/busybox", "awk", 'BEGIN { print "app: " ENVIRON["PGPASSWORD"] }']),
    "restricted": ({"runAsUser": 65532, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"}},
                   ["/busybox", "awk", 'BEGIN { print "app: " ENVIRON["PGPASSWORD"] }']),
    "followed": ({}, ["/busybox", "sh", "-c",
                      "/busybox true; exec /busybox awk 'BEGIN { print \"app: \" ENVIRON[\"PGPASSWORD\"] }'"]),
    "demanding": ({}, ["/busybox", "echo", "app: it runs"]),
    "stays": ({}, ["/busybox", "sleep", "600"]),
    "restarts": ({}, ["/busybox", "sleep", "601"]),
}
CHANGES = {"demanding": {"min-score": 70}, "stays": {"metrics-port": 9107},
           "restarts": {"refresh-interval-ms": 1000, "on-change": "restart"}}

SETUP = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo '{"db": {"password": "VALUE"}}' >/tmp/kv
cloudtaser dev-vault --kv /tmp/kv --role app --root-token root >/tmp/vault 2>&1 &
contain() {
    runc --root /tmp/runc run --no-pivot --bundle "/containers/$1" "$1" >"/tmp/said.$1" 2>&1
    echo "@end $1 $?"
    sed "s/^/@said $1 /" "/tmp/said.$1"
}
# In the cgroup of a container, and nothing more: the tier `kprobe` refuses the BPF program that runc needs, and
# runc does not start in so small a 5.10.
bare() {
    at=/sys/fs/cgroup/kubepods/besteffort/podPOD/$(cat "/containers/$1/id")
    mkdir -p "$at"
    sh -c 'echo 0 >"$0/cgroup.procs"; . "$1"' "$at" "/containers/$1/bare" >"/tmp/said.$1" 2>&1
    echo "@end $1 $?"
    sed "s/^/@said $1 /" "/tmp/said.$1"
}
ln -s /bin/busybox /busybox
cp /containers/root/rootfs/jwt /jwt
start_agent() {
    : >/tmp/agent
    cloudtaser-agent run "$@" >>/tmp/agent 2>&1 &
    agent=$!
    for i in $(seq 120); do
        grep -q '"selftest"' /tmp/agent && break
        sleep 1
    done
}
end_agent() {
    kill "$agent"
    wait "$agent"
    cloudtaser-agent uninstall
}
count() {
    echo "@lines $1 $(wc -l </tmp/said.stays)"
    echo "@metric $1 $(wget -qO- http://127.0.0.1:9107/metrics | grep '^cloudtaser_protection_score')"
}
# So often has its wrapper started the app.
until_started() {
    for i in $(seq 60); do
        [ "$(grep -c "started /busybox" "/tmp/said.$1" 2>/dev/null)" = "$2" ] && break
        sleep 1
    done
}
begin_to_stay() {
    contain stays &
    stays=$!
    until_started stays 1
    sleep 3
    count enforced
}
end_to_stay() {
    runc --root /tmp/runc kill stays KILL
    wait $stays
}
""".replace("VALUE", VALUE).replace("POD", POD)
FINISH = """
sed "s/^/@agent /" /tmp/agent
tail -n 3 /tmp/vault | sed "s/^/@vault /"
"""
ALL = "contain root; contain restricted; contain followed; contain demanding\n"
BARE = "bare root; bare followed; bare demanding\n"
# A container that runs: what its log says while the agent's process is gone, and 10 s after all of it is.
LOSS = """
begin_to_stay
kill -9 $agent
wait $agent
sleep 10
count orphaned
cloudtaser-agent uninstall >>/tmp/agent 2>&1
sleep 10
count lost
end_to_stay
"""
# Started again by itself, with another password.
RESTART = """
contain restarts &
restarts=$!
until_started restarts 1
wget -qO- --header 'X-Vault-Token: root' --post-data '{"data": {"password": "another one"}}' \\
    http://127.0.0.1:8200/v1/secret/data/db >/dev/null
until_started restarts 2
runc --root /tmp/runc kill restarts KILL
wait $restarts
"""
# Its programs stay where they are, and do not run for a while. With others than LSM the agent refuses that.
DEAF = """
start_agent --tiers lsm
begin_to_stay
echo 0 >/proc/sys/kernel/ftrace_enabled
sleep 10
count lost
echo 1 >/proc/sys/kernel/ftrace_enabled
sleep 10
count back
end_to_stay
"""

# Machine: kernel, boot options, and what happens in it, one after the other.
MACHINES = {
    "6.12": ("6.12", "", {
        "without an agent": ": >/tmp/agent\n" + ALL,
        "enforced": "start_agent\n" + ALL + RESTART + LOSS,
    }),
    "6.12, ftrace": ("6.12", "", {
        "off and on again": DEAF + "end_agent\n",
        "off, by LSM and fmod_ret alone": (
            "echo 0 >/proc/sys/kernel/ftrace_enabled\nstart_agent --tiers lsm --tiers fmod_ret\n" + ALL + "end_agent\n"),
        "off": "start_agent\n" + ALL,
    }),
    "6.1 without bpf in lsm=": ("6.1", "secretmem.enable=1 lsm=lockdown,capability",
                                {"by LSM alone": "start_agent --tiers lsm\n" + ALL}),
    "5.10": ("5.10", "", {"reactive": "start_agent --tiers reactive\n" + BARE}),
    "override": ("override", "secretmem.enable=1", {"kprobe": "start_agent --tiers kprobe\n" + BARE}),
}


def bundle(folder, name, context, command, number):
    """A container as kubelet and containerd make it."""
    root = folder / name / "rootfs"
    for inner in ("proc", "dev", "sys", "tmp"):
        (root / inner).mkdir(parents=True)
    settings = {**SETTINGS, **CHANGES.get(name, {})}
    pod = {"metadata": {"name": name, "uid": POD}, "spec": {}}
    container = {"name": name, "securityContext": context}
    env = {"CLOUDTASER_CONFIG": json.dumps(settings), "PGPASSWORD": "vault:secret/data/db#password"}
    config = oci.config(pod, container, oci.Image(str(root)), env=env, args=["/wrapper", "--", *command],
                        mounts=oci.standard_mounts() + BINDS,
                        cgroup=f"/kubepods/besteffort/pod{POD}/{number:064x}",
                        rlimits={"RLIMIT_MEMLOCK": 8 << 20})
    (folder / name / "config.json").write_text(json.dumps(config))
    (root / "jwt").write_text("a.made.up.token\n")
    (folder / name / "id").write_text(f"{number:064x}\n")
    variables = [f"{key}={value}" for key, value in env.items()]
    (folder / name / "bare").write_text(
        "exec env -i " + shlex.join([*variables, "/bin/cloudtaser-wrapper", "--", *command]) + "\n")


def files(folder):
    """Path in the machine, path here."""
    for number, (name, (context, command)) in enumerate(CONTAINERS.items()):
        bundle(folder, name, context, command, number + 1)
    return [("containers", folder)]


class Run:
    """What one machine has said."""

    def __init__(self, lines):
        self.text = "\n".join(lines)
        self.status, self.said, self.lines, self.metric, self.agent = {}, {}, {}, {}, []
        for line in lines:
            found = re.search(r"@(end|said|lines|metric|agent) (\S+) ?(.*)", line)
            if not found:
                continue
            kind, name, rest = found.groups()
            if kind == "end":
                self.status[name] = int(rest)
            elif kind == "said":
                self.said.setdefault(name, []).append(rest)
            elif kind == "lines":
                self.lines[name] = int(rest)
            elif kind == "metric":
                self.metric[name] = rest.split()[-1:]
            else:
                self.agent.append(f"{name} {rest}")

    def log(self, name, first=0, last=None):
        return "\n".join(self.said.get(name, [])[first:last])


def boot(chosen):
    """What happened in it, by name."""
    kernel, options, stages = MACHINES[chosen[0]]
    script = SETUP + "".join(f'echo "@stage {name}"\n{stage}{FINISH}' for name, stage in stages.items())
    with tempfile.TemporaryDirectory(prefix="cloudtaser-score-") as folder:
        lines = machine.run(BUILD, kernel, options, [CLOUDTASER, RUNC, WRAPPER], script, files=files(pathlib.Path(folder)))
    said = {}
    for line in lines:
        found = re.search(r"@stage (.*)", line)
        if found:
            said[found[1]] = []
        elif said:
            list(said.values())[-1].append(line)
    return {name: Run(said.get(name, lines)) for name in stages}


class Score(unittest.TestCase):
    maxDiff = None
    runs = {}
    wanted = list(MACHINES)

    @classmethod
    def setUpClass(cls):
        cls.runs = dict(machine.on_each([(name,) for name in cls.wanted], boot))

    def machine(self, name, stage):
        if name not in self.runs:
            self.skipTest("not asked for")
        return self.runs[name][stage]

    def expect_app(self, run, name, **checks):
        """It ran with its secret, and its log has these checks."""
        log = run.log(name)
        self.assertEqual(run.status.get(name), 0, run.text)
        self.assertIn(f"app: {VALUE}", log)
        for check, line in checks.items():
            self.assertIn(f"[cloudtaser-wrapper] {check}: {line}", log, run.text)

    def expect_all(self, run, score, names=("root", "restricted", "followed"), **checks):
        for name in names:
            with self.subTest(container=name):
                self.expect_app(run, name, **checks)
                self.assertIn(f"[cloudtaser-wrapper] Protection score: {score}", run.log(name))

    def expect_refused(self, run):
        """What needs the agent does not run without its points."""
        self.assertEqual(run.status.get("demanding"), 100, run.text)
        self.assertNotIn("app:", run.log("demanding"))

    def test_every_point_is_proven_where_the_agent_enforces(self):
        run = self.machine("6.12", "enforced")
        self.expect_all(run, "75/75", memfd_secret="OK (+15)", mlock="OK (+10)", madv_dontdump="OK (+10)",
                        pr_set_dumpable="OK (+10)", token_protected="OK (+10)", ebpf_connected="OK (+10)",
                        kprobes_active="OK (+10)")
        self.assertEqual(run.status.get("demanding"), 0, run.text)
        self.assertIn("app: it runs", run.log("demanding"))

    def test_canaries_are_no_attacks(self):
        run = self.machine("6.12", "enforced")
        self.assertTrue(any('"decision":"protected"' in line for line in run.agent), run.text)
        self.assertFalse([line for line in run.agent if '"kind":"attack' in line.replace(" ", "")])

    def test_a_wrapper_that_starts_its_app_again_is_vetted_again(self):
        run = self.machine("6.12", "enforced")
        log = run.log("restarts")
        self.assertEqual(log.count("Protection score: 75/75"), 2, run.text)
        self.assertEqual(log.count("started /busybox"), 2)

    def between(self, run, first, last):
        self.assertIn(first, run.lines, run.text)
        return run.log("stays", run.lines[first], run.lines[last])

    def expect_loss(self, run, first):
        self.assertIn("Protection score: 75/75", run.log("stays", 0, run.lines[first]))
        after = self.between(run, first, "lost")
        self.assertIn("warning: enforcement by the node's agent is lost", after, run.text)
        self.assertIn("Protection score: 55/75", after)
        self.assertEqual((run.metric[first], run.metric["lost"]), (["75"], ["55"]))
        self.assertEqual(run.status.get("stays"), 137, "the app went on until it was killed")

    def test_loss_shows_within_10_s_and_the_end_of_the_agents_process_is_none(self):
        run = self.machine("6.12", "enforced")
        self.assertEqual(self.between(run, "enforced", "orphaned"), "", run.text)
        self.expect_loss(run, "orphaned")

    def test_a_loss_that_nobody_tells_of_and_its_return(self):
        run = self.machine("6.12, ftrace", "off and on again")
        self.expect_loss(run, "enforced")
        after = self.between(run, "lost", "back")
        self.assertIn("enforcement by the node's agent is back", after, run.text)
        self.assertIn("Protection score: 75/75", after)

    def test_programs_that_never_run_earn_nothing(self):
        for where in (("6.1 without bpf in lsm=", "by LSM alone"), ("6.12, ftrace", "off, by LSM and fmod_ret alone")):
            with self.subTest(where=where):
                run = self.machine(*where)
                self.expect_all(run, "55/75", ebpf_connected="FAIL (+0) ", kprobes_active="FAIL (+0) ")
                self.expect_refused(run)

    def test_a_guard_that_answers_and_lets_memory_be_read_earns_nothing(self):
        run = self.machine("override", "kprobe")
        why = "FAIL (+0) the guard answers, and a protected process is attacked by /proc/PID/mem all the same"
        self.expect_all(run, "55/75", ("root", "followed"), ebpf_connected=why, kprobes_active=why)
        self.expect_refused(run)

    def test_what_kills_earns_no_points_for_blocking(self):
        run = self.machine("5.10", "reactive")
        self.expect_all(run, "50/75", ("root", "followed"), memfd_secret="FAIL (+0) ", ebpf_connected="OK (+10)",
                        kprobes_active="FAIL (+0) attacks by process_vm_readv are killed, not refused")
        self.expect_refused(run)

    def test_what_is_left_when_trampolines_are_off_is_a_tier_that_kills(self):
        run = self.machine("6.12, ftrace", "off")
        self.expect_all(run, "65/75", ebpf_connected="OK (+10)",
                        kprobes_active="FAIL (+0) attacks by process_vm_readv are killed, not refused")
        self.expect_refused(run)

    def test_without_an_agent(self):
        run = self.machine("6.12", "without an agent")
        self.expect_all(run, "55/75", ebpf_connected=NO_AGENT, kprobes_active=NO_AGENT)
        self.expect_refused(run)


def lacks():
    for needed in (WRAPPER, CLOUDTASER, AGENT, RUNC):
        if not needed.exists():
            return f"{needed} is missing"
    return None


def main():
    problem = lacks()
    if problem:
        print(problem, file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    wanted = sys.argv[1:]
    unknown = [name for name in wanted if name not in MACHINES]
    if unknown:
        sys.exit(f"there is no machine '{unknown[0]}'; there are: {', '.join(MACHINES)}")
    Score.wanted = wanted or list(MACHINES)
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(Score))
    # A test of several machines fails once for each.
    failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    skipped = {getattr(test, "test_case", test).id() for test, _ in result.skipped}
    passed = result.testsRun - len(failed | skipped)
    print(f"{passed} passed, {len(failed)} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
