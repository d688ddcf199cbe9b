# SPDX-License-Identifier: Apache-2.0
"""The agent under its operator's hands on the real node: replaced and killed under attack, told to take protection off,
told to let somebody pass. By itself (`test/cluster/run --operator`): it takes as long as all others together."""

import collections
import json
import time

import workloads
from agent_case import AGENT, DEMANDING, AgentCase, bring_agent, labels
from case import SCORE
from cluster import APPS, SYSTEM, running
from process import wait_until

# A program of the node's own, of which the container of the agent has none.
EXEMPT = {"exempt": ["proc_maps:/usr/bin/ctr"], "allowDowngrade": True}
HOLD_SECONDS = 15
# Root on the node, again and again: the file that ends it, processes.
AGAIN = ("until [ -e $0 ]; do for p; do cat /proc/$p/environ >/dev/null 2>&1 && echo read $p || echo kept $p; done; "
         "sleep 0.5; done")
# The node's shell, in a container that has none: for its `kill`.
NODE = "/proc/1/root/usr"
SHELL = (f"{NODE}/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "--library-path", f"{NODE}/lib/x86_64-linux-gnu",
         f"{NODE}/bin/dash", "-c")

setUpModule = bring_agent


class Operator(AgentCase):
    def lasting(self, pod, name="app"):
        """The same without those that a canary or a self-test lets live for a moment."""
        first = self.processes(pod, name)
        time.sleep(1)
        return sorted({*first} & {*self.processes(pod, name)})

    def attacked_meanwhile(self, pod, act):
        """Root on the node reads all the time of this pod and of one that nobody protects, before, while and after
        act() is done."""
        stop, log = f"/stop-{act.__name__}", f"/seen-{act.__name__}"
        kept, open_ = self.wrapper_and_app(pod), self.unprotected()
        self.intruder("sh", "-c", f"sh -c '{AGAIN}' {stop} {' '.join(map(str, kept + open_))} >{log} 2>&1 &")
        try:
            act()
        finally:
            seen = self.intruder("sh", "-c", f"sleep 5; echo >{stop}; cat {log}").stdout
        seen = collections.Counter(seen.splitlines())
        for number in open_:
            self.assertEqual((seen[f"read {number}"] > 3, seen[f"kept {number}"]), (True, 0), seen)
        for number in kept:
            self.assertEqual((seen[f"kept {number}"] > 3, seen[f"read {number}"]), (True, 0), seen)
        print(f"     {sum(seen[f'kept {n}'] for n in kept)} attacks meanwhile, and each refused", flush=True)

    def wait_started(self):
        """Until the agent has taken over what enforced before it."""
        def started():
            lines = [json.loads(line) for line in self.agent_log().splitlines() if '"kind":"start"' in line]
            return lines and lines[-1]["replaced"] > 0
        wait_until(started, "the agent to have taken over", 120, 0.5)

    def test_1_an_agent_that_is_replaced_leaves_everything_enforced(self):
        before, pod, name = labels(self.cluster), self.demanding("before"), self.agent()["metadata"]["name"]

        def replace():
            self.api.kubectl("delete", "pod", "-n", SYSTEM, name, "--wait=false")
            wait_until(lambda: any(running(p) and p["metadata"]["name"] != name for p in
                                   self.cluster.pods(SYSTEM, "app.kubernetes.io/component=agent")), "its successor", 120, 0.5)
            self.wait_started()
        self.attacked_meanwhile(pod, replace)
        self.attack(self.demanding("after"))
        self.attack(pod)
        self.assertEqual(labels(self.cluster), before)

    def test_2_an_agent_that_is_killed_leaves_everything_enforced(self):
        """By kill -9, from where the runtime lets one in: its own container. Nobody else may."""
        pod, agent = self.demanding("orphan"), self.agent()
        # Of its processes the one whose parent is none of them.
        parents = {n: int(self.intruder("cat", f"/proc/{n}/stat").stdout.rpartition(")")[2].split()[1])
                   for n in self.lasting(agent, "agent")}
        [number] = [n for n, parent in parents.items() if parent not in parents]
        done = self.intruder("busybox", "kill", "-9", str(number))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ermi", done.stderr)

        def kill():
            killed = self.cluster.execute(SYSTEM, agent, *SHELL, f"kill -9 {number}", container="agent")
            self.assertEqual(killed.stderr, "")
            again = self.cluster.wait_pod(
                SYSTEM, "app.kubernetes.io/component=agent",
                lambda p: running(p) and p["status"]["containerStatuses"][0]["restartCount"] == 1, "to be started again")
            self.assertEqual(again["metadata"]["name"], agent["metadata"]["name"])
            ended = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
            self.assertEqual(ended["exitCode"], 137, ended)
            self.wait_started()
        self.attacked_meanwhile(pod, kill)
        self.attack(self.demanding("late"))

    def unprotect(self, *what):
        return self.cluster.execute(SYSTEM, self.agent(), "/cloudtaser-agent", "unprotect", *what, container="agent")

    def registrations(self, pod, decision):
        lines = [json.loads(line) for line in self.agent_log().splitlines() if '"event":"registration"' in line]
        return [line for line in lines if line["decision"] == decision and line.get("pod_uid") == pod["metadata"]["uid"]]

    def test_3_the_operator_takes_a_pods_protection_off(self):
        pod = self.demanding("looked-into")
        processes = self.lasting(pod)
        self.assertEqual(len(processes), 2)

        def readable():
            return [n for n in processes if self.intruder("cat", f"/proc/{n}/maps").returncode == 0]
        self.assertEqual(readable(), [])
        app = max(processes)
        done = self.unprotect("--pid", str(app))
        self.assertEqual((done.returncode, done.stdout), (0, "1 processes are not protected any more\n"), done.stderr)
        self.assertEqual(readable(), [app])
        done = self.unprotect("--pid", str(app))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"process {app} is not protected", done.stderr)
        [told, *_] = self.registrations(pod, "accepted")
        done = self.unprotect("--cgroup", str(told["cgroup"]))
        self.assertRegex(done.stdout, r"^[1-9][0-9]* processes are not protected any more\n$", done.stderr)
        self.assertEqual(readable(), processes)
        orders = [json.loads(line) for line in self.agent_log().splitlines() if '"decision":"unprotected"' in line]
        orders = [line for line in orders if line["cgroup"] == told["cgroup"]]
        self.assertLessEqual(set(processes), {line["pid"] for line in orders})
        self.assertEqual({line["reason"] for line in orders}, {"by the operator's order"})
        self.cluster.wait_log(APPS, pod, f"{SCORE}55/75")

    def test_4_a_loss_costs_points_and_pods_that_ask_for_them(self):
        """A program that is exempt is a way in, whoever says so: that the labels tell, and the webhook goes by."""
        before = labels(self.cluster)
        self.cluster.upgrade(agent={**AGENT, "labelHold": f"{HOLD_SECONDS}s", **EXEMPT})
        wait_until(lambda: int(labels(self.cluster)["vectors"]) < int(before["vectors"]), "the count of vectors", 120, 0.5)
        start = time.monotonic()
        self.assertEqual(labels(self.cluster)["protection-points"], "35")  # not yet
        wait_until(lambda: labels(self.cluster)["protection-points"] == "15", "the loss of points", 120, 0.5)
        took = time.monotonic() - start
        self.assertGreater(took, HOLD_SECONDS - 10)
        self.assertEqual(labels(self.cluster)["enforcement"], "none")
        print(f"     told {took:.1f} s after the loss", flush=True)

        def refuses():
            done = self.api.kubectl("create", "--dry-run=server", "-n", APPS, "-f", "-", check=False,
                                    stdin=workloads.pod("too-much", annotations=DEMANDING))
            return done.returncode != 0
        wait_until(refuses, "the webhook to know", 30, 0.5)
        self.refused(workloads.pod("too-much", annotations=DEMANDING), "55")
        self.cluster.upgrade(agent=AGENT)
        wait_until(lambda: labels(self.cluster) == before, "the labels to be what they were", 120, 0.5)
        self.demanding("restored")
