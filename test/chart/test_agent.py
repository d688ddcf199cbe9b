# SPDX-License-Identifier: Apache-2.0
"""What an agent may do at the API server, and what it does: the real program with the token of a pod of its
DaemonSet on a node, as kubelet would mount it. Each refusal is first seen to be none without the policies."""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import time
import urllib.request

from chart import APPS, CHART, NAMESPACE, RELEASE, TestCase, helm, pod
from process import build_dir, free_port, wait_until
from test_rights import OBJECTS, VERBS

PREFIX = "cloudtaser.node-restriction.kubernetes.io/"
AGENT = {"agent": {"enabled": True}}
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/"
DAEMONSET = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/cloudtaser-agent"
APPLY, MERGE, PATCH = ("application/apply-patch+yaml", "application/merge-patch+json",
                       "application/json-patch+json")
ANOTHER, FOREIGN, FIELDS = "of its own node alone", "no other labels than", "nothing of a node but its labels"
HOLD_S = 4
SYS_MEMFD_SECRET = 447
# The daemon where a pod has its credentials, and where nobody has pinned anything but what PINS says. It lacks what it
# needs to load programs: as on a kernel that takes none, nothing can be enforced.
ALONE = """mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && mount -t tmpfs none /sys/fs/bpf &&
cp -r "$CREDENTIALS" /run/secrets/kubernetes.io/serviceaccount && { [ -z "$PINS" ] || mkdir -p "$PINS"; } &&
exec setpriv --bounding-set -bpf "$@"
"""
BEFORE = {"protection-points": "35", "enforcement": "lsm", "memfd-secret": "true", "kernel": "6.12.41", "vectors": "33"}


def label(node, name="protection-points", value="35"):
    return ("PATCH", f"/api/v1/nodes/{node}?fieldManager=cloudtaser-agent&force=true", APPLY,
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {PREFIX + name: value}}})


def merge(metadata=None, **more):
    return ("PATCH", "/api/v1/nodes/modern?", MERGE, {"metadata": metadata or {}, **more})


def event(reason="AttackBlocked", kind="Pod", node="modern", **more):
    return ("POST", f"/api/v1/namespaces/{APPS}/events?", "application/json", {
        "metadata": {"name": "probe.1", "namespace": APPS}, "reason": reason, "type": "Warning", "message": "m",
        "involvedObject": {"kind": kind, "namespace": APPS, "name": "probe", "uid": "1"},
        "source": {"component": "cloudtaser-agent", "host": node}, "count": 1,
        "reportingComponent": "cloudtaser-agent", "reportingInstance": node, **more})


ATTACKS = [
    (label("old"), ANOTHER),
    (label("modern", "anything"), FOREIGN),
    (merge({"labels": {"kubernetes.io/hostname": "other"}}), FOREIGN),
    (merge({"labels": {"kubernetes.io/os": None}}), FOREIGN),
    (("PATCH", "/api/v1/nodes/modern?", PATCH, [
        {"op": "add", "path": "/metadata/labels/node-role.kubernetes.io~1control-plane", "value": ""}]), FOREIGN),
    (merge({"annotations": {"a": "b"}}), FIELDS),
    (merge({"finalizers": ["example.com/stay"]}), FIELDS),
    (merge(spec={"unschedulable": True}), FIELDS),
    (merge(spec={"taints": [{"key": "a", "effect": "NoExecute"}]}), FIELDS),
]
FORGERIES = [event(reason="Killing"), event(kind="Node"), event(node="old"), event(
    reportingComponent="kubelet"), event(source={"component": "kubelet", "host": "modern"})]


class Agent(TestCase):
    def setUp(self):
        self.install(AGENT)
        self.cluster.add_node("old", "5.10.0-30-amd64")
        self.addCleanup(self.cluster.api, "DELETE", "/api/v1/nodes/old")
        self.addCleanup(self.forget_labels)
        self.pod = self.agent_pod("modern")
        self.token = self.cluster.service_account_token(NAMESPACE, "cloudtaser-agent", pod=self.pod)
        self.wait_policies_in_force()

    def agent_pod(self, node):
        """As the DaemonSet's controller and kubelet would have it, but for what it may do on the node."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/agent-{node}"
        made = pod({"cloudtaser.io/inject": None}, nodeName=node, serviceAccountName="cloudtaser-agent")
        made["metadata"]["name"] = f"agent-{node}"
        self.addCleanup(self.cluster.request, "DELETE", f"{path}?gracePeriodSeconds=0")
        return self.cluster.create(made, NAMESPACE)

    def forget_labels(self):
        self.cluster.label_node("modern", {PREFIX + name: None for name in (
            "protection-points", "enforcement", "memfd-secret", "kernel", "vectors", "anything")})

    def attempt(self, what, token=None):
        """What the API server says to it, which stores nothing."""
        method, path, kind, body = what
        status, raw = self.cluster.request(method, f"{path}&dryRun=All", body, content_type=kind,
                                           token=token or self.token)
        return status, json.loads(raw).get("message", "") if status >= 400 else ""

    def labels(self, node="modern"):
        every = self.cluster.api("GET", f"/api/v1/nodes/{node}")["metadata"]["labels"]
        return {key.removeprefix(PREFIX): value for key, value in every.items() if key.startswith(PREFIX)}

    # ---- the policies ----

    def without_policies(self):
        for name in ("cloudtaser-agent-node", "cloudtaser-agent-events"):
            self.cluster.api("DELETE", BINDINGS + name)
        for probe in (label("old"), event(node="old")):
            wait_until(lambda probe=probe: self.attempt(probe)[0] in (200, 201), "the policies to be gone", 20, 0.1)

    def with_policies(self):
        self.install(AGENT, command="upgrade")
        self.wait_policies_in_force()

    def wait_policies_in_force(self):
        for probe in (label("old"), event(node="old")):
            wait_until(lambda probe=probe: self.attempt(probe)[0] == 403, "the policies", 20, 0.1)

    def test_its_own_nodes_labels_alone(self):
        unbound = self.cluster.service_account_token(NAMESPACE, "cloudtaser-agent")
        attacks = [*((what, sentence, self.token) for what, sentence in ATTACKS), (label("modern"), ANOTHER, unbound)]
        self.without_policies()
        for what, _, token in attacks:
            self.assertEqual(self.attempt(what, token), (200, ""), what)
        self.with_policies()
        for what, sentence, token in attacks:
            status, message = self.attempt(what, token)
            self.assertEqual(status, 403, f"{what}: {message}")
            self.assertIn(f"cloudtaser: an agent writes {'the labels ' if sentence is ANOTHER else ''}{sentence}",
                          message)
        for name in ("protection-points", "enforcement", "memfd-secret", "kernel", "vectors"):
            self.assertEqual(self.attempt(label("modern", name)), (200, ""))
        other = self.cluster.service_account_token(NAMESPACE, "cloudtaser-agent", pod=self.agent_pod("old"))
        self.assertEqual(self.attempt(label("old"), other), (200, ""))
        self.assertEqual(self.attempt(label("modern"), other)[0], 403)
        # All others are none of the policies' business.
        self.cluster.label_node("old", {"team": "a"})

    def test_events_on_pods_in_its_own_nodes_name_alone(self):
        self.without_policies()
        for what in FORGERIES:
            self.assertEqual(self.attempt(what)[0], 201, what)
        self.with_policies()
        for what in FORGERIES:
            status, message = self.attempt(what)
            self.assertEqual(status, 403, what)
            self.assertIn("cloudtaser: an agent tells of blocked attacks on pods alone", message)
        self.assertEqual(self.attempt(event()), (201, ""))

    def test_no_other_right(self):
        account = f"system:serviceaccount:{NAMESPACE}:cloudtaser-agent"

        def may(verb, group, resource, namespace, name):
            return self.cluster.api("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
                "user": account, "groups": ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}",
                                            "system:authenticated"],
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource,
                                       "namespace": namespace, "name": name}}})["status"]["allowed"]
        objects = (*OBJECTS, ("", "events", APPS, ""), ("", "nodes/status", "", "modern"),
                   ("", "nodes/proxy", "", "modern"), ("", "pods/exec", APPS, ""),
                   ("apps", "daemonsets", NAMESPACE, "cloudtaser-agent"))
        self.assertEqual({each for each in ((verb, *of) for verb in VERBS for of in objects) if may(*each)}, {
            ("create", "", "events", APPS, ""),
            *((verb, "", "nodes", "", name) for verb in ("get", "patch") for name in ("", "modern"))})

    # ---- the program ----

    def program(self, *arguments, token=None):
        """(variables, arguments) of the program, as in a pod whose service account has the token."""
        folder = self.env.work / "agent"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(token or self.token)
        (folder / "ca.crt").write_bytes(self.cluster.authority.certificate.read_bytes())
        (folder / "namespace").write_text(NAMESPACE)
        return ({"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.cluster.port)},
                [str(build_dir() / "bpf" / "cloudtaser-agent"), *arguments, "--credentials", str(folder)])

    def teller(self):
        """A process that has the agent's `tell` advertise what is written to it, and its log."""
        variables, command = self.program("\"$@\"")
        script = self.env.work / "tell"
        first, quoted, *rest = command
        script.write_text(f"#!/bin/sh\nexec {shlex.quote(first)} {quoted} {shlex.join(rest)}\n")
        script.chmod(0o755)
        log = self.env.logs / "tell.log"
        process = subprocess.Popen(
            [build_dir() / "test" / "agent" / "agent-teller", script, "modern", str(HOLD_S * 1000)], text=True,
            stdin=subprocess.PIPE, stderr=open(log, "w", encoding="utf-8"), env={**os.environ, **variables})

        def end():
            process.stdin.close()
            self.assertEqual(process.wait(10), 0)
        self.addCleanup(end)
        self.end_teller = end

        def say(*lines):
            for line in lines:
                process.stdin.write(line + "\n")
            process.stdin.flush()
        return say, log

    def wait_labels(self, seconds, **wanted):
        wait_until(lambda: wanted.items() <= self.labels().items(), f"labels {wanted}", seconds, 0.2)

    def test_labels_come_at_once_and_go_slowly(self):
        say, log = self.teller()
        say("facts 15 0 1 3")
        self.wait_labels(20, **{"protection-points": "15", "enforcement": "none", "memfd-secret": "true",
                                "vectors": "3", "kernel": "6.12.41-cloud-amd64"})
        say("facts 35 4 1 26")
        self.wait_labels(20, **{"protection-points": "35", "enforcement": "lsm", "vectors": "26"})
        managers = self.cluster.api("GET", "/api/v1/nodes/modern")["metadata"]["managedFields"]
        self.assertIn(("cloudtaser-agent", "Apply"), [(m["manager"], m["operation"]) for m in managers])
        say("facts 15 0 1 3")
        self.wait_labels(20, **{"vectors": "3"})
        lost = time.monotonic()
        self.assertEqual(self.labels()["protection-points"], "35")
        self.wait_labels(30, **{"protection-points": "15", "enforcement": "none"})
        self.assertGreater(time.monotonic() - lost, HOLD_S - 2)
        self.assertNotIn(self.token, log.read_text())

    def test_an_api_server_that_is_gone(self):
        say, log = self.teller()
        say("facts 35 4 1 26")
        self.wait_labels(20, **{"vectors": "26"})
        self.cluster.stop_api_server()
        try:
            say("facts 35 4 1 25", f"attack {APPS} probe 1 5")
            wait_until(lambda: "cannot tell the cluster" in log.read_text(), "the log to say so", 20)
        finally:
            self.cluster.start_api_server()
        self.wait_labels(60, **{"vectors": "25"})
        wait_until(lambda: self.events("probe"), "the Event", 60)
        self.assertIn("the API server answers again", log.read_text())

    def events(self, name):
        every = self.cluster.api("GET", f"/api/v1/namespaces/{APPS}/events")["items"]
        return [e for e in every if e["involvedObject"]["name"] == name]

    def test_a_burst_is_two_events(self):
        say, _ = self.teller()
        say(f"attack {APPS} victim 42 1000000")
        wait_until(lambda: self.events("victim"), "the first Event", 20)
        found = self.events("victim")
        self.assertEqual([(e["reason"], e["type"], e["count"]) for e in found], [("AttackBlocked", "Warning", 1)])
        self.assertEqual(found[0]["involvedObject"]["uid"], "42")
        self.assertIn("Denied process_vm_readv", found[0]["message"])
        wait_until(lambda: len(self.events("victim")) == 2, "the Event of the others", 90, 1)
        self.assertEqual(sum(e["count"] for e in self.events("victim")), 1000000)

    def test_the_end_tells_what_was_gathered(self):
        say, _ = self.teller()
        say(f"attack {APPS} last 43 1000")
        wait_until(lambda: self.events("last"), "the first Event", 20)
        began = time.monotonic()
        self.end_teller()
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(sum(e["count"] for e in self.events("last")), 1000)

    # ---- where nothing can be enforced ----

    def daemon(self, *options, pins=""):
        variables, command = self.program("run", "--advertise", "--node-name=modern", "--self-test-interval=1s", *options)
        credentials = command.pop()
        self.assertEqual(command.pop(), "--credentials")
        self.cluster.label_node("modern", {PREFIX + name: value for name, value in BEFORE.items()})
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", ALONE, "sh", *command], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, **variables, "CREDENTIALS": credentials, "PINS": pins})

        def end():
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.addCleanup(end)
        return process

    def test_a_node_where_nothing_can_be_enforced_says_so_at_once(self):
        """What its labels say is of another kernel, which enforced. They are not held for ten minutes."""
        memfd = ctypes.CDLL(None).syscall(SYS_MEMFD_SECRET, 0)
        if memfd >= 0:
            os.close(memfd)
        port = free_port()
        process = self.daemon(f"--metrics-listen=127.0.0.1:{port}")
        self.wait_labels(30, **{"protection-points": "15" if memfd >= 0 else "0", "enforcement": "none",
                                "memfd-secret": "true" if memfd >= 0 else "false", "vectors": "0",
                                "kernel": os.uname().release.replace("+", "_")})
        time.sleep(3)  # some more tries
        self.assertIsNone(process.poll(), "it ended, and would be started again and again")

        def standby():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return "cloudtaser_agent_standby 1\n" in answer.read().decode()
            except OSError:
                return False  # between two tries
        wait_until(standby, "the metrics to say so", 20, 0.1)
        process.send_signal(signal.SIGTERM)
        said, words = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        [line] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        self.assertEqual((line["kind"], line["node"]), ("standby", "modern"))
        self.assertIn("the agent lacks CAP_BPF", line["message"])
        self.assertIn("the agent lacks CAP_BPF", words)

    def test_what_an_agent_before_has_pinned_is_not_told_to_be_nothing(self):
        process = self.daemon(pins="/sys/fs/bpf/cloudtaser/gen-7")
        said, words = process.communicate(timeout=30)
        self.assertEqual((process.returncode, said), (1, ""))
        self.assertIn("the agent lacks CAP_BPF", words)
        self.assertEqual(self.labels(), BEFORE)

    # ---- the end ----

    def test_retire(self):
        """As the hook runs it, with the hook's rights; the DaemonSet's controller is played here."""
        hook = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, "--show-only",
                    "templates/agent-retire.yaml", values=AGENT).stdout.split("---\n")
        hook = "---\n".join(part for part in hook if "kind: Job" not in part)
        self.addCleanup(self.cluster.kubectl, "delete", "-f", "-", stdin=hook)
        self.cluster.kubectl("apply", "-f", "-", stdin=hook)
        token = self.cluster.service_account_token(NAMESPACE, "cloudtaser-agent-retire")
        self.cluster.label_node("modern", {PREFIX + "protection-points": "35"})
        variables, command = self.program("retire", "--timeout", "3s", token=token)

        def retire():
            return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)

        def replaced():
            made = self.cluster.api("GET", DAEMONSET)
            self.cluster.api("PATCH", f"{DAEMONSET}/status", {"status": {
                "observedGeneration": made["metadata"]["generation"], "desiredNumberScheduled": 1,
                "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0,
                "updatedNumberScheduled": 1}}, content_type=MERGE)
        done = retire()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("after 3 s there are nodes whose agent has not gone", done.stderr)
        [container] = self.cluster.api("GET", DAEMONSET)["spec"]["template"]["spec"]["containers"]
        self.assertEqual(container["args"], ["uninstall", "--node-name=$(NODE_NAME)"])
        replaced()
        self.assertEqual(retire().returncode, 1)  # the label is still there
        self.forget_labels()
        # An API server that is away for a while ends nothing, however long the client tries by itself.
        self.cluster.stop_api_server()
        _, patient = self.program("retire", "--timeout", "3m", token=token)
        with subprocess.Popen(patient, env=variables, stderr=subprocess.PIPE, text=True) as waiting:
            time.sleep(35)
            self.assertIsNone(waiting.poll(), "it has given up")
            self.cluster.start_api_server()
            _, words = waiting.communicate(timeout=120)
            self.assertEqual(waiting.returncode, 0, words)
        self.cluster.api("DELETE", DAEMONSET)
        self.assertEqual(retire().returncode, 0)
