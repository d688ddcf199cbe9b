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
SOURCE = pathlib.Path(__file__).resolve().parents[2]
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

    def __init__(self, folder, *options, program=AGENT):
        self.folder, self.program, self.made = folder, program, []
        self.name = f"ct-registration-{os.getpid()}"
        with open(folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [program, "guard", "--control", self.name, "--cgroup-root", UNIFIED, "--allow-cgroup",
                 f"/{self.name}/*", *options, "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=log)
        (UNIFIED / self.name).mkdir(exist_ok=True)

    def listens(self):
        """It, and no other agent that may run here."""
        run = subprocess.run([self.program, "unprotect", "--control", self.name, "--pid", "1"], capture_output=True,
                             text=True, check=False)
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

    def entries(self, name):
        """What its own map of that name holds, or, without one, how many entries each has."""
        counts = {}
        for info in pathlib.Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            try:
                found = re.search(r"^map_id:\s+(\d+)", info.read_text(), re.M)
            except FileNotFoundError:  # closed meanwhile
                continue
            if found:
                shown = bpftool("map", "show", "id", found[1])
                if shown["name"] == name:
                    return [entry["formatted"] for entry in bpftool("map", "dump", "id", found[1])]
                if shown["type"] == "hash":
                    counts[shown["name"]] = len(bpftool("map", "dump", "id", found[1]))
        return counts

    def maps(self):
        return self.entries(None)

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(30)
        for path in self.made + [UNIFIED / self.name]:
            for pid in (path / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            wait_until(lambda path=path: not (path / "cgroup.procs").read_text(), 5)
            path.rmdir()
        return status


def make_copies(folder, registrant=REGISTRANT):
    """COPIES of a signed registrant that is as large as the wrapper."""
    signed = folder / "signed"
    signed.write_bytes(registrant.read_bytes()[:-76] + os.urandom(WRAPPER_SIZE - registrant.stat().st_size))
    signed.chmod(0o755)
    subprocess.run([SOURCE / "tools/sign", signed, "0.1.0"], check=True, stdout=subprocess.DEVNULL)
    copies = [folder / f"copy-{i}" for i in range(COPIES)]
    for copy in copies:
        shutil.copy(signed, copy)
    return copies


def register(agent, copies):
    """All of them at a time, each vetted twice: the seconds that it takes, and what each said."""
    began = time.monotonic()
    processes = [agent.run(copy, "vetted") for copy in copies]
    said = [process.communicate(timeout=60)[0] for process in processes]
    return time.monotonic() - began, said


class Registration(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ct-registration-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.agent = Agent(self.folder)
        self.addCleanup(lambda: self.assertEqual(self.agent.end(), 0))
        self.assertTrue(wait_until(self.agent.listens), (self.folder / "log").read_text())
        # Those that have ended are there until the kernel has freed them.
        if not wait_until(lambda: self.agent.maps()["ct_marks"] == 1, 120):
            self.fail(f"marked are: {self.agent.entries('ct_marks')}")
        self.before = self.agent.maps()

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
        left = {**self.before, "ct_cgroups": 1}
        wait_until(lambda: self.agent.maps() == left)
        self.assertEqual(self.agent.maps(), left)

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
        wait_until(lambda: self.agent.maps() == self.before)
        self.assertEqual(self.agent.maps(), self.before)

    def test_others_of_its_container_do_not_cost_a_wrapper_its_mark(self):
        """It executes itself later on (`on-change: restart`) and is vetted again; they have asked in vain meanwhile."""
        for seconds in (0, 1.5):  # at once the kernel has heard them too often; later the agent has refused them ten times
            with self.subTest(seconds=seconds):
                where = self.agent.container()
                wrapper = self.agent.run(REGISTRANT, "later", container=where)
                wrapper.stdout.readline()
                wrapper.stdin.write("x")
                wrapper.stdin.flush()
                self.assertEqual(wrapper.stdout.readline(), "answer EALREADY\n")
                wrapper.stdout.readline()
                said, _ = self.agent.run(REGISTRANT, "nag", "40", container=where).communicate(timeout=30)
                self.assertEqual(said, "answer ECONNREFUSED\n")
                time.sleep(seconds)
                wrapper.stdin.write("x")
                wrapper.stdin.flush()
                self.assertEqual(wrapper.stdout.readline(), "answer EISCONN\n")
                wrapper.communicate(timeout=30)

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
        seconds, said = register(self.agent, make_copies(self.folder))
        self.assertEqual(said, ["answer EALREADY\nanswer EISCONN\n"] * COPIES)
        print(f"{COPIES} registrations of copies of {WRAPPER_SIZE / 1e6:.1f} MB, vetted twice each, "
              f"in {seconds:.2f} s: {COPIES / seconds:.0f} a second", flush=True)
        self.assertTrue(wait_until(lambda: len(self.agent.audit(decision="protected")) == COPIES))
        # 50 and more where nothing else runs.
        self.assertGreater(COPIES / seconds, 15)


class Limits(unittest.TestCase):
    """How much one container may have."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ct-limits-")
        self.addCleanup(folder.cleanup)
        self.agent = Agent(pathlib.Path(folder.name), "--max-tasks-per-cgroup", "8")
        self.addCleanup(self.agent.end)
        self.assertTrue(wait_until(self.agent.listens), (pathlib.Path(folder.name) / "log").read_text())

    def test_no_more_are_protected_and_the_others_are_counted(self):
        process = self.agent.run(REGISTRANT, "many", "12")
        said = [process.stdout.readline() for _ in range(4)]
        # It is one of the eight itself.
        self.assertEqual(said[2:], ["protected 7, not 5\n", "afterwards EISCONN\n"], said)
        wait_until(lambda: self.agent.entries("ct_cgroups")[0]["value"]["tasks"] == 1)
        [container] = [entry["value"] for entry in self.agent.entries("ct_cgroups")]
        self.assertEqual({name: container[name] for name in ("root", "tasks", "limit")},
                         {"root": process.pid, "tasks": 1, "limit": 8})
        # And those that came before the kernel had freed the others.
        self.assertGreaterEqual(container["over"], 5)
        process.communicate(timeout=30)

    def test_who_asks_too_often_is_not_heard(self):
        said, _ = self.agent.run(REGISTRANT, "often").communicate(timeout=60)
        self.assertEqual(said, "heard 20, not 20\nlater EINPROGRESS\n")


READING = "proc_mem_read+process_vm_readv+proc_environ+proc_maps+proc_links"


class Exempt(unittest.TestCase):
    """Whom the operator lets pass, and what that costs. What is refused on the whole kernel is registration.py's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ct-exempt-")
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

    def probe(self, *options):
        return subprocess.run([AGENT, "probe", *options], capture_output=True, text=True, check=False)

    def test_it_reads_and_nobody_else_does(self):
        tracer, mapper = self.folder / "tracer", self.folder / "mapper"
        shutil.copy(ROWS / "row_ptrace", tracer)
        shutil.copy(ROWS / "row_vm_readv", mapper)
        arguments = self.victim(self.agent(
            "--exempt", f"{READING}:{self.reader}", "--exempt", f"{READING}:{tracer}", "--exempt", f"proc_maps:{mapper}"))
        self.assertEqual(self.status(self.reader, *arguments), LEAKED)
        self.assertIn(self.status(ROWS / "row_vm_readv", *arguments), (0, KILLED))
        # One who may do this may not do that.
        self.assertIn(self.status(tracer, *arguments), (0, KILLED))
        self.assertIn(self.status(mapper, *arguments), (0, KILLED))

    def test_two_of_one_file_are_one(self):
        arguments = self.victim(self.agent("--exempt", f"process_vm_readv:{self.reader}", "--exempt", f"tracefs:{self.reader}"))
        self.assertEqual(self.status(self.reader, *arguments), LEAKED)

    def test_it_costs_the_points_of_the_node_and_of_the_canary(self):
        for vector in ("process_vm_readv", "core_pattern"):
            with self.subTest(vector=vector):
                told = json.loads(self.probe("-o", "json", "--exempt", f"{vector}:{self.reader}").stdout)
                self.assertEqual(told["points"], 15 if told["memfd_secret"] else 0)
                outcomes = {v["name"]: v["outcome"] for v in told["vectors"]}
                self.assertEqual(outcomes[vector], "open (exempt)")
                self.assertEqual(outcomes["ptrace"], "refused")
                agent = Agent(self.folder, "--exempt", f"{vector}:{self.reader}")
                self.assertTrue(wait_until(agent.listens), (self.folder / "log").read_text())
                said, _ = agent.run(REGISTRANT, "enter").communicate(timeout=30)
                agent.end()
                self.assertIn("child-leaves EPERM\n", said)
        text = self.probe("--exempt", f"core_pattern:{self.reader}").stdout
        self.assertRegex(text, r"(?m)^ 20 +core_pattern +open \(exempt\) ")
        self.assertRegex(text, r"(?m)^ebpf_connected: FAIL \(\+0\) what is exempt can be played by whoever is root$")
        self.assertIn("to get more: leave --exempt out", text)

    def test_in_its_cgroup_alone(self):
        name = f"ct-exempt-{os.getpid()}"
        own = UNIFIED / name
        own.mkdir()
        self.addCleanup(own.rmdir)
        agent = self.agent("--exempt", f"{READING}:{self.reader}@/{name}")
        arguments = self.victim(agent)
        self.assertIn(self.status(self.reader, *arguments), (0, KILLED))
        self.assertEqual(self.status(self.reader, *arguments, preexec_fn=lambda: (own / "cgroup.procs").write_text("0")), LEAKED)

    def test_who_is_none(self):
        script, link = self.folder / "words", self.folder / "link"
        script.write_text("#!/bin/sh\n")
        link.symlink_to("/bin/sh")
        cases = [
            ("/usr/bin/python3", 2, "an interpreter is never exempt"),
            (script, 1, "is a script, an interpreter, or no program at all"),
            (link, 1, "is a script, an interpreter, or no program at all"),
            (self.folder, 1, "is a script, an interpreter, or no program at all"),
            (self.reader, 0, ""),
            ("/proc/self/exe", 1, "cannot find"),  # whose?
            (self.folder / "nothing", 1, "cannot find"),
            (f"{self.reader}@/nowhere", 1, "cannot find the cgroup /nowhere"),
        ]
        for file, status, words in cases:
            with self.subTest(file=file):
                run = self.probe("--exempt", f"tracefs:{file}")
                self.assertEqual((run.returncode, words in run.stderr), (status, True), run.stderr)
        run = self.probe("--exempt", f"tracefs:{self.reader}", "--exempt", f"tracefs:{self.reader}@/")
        self.assertEqual((run.returncode, "exempt twice, and not in the same cgroup" in run.stderr), (1, True), run.stderr)
        run = self.probe("--strict", "--exempt", f"tracefs:{self.reader}")
        self.assertEqual((run.returncode, "--strict knows no exemptions" in run.stderr), (1, True), run.stderr)


def can_run():
    return os.geteuid() == 0 and UNIFIED is not None and os.access(UNIFIED, os.W_OK) and subprocess.run(
        [AGENT, "probe", "--tiers", "reactive"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    if not can_run() and os.environ.get("CT_MUST_RUN") != "1":
        print("no root, no cgroups of version 2, or a kernel without BPF tracepoints")
        sys.exit(77)
    unittest.main(verbosity=2)
