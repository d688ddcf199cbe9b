#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Registration on this machine's kernel: in and out again with nothing left, how many a second, and the operator's way out.
What each tier refuses on each kernel is test/agent/registration.py's.

Needs root, cgroups of version 2 and a kernel that takes BPF tracepoints: without, it is a skip (77), with
CT_MUST_RUN=1 a failure.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("CT_BUILD_DIR", "build"))
SOURCE = pathlib.Path(os.environ.get("CT_SOURCE_DIR", "."))
AGENT = BUILD / "bpf/cloudtaser-agent"
REGISTRANT = BUILD / "test/agent/registrant"
ROWS = BUILD / "test/attacks/rows"
UNIFIED = next((p for p in (pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup"))
                if (p / "cgroup.procs").exists()), None)
# As large as the wrapper: hashing costs.
WRAPPER_SIZE = 4500000
COPIES = 60
BPFTOOL = shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin")
LEAKED, KILLED = 1, -signal.SIGKILL


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def bpftool(*arguments):
    return json.loads(subprocess.run([BPFTOOL, "-j", *arguments], check=True, capture_output=True).stdout)


class Agent:
    """`cloudtaser-agent guard` around a program that only waits; wrappers register from below `folder`."""

    def __init__(self, folder, *options):
        self.folder, self.log, self.made = folder, [], []
        self.name = f"ct-registration-{os.getpid()}"
        with open(folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [AGENT, "guard", "--control", self.name, "--cgroup-root", UNIFIED, "--allow-cgroup",
                 f"/{self.name}/*", *options, "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=log)
        (UNIFIED / self.name).mkdir(exist_ok=True)

    def listens(self):
        """It, and no other agent that may run here."""
        run = subprocess.run([AGENT, "unprotect", "--control", self.name, "--pid", "1"], capture_output=True, text=True,
                             check=False)
        return "process 1 is not protected" in run.stderr

    def container(self):
        path = UNIFIED / self.name / f"c{len(self.made)}"
        path.mkdir()
        self.made.append(path)
        return path

    def run(self, *command, container=None, **options):
        """The first process of a container of its own."""
        where = container or self.container()
        return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
                                preexec_fn=lambda: (where / "cgroup.procs").write_text("0"), **options)

    def audit(self, **wanted):
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line.startswith("{")]
        own = [line for line in lines if line.get("cgroup_path", "").startswith(f"/{self.name}/") or "cgroup_path" not in line]
        return [line for line in own if all(line.get(key) == value for key, value in wanted.items())]

    def maps(self):
        """How many entries its own maps have, by name."""
        counts = {}
        for info in pathlib.Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            try:
                found = re.search(r"^map_id:\s+(\d+)", info.read_text(), re.M)
            except FileNotFoundError:  # closed meanwhile
                continue
            if found:
                shown = bpftool("map", "show", "id", found[1])
                if shown["type"] == "hash":
                    counts[shown["name"]] = len(bpftool("map", "dump", "id", found[1]))
        return counts

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(30)
        for path in self.made + [UNIFIED / self.name]:
            for pid in (path / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            wait_until(lambda path=path: not (path / "cgroup.procs").read_text(), 5)
            path.rmdir()
        return status


class Registration(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ct-registration-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.agent = Agent(self.folder)
        self.assertTrue(wait_until(self.agent.listens), (self.folder / "log").read_text())
        self.before = self.agent.maps()
        self.addCleanup(lambda: self.assertEqual(self.agent.end(), 0))

    def enter(self, **options):
        """A registrant that is protected and waits."""
        process = self.agent.run(REGISTRANT, "vetted", **options)
        self.assertEqual(process.stdout.readline(), "answer EALREADY\n", (self.folder / "log").read_text())
        self.assertEqual(process.stdout.readline(), "answer EISCONN\n")
        return process

    def test_the_audit_tells_each_step(self):
        process = self.enter()
        process.communicate()
        self.assertTrue(wait_until(lambda: self.agent.audit(decision="protected")))
        steps = [(a["decision"], a["vetting"]) for a in self.agent.audit(pid=process.pid)]
        self.assertEqual(steps, [("accepted", 1), ("marked", 1), ("accepted", 2), ("protected", 2)])
        first = self.agent.audit(decision="accepted")[0]
        self.assertEqual(first["cgroup_path"], f"/{self.agent.name}/c0")
        self.assertRegex(first["sha256"], "^[0-9a-f]{64}$")
        self.assertRegex(first["key"], "^(development|built-in) key$")

    def test_nothing_is_left_of_threads_and_execs(self):
        said, _ = self.agent.run(REGISTRANT, "crowd").communicate(timeout=30)
        self.assertTrue(said.endswith("crowd 0\n"), said)
        self.assertEqual(said.count("query EISCONN"), 20, said)
        # Its container, which stays known until its cgroup goes.
        self.assertEqual(self.agent.maps(), {**self.before, "ct_cgroups": 1})

    def test_refusals_leave_nothing_and_are_bounded(self):
        where = self.agent.container()
        unsigned = self.folder / "unsigned"
        unsigned.write_bytes(REGISTRANT.read_bytes()[:-76])
        unsigned.chmod(0o755)
        for _ in range(15):
            said, _ = self.agent.run(unsigned, "once", container=where).communicate(timeout=30)
            self.assertEqual(said, "answer ECONNREFUSED\n")
        refused = self.agent.audit(decision="refused", cgroup_path=f"/{self.agent.name}/c0")
        self.assertEqual(len(refused), 10)
        self.assertEqual({a["reason"] for a in refused}, {"its program is not signed"})
        # Not even who should be let in, from there.
        said, _ = self.agent.run(REGISTRANT, "once", container=where).communicate(timeout=30)
        self.assertEqual(said, "answer ECONNREFUSED\n")
        self.assertEqual(self.agent.maps(), self.before)

    def test_a_key_of_the_operators(self):
        key, other = self.folder / "key.pem", self.folder / "other"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
        environment = {**os.environ, "CT_SIGNING_KEY": str(key)}
        shutil.copy(REGISTRANT, other)
        subprocess.run([SOURCE / "tools/sign", other, "1.2.3"], check=True, env=environment)
        said, _ = self.agent.run(other, "once").communicate(timeout=30)
        self.assertEqual(said, "answer ECONNREFUSED\n")
        self.assertIn("by none of the trusted keys", self.agent.audit(decision="refused")[-1]["reason"])
        public = self.folder / "public.pem"
        public.write_bytes(subprocess.run([SOURCE / "tools/sign", "--public"], check=True, env=environment,
                                          stdout=subprocess.PIPE).stdout)
        self.agent.end()
        self.agent = Agent(self.folder, "--trust-key", public)
        self.assertTrue(wait_until(self.agent.listens))
        said, _ = self.agent.run(other, "once").communicate(timeout=30)
        self.assertEqual(said, "answer EALREADY\n")
        accepted = self.agent.audit(decision="accepted")[0]
        self.assertEqual((accepted["version"], accepted["key"]), ("1.2.3", str(public)))

    def test_nobody_is_let_in_while_the_agent_does_not_listen(self):
        os.kill(self.agent.process.pid, signal.SIGSTOP)
        time.sleep(5.5)
        said, _ = self.agent.run(REGISTRANT, "once").communicate(timeout=30)
        os.kill(self.agent.process.pid, signal.SIGCONT)
        self.assertEqual(said, "answer EHOSTDOWN\n")
        self.assertTrue(wait_until(self.agent.listens))
        self.enter().communicate()

    def test_the_operator_takes_the_protection_off(self):
        victim = subprocess.Popen([ROWS / "row_victim"], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "TEXT": "what-only-the-victim-may-know"})
        own = victim.stdout.readline().split()
        self.addCleanup(lambda: (victim.kill(), victim.communicate()))
        self.assertEqual(subprocess.run([ROWS / "row_vm_readv", *own], capture_output=True, check=False).returncode, LEAKED)
        where = self.agent.container()
        process = self.agent.run(REGISTRANT, "enter", ROWS / "row_victim", container=where,
                                 env={**os.environ, "TEXT": "what-only-the-victim-may-know"})
        lines = [process.stdout.readline() for _ in range(4)]
        self.assertEqual(lines[:2], ["answer EALREADY\n", "answer EISCONN\n"])
        arguments = next(line for line in lines if line[0].isdigit()).split()
        attack = [ROWS / "row_vm_readv", *arguments]
        self.assertIn(subprocess.run(attack, capture_output=True, check=False).returncode, (0, KILLED))
        number = str(os.stat(where).st_ino)
        cases = [(["--cgroup", "4711"], 1, "no process of the cgroup 4711 is protected"),
                 (["--pid", "1"], 1, "process 1 is not protected"), ([], 2, "say either --pid or --cgroup"),
                 (["--pid", "1", "--cgroup", "2"], 2, "say either --pid or --cgroup"),
                 (["--cgroup", "x"], 2, "is no cgroup's number"),
                 (["--cgroup", "1", "--control", "nobody-there"], 1, "no agent answers here")]
        for arguments, status, words in cases:
            with self.subTest(arguments=arguments):
                run = self.unprotect(*arguments)
                self.assertEqual((run.returncode, words in run.stderr), (status, True), run.stderr)
        elsewhere = self.agent.container()
        stranger = self.unprotect("--cgroup", number, preexec_fn=lambda: (elsewhere / "cgroup.procs").write_text("0"))
        self.assertEqual(stranger.returncode, 1)
        self.assertIn("from root in its own container alone", stranger.stderr)
        run = self.unprotect("--cgroup", number)
        self.assertEqual((run.returncode, run.stdout), (0, "2 processes are not protected any more\n"), run.stderr)
        self.assertEqual(subprocess.run(attack, capture_output=True, check=False).returncode, LEAKED)
        self.assertEqual(len(self.agent.audit(decision="unprotected", cgroup=int(number))), 2)
        os.kill(int(attack[1]), signal.SIGKILL)
        process.communicate(timeout=30)

    def unprotect(self, *arguments, **options):
        control = [] if "--control" in arguments else ["--control", self.agent.name]
        return subprocess.run([AGENT, "unprotect", *control, *arguments], capture_output=True, text=True, timeout=30,
                              check=False, **options)

    def test_fifty_a_second(self):
        signed = self.folder / "signed"
        signed.write_bytes(REGISTRANT.read_bytes()[:-76] + os.urandom(WRAPPER_SIZE - REGISTRANT.stat().st_size))
        signed.chmod(0o755)
        subprocess.run([SOURCE / "tools/sign", signed, "0.1.0"], check=True)
        copies = [self.folder / f"copy-{i}" for i in range(COPIES)]
        for copy in copies:
            shutil.copy(signed, copy)
        began = time.monotonic()
        processes = [self.agent.run(copy, "vetted") for copy in copies]
        said = [process.communicate(timeout=60)[0] for process in processes]
        seconds = time.monotonic() - began
        self.assertEqual(said, ["answer EALREADY\nanswer EISCONN\n"] * COPIES)
        print(f"{COPIES} registrations of copies of {WRAPPER_SIZE / 1e6:.1f} MB, vetted twice each, "
              f"in {seconds:.2f} s: {COPIES / seconds:.0f} a second", flush=True)
        self.assertTrue(wait_until(lambda: len(self.agent.audit(decision="protected")) == COPIES))
        # 50 and more where nothing else runs.
        self.assertGreater(COPIES / seconds, 15)


class Readers(unittest.TestCase):
    """Whom the operator lets read, and what that costs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ct-readers-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.reader = self.folder / "edr"
        shutil.copy(ROWS / "row_vm_readv", self.reader)

    def agent(self, *options):
        agent = Agent(self.folder, *options)
        self.addCleanup(agent.end)
        self.assertTrue(wait_until(agent.listens), (self.folder / "log").read_text())
        return agent

    def victim(self, agent):
        process = agent.run(REGISTRANT, "enter", ROWS / "row_victim",
                            env={**os.environ, "TEXT": "what-only-the-victim-may-know"})
        arguments = next(line for line in iter(process.stdout.readline, "") if line[0].isdigit()).split()
        self.addCleanup(lambda: (os.kill(int(arguments[0]), signal.SIGKILL), process.communicate(timeout=30)))
        return arguments

    def status(self, *command, **options):
        return subprocess.run(command, capture_output=True, check=False, **options).returncode

    def test_it_reads_and_nobody_else_does(self):
        tracer = self.folder / "tracer"
        shutil.copy(ROWS / "row_ptrace", tracer)
        arguments = self.victim(self.agent("--reader", self.reader, "--reader", tracer))
        self.assertEqual(self.status(self.reader, *arguments), LEAKED)
        self.assertIn(self.status(ROWS / "row_vm_readv", *arguments), (0, KILLED))
        # A reader attaches to nobody.
        self.assertIn(self.status(tracer, *arguments), (0, KILLED))

    def test_it_costs_the_points_of_the_node_and_of_the_canary(self):
        told = json.loads(subprocess.run([AGENT, "probe", "-o", "json", "--reader", self.reader], check=True,
                                         capture_output=True).stdout)
        self.assertEqual(told["points"], 15 if told["memfd_secret"] else 0)
        outcomes = {v["name"]: v["outcome"] for v in told["vectors"]}
        self.assertEqual(outcomes["process_vm_readv"], "reader")
        self.assertEqual(outcomes["ptrace"], "refused")
        said, _ = self.agent("--reader", self.reader).run(REGISTRANT, "enter").communicate(timeout=30)
        self.assertIn("child-leaves EPERM\n", said)

    def test_in_its_cgroup_alone(self):
        name = f"ct-readers-{os.getpid()}"
        own = UNIFIED / name
        own.mkdir()
        self.addCleanup(own.rmdir)
        agent = self.agent("--reader", f"{self.reader}@/{name}")
        arguments = self.victim(agent)
        self.assertIn(self.status(self.reader, *arguments), (0, KILLED))
        self.assertEqual(self.status(self.reader, *arguments, preexec_fn=lambda: (own / "cgroup.procs").write_text("0")), LEAKED)

    def test_who_is_none(self):
        script, link = self.folder / "words", self.folder / "link"
        script.write_text("#!/bin/sh\n")
        link.symlink_to("/bin/sh")
        cases = [
            ("/usr/bin/python3", 2, "an interpreter is never a reader"),
            ("edr", 2, "FILE or FILE@CGROUP, both absolute paths"),
            (f"{self.reader}@pod", 2, "FILE or FILE@CGROUP, both absolute paths"),
            (f"{self.reader}@/../x", 2, "FILE or FILE@CGROUP, both absolute paths"),
            (script, 1, "is a script, an interpreter, or no program at all"),
            (link, 1, "is a script, an interpreter, or no program at all"),
            (self.folder, 1, "is a script, an interpreter, or no program at all"),
            (self.folder / "nothing", 1, "cannot find the reader"),
            (f"{self.reader}@/nowhere", 1, "cannot find the cgroup /nowhere"),
        ]
        for value, status, words in cases:
            with self.subTest(value=value):
                run = subprocess.run([AGENT, "probe", "--reader", value], capture_output=True, text=True, check=False)
                self.assertEqual((run.returncode, words in run.stderr), (status, True), run.stderr)
        run = subprocess.run([AGENT, "probe", "--strict", "--reader", self.reader], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn("--strict lets nobody read", run.stderr)


def can_run():
    return os.geteuid() == 0 and UNIFIED is not None and os.access(UNIFIED, os.W_OK) and subprocess.run(
        [AGENT, "probe", "--tiers", "reactive"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    if not can_run() and os.environ.get("CT_MUST_RUN") != "1":
        print("no root, no cgroups of version 2, or a kernel without BPF tracepoints")
        sys.exit(77)
    unittest.main(verbosity=2)
