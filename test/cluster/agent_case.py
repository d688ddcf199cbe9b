# SPDX-License-Identifier: Apache-2.0
"""What the tests of the agent on the real node share: how it comes there, who attacks, and what is seen of it."""

import json
import time

import environment
import workloads
from case import SCORE, TestCase
from cluster import APPS, APP_IMAGE, SYSTEM, running
from process import wait_until

AGENT = {"selfTestInterval": "20s"}
PREFIX = "cloudtaser.node-restriction.kubernetes.io/"
DEMANDING = {"min-protection-score": "70"}
INTRUDERS = "intruders"
# One look and not three: under emulation the runtime takes longest for its way in.
READ_ALL = "for name in environ maps mem; do cat /proc/$0/$name && echo read $name; done"


def labels(cluster):
    every = cluster.api.api("GET", "/api/v1/nodes/node1")["metadata"]["labels"]
    return {key.removeprefix(PREFIX): value for key, value in every.items() if key.startswith(PREFIX)}


def bring_agent():
    """The agent comes to a node whose pods run already."""
    env = environment.current()
    env.cluster.api.namespace(INTRUDERS)
    env.cluster.api.create(workloads.pod(
        "intruder", [{"name": "app", "image": APP_IMAGE, "command": ["sleep", "100000"],
                      "securityContext": {"privileged": True, "runAsUser": 0}}], inject=False, hostPID=True), INTRUDERS)
    env.cluster.wait_running(INTRUDERS, "app=intruder")
    # What is done to protected pods is done to this one too, and succeeds.
    env.cluster.api.create(workloads.pod(
        "open", [workloads.staying(value=env.cluster.secrets["password"])], inject=False), APPS)
    env.cluster.wait_running(APPS, "app=open")
    if labels(env.cluster):
        raise AssertionError("the node is labelled, and there was no agent")
    start = time.monotonic()
    env.cluster.upgrade(agent=AGENT)
    wait_until(lambda: labels(env.cluster).get("protection-points") == "35", "the node's labels", 120, 0.5)
    env.label_seconds = time.monotonic() - start


class AgentCase(TestCase):
    def intruder(self, *command):
        """What root on the node gets: a CompletedProcess."""
        [pod] = self.cluster.pods(INTRUDERS, "app=intruder")
        return self.cluster.execute(INTRUDERS, pod, *command)

    def processes(self, pod, name="app"):
        """The processes of its app's container, as the node numbers them, by their cgroup."""
        container = next(c for c in pod["status"]["containerStatuses"] if c["name"] == name)["containerID"]
        listed = self.intruder("sh", "-c", f"grep -l {container.rpartition('/')[2]} /proc/[0-9]*/cgroup").stdout
        return [int(path.split("/")[2]) for path in listed.split()]

    def agent(self):
        return next(p for p in self.cluster.pods(SYSTEM, "app.kubernetes.io/component=agent") if running(p))

    def unprotected(self):
        return self.processes(self.cluster.wait_running(APPS, "app=open"))

    def demanding(self, name):
        """A pod that asks for seventy points, and has all."""
        self.api.create(workloads.pod(name, annotations=DEMANDING), APPS)
        self.addCleanup(self.delete, "pod", name)
        pod = self.cluster.wait_running(APPS, f"app={name}")
        self.assertIn(f"{SCORE}75/75\n", self.assert_delivered(pod))
        return pod

    def events_of(self, pod):
        events = self.api.api("GET", f"/api/v1/namespaces/{APPS}/events")["items"]
        return [e for e in events if e["involvedObject"]["uid"] == pod["metadata"]["uid"]]

    def agent_log(self):
        return self.cluster.log(SYSTEM, self.agent(), "agent")

    def attack_lines(self):
        return [json.loads(line) for line in self.agent_log().splitlines() if '"kind":"attack"' in line]

    def wrapper_and_app(self, pod):
        """Its processes, both. A busy node may not let the intruder look at once."""
        def found():
            numbers = self.processes(pod)
            return numbers if len(numbers) >= 2 else None
        return wait_until(found, "wrapper and app", 30, 0.5)

    def attack(self, pod):
        """Root on the node reads what it wants of an unprotected process, and nothing of this one."""
        self.assertIn(self.password,
                      "".join(self.intruder("cat", f"/proc/{n}/environ").stdout for n in self.unprotected()))
        for number in self.wrapper_and_app(pod):
            done = self.intruder("sh", "-c", READ_ALL, str(number))
            self.assertEqual(done.stdout, "", number)
            # "Operation not permitted", "Permission denied"
            refused = [line for line in done.stderr.splitlines() if line.startswith("cat: ") and "ermi" in line]
            self.assertEqual(len(refused), 3, done.stderr)
        wait_until(lambda: any(
            line["vector"] == "proc_environ" and line["victim"].get("pod") == pod["metadata"]["name"]
            and line["victim"]["namespace"] == APPS for line in self.attack_lines()), "the agent's log", 30)

        def told():
            return [e for e in self.events_of(pod) if e["reason"] == "AttackBlocked"]
        wait_until(told, "the Event on the pod", 60, 0.5)
        self.assertEqual({e["involvedObject"]["name"] for e in told()}, {pod["metadata"]["name"]})
