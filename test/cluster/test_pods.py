# SPDX-License-Identifier: Apache-2.0
"""Workloads of every kind, on the real node."""

import json
import subprocess

import environment
import try_out
import workloads
from case import DENIED, TestCase
from cluster import APPS, RESTRICTED, succeeded
from process import wait_until
from workloads import container, staying

LACKING = {"min-protection-score": "70"}


def setUpModule():
    """All of them at once: what takes time is the node, and it has more than one processor."""
    cluster = environment.current().cluster
    password = cluster.secrets["password"]
    for made in (
            workloads.pod("plain", [staying(value=password)], inject=False),
            workloads.stateful_set("db"),
            workloads.job("migrate"),
            workloads.cron_job("tick"),
            workloads.pod("shell", [container("sh", "-c", "exec /app --stay PGPASSWORD")]),
            workloads.job("helped", initContainers=[staying(name="helper", restartPolicy="Always")]),
            workloads.pod("shared", shareProcessNamespace=True),
            workloads.deployment("demanding", annotations=LACKING)):
        cluster.api.create(made, APPS)
    cluster.api.create(workloads.pod(
        "hardened", [staying(securityContext=workloads.RESTRICTED_CONTAINER)],
        securityContext=workloads.RESTRICTED_POD), RESTRICTED)


def tearDownModule():
    api = environment.current().cluster.api
    for kind, name in (("cronjob", "tick"), ("job", "migrate"), ("job", "helped"), ("pod", "plain"),
                       ("statefulset", "db"), ("pod", "shell"), ("pod", "shared"),
                       ("deployment", "demanding")):
        api.kubectl("delete", kind, name, "-n", APPS, "--wait=false", "--ignore-not-found")
    api.kubectl("delete", "pod", "hardened", "-n", RESTRICTED, "--wait=false")


class Pods(TestCase):
    def test_a_deployment_in_time(self):
        self.assert_protected(self.cluster.wait_running(APPS, "app=web"))
        self.assertLess(self.env.first_pod, environment.SECONDS_TO_FIRST_POD)

    def test_exec_finds_no_secret(self):
        # Where the author wrote the password into the manifest, exec does find it.
        plain = self.cluster.wait_running(APPS, "app=plain")
        self.assertNotIn("cloudtaser.io/status", plain["metadata"].get("annotations", {}))
        shown = self.cluster.execute(APPS, plain, "cat", "/proc/1/environ")
        self.assertIn(f"PGPASSWORD={self.password}", shown.stdout)
        self.assert_no_secret_in_environ(self.cluster.wait_running(APPS, "app=web"))

    def test_the_commands_to_try(self):
        try_out.write_files(self.env.work)
        variables = try_out.shell_environment(self.cluster)
        first, second, third = [
            subprocess.run(["bash", "-c", command], cwd=self.env.work, env=variables,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60).stdout
            for _, command in try_out.COMMANDS]
        self.assertIn("Protection score: 55/75\n", first)
        self.assertIn("\nPGPASSWORD=vault:secret/data/db#password\n", f"\n{second}")
        self.assertNotIn(self.password, first + second)
        self.assertIn(DENIED, third)

    def test_a_stateful_set(self):
        self.assert_protected(self.cluster.wait_running(APPS, "app=db"))

    def test_a_job_ends(self):
        done = self.cluster.wait_pod(APPS, "app=migrate", succeeded, "to have succeeded")
        self.assert_protected(done)
        self.wait_complete("migrate")

    def test_the_cron_job(self):
        done = self.cluster.wait_pod(APPS, "app=tick", succeeded, "to have succeeded", 240)
        self.assert_protected(done)

    def test_a_restricted_pod(self):
        pod = self.cluster.wait_running(RESTRICTED, "app=hardened")
        self.assert_protected(pod, RESTRICTED)
        # The namespace would not have taken just any pod.
        done = self.api.kubectl("create", "-n", RESTRICTED, "-f", "-", check=False,
                                stdin=workloads.pod("soft"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("violates PodSecurity", done.stderr)

    def test_a_shell_as_entrypoint(self):
        # It is followed to what it starts.
        self.assert_protected(self.cluster.wait_running(APPS, "app=shell"))

    def test_a_native_sidecar_does_not_keep_a_job(self):
        done = self.cluster.wait_pod(APPS, "app=helped", succeeded, "to have succeeded")
        self.assert_protected(done)
        log = self.assert_protected(done, container="helper")
        self.assertIn("ended by 15\n", log)
        self.wait_complete("helped")

    def test_a_shared_process_namespace(self):
        pod = self.cluster.wait_running(APPS, "app=shared")
        self.assertEqual(self.cluster.execute(APPS, pod, "cat", "/proc/1/comm").stdout, "pause\n")
        self.assert_protected(pod)
        self.assert_no_secret_in_environ(pod)

    def test_a_pod_that_says_it_is_a_mirror_runs_nothing(self):
        """So the policies can let it into a namespace that takes protected pods alone."""
        self.api.namespace("mirrored", {"cloudtaser.io/enforce": "true"})
        made = workloads.pod("mirror", [container("sleep", "3600", value="x")], inject=False, nodeName="node1")
        done = self.api.kubectl("create", "-n", "mirrored", "-f", "-", stdin=made, check=False)
        self.assertIn("namespace mirrored takes protected pods alone", done.stderr)
        self.api.create(made, APPS)
        self.addCleanup(self.delete, "pod", "mirror")
        self.cluster.wait_running(APPS, "app=mirror")
        made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
        self.api.create(made, "mirrored")
        seen = []

        def removed():
            status, raw = self.api.request("GET", "/api/v1/namespaces/mirrored/pods/mirror")
            seen.append(json.loads(raw).get("status", {}))
            return status == 404
        wait_until(removed, "kubelet to remove it", 60)
        self.assertEqual([s for s in seen if isinstance(s, dict) and "containerStatuses" in s], [])

    def test_a_score_out_of_reach_is_refused(self):
        self.refused(workloads.pod("demanding-pod", annotations=LACKING), "70", "node1")
        # Of a Deployment's pods its author learns by the event.
        def told():
            events = self.api.kubectl("get", "events", "-n", APPS, "-o",
                                      "jsonpath={.items[*].message}").stdout
            return "node1" in events and "70" in events and "denied the request" in events
        wait_until(told, "the event of the refusal", 60, 0.5)
        self.assertEqual(self.cluster.pods(APPS, "app=demanding"), [])

    def wait_complete(self, name):
        def complete():
            status = self.api.api("GET", f"/apis/batch/v1/namespaces/{APPS}/jobs/{name}")["status"]
            return any(c["type"] == "Complete" and c["status"] == "True"
                       for c in status.get("conditions", []))
        wait_until(complete, f"the Job {name} to be Complete", 60, 0.5)
