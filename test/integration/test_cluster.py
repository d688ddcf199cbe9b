# SPDX-License-Identifier: Apache-2.0
"""The webhook among everything else that a cluster does with a pod."""

import json

from environment import APPS
from pods import PREFIX, REFERENCE, TestCase, container, pod, unique
from process import wait_until
from second_webhook import ANNOTATION, SIDECAR, SecondWebhook

RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
              "runAsNonRoot": True, "runAsUser": 1000, "readOnlyRootFilesystem": True,
              "seccompProfile": {"type": "RuntimeDefault"}}
AMOUNT = {"cpu": "200m", "memory": "64Mi"}


def sized(requests=None, limits=None):
    return [container(env={"PGPASSWORD": REFERENCE},
                      resources={"requests": requests or AMOUNT, "limits": limits or AMOUNT})]


def deployment(template, replicas=1):
    name = unique("deployment")
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": {"metadata": {**template["metadata"], "labels": labels},
                                  "spec": template["spec"]}}}


class Cluster(TestCase):
    def pods_of(self, name):
        answer = self.cluster.api(
            "GET", f"/api/v1/namespaces/{APPS}/pods?labelSelector=app%3D{name}")
        return answer["items"]

    def delete_all(self, name):
        """The Deployment and what it has made; no garbage collector does that here."""
        self.cluster.kubectl("delete", "deployment,replicaset,pod", "-n", APPS, "-l", f"app={name}",
                             "--grace-period=0", "--force", "--wait=false")

    def test_a_deployments_pods_are_injected(self):
        template = pod()
        del template["metadata"]["name"]
        made = self.cluster.create(deployment(template, replicas=2), APPS)
        name = made["metadata"]["name"]
        found = wait_until(lambda: (lambda p: p if len(p) == 2 else None)(self.pods_of(name)),
                           "two pods of the Deployment", 30)
        for stored in found:
            self.assertTrue(stored["metadata"]["generateName"].startswith(name))
            self.assert_injected(stored, template)
        # The template itself is what its author wrote.
        self.assertEqual(made["spec"]["template"]["spec"]["containers"][0]["command"],
                         template["spec"]["containers"][0]["command"])
        self.delete_all(name)

    def test_a_replica_sets_event_carries_the_reason(self):
        template = pod({"min-protection-score": "70"}, nodeSelector={"pool": "old"})
        del template["metadata"]["name"]
        made = self.cluster.create(deployment(template), APPS)
        name = made["metadata"]["name"]

        def event():
            answer = self.cluster.api(
                "GET", f"/api/v1/namespaces/{APPS}/events?fieldSelector=reason%3DFailedCreate")
            told = [e["message"] for e in answer["items"]
                    if e["involvedObject"]["name"].startswith(name)]
            return told[0] if told else None
        message = wait_until(event, "a FailedCreate event", 30)
        self.assertIn('admission webhook "pods.cloudtaser.io" denied the request: ', message)
        self.assertIn("70", message)
        self.assertIn("kernel 5.10", message)
        self.assertEqual(self.pods_of(name), [])
        self.delete_all(name)

    def test_pod_security_restricted(self):
        loose = pod()
        done = self.cluster.kubectl("create", "-n", "restricted", "-f", "-", stdin=loose,
                                    check=False)
        self.assertIn("violates PodSecurity", done.stderr, "the control: the policy is in force")
        self.assertNotIn("cloudtaser-injector", done.stderr, "the injector is not to blame")
        strict = pod(containers=[container(env={"PGPASSWORD": REFERENCE},
                                           securityContext=RESTRICTED)])
        self.assert_injected(self.admit(strict, "restricted"), strict)

    def test_quota_and_limit_range(self):
        namespace = self.cluster.namespace(unique("limited"))
        self.cluster.create({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"},
            "spec": {"hard": {"requests.cpu": "2", "requests.memory": "1Gi", "limits.cpu": "2",
                              "limits.memory": "1Gi", "pods": "2"}}}, namespace)
        self.cluster.create({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "all"},
            "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m", "memory": "16Mi"},
                                 "max": {"cpu": "1", "memory": "512Mi"},
                                 "maxLimitRequestRatio": {"cpu": "1", "memory": "1"}}]}},
            namespace)
        path = f"/api/v1/namespaces/{namespace}/resourcequotas/all"
        wait_until(lambda: self.cluster.api("GET", path)["status"].get("hard"),
                   "the quota to be in force", 30)
        done = self.cluster.kubectl("create", "-n", namespace, "-f", "-", check=False,
                                    stdin=pod(containers=sized(limits={"cpu": "300m",
                                                                       "memory": "64Mi"})))
        self.assertIn("ratio", done.stderr, "the control: the limits are in force")
        original = pod(containers=sized())
        stored = self.cluster.create(original, namespace)
        self.assert_injected(stored, original)
        # An init container counts with the highest, not with the sum: the injector adds nothing.
        used = wait_until(lambda: (lambda s: s if s["used"]["pods"] == "1" else None)(
            self.cluster.api("GET", path)["status"]), "the quota to count the pod", 30)["used"]
        self.assertEqual((used["requests.cpu"], used["limits.memory"]), ("200m", "64Mi"))

    def test_quality_of_service_is_kept(self):
        for expected, resources in (("Guaranteed", (AMOUNT, AMOUNT)),
                                    ("Burstable", ({"cpu": "100m", "memory": "32Mi"}, AMOUNT))):
            original = pod(containers=sized(*resources))
            stored = self.admit(original)
            self.assert_injected(stored, original)
            self.assertEqual(stored["status"]["qosClass"], expected)

    def test_a_sidecar_that_another_webhook_adds_later(self):
        later = SecondWebhook(self.cluster, self.env.webhook_ca, "later-mesh")
        self.addCleanup(later.close)
        webhook = self.env.webhook
        patched, unchanged = webhook.decisions("patched"), webhook.decisions("admitted")
        original = pod({ANNOTATION: "later-mesh"})
        stored = self.admit(original)
        self.assertEqual(later.added, 1)
        self.assertEqual(webhook.decisions("patched"), patched + 1)
        self.assertEqual(webhook.decisions("admitted"), unchanged + 1, "no second look was taken")
        original["spec"]["containers"].append(SIDECAR)
        self.assert_injected(stored, original)

    def test_a_sidecar_with_a_reference_that_another_webhook_adds_later(self):
        # Its author is not the pod's: no secret for it unless the pod names it, and a warning.
        secret = [{"name": "PGPASSWORD", "value": REFERENCE}]
        later = SecondWebhook(self.cluster, self.env.webhook_ca, "later-secret", secret)
        self.addCleanup(later.close)
        original = pod({ANNOTATION: "later-secret"})
        done = self.cluster.kubectl("create", "-n", APPS, "-o", "json", "-f", "-", stdin=original)
        self.assertIn("Warning: ", done.stderr)
        self.assertIn("mesh-proxy", done.stderr)
        original["spec"]["containers"].append({**SIDECAR, "env": SIDECAR["env"] + secret})
        self.assert_injected(json.loads(done.stdout), original)

    def test_a_sidecar_that_came_first_is_wrapped_when_named(self):
        first = SecondWebhook(self.cluster, self.env.webhook_ca, "before-mesh")
        self.addCleanup(first.close)
        original = pod({ANNOTATION: "before-mesh"})
        stored = self.admit(original)
        original["spec"]["containers"].append(SIDECAR)
        self.assert_injected(stored, original)
        named = pod({ANNOTATION: "before-mesh", "containers": "app,mesh-proxy"})
        stored = self.admit(named)
        named["spec"]["containers"].append(SIDECAR)
        self.assert_injected(stored, named, wrapped=("app", "mesh-proxy"))

    def test_later_changes_are_left_alone(self):
        original = pod()
        name = original["metadata"]["name"]
        spec = self.admit(original)["spec"]
        before = self.env.webhook.reviews()
        self.cluster.kubectl("label", "pod", "-n", APPS, name, "colour=blue")
        self.cluster.kubectl("patch", "pod", "-n", APPS, name, "--type=merge", "-p",
                             json.dumps({"metadata": {"labels": {"colour": "green"}}}))
        self.cluster.kubectl("apply", "--server-side", "--field-manager=test", "-n", APPS, "-f",
                             "-", stdin={"apiVersion": "v1", "kind": "Pod",
                                         "metadata": {"name": name, "labels": {"a": "b"}}})
        stored = self.cluster.get_pod(APPS, name)
        self.assertEqual(stored["metadata"]["labels"], {"colour": "green", "a": "b"})
        self.assertEqual(stored["spec"], spec)
        self.assertEqual(self.env.webhook.reviews(), before)

    def test_server_side_apply_creates_an_injected_pod(self):
        original = pod()
        self.cluster.kubectl("apply", "--server-side", "-n", APPS, "-f", "-", stdin=original)
        stored = self.cluster.get_pod(APPS, original["metadata"]["name"])
        self.assert_injected(stored, original)

    def test_a_stored_pod_created_anew_has_the_same_shape(self):
        original = pod()
        stored = self.admit(original)
        kept = json.loads(json.dumps(stored))
        for field in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"):
            kept["metadata"].pop(field, None)
        self.cluster.kubectl("delete", "pod", "-n", APPS, stored["metadata"]["name"],
                             "--grace-period=0", "--force")
        twin = self.admit(kept)
        self.assert_injected(twin, original)
        self.assertEqual(twin["spec"], stored["spec"])

    def test_a_stored_pod_that_was_changed_is_not_taken_for_ours(self):
        stored = self.admit(pod())
        name = stored["metadata"]["name"]
        self.cluster.kubectl("delete", "pod", "-n", APPS, name, "--grace-period=0", "--force")

        def refused(change, text):
            again = json.loads(json.dumps({"apiVersion": "v1", "kind": "Pod",
                                           "spec": stored["spec"], "metadata": {
                                               "name": name,
                                               "annotations": stored["metadata"]["annotations"]}}))
            change(again["spec"])
            self.refused(again, text)

        def image(spec):
            spec["initContainers"][0]["image"] = "evil.example.com/x:1"

        def program(spec):
            spec["containers"][0]["command"][0] = "/cloudtaser/./other"

        def settings(spec):
            for one in spec["containers"][0]["env"]:
                if one["name"] == "CLOUDTASER_CONFIG":
                    one["value"] = one["value"].replace(self.env.vault.url, "https://evil.org")
        refused(image, "cloudtaser-injector")
        refused(program, "/cloudtaser/./other")
        refused(settings, "CLOUDTASER_CONFIG")

    def test_debug_containers_keep_away_from_the_injected_volumes(self):
        name = self.admit(pod())["metadata"]["name"]
        before = self.cluster.get_pod(APPS, name)["spec"]

        def debug(**more):
            made = {"name": unique("debug"), "image": "debug:1", "command": ["/sh"], **more}
            return self.cluster.kubectl(
                "patch", "pod", "-n", APPS, name, "--subresource=ephemeralcontainers", "-p",
                json.dumps({"spec": {"ephemeralContainers": [made]}}), check=False)
        for mount in ({"name": "cloudtaser-identity", "mountPath": "/x"},
                      {"name": "cloudtaser", "mountPath": "/y"}):
            done = debug(volumeMounts=[mount])
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('admission webhook "ephemeral.cloudtaser.io" denied the request: ',
                          done.stderr)
            self.assertIn(mount["name"], done.stderr)
        self.assertEqual(self.cluster.get_pod(APPS, name)["spec"], before)
        done = debug()
        self.assertEqual(done.returncode, 0, done.stderr)
        after = self.cluster.get_pod(APPS, name)["spec"]
        self.assertEqual(len(after.pop("ephemeralContainers")), 1)
        self.assertEqual(after, before)

    def refused_change(self, name, text, *arguments):
        """kubectl must be told no by the webhook, and the pod must be as it was."""
        before = self.cluster.get_pod(APPS, name)
        done = self.cluster.kubectl(*arguments, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn('admission webhook "updates.cloudtaser.io" denied the request: ', done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(self.cluster.get_pod(APPS, name), before)

    def test_annotations_added_later_are_refused(self):
        name = self.admit(pod(inject=False))["metadata"]["name"]
        for key, value in (("inject", "true"), ("inject", "yes"), ("status", "injected")):
            self.refused_change(name, "create it anew", "annotate", "pod", "-n", APPS, name,
                                f"{PREFIX}{key}={value}")
        self.cluster.kubectl("annotate", "pod", "-n", APPS, name, PREFIX + "inject=false",
                             PREFIX + "unrelated=x")

    def test_annotations_of_an_injected_pod_stay(self):
        name = self.admit(pod())["metadata"]["name"]
        annotate = ("annotate", "pod", "-n", APPS, name, "--overwrite")
        self.refused_change(name, "inject", *annotate, PREFIX + "inject-")
        self.refused_change(name, "inject", *annotate, PREFIX + "inject=false")
        self.refused_change(name, "status", *annotate, PREFIX + "status-")
        self.refused_change(name, "status", *annotate, PREFIX + "status=verified")
        self.cluster.kubectl(*annotate, "example.com/note=x")

    def test_the_injectors_image_stays(self):
        # A gated pod waits, and all of its images can be changed before anything has run.
        name = self.admit(pod(schedulingGates=[{"name": "example.com/wait"}]))["metadata"]["name"]

        def patch(container, image):
            kind = "initContainers" if container == "cloudtaser-injector" else "containers"
            return ("patch", "pod", "-n", APPS, name, "-p", json.dumps(
                {"spec": {kind: [{"name": container, "image": image}]}}))
        self.cluster.kubectl(*patch("app", "registry.example.com/app:2"))
        self.refused_change(name, "evil.example.com/x:1",
                            *patch("cloudtaser-injector", "evil.example.com/x:1"))
        self.cluster.kubectl("patch", "pod", "-n", APPS, name, "--type=merge", "-p",
                             json.dumps({"spec": {"schedulingGates": None}}))
        self.refused_change(name, "evil.example.com/x:1",
                            *patch("cloudtaser-injector", "evil.example.com/x:1"))
