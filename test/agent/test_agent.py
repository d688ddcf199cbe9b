#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cloudtaser-agent on this machine's kernel: what it claims, what it refuses, whom it leaves alone.

Needs root and a kernel that takes BPF tracepoints: without, it is a skip (77), with CT_MUST_RUN=1 a failure.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

BUILD = pathlib.Path(os.environ.get("CT_BUILD_DIR", "build"))
AGENT = BUILD / "bpf/cloudtaser-agent"
ROWS = BUILD / "test/attacks/rows"
TEXT = "what-only-the-victim-may-know"
# Killed or refused by every tier that a machine may have.
READING = ["ptrace", "mem_read", "mem_write", "vm_readv", "vm_writev", "environ", "maps", "pidfd_getfd", "setns"]
LEAKED, KILLED = 1, -signal.SIGKILL


def agent(*arguments, **options):
    return subprocess.run([AGENT, *arguments], capture_output=True, text=True, timeout=120, check=False, **options)


def read_line(process):
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else "it ended"
    return line.split()


class Victim:
    """The victim of the rows, alone or run by `cloudtaser-agent guard`."""

    def __init__(self, *front):
        # Out of its own process group: an attack on it must not be a signal to us.
        self.process = subprocess.Popen([*front, ROWS / "row_victim"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, "TEXT": TEXT})
        self.arguments = read_line(self.process)

    def attack(self, row):
        return subprocess.run([ROWS / f"row_{row}", *self.arguments], capture_output=True, timeout=30,
                              check=False).returncode

    def end(self):
        os.kill(int(self.arguments[0]), signal.SIGKILL)
        _, told = self.process.communicate(timeout=30)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


class Agent(unittest.TestCase):
    def test_probe_tells_the_same_in_words_and_in_json(self):
        told = json.loads(agent("probe", "-o", "json").stdout)
        words = agent("probe").stdout
        self.assertEqual(told["max"], 35)
        self.assertIn(f"This node's share of the score: {told['points']}/35", words)
        self.assertEqual(told["refused"], sum(v["outcome"] == "refused" for v in told["vectors"]))
        self.assertIn(f"Linux {os.uname().release}; vectors refused: {told['refused']}; enforcement: {told['enforcement']}", words)
        for vector in told["vectors"]:
            tier = vector["tier"] if vector["outcome"] == "refused" else vector["outcome"]
            self.assertRegex(words, rf"(?m)^ *{vector['vector']}  {vector['name']} +{tier} ")

    def test_a_tier_that_is_not_wanted_is_not_used(self):
        told = json.loads(agent("probe", "--tiers", "kprobe", "-o", "json").stdout)
        for tier in ("lsm", "fmod_ret", "reactive"):
            self.assertEqual(told["tiers"][tier], 0)

    def test_what_kills_only_afterwards_earns_no_points_for_blocking(self):
        told = json.loads(agent("probe", "--tiers", "reactive", "-o", "json").stdout)
        self.assertGreaterEqual(told["tiers"]["reactive"], 12)
        self.assertEqual(told["points"], (15 if told["memfd_secret"] else 0) + 10)

    def test_attacks_succeed_without_it_and_fail_with_it(self):
        free = Victim()
        for row in READING:
            with self.subTest(row=row, guarded=False):
                self.assertEqual(free.attack(row), LEAKED)
        guarded = Victim(AGENT, "guard", "--")
        for row in READING:
            with self.subTest(row=row, guarded=True):
                self.assertIn(guarded.attack(row), (0, KILLED))
            # Beside it, nobody else is hindered.
            with self.subTest(row=row, beside=True):
                self.assertEqual(free.attack(row), LEAKED)
        time.sleep(0.3)
        free.end()
        events = guarded.end()
        self.assertEqual([e["attacker"]["comm"] for e in events], [f"row_{row}" for row in READING])
        for event in events:
            self.assertEqual(event["victim"]["pid"], int(guarded.arguments[0]))
            self.assertEqual(event["attacker"]["parent"], os.getpid())

    def test_a_victim_that_was_attacked_goes_on(self):
        guarded = Victim(AGENT, "guard", "--")
        guarded.attack("ptrace")
        state = ""
        for _ in range(50):
            stat = pathlib.Path(f"/proc/{guarded.arguments[0]}/stat").read_text()
            state = stat.rpartition(")")[2].split()[0]
            if state not in "tT":
                break
            time.sleep(0.1)
        self.assertIn(state, "SR")
        guarded.end()

    def test_its_children_are_protected_and_it_ends_with_its_status(self):
        script = f"({ROWS}/row_victim & wait); exit 7"
        process = subprocess.Popen([AGENT, "guard", "--", "sh", "-c", script], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        arguments = read_line(process)
        attack = subprocess.run([ROWS / "row_vm_readv", *arguments], capture_output=True, check=False)
        self.assertIn(attack.returncode, (0, KILLED))
        os.kill(int(arguments[0]), signal.SIGKILL)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 7)

    def test_enforcement_ends_with_it(self):
        guarded = Victim(AGENT, "guard", "--")
        guarded.end()
        free = Victim()
        self.assertEqual(free.attack("vm_readv"), LEAKED)
        free.end()

    def test_in_a_cgroup_namespace_of_its_own(self):
        """Its root of the cgroups is not the node's: a program there refuses itself alone, and proves nothing of others."""
        root = next((p for p in (pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup"))
                     if (p / "cgroup.procs").exists()), None)
        if root is None:
            self.skipTest("no cgroups of version 2")
        own = root / f"ct-agent-{os.getpid()}"
        own.mkdir()
        self.addCleanup(own.rmdir)

        def tier(*front):
            run = subprocess.run([*front, AGENT, "probe", "-o", "json"], capture_output=True, text=True, timeout=120,
                                 check=True, preexec_fn=lambda: (own / "cgroup.procs").write_text("0"))
            told = next(v for v in json.loads(run.stdout)["vectors"] if v["name"] == "ftrace_enabled")
            return told.get("tier"), run.stderr
        with_node, _ = tier()
        without, words = tier("unshare", "-C")
        if "no programs of the root cgroup: the agent sees the cgroups of a container alone" in words:
            self.assertNotEqual(without, "cgroup")
        else:
            self.assertEqual(without, with_node)

    def test_bad_input(self):
        cases = [
            ([], 2, "Usage: cloudtaser-agent COMMAND"),
            (["nonsense"], 2, "Usage: cloudtaser-agent COMMAND"),
            (["probe", "--tiers", "magic"], 2, 'there is no tier "magic"; there are lsm, fmod_ret, kprobe, reactive and cgroup'),
            (["probe", "-o", "xml"], 2, "xml"),
            (["guard"], 2, "no command behind --"),
            (["guard", "--"], 2, "no command behind --"),
        ]
        for arguments, status, words in cases:
            with self.subTest(arguments=arguments):
                run = agent(*arguments)
                self.assertEqual(run.returncode, status)
                self.assertIn(words, run.stderr)
        self.assertEqual(agent("guard", "--", "/nonexistent/program").returncode, 127)

    def test_without_rights_it_says_so(self):
        run = agent("probe", user=65534, group=65534, extra_groups=[])
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, "the kernel takes no BPF programs of ours: the agent lacks CAP_BPF")


def can_run():
    return os.geteuid() == 0 and agent("probe", "--tiers", "reactive").returncode == 0


if __name__ == "__main__":
    if not can_run() and os.environ.get("CT_MUST_RUN") != "1":
        print("no root, or a kernel without BPF tracepoints")
        sys.exit(77)
    unittest.main(verbosity=2)
