# SPDX-License-Identifier: Apache-2.0
"""The chart as its users see it: Helm, and the webhook with the rights that the chart gives it."""

import contextlib
import copy
import http.client
import json
import os
import ssl
import subprocess
import unittest

import yaml

import environment
from process import GO_TOOL, ROOT, RigError, Service, free_port, product, wait_until

CHART = ROOT / "charts" / "cloudtaser"
MANIFEST = ROOT / "charts" / "manifests" / "cloudtaser.yaml"
RELEASE, NAMESPACE = "cloudtaser", "cloudtaser-system"
IMAGE = "registry.example.com/cloudtaser-injector@sha256:" + "5" * 64
VAULT = "https://vault.example.com:8200"
CONFIGURATION = ("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/cloudtaser")
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/cloudtaser-webhook-tls"
APPS = "apps"
# What the tests install with, beside values of their own.
VALUES = {"vault": {"address": VAULT, "role": "app"}, "injector": {"image": {
    "repository": "registry.example.com/cloudtaser-injector", "digest": "sha256:" + "5" * 64}}}


def merged(base, more):
    """Both values; `more` wins."""
    made = copy.deepcopy(base)
    for key, value in more.items():
        made[key] = merged(made[key], value) if isinstance(value, dict) and key in made else value
    return made


def helm(*arguments, values=None, check=True):
    """The real Helm; a CompletedProcess. `values` are given as a file."""
    env = environment.current()
    more = ()
    if values is not None:
        path = env.work / "values.json"
        path.write_text(json.dumps(values))
        more = ("--values", path)
    done = subprocess.run(
        [env.binaries / "helm", *arguments, *more], text=True, timeout=120,
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(env.work), "KUBECONFIG": str(env.cluster.kubeconfig), **GO_TOOL})
    if check and done.returncode != 0:
        raise RigError(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done


def template(values=None, *options):
    """What `helm template` prints."""
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *options, values=values).stdout


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


class Webhook:
    """The webhook's program in the place of the chart's pods: the chart's ConfigMap as its settings, the
    chart's ServiceAccount as its rights. Where it serves is known before it is started."""

    def __init__(self, name="webhook"):
        self._cluster, self._env = environment.current().cluster, environment.current()
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._name = name
        self.service = None
        self._starts = 0

    def _kubeconfig(self):
        token = self._env.work / f"{self._name}.token"
        token.write_text(self._cluster.service_account_token(NAMESPACE, "cloudtaser-webhook"))
        path = self._env.work / f"{self._name}.kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {
                "server": self._cluster.url,
                "certificate-authority": str(self._cluster.authority.certificate)}}],
            "users": [{"name": "it", "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": "it", "context": {
                "cluster": "it", "user": "it", "namespace": NAMESPACE}}]}))
        return path

    def start(self, ready=True, options=()):
        data = self._cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/"
                                        "cloudtaser-webhook")["data"]
        config = self._env.work / f"{self._name}.json"
        config.write_text(data["webhook.json"])
        self._starts += 1
        self.service = Service(f"{self._name}-{self._starts}", [
            product("cloudtaser-webhook"), "--config", config, "--listen", f"127.0.0.1:{self.port}",
            "--kubeconfig", self._kubeconfig(), *options], self._env.logs)
        if ready:
            self.service.wait_for(lambda: self.get("/readyz")[0] == 200, "the webhook to be ready", 30)
        return self

    def get(self, path):
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=tls)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def close(self):
        if self.service is not None:
            self.service.end()
            self.service = None


class TestCase(unittest.TestCase):
    maxDiff = None

    @property
    def env(self):
        return environment.current()

    @property
    def cluster(self):
        return self.env.cluster

    def namespace(self, name, labels=None):
        """A namespace that is there already is taken as it is."""
        with contextlib.suppress(Exception):
            self.cluster.namespace(name, labels)

    def install(self, values=None, command="install", **options):
        self.namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        self.namespace(APPS)
        if command == "install":
            self.addCleanup(self.uninstall)
        return helm(command, RELEASE, CHART, "--namespace", NAMESPACE,
                    values=merged(VALUES, values or {}), **options)

    def uninstall(self):
        # Nobody would run the agent's hook here; test/cluster does.
        done = helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--no-hooks", check=False)
        self.assertTrue(done.returncode == 0 or "not found" in done.stderr, done.stderr)
        # Policies are in force for a moment longer than they exist.
        for namespace in (APPS, "kube-system"):
            self.wait_policies(pod(), namespace, status=201)
        self.wait_policies(SAYS_SO, status=201)
        return done

    def webhook(self, name="webhook"):
        webhook = Webhook(name)
        self.addCleanup(webhook.close)
        return webhook

    def try_pod(self, manifest, namespace=APPS, method="POST"):
        """Asks the API server, which stores nothing: (status, what it says)."""
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        status, raw = self.cluster.request(method, path, manifest)
        return status, json.loads(raw)

    def admitted(self, manifest, namespace=APPS):
        status, answer = self.try_pod(manifest, namespace)
        self.assertEqual(status, 201, answer.get("message"))
        return answer

    def refused(self, manifest, *sentences, namespace=APPS):
        status, answer = self.try_pod(manifest, namespace)
        self.assertEqual(status, 403, answer.get("message", "it was admitted"))
        for sentence in sentences:
            self.assertIn(sentence, answer["message"])
        return answer["message"]

    def wait_policies(self, probe, namespace=APPS, status=403):
        """Policies are in force a moment after they are stored."""
        wait_until(lambda: self.try_pod(probe, namespace)[0] == status, "the policies", 20, 0.1)

    def wait_told(self):
        """Until the API server knows the authority of the webhook."""
        wait_until(lambda: all("caBundle" in entry["clientConfig"] for entry in
                               self.cluster.api("GET", CONFIGURATION)["webhooks"]), "the caBundle", 30)

    def wait_injects(self):
        """Until pods that opt in are injected, by the webhook and past the policies."""
        self.wait_told()
        self.wait_policies(SAYS_SO)
        wait_until(lambda: self.try_pod(pod())[0] == 201, "a pod to be injected", 30, 0.2)


def pod(annotations=None, **spec):
    """An opted-in pod, as restricted; annotations beside cloudtaser.io/inject, None takes away."""
    every = {"cloudtaser.io/inject": "true", **(annotations or {})}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "probe", "annotations": {k: v for k, v in every.items() if v is not None}},
            "spec": {"securityContext": {"runAsNonRoot": True, "runAsUser": 10001,
                                         "seccompProfile": {"type": "RuntimeDefault"}},
                     "containers": [
                {"name": "app", "image": "registry.example.com/app:1", "command": ["/app", "run"],
                 "env": [{"name": "PGPASSWORD", "value": "vault:secret/data/db#password"}],
                 "securityContext": {"allowPrivilegeEscalation": False,
                                     "capabilities": {"drop": ["ALL"]}}}], **spec}}


# No webhook is asked about it: refused by the policies, whatever the webhook does.
SAYS_SO = pod({"cloudtaser.io/inject": None, "cloudtaser.io/status": "injected"})
