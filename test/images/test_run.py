# SPDX-License-Identifier: Apache-2.0
"""The images' programs, run by runc in nothing but their image: as 65532, on a read-only root, without
capabilities, under the default seccomp profile. Those for arm64 by an emulator that is put beside them."""

import base64
import json
import http.client
import ssl
import unittest

import certs
import world
from api_stub import ApiStub
from pod_run import PodRunner
from process import ROOT, RigError, free_port, wait_until

RESTRICTED = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
INJECTOR_IMAGE = "registry.example/cloudtaser-injector@sha256:" + "0123456789abcdef" * 4


def pod(arch, containers, volumes=(), init=()):
    def whole(container):
        _, before = world.runnable(container["image"], arch)
        return {"securityContext": {**RESTRICTED, "runAsUser": 65532}, "resources": {"limits": {"memory": "256Mi"}},
                **container,
                **({"command": before + container["command"]} if "command" in container else {})}
    return {"metadata": {"name": "images", "namespace": "default"},
            "spec": {"volumes": list(volumes), "initContainers": [whole(c) for c in init],
                     "containers": [whole(c) for c in containers]}}


def images(arch):
    return {name: str(world.runnable(name, arch)[0]) for name in world.names(arch)}


class Run(unittest.TestCase):
    arch = "amd64"

    def output(self, *containers, **more):
        """What the first container said, once all have ended well."""
        with PodRunner(pod(self.arch, containers, **more), images=images(self.arch)) as runner:
            runner.start()
            self.assertEqual(set(runner.wait(60).values()), {0}, runner.report())
            return runner.containers[containers[0]["name"]].log()

    def test_versions(self):
        for name in world.names(self.arch):
            said = self.output({"name": "app", "image": name, "command": [f"/{name}", "--version"]})
            self.assertEqual(said, f"{name} {world.VERSION}\n")
        said = self.output({"name": "app", "image": "cloudtaser-injector",
                            "command": ["/cloudtaser-wrapper", "--version"]})
        self.assertEqual(said, f"cloudtaser-wrapper {world.VERSION}\n")

    def test_injector_copies_the_wrapper(self):
        mount = {"name": "cloudtaser", "mountPath": "/cloudtaser"}
        said = self.output(
            # Any image will do for the app: the wrapper needs nothing of it.
            {"name": "app", "image": "cloudtaser-webhook", "volumeMounts": [mount],
             "command": ["/cloudtaser/wrapper", "--version"]},
            init=[{"name": "cloudtaser-injector", "image": "cloudtaser-injector",
                   "command": ["/cloudtaser-injector", "/cloudtaser-wrapper",
                               "/cloudtaser/wrapper"], "volumeMounts": [mount]}],
            volumes=[{"name": "cloudtaser", "emptyDir": {"sizeLimit": "16Mi"}}])
        self.assertEqual(said, f"cloudtaser-wrapper {world.VERSION}\n")


class RunArm64(Run):
    arch = "arm64"


class Entrypoint(unittest.TestCase):
    def test_what_runs_when_nothing_is_said(self):
        for name in world.NAMES:
            one = {"name": "app", "image": name, "args": ["--version"]}
            with PodRunner(pod("amd64", [one]), images=images("amd64")) as runner:
                runner.start()
                self.assertEqual(runner.wait(60), {"app": 0}, runner.report())
                self.assertEqual(runner.containers["app"].log(), f"{name} {world.VERSION}\n")


class Webhook(unittest.TestCase):
    """Its two ends: GnuTLS towards the API server that calls it, and libcurl with OpenSSL towards the
    API server that it asks for nodes, by name."""

    arch = "amd64"

    @classmethod
    def setUpClass(cls):
        folder = world.scratch()
        cls.authority = certs.Authority(folder, "images-authority")
        cls.stranger = certs.Authority(folder, "images-stranger")
        cls.serving = [p.read_text() for p in cls.authority.issue("images-webhook")]
        cls.api = ApiStub(*cls.authority.issue("images-api", hosts=("DNS:localhost",)))
        cls.addClassCleanup(cls.api.close)

    def kubeconfig(self, authority):
        bundle = base64.b64encode(authority.pem().encode()).decode()
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": f"https://localhost:{self.api.port}",
                "certificate-authority-data": bundle}}],
            "users": [{"name": "u", "user": {"token": "the-token"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]})

    def runner(self, authority):
        self.port = free_port()
        files = {"tls.crt": self.serving[0], "tls.key": self.serving[1],
                 "kubeconfig": self.kubeconfig(authority)}
        return PodRunner(pod(self.arch, [{
            "name": "webhook", "image": "cloudtaser-webhook", "command": ["/cloudtaser-webhook"],
            "args": [f"--listen=127.0.0.1:{self.port}", "--tls-cert=/config/tls.crt",
                     "--tls-key=/config/tls.key", "--kubeconfig=/config/kubeconfig",
                     f"--injector-image={INJECTOR_IMAGE}",
                     "--vault-address=https://vault.example.com:8200"],
            "volumeMounts": [{"name": "config", "mountPath": "/config", "readOnly": True}]}],
            volumes=[{"name": "config", "configMap": {"name": "config"}}]),
            images=images(self.arch), configmaps={"config": files})

    def ask(self, method, path, body=None):
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5,
                                                 context=context)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return None, ""
        finally:
            connection.close()

    def wait_status(self, path, status):
        wait_until(lambda: self.ask("GET", path)[0] == status, f"{path} to answer {status}", 60)

    def test_ready_and_patching_with_nodes_over_tls(self):
        case = ROOT / "test" / "golden" / "mutate" / "address-default-named"
        review = json.loads((case / "input.json").read_text())["review"]
        expected = json.loads((case / "expected.json").read_text())["answer"]["response"]
        with self.runner(self.authority) as runner:
            runner.start()
            try:
                self.wait_status("/readyz", 200)
            except RigError as error:
                self.fail(f"{error}\n{runner.containers['webhook'].log()}")
            status, text = self.ask("POST", "/mutate", json.dumps(review))
            self.assertEqual(status, 200, text)
            answer = json.loads(text)["response"]
            self.assertTrue(answer["allowed"], text)
            paths = [op["path"] for op in json.loads(base64.b64decode(answer["patch"]))]
            self.assertEqual(paths, [op["path"] for op in expected["patch"]])
            self.assertIn("cloudtaser_webhook_", self.ask("GET", "/metrics")[1])
            self.assertTrue(any(p.startswith("/api/v1/nodes?limit=") for p in self.api.requests))
            self.assertEqual(self.api.tokens, {"Bearer the-token"})
            self.assertEqual(runner.stop(), {"webhook": 0})

    def test_an_api_server_of_another_authority_is_not_believed(self):
        before = len(self.api.requests)
        with self.runner(self.stranger) as runner:
            runner.start()
            runner.containers["webhook"].wait_log("unable to get local issuer certificate", 60)
            self.wait_status("/readyz", 503)
        self.assertEqual(len(self.api.requests), before)


class WebhookArm64(Webhook):
    arch = "arm64"
