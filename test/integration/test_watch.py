# SPDX-License-Identifier: Apache-2.0
"""Nodes by list and watch from the real API server: its changes, its restarts, its refusals."""

import json
import signal
import threading

from environment import AGENT_LABELS
from pods import TestCase, pod
from process import wait_until
from webhook import Webhook

JSON = {"Content-Type": "application/json"}
MERGE = "application/merge-patch+json"
LABEL = "cloudtaser.io/min-protection-score"
EVENTS = "cloudtaser_webhook_watch_events_total"
AGE = 'cloudtaser_webhook_snapshot_age_seconds{resource="nodes"}'
RIGHTS = [{"apiGroups": [""], "resources": ["nodes", "namespaces"], "verbs": ["list", "watch"]}]


def review(wanted):
    gvk = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": gvk, "resource": resource,
        "requestKind": gvk, "requestResource": resource, "namespace": "apps",
        "operation": "CREATE", "userInfo": {"username": "admin"}, "object": wanted,
        "oldObject": None, "dryRun": False}})


class Watch(TestCase):
    """A webhook of its own, which is asked directly."""

    def setUp(self):
        super().setUp()
        self.number = getattr(Watch, "started", 0) + 1
        Watch.started = self.number
        self.addCleanup(self.remove_nodes)
        self.made = []

    def remove_nodes(self):
        for name in self.made:
            self.cluster.request("DELETE", f"/api/v1/nodes/{name}")

    def start(self, *options, **more):
        """With the administrator's kubeconfig unless the options say otherwise."""
        webhook = Webhook(
            self.env.webhook_ca, None, self.env.logs,
            [*self.env.options, *(options or ("--kubeconfig", self.cluster.kubeconfig))],
            name=f"watching-{self.number}", **more)
        self.addCleanup(webhook.close)
        return webhook

    def add_node(self, name, **options):
        self.cluster.add_node(name, **options)
        self.made.append(name)

    def admits(self, webhook, pool):
        """Is there a node of this pool whose agent is worth its points?"""
        wanted = pod({"min-protection-score": "70"}, nodeSelector={"pool": pool})
        status, text = webhook.send("POST", "/mutate", review(wanted), JSON)
        self.assertEqual(status, 200, text)
        return json.loads(text)["response"]["allowed"]

    def wait_admits(self, webhook, pool, wanted, seconds=10):
        wait_until(lambda: self.admits(webhook, pool) is wanted,
                   f"{webhook.service.name} to see pool {pool}: {wanted}", seconds, 0.05)

    def events(self, webhook, event):
        return webhook.metrics()[f'{EVENTS}{{resource="nodes",event="{event}"}}']

    def known(self, webhook):
        return sum(n for name, n in webhook.metrics().items()
                   if name.startswith("cloudtaser_webhook_nodes{"))

    def in_cluster(self):
        return len(self.cluster.api("GET", "/api/v1/nodes")["items"])

    def test_created_changed_deleted(self):
        webhook = self.start()
        self.assertEqual(self.known(webhook), self.in_cluster())
        self.assertFalse(self.admits(webhook, "fresh"))
        self.add_node("fresh", labels={"pool": "fresh", **AGENT_LABELS})
        self.wait_admits(webhook, "fresh", True)
        self.cluster.label_node("fresh", {key: None for key in AGENT_LABELS})
        self.wait_admits(webhook, "fresh", False)
        self.cluster.label_node("fresh", AGENT_LABELS)
        self.wait_admits(webhook, "fresh", True)
        self.cluster.api("PATCH", "/api/v1/nodes/fresh", {"spec": {"unschedulable": True}},
                         content_type=MERGE)
        self.wait_admits(webhook, "fresh", False)
        self.cluster.api("PATCH", "/api/v1/nodes/fresh", {"spec": {"unschedulable": False}},
                         content_type=MERGE)
        self.wait_admits(webhook, "fresh", True)
        self.cluster.api("DELETE", "/api/v1/nodes/fresh")
        self.wait_admits(webhook, "fresh", False)
        self.assertEqual(self.events(webhook, "listed"), 1)
        self.assertEqual(self.events(webhook, "failed"), 0)

    def test_pages_of_the_real_list(self):
        self.made += [f"many-{i:04}" for i in range(520)]
        for name in self.made:
            self.cluster.api("POST", "/api/v1/nodes", {"metadata": {"name": name}})
        webhook = self.start()
        self.assertEqual(self.known(webhook), self.in_cluster())
        self.assertGreater(self.known(webhook), 520)

    def test_a_restart_of_the_api_server(self):
        webhook = self.start()
        self.add_node("before", labels={"pool": "before", **AGENT_LABELS})
        self.wait_admits(webhook, "before", True)
        self.cluster.stop_api_server()
        try:
            wait_until(lambda: webhook.metrics()[AGE] > 0,
                       "the age of what is known", 10)
            self.assertEqual(webhook.get("/readyz")[0], 200)
            self.assertTrue(self.admits(webhook, "before"))
            self.assertIn("ago stay in use until they are 600 s old", webhook.service.text())
        finally:
            self.cluster.start_api_server()
        self.cluster.label_node("before", {key: None for key in AGENT_LABELS})
        self.wait_admits(webhook, "before", False, 40)
        self.assertIn("answers again", webhook.service.text())
        self.assertEqual(webhook.metrics()[AGE], 0)

    def test_a_version_that_the_api_server_has_forgotten(self):
        self.add_node("forgotten", labels={"pool": "forgotten", **AGENT_LABELS})
        webhook = self.start()
        self.wait_admits(webhook, "forgotten", True)
        # While it sleeps the API server starts anew, and remembers nothing of before.
        webhook.service.process.send_signal(signal.SIGSTOP)
        try:
            for i in range(5):  # the cluster goes on, not its nodes
                self.cluster.api("PATCH", "/api/v1/namespaces/apps",
                                 {"metadata": {"annotations": {"example.com/n": str(i)}}},
                                 content_type=MERGE)
            self.cluster.stop_api_server()
            self.cluster.start_api_server()
            self.cluster.label_node("forgotten", {key: None for key in AGENT_LABELS})
        finally:
            webhook.service.process.send_signal(signal.SIGCONT)
        self.wait_admits(webhook, "forgotten", False, 40)
        self.assertGreaterEqual(self.events(webhook, "expired"), 1)
        self.assertEqual(self.events(webhook, "listed"), 2)

    def ask_in(self, webhook, namespace):
        """The response about a pod that asks for nothing."""
        document = json.loads(review(pod(nodeSelector={"pool": "old"})))
        document["request"]["namespace"] = namespace
        status, text = webhook.send("POST", "/mutate", json.dumps(document), JSON)
        self.assertEqual(status, 200, text)
        return json.loads(text)["response"]

    def message_in(self, webhook, namespace):
        return self.ask_in(webhook, namespace).get("status", {}).get("message", "")

    def test_a_namespaces_label_is_a_minimum(self):
        webhook = self.start()
        name, path = "labelled", "/api/v1/namespaces/labelled"
        self.cluster.namespace(name, {LABEL: "75"})
        wait_until(lambda: "75 (its namespace's label)" in self.message_in(webhook, name),
                   "the label to count", 10)
        self.cluster.api("PATCH", path, {"metadata": {"labels": {LABEL: "much"}}},
                         content_type=MERGE)
        wait_until(lambda: f'namespace "labelled" has label {LABEL}: "much"'
                   in self.message_in(webhook, name), "the refusal of a bad label", 10)
        self.cluster.api("PATCH", path, {"metadata": {"labels": {LABEL: None}}},
                         content_type=MERGE)
        wait_until(lambda: self.ask_in(webhook, name)["allowed"], "the label to be gone", 10)
        self.assertEqual(webhook.metrics()[f'{EVENTS}{{resource="namespaces",event="failed"}}'], 0)

    def register(self, webhook, namespace):
        """Makes the API server ask this webhook, and no other, about this namespace's pods."""
        configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        self.cluster.api("POST", configurations, {
            "metadata": {"name": namespace}, "webhooks": [{
                "name": "asked.example.com", "admissionReviewVersions": ["v1"],
                "sideEffects": "None", "failurePolicy": "Fail",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                           "resources": ["pods"]}],
                "clientConfig": {"url": f"{webhook.url}/mutate",
                                 "caBundle": webhook.bundle()}}]})
        self.addCleanup(self.cluster.request, "DELETE", f"{configurations}/{namespace}")

    def test_who_meets_a_namespace_that_is_not_known_yet_tries_again(self):
        name = self.cluster.namespace("early")
        known = self.env.work / "namespaces.json"
        known.write_text('{"apiVersion": "v1", "kind": "List", "items": []}')
        webhook = self.start("--kubeconfig", self.cluster.kubeconfig, "--namespaces-file", known)
        self.register(webhook, name)
        path = f"/api/v1/namespaces/{name}/pods"
        for _ in range(100):  # until the API server has heard of the registration
            status, text = self.cluster.request("POST", path + "?dryRun=All", pod())
            if status == 503:
                break
        self.assertEqual(status, 503, text)
        self.assertIn(b'namespace \\"early\\" is not among the 0 that are known', text)
        self.assertEqual(json.loads(text)["details"]["retryAfterSeconds"], 1)
        # kubectl does as it is told, without a word.
        later = threading.Timer(1.5, lambda: self.cluster.write_list("namespaces", known))
        later.start()
        self.addCleanup(later.join)
        stored = self.cluster.create(pod(), name)
        self.assertEqual(stored["metadata"]["annotations"]["cloudtaser.io/status"], "injected")
        self.assertGreaterEqual(webhook.decisions("denied"), 2)

    def test_a_pod_that_follows_its_namespace_at_once(self):
        webhook = self.start()
        name = "at-once"
        self.register(webhook, name)
        self.cluster.namespace(name, {LABEL: "75"})
        for _ in range(100):
            status, text = self.cluster.request(
                "POST", f"/api/v1/namespaces/{name}/pods?dryRun=All",
                pod(nodeSelector={"pool": "old"}))
            if status != 201:
                break
        self.assertEqual(status, 403, text)
        self.assertIn(b"75 (its namespace's label)", text)

    def test_the_least_rights(self):
        kubeconfig, token = self.cluster.account("apps", "watcher")
        good = token.read_text()
        token.write_text("not a token")
        webhook = self.start("--kubeconfig", kubeconfig, ready=False)
        log = webhook.service
        log.wait_for(lambda: "HTTP 401" in log.text(), "the refusal of the token", 20)
        token.write_text(good)
        wait_until(lambda: 'cannot list resource' in webhook.get("/readyz")[1],
                   "the refusal of the account", 60)
        self.cluster.grant("apps", "watcher", RIGHTS)
        log.wait_for(lambda: webhook.get("/readyz")[0] == 200, "the webhook to be ready", 60)
        self.assertEqual(self.known(webhook), self.in_cluster())
        self.assertNotIn(good.split(".")[2], log.text())

    def test_within_a_pod(self):
        kubeconfig, token = self.cluster.account("apps", "inside")
        self.assertTrue(kubeconfig.exists())
        self.cluster.grant("apps", "inside", RIGHTS)
        folder = "/run/secrets/kubernetes.io/serviceaccount"
        script = (f"mount -t tmpfs tmpfs /run && mkdir -p {folder} && cp {token} {folder}/token && "
                  f"cp {self.cluster.authority.certificate} {folder}/ca.crt && exec \"$@\"")
        webhook = self.start("--nodes-max-age", "1m",
                             prefix=["unshare", "--mount", "sh", "-c", script, "sh"],
                             env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                  "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                                  "KUBERNETES_SERVICE_PORT": str(self.cluster.port)})
        self.assertEqual(self.known(webhook), self.in_cluster())
