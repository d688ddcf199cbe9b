# SPDX-License-Identifier: Apache-2.0
"""Install, upgrade, roll back, remove; with Helm and with kubectl."""

import base64
import json

import yaml

from chart import (APPS, CHART, CONFIGURATION, IMAGE, MANIFEST, NAMESPACE, RELEASE, SECRET, VALUES, TestCase,
                   documents, helm, pod, template)
from inventory import inventory
from process import wait_until

POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/cloudtaser-shape"
NEW_IMAGE = "registry.example.com/cloudtaser-injector@sha256:" + "6" * 64
NEW = {"injector": {"image": {"digest": "sha256:" + "6" * 64}}}


class Install(TestCase):
    def setUp(self):
        self.namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        self.namespace(APPS)

    def assert_as_before(self, before):
        try:
            wait_until(lambda: inventory(self.cluster) == before, "it to be gone", 40, 0.5)
        finally:
            self.assertEqual(sorted(inventory(self.cluster) ^ before), [])

    def images(self):
        """What the policy accepts."""
        variables = self.cluster.api("GET", POLICY)["spec"]["variables"]
        return json.loads(next(v["expression"] for v in variables if v["name"] == "injectorImages"))

    def secret(self):
        data = self.cluster.api("GET", SECRET).get("data", {})
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def bundles(self):
        return {e["clientConfig"].get("caBundle") for e in
                self.cluster.api("GET", CONFIGURATION)["webhooks"]}

    def test_install_upgrade_uninstall(self):
        before = inventory(self.cluster)
        webhook = self.webhook()
        values = {"webhook": {"url": webhook.url}}
        done = self.install(values)
        self.assertIn("rollout status deployment/cloudtaser-webhook", done.stdout)
        self.assertNotIn("NOTE: ", done.stdout)
        # Its own pods are let in, as restricted, while no webhook answers yet.
        deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/cloudtaser-webhook"
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        wait_until(lambda: len(self.cluster.api("GET", pods)["items"]) == 2, "two pods", 30)
        conditions = self.cluster.api("GET", deployment)["status"]["conditions"]
        self.assertNotIn("ReplicaFailure", [c["type"] for c in conditions])
        self.assertEqual(self.secret(), {})
        webhook.start()
        self.assertEqual(sorted(self.secret()), ["ca.crt", "ca.key", "tls.crt", "tls.key"])
        # An empty Secret is what it expects.
        self.assertNotIn("was of no use", webhook.service.text())
        self.wait_injects()
        held, told = self.secret(), self.bundles()
        # An upgrade leaves alone what the webhook wrote, and pods of the old replicas are still let in.
        self.install(values={**values, **NEW}, command="upgrade")
        self.assertEqual((self.secret(), self.bundles()), (held, told))
        self.assertEqual(self.images(), [NEW_IMAGE, IMAGE])
        self.wait_injects()
        webhook.close()
        webhook.start()
        self.wait_injects()
        self.assertEqual(self.admitted(pod())["spec"]["initContainers"][0]["image"], NEW_IMAGE)
        self.install(values={**values, **NEW}, command="upgrade")
        self.assertEqual(self.images(), [NEW_IMAGE])
        helm("rollback", RELEASE, "1", "--namespace", NAMESPACE)
        self.assertEqual(self.images(), [IMAGE])
        self.assertEqual((self.secret(), self.bundles()), (held, told))
        # Also while the webhook runs and looks at its Secret all the time.
        self.uninstall()
        self.assert_as_before(before)
        self.assertEqual(self.admitted(pod())["spec"].get("initContainers"), None)

    def test_a_deleted_secret_comes_back_and_goes_with_the_release(self):
        before = inventory(self.cluster)
        webhook = self.webhook()
        self.install({"webhook": {"url": webhook.url}})
        webhook.start()
        held = self.secret()
        self.cluster.api("DELETE", SECRET)
        wait_until(lambda: self.cluster.request("GET", SECRET)[0] == 200, "the Secret", 40)
        self.assertEqual(self.secret(), held)
        self.install({"webhook": {"url": webhook.url}}, command="upgrade")
        webhook.close()
        self.uninstall()
        self.assert_as_before(before)

    def test_one_installation_serves_the_cluster(self):
        self.install()
        self.namespace("elsewhere")
        done = helm("install", "second", CHART, "--namespace", "elsewhere", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("invalid ownership metadata", done.stderr)

    def test_notes_say_what_is_missing(self):
        done = self.install({"vault": {"address": ""}, "injector": {"image": {"digest": ""}},
                             "mode": "audit"})
        for sentence in ("no Vault address is allowed yet", "injector.image.digest is not set",
                         "mode audit denies nothing"):
            self.assertIn(sentence, done.stdout)

    def test_plain_manifests(self):
        """kubectl apply, again, delete: as it stands in the repository."""
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true")
        before = inventory(self.cluster)
        self.addCleanup(self.cluster.kubectl, "delete", "--ignore-not-found", "-f", MANIFEST)
        done = self.cluster.kubectl("apply", "--validate=strict", "-f", MANIFEST)
        self.assertEqual(done.stderr, "")
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        wait_until(lambda: len(self.cluster.api("GET", pods)["items"]) == 2, "two pods", 30)
        webhook = self.webhook("plain")
        webhook.start()
        held = self.secret()
        done = self.cluster.kubectl("apply", "-f", MANIFEST)
        self.assertIn("secret/cloudtaser-webhook-tls unchanged", done.stdout)
        self.assertEqual(self.secret(), held)
        webhook.close()
        self.cluster.kubectl("delete", "-f", MANIFEST)
        self.assert_as_before(before)

    def test_the_manifests_are_the_chart(self):
        def plain(text):
            made = {}
            for each in documents(text):
                each["metadata"].pop("labels", None)
                if each["kind"] == "Deployment":
                    each["spec"]["template"]["metadata"].pop("labels")
                made[each["kind"], each["metadata"]["name"]] = each
            return made
        manifests = plain(MANIFEST.read_text())
        self.assertEqual(manifests.pop(("Namespace", NAMESPACE))["kind"], "Namespace")
        self.assertEqual(manifests, plain(template()))
        self.assertNotIn("helm.sh", yaml.dump(manifests))
        self.assertNotEqual(VALUES, {})
