# SPDX-License-Identifier: Apache-2.0
"""The agent on the real node: what it tells the cluster, what a pod has of it, who is refused, and that nothing is
left of it. The last of the modules: it ends with the release uninstalled."""

import concurrent.futures
import json
import time

import workloads
from agent_case import DEMANDING, AgentCase, bring_agent, labels
from case import ENVIRONMENTS, SCORE
from cluster import APPS, SYSTEM, running
from process import wait_until
from workloads import staying

# Kubelet runs these in the container: outsiders to the app, of which they see what everybody may.
PROBE = {"exec": {"command": ["sh", "-c", "grep -q . /proc/1/comm && echo probed >>/probes"]},
         "periodSeconds": 3, "timeoutSeconds": 20, "failureThreshold": 2}
PRE_STOP_SECONDS, GRACE_SECONDS = 3, 40
PRE_STOP = {"exec": {"command": ["sh", "-c", f"grep -q . /proc/1/comm && sleep {PRE_STOP_SECONDS}"]}}
# What `kubectl exec` would read of the app.
LOOK = ("sh", "-c", 'for p in /proc/[0-9]*; do if [ "$(cat $p/comm)" = app ]; then cat $p/environ $p/maps; fi; done')

setUpModule = bring_agent  # to a node whose pods run already


class Agent(AgentCase):
    def test_1_labels_within_a_minute(self):
        self.assertLess(self.env.label_seconds, 60)
        told = labels(self.cluster)
        self.assertEqual((told["enforcement"], told["memfd-secret"]), ("lsm", "true"))
        self.assertGreaterEqual(int(told["vectors"]), 23)
        self.assertTrue(told["kernel"].startswith("6.12."), told)
        print(f"     labelled after {self.env.label_seconds:.1f} s: {told}", flush=True)

    def test_2_a_pod_that_asks_for_seventy(self):
        pod = self.demanding("strong")
        log = self.cluster.log(APPS, pod)
        self.assertIn("] ebpf_connected: OK (+10)", log)
        self.assertIn("] kprobes_active: OK (+10)", log)
        self.attack(pod)

    def test_3_probes_exec_and_the_end_of_a_pod(self):
        self.api.create(workloads.pod(
            "tended", [staying(livenessProbe=PROBE, readinessProbe=PROBE, lifecycle={"preStop": PRE_STOP})],
            annotations=DEMANDING, terminationGracePeriodSeconds=GRACE_SECONDS), APPS)
        self.addCleanup(self.delete, "pod", "tended")
        pod = self.cluster.wait_running(APPS, "app=tended")
        self.assertIn(f"{SCORE}75/75\n", self.assert_delivered(pod))

        def probed():
            return self.cluster.execute(APPS, pod, "cat", "/probes").stdout.count("probed")
        before = probed()
        wait_until(lambda: probed() >= before + 6, "three more runs of both probes", 120, PROBE["periodSeconds"])
        # Kubelet's own look at a process's descriptors is refused, and told; the runtime's entry is not.
        self.assertNotIn("runc", " ".join(e["message"] for e in self.events_of(pod)))
        self.assert_exec_shows_nothing(pod)
        now = self.cluster.wait_running(APPS, "app=tended", 1)
        [status] = [c for c in now["status"]["containerStatuses"] if c["name"] == "app"]
        self.assertEqual((status["restartCount"], status["ready"]), (0, True))
        self.assert_not_told(pod, "Unhealthy", "Killing")
        self.end(pod)
        self.assert_not_told(pod, "FailedPreStopHook", "FailedKillPod", "ExceededGracePeriod")

    def assert_not_told(self, pod, *reasons):
        self.assertEqual([e["message"] for e in self.events_of(pod) if e["reason"] in reasons], [])

    def assert_exec_shows_nothing(self, pod):
        self.api.create(workloads.pod("shown", [staying(value=self.password)], inject=False), APPS)
        self.addCleanup(self.delete, "pod", "shown")
        control = self.cluster.execute(APPS, self.cluster.wait_running(APPS, "app=shown"), *LOOK).stdout
        self.assertIn(self.password, control)
        self.assertIn("[stack]", control)
        done = self.cluster.execute(APPS, pod, *LOOK)
        self.assertIn("ermi", done.stderr)
        self.assertNotIn("[stack]", done.stdout)
        self.assertNotIn(self.password, done.stdout + done.stderr)
        done = self.cluster.execute(APPS, pod, *ENVIRONMENTS)
        self.assertIn("PGPASSWORD=", done.stdout)  # its own
        self.assertNotIn(self.password, done.stdout + done.stderr)

    def end(self, pod):
        """By `kubectl delete`: what is to run before the end runs, and the app is told to end and does."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            log = pool.submit(self.api.kubectl, "logs", "-f", "-n", APPS, "tended", "-c", "app")
            start = time.monotonic()
            self.api.kubectl("delete", "pod", "-n", APPS, "tended")
            took = time.monotonic() - start
            self.assertIn("ended by 15\n", log.result().stdout)
        self.assertTrue(PRE_STOP_SECONDS <= took < GRACE_SECONDS, took)
        print(f"     ended {took:.1f} s after kubectl delete, of which {PRE_STOP_SECONDS} s before it was told", flush=True)

    def test_4_an_agent_that_is_replaced_leaves_everything_enforced(self):
        before = labels(self.cluster)
        name = self.agent()["metadata"]["name"]
        self.api.kubectl("delete", "pod", "-n", SYSTEM, name, "--wait=false")
        wait_until(lambda: any(running(p) and p["metadata"]["name"] != name for p in
                               self.cluster.pods(SYSTEM, "app.kubernetes.io/component=agent")), "its successor", 120, 0.5)
        self.assertEqual(labels(self.cluster), before)

    def test_5_uninstalled_nothing_is_left(self):
        pins = ("ls", "/proc/1/root/sys/fs/bpf/cloudtaser")
        self.assertEqual(self.intruder(*pins).returncode, 0)
        self.cluster.uninstall()
        self.assertEqual(labels(self.cluster), {})
        self.assertNotEqual(self.intruder(*pins).returncode, 0)
        self.assertEqual(json.loads(self.api.kubectl("get", "jobs,serviceaccounts", "-n", SYSTEM, "-o", "json", "-l",
                                                     "app.kubernetes.io/part-of=cloudtaser").stdout)["items"], [])
