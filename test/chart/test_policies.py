# SPDX-License-Identifier: Apache-2.0
"""The admission policies by themselves: each refusal beside the same request before there were policies, and
what must still be possible while no webhook answers."""

import copy

from chart import APPS, NAMESPACE, SAYS_SO, TestCase, pod
from process import wait_until

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
NOT_INJECTED = "this pod asks for protection and was not injected: the webhook did not answer"
ENFORCED = "enforced"
BARE = {"cloudtaser.io/inject": None}


def static_pod(annotations):
    """What kubelet sends for a static pod that it runs."""
    made = pod({"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.hash": "hash",
                "kubernetes.io/config.source": "file", **annotations}, nodeName="modern")
    made["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Node", "name": "modern", "uid": "u", "controller": True}]
    return made


class Policies(TestCase):
    """failurePolicy Ignore, and no webhook to be reached: what stands then."""

    def setUp(self):
        self.namespace(NAMESPACE)
        self.namespace(APPS)
        self.namespace(ENFORCED, {"cloudtaser.io/enforce": "true"})
        self.wait_policies(pod(BARE), ENFORCED, status=201)

    def install_without_webhook(self, values=None):
        self.install({"failurePolicy": "Ignore", "webhook": {
            "url": "https://127.0.0.1:1", "timeoutSeconds": 1}, **(values or {})})
        # They do not come into force together.
        for probe, namespace in ((pod(), APPS), (pod(), "kube-system"), (pod(BARE), ENFORCED)):
            self.wait_policies(probe, namespace)

    def test_compiled_without_a_doubt(self):
        self.install_without_webhook()
        for name in ("shape", "excluded", "enforce", "updates", "ephemeral"):
            path = f"{POLICIES}/cloudtaser-{name}"
            wait_until(lambda p=path: "typeChecking" in self.cluster.api("GET", p).get("status", {}),
                       "types to be checked", 30)
            self.assertEqual(self.cluster.api("GET", path)["status"]["typeChecking"], {}, name)

    def test_without_a_webhook_an_opted_in_pod_does_not_start(self):
        self.admitted(pod())
        self.install_without_webhook()
        self.refused(pod(), "ValidatingAdmissionPolicy 'cloudtaser-shape'", NOT_INJECTED,
                     f"in namespace {NAMESPACE}")
        self.admitted(pod(BARE))
        self.admitted(pod({"cloudtaser.io/inject": "false"}))
        for value in ("yes", "True", ""):
            self.refused(pod({"cloudtaser.io/inject": value}), 'cloudtaser.io/inject must be "true"')
        self.refused(pod({**BARE, "cloudtaser.io/status": "injected"}),
                     "cloudtaser.io/status is for CloudTaser to write")

    def test_a_controller_is_told(self):
        self.install_without_webhook()
        template = {k: v for k, v in pod().items() if k in ("metadata", "spec")}
        template["metadata"] = {"annotations": template["metadata"]["annotations"], "labels": {"app": "web"}}
        self.cluster.create({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}, APPS)
        path = f"/apis/apps/v1/namespaces/{APPS}/deployments/web"
        self.addCleanup(self.cluster.api, "DELETE", path)

        def told():
            status = self.cluster.api("GET", path).get("status", {})
            return any(NOT_INJECTED in c.get("message", "") for c in status.get("conditions", ()))
        wait_until(told, "the Deployment to say why", 30)

    def test_failure_policy_fail_stops_nothing_else(self):
        self.install({"webhook": {"url": "https://127.0.0.1:1"}})
        self.wait_policies(pod(), status=500)
        self.wait_policies(pod(), "kube-system")
        status, answer = self.try_pod(pod())
        self.assertIn('failed calling webhook "pods.cloudtaser.io"', answer["message"])
        for namespace in (APPS, NAMESPACE, "kube-system"):
            self.namespace(namespace)
            self.admitted(pod(BARE), namespace)
        # Where it is not called, it is not missed: it is refused at once.
        for namespace in (NAMESPACE, "kube-system"):
            self.refused(pod(), "cannot be protected", namespace=namespace)
        self.cluster.add_node("new", "6.12.41-cloud-amd64")
        self.cluster.api("DELETE", "/api/v1/nodes/new")

    def test_nobody_opts_in_where_the_webhook_is_not_called(self):
        self.namespace("monitoring")
        places = (NAMESPACE, "kube-system", "monitoring")
        for namespace in places:
            self.admitted(pod(), namespace)
        self.install_without_webhook({"excludedNamespaces": ["monitoring"]})
        for namespace in places:
            self.refused(pod(), "ValidatingAdmissionPolicy 'cloudtaser-excluded'",
                         f"pods of namespace {namespace} cannot be protected", namespace=namespace)
            self.refused(pod({"cloudtaser.io/inject": "yes"}), "cannot be protected", namespace=namespace)
            self.refused(SAYS_SO, "cannot be protected", namespace=namespace)
            self.admitted(pod(BARE), namespace)

    def test_a_namespace_that_takes_protected_pods_alone(self):
        self.admitted(pod(BARE), ENFORCED)
        # Its label must not stop the cluster.
        self.cluster.kubectl("label", "namespace", "kube-system", "cloudtaser.io/enforce=true")
        self.addCleanup(self.cluster.kubectl, "label", "namespace", "kube-system", "cloudtaser.io/enforce-")
        self.install_without_webhook()
        for annotations in (BARE, {"cloudtaser.io/inject": "false"}):
            self.refused(pod(annotations), "ValidatingAdmissionPolicy 'cloudtaser-enforce'",
                         f"namespace {ENFORCED} takes protected pods alone",
                         'add the annotation cloudtaser.io/inject: "true"', namespace=ENFORCED)
        self.refused(pod(), NOT_INJECTED, namespace=ENFORCED)
        self.admitted(pod(BARE), APPS)
        self.admitted(pod(BARE), "kube-system")
        # Who writes it in another way means it too.
        self.namespace("shouted", {"cloudtaser.io/enforce": "True"})
        self.refused(pod(BARE), "namespace shouted takes protected pods alone", namespace="shouted")
        self.namespace("lax", {"cloudtaser.io/enforce": "false"})
        self.admitted(pod(BARE), "lax")

    def test_a_namespace_does_not_become_an_excluded_one_by_its_label(self):
        """The label that the selectors go by is the API server's own."""
        self.install_without_webhook()
        self.cluster.kubectl("label", "--overwrite", "namespace", ENFORCED,
                             "kubernetes.io/metadata.name=kube-system", check=False)
        found = self.cluster.api("GET", f"/api/v1/namespaces/{ENFORCED}")["metadata"]["labels"]
        self.assertEqual(found["kubernetes.io/metadata.name"], ENFORCED)
        self.refused(pod(BARE), "takes protected pods alone", namespace=ENFORCED)

    def test_nothing_becomes_a_mirror_later(self):
        """A static pod's mirror is let in anywhere, so nobody may make one of an ordinary pod, or back."""
        for given, wanted in (({}, "x"), ({"kubernetes.io/config.mirror": "x"}, None)):
            made = static_pod(BARE) if given else pod(BARE)
            made["metadata"]["name"] = "later"
            self.cluster.create(made, APPS)
            path = f"/api/v1/namespaces/{APPS}/pods/later"
            status, raw = self.cluster.request(
                "PATCH", path, {"metadata": {"annotations": {"kubernetes.io/config.mirror": wanted}}},
                content_type="application/merge-patch+json")
            self.cluster.api("DELETE", f"{path}?gracePeriodSeconds=0")
            self.assertEqual(status, 422, raw)

    def test_static_pods(self):
        """They run in any case. Their mirrors may be seen, but none may say that it is protected."""
        self.admitted(static_pod({}))
        self.install_without_webhook()
        self.refused(static_pod({}), "a static pod runs whatever admission says")
        self.admitted(static_pod(BARE), ENFORCED)

    def test_audit_tells_and_denies_nothing(self):
        self.install({"mode": "audit", "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}})
        def warned(namespace, made):
            done = self.cluster.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-",
                                        stdin=made, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stderr
        for namespace, made, sentence in (
                (APPS, pod(), NOT_INJECTED), (ENFORCED, pod(BARE), "takes protected pods alone"),
                ("kube-system", pod(), "cannot be protected")):
            wait_until(lambda n=namespace, m=made, s=sentence: s in warned(n, m), sentence, 20)


class Updates(TestCase):
    """What an injected pod stays: the webhook injects it, and is gone when somebody changes it."""

    def setUp(self):
        webhook = self.webhook("updates")
        self.install({"failurePolicy": "Ignore", "webhook": {"url": webhook.url, "timeoutSeconds": 1}})
        webhook.start()
        self.wait_injects()
        self.paths = {}
        for name, annotations in (("injected", {}), ("plain", BARE)):
            made = pod(annotations)
            made["metadata"]["name"] = name
            # It waits for its gate: only then its images can be changed.
            made["spec"]["schedulingGates"] = [{"name": "example.com/wait"}]
            self.cluster.create(made, APPS)
            self.paths[name] = f"/api/v1/namespaces/{APPS}/pods/{name}"
            self.addCleanup(self.cluster.api, "DELETE", self.paths[name])
        webhook.close()
        for body, subresource in (
                ({"metadata": {"annotations": {"cloudtaser.io/status": None}}}, ""),
                ({"spec": {"ephemeralContainers": [{"name": "cloudtaser-x", "image": "x"}]}},
                 "/ephemeralcontainers")):
            wait_until(lambda b=body, s=subresource: self.patch("injected", b, s)[0] == 403,
                       "the policies", 20)

    def patch(self, name, body, subresource="", kind="application/strategic-merge-patch+json"):
        status, raw = self.cluster.request("PATCH", f"{self.paths[name]}{subresource}?dryRun=All", body,
                                           content_type=kind)
        return status, raw.decode()

    def check(self, cases, subresource=""):
        """Each (pod, patch, sentence or None): with the policies, and, where it is refused, without."""
        for name, body, sentence in cases:
            status, text = self.patch(name, body, subresource)
            with self.subTest(f"{name} {body}"):
                self.assertEqual(status, 403 if sentence else 200, text)
                self.assertIn(sentence or "", text)
        self.uninstall()

        def free():
            return all(self.patch(name, body, subresource)[0] == 200 for name, body, _ in cases)
        wait_until(free, "all of it to succeed without the policies", 20)

    def test_annotations_and_images(self):
        def annotate(**values):
            return {"metadata": {"annotations": {f"cloudtaser.io/{k}": v for k, v in values.items()}}}
        stay = "of an injected pod stay as they are"
        late = "only a new pod can be protected"
        image = {"spec": {"initContainers": [{"name": "cloudtaser-injector", "image": "evil:1"}]}}
        self.check((
            ("injected", annotate(inject=None), stay), ("injected", annotate(inject="false"), stay),
            ("injected", annotate(status=None), stay), ("injected", annotate(status="fine"), stay),
            ("plain", annotate(inject="true"), late), ("plain", annotate(inject="yes"), late),
            ("plain", annotate(status="injected"), late),
            ("injected", image, 'init container \\"cloudtaser-injector\\" must stay what it was'),
            ("injected", annotate(note="x"), None), ("plain", annotate(inject="false"), None),
            ("plain", {"metadata": {"labels": {"a": "b"}}}, None),
            ("injected", {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}, None)))

    def test_debug_containers(self):
        def debug(name="debug", **more):
            return {"spec": {"ephemeralContainers": [{"name": name, "image": "busybox", **more}]}}

        def mount(path, volume="cloudtaser-identity"):
            return debug(volumeMounts=[{"name": volume, "mountPath": path}])
        away = "an ephemeral container must keep away"
        self.check((
            ("injected", mount("/stolen"), away), ("injected", mount("/w", "cloudtaser"), away),
            ("injected", debug("cloudtaser-debug"), away),
            ("injected", debug(terminationMessagePath="/x/../cloudtaser/wrapper"), away),
            ("injected", debug(terminationMessagePath="//cloudtaser/wrapper"), away),
            ("injected", debug(), None), ("plain", debug("cloudtaser-debug"), None)),
            "/ephemeralcontainers")

    def test_a_copy_is_what_it_was(self):
        """An injected pod that is created again, as a backup does."""
        made = copy.deepcopy(self.cluster.api("GET", self.paths["injected"]))
        made["metadata"] = {"name": "restored", "annotations": made["metadata"]["annotations"]}
        made.pop("status")
        self.admitted(made)
