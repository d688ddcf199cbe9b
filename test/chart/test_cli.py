# SPDX-License-Identifier: Apache-2.0
"""`cloudtaser explain` against the real API server, by the settings that the chart has made."""

import json
import os
import subprocess

from chart import APPS, NAMESPACE, VAULT, TestCase
from process import product

LABELLED = "explained"
LABEL = "cloudtaser.io/min-protection-score"


def deployment(name):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"cloudtaser.io/inject": "true"}},
            "spec": {"containers": [{"name": "app", "image": "x", "command": ["/app/server"]}]}}}}


class Explain(TestCase):
    def explain(self, *words, kubeconfig=None):
        return subprocess.run(
            [product("cloudtaser"), "explain", *words, "-o", "json"], text=True, timeout=60,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent",
                 "KUBECONFIG": str(kubeconfig or self.cluster.kubeconfig)})

    def test_by_the_webhooks_settings(self):
        self.install({"minProtectionScore": 55})
        self.namespace(LABELLED, {LABEL: "70"})
        for namespace, minimum, code, outcome in ((APPS, 55, 0, "patched"), (LABELLED, 70, 1, "denied")):
            self.cluster.create(deployment("web"), namespace)
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
            self.addCleanup(self.cluster.api, "DELETE", path)
            done = self.explain("deployment/web", "-n", namespace, "--from-cluster")
            self.assertEqual(done.returncode, code, done.stderr)
            (pod,) = json.loads(done.stdout)["pods"]
            self.assertEqual((pod["object"], pod["outcome"], pod["minimum"]),
                             (f"Deployment {namespace}/web", outcome, minimum))
            self.assertEqual([n["name"] for n in pod["nodes"]], ["modern"])
        # The same without the chart's settings: no address of Vault is known.
        done = self.explain("deployment/web", "-n", APPS)
        self.assertEqual(json.loads(done.stdout)["pods"][0]["outcome"], "denied")
        done = self.explain("deployment/web", "-n", APPS, "--vault-address", VAULT, "--vault-role", "app")
        self.assertEqual(json.loads(done.stdout)["pods"][0]["outcome"], "patched")

    def test_without_rights(self):
        self.namespace(APPS)
        kubeconfig, _ = self.cluster.account(APPS, "nobody")
        for words, sentence in (
                (["deployment/web"], f"nodes is forbidden: User \"system:serviceaccount:{APPS}:nobody\""),
                (["deployment/web", "--from-cluster"], f"the webhook's settings: GET {self.cluster.url}"
                 f"/api/v1/namespaces/{NAMESPACE}/configmaps/cloudtaser-webhook")):
            done = self.explain(*words, kubeconfig=kubeconfig)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn(sentence, done.stderr)
