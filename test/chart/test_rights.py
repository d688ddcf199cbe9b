# SPDX-License-Identifier: Apache-2.0
"""The rights of the chart's ServiceAccount: enough for all that the webhook does, and nothing else."""

import base64
import time

from chart import CONFIGURATION, NAMESPACE, SECRET, TestCase, pod
from process import wait_until

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:cloudtaser-webhook"
LIFE = 8
# verb, group, resource, namespace, name: all that it may.
ALLOWED = {
    ("list", "", "nodes", "", ""), ("watch", "", "nodes", "", ""),
    ("list", "", "namespaces", "", ""), ("watch", "", "namespaces", "", ""),
    ("get", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "cloudtaser"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "cloudtaser"),
    ("get", "", "secrets", NAMESPACE, "cloudtaser-webhook-tls"),
    ("update", "", "secrets", NAMESPACE, "cloudtaser-webhook-tls"),
    ("create", "", "secrets", NAMESPACE, ""),
}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
OBJECTS = (
    ("", "nodes", "", ""), ("", "nodes", "", "modern"), ("", "namespaces", "", ""), ("", "pods", "apps", ""), ("", "pods", NAMESPACE, ""),
    ("", "secrets", "apps", ""), ("", "secrets", "kube-system", ""), ("", "secrets", NAMESPACE, ""),
    ("", "secrets", NAMESPACE, "cloudtaser-webhook-tls"), ("", "secrets", NAMESPACE, "another"),
    ("", "configmaps", NAMESPACE, "cloudtaser-webhook"), ("", "serviceaccounts", NAMESPACE, ""),
    ("apps", "deployments", NAMESPACE, "cloudtaser-webhook"),
    ("rbac.authorization.k8s.io", "clusterroles", "", "cloudtaser-webhook"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "", ""),
    *(("admissionregistration.k8s.io", kind, "", name)
      for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations",
                   "validatingadmissionpolicies", "validatingadmissionpolicybindings")
      for name in ("", "cloudtaser", "another")),
)


class Rights(TestCase):
    def may(self, verb, group, resource, namespace, name):
        review = self.cluster.api("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {
            "user": ACCOUNT, "groups": ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}",
                                        "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource,
                                   "namespace": namespace, "name": name}}})
        return review["status"]["allowed"]

    def test_nothing_but_what_is_used(self):
        asked = {(verb, *each) for verb in VERBS for each in OBJECTS}
        self.assertEqual({each for each in asked if self.may(*each)}, set())
        self.install()
        allowed = {each for each in asked if self.may(*each)}
        # A right without a name is one to every name; of nodes, and of the creation of Secrets.
        wider = {("list", "", "nodes", "", "modern"), ("watch", "", "nodes", "", "modern"),
                 ("create", "", "secrets", NAMESPACE, "another"),
                 ("create", "", "secrets", NAMESPACE, "cloudtaser-webhook-tls")}
        self.assertEqual(allowed, ALLOWED | wider)

    def test_enough_to_serve_renew_and_watch(self):
        webhook = self.webhook()
        self.install({"webhook": {"url": webhook.url}, "certificates": {"life": f"{LIFE}s"}})
        webhook.start()
        self.wait_injects()
        first = self.cluster.api("GET", SECRET)["data"]
        end = time.monotonic() + 3 * LIFE + 4
        # The authority too has been renewed, with its successor in the caBundle; pods went through all along.
        while time.monotonic() < end:
            self.admitted(pod())
            time.sleep(0.3)
        last = self.cluster.api("GET", SECRET)["data"]
        self.assertNotEqual(first["tls.crt"], last["tls.crt"])
        self.assertNotEqual(first["ca.key"], last["ca.key"])
        told = self.cluster.api("GET", CONFIGURATION)["webhooks"]
        self.assertEqual({base64.b64decode(e["clientConfig"]["caBundle"]) for e in told},
                         {base64.b64decode(last["ca.crt"])})
        self.cluster.add_node("late", "6.12.41-cloud-amd64")
        self.addCleanup(self.cluster.api, "DELETE", "/api/v1/nodes/late")
        wait_until(lambda: '_nodes{points="15"} 2\n' in webhook.get("/metrics")[1],
                   "the node to be seen", 20)
        self.assertNotIn("forbidden", webhook.service.text())
        self.assertNotIn('"level":"error"', webhook.service.text())

    def test_without_a_right_it_says_which(self):
        webhook = self.webhook()
        self.install({"webhook": {"url": webhook.url}})
        self.cluster.api("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/"
                                   "cloudtaser-webhook")
        webhook.start(ready=False)
        wait_until(lambda: "cannot" in webhook.get("/readyz")[1], "the reason", 30)
        status, text = webhook.get("/readyz")
        self.assertEqual(status, 503)
        self.assertIn("is forbidden", text)
        self.assertIn(ACCOUNT, text)
