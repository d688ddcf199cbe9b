# SPDX-License-Identifier: Apache-2.0
"""A whole cluster on one machine, CloudTaser installed in it: control plane, a real node, Vault with the
kubernetes login, the images side-loaded, the chart by Helm. The caller is in a world of its own
(node.enter_own_world)."""

import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess

import images
import node
from certs import Authority
from control_plane import FullControlPlane
from process import GO_TOOL, ROOT, RigError, build_dir, wait_until
from vault import RealVault

RELEASE, SYSTEM = "cloudtaser", "cloudtaser-system"
REPOSITORY = "cloudtaser.test"
APP_IMAGE = f"{REPOSITORY}/app:1"
APPLETS = ("sh", "cat", "sleep", "env", "ls", "grep")
# The namespaces whose pods Vault's role lets in; the second takes restricted pods alone.
APPS, RESTRICTED = "apps", "restricted"
# What is waited for comes within seconds on a machine that has nothing else to do; this is no figure of anybody's.
PATIENCE_S = 400


def chart():
    """CT_CHART, or the project's own."""
    return pathlib.Path(os.environ.get("CT_CHART") or ROOT / "charts" / "cloudtaser")


def image_folder():
    """CT_IMAGES, or where tools/images puts them."""
    return pathlib.Path(os.environ.get("CT_IMAGES") or ROOT / "build" / "images")


def version():
    text = (ROOT / "CMakeLists.txt").read_text()
    return re.search(r"project\(cloudtaser VERSION ([0-9.]+)", text)[1]


def missing():
    """Why no cluster can be had here, or None."""
    if shutil.which("busybox") is None:
        return "busybox is not installed (tools/setup does it)"
    return node.missing()


class Cluster:
    """Closed by `stack`. The virtual machine boots while the rest is being made."""

    def __init__(self, binaries, work, logs, stack, tell=lambda text: None):
        self.binaries, self.work, self.logs = pathlib.Path(binaries), work, logs
        self.secrets = {name: f"ct-{name}-{secrets.token_hex(16)}" for name in ("username", "password")}
        archive = self._images()
        machine = node.virtual_machine()
        node.make_network()
        tell("control plane (etcd, API server, controllers, scheduler)")
        self.api = FullControlPlane(node.HOST, self.binaries, work, logs)
        stack.callback(self.api.close)
        tell("virtual machine (boots for half a minute)")
        self.node = node.Node(self.api, machine, archive, work, logs)
        stack.callback(self.node.close)
        tell("Vault with the kubernetes login")
        self.vault_ca = Authority(work, "vault-ca")
        self.vault = RealVault(self.binaries, self.vault_ca, logs, host=node.HOST)
        stack.callback(self.vault.close)
        self._fill()
        tell("waiting for the node")
        self.node.wait_ready()

    def _images(self):
        archive, folder = images.Archive(), image_folder()
        self.digests = {}
        for name in ("cloudtaser-webhook", "cloudtaser-injector", "cloudtaser-agent"):
            path = folder / f"{name}-amd64.tar"
            if not path.exists():
                raise RigError(f"{path} is missing: run make images first")
            self.digests[name] = archive.add(path, f"{REPOSITORY}/{name}", version())
        tests = build_dir() / "test"
        archive.make(f"{REPOSITORY}/pause:1", images.layer(
            {"/pause": tests / "cluster" / "cluster-pause"}), ["/pause"])
        archive.make(APP_IMAGE, images.layer(
            {"/app": tests / "integration" / "integration-app",
             "/bin/busybox": shutil.which("busybox")},
            {f"/bin/{name}": "busybox" for name in APPLETS}), ["/app"])
        return archive

    def _fill(self):
        """What an operator has before CloudTaser comes: a secret in Vault, a role, namespaces."""
        vault = self.vault
        vault.mount_kv2()
        vault.put("secret/data/db", self.secrets)
        vault.enable_kubernetes(self.api)
        vault.policy("app", {"secret/data/db": ["read"]})
        vault.role("app", ["default"], [APPS, RESTRICTED], ["app"])
        self.api.namespace(APPS)
        self.api.namespace(RESTRICTED, {"pod-security.kubernetes.io/enforce": "restricted"})
        for namespace in (APPS, RESTRICTED):
            self.api.create({"apiVersion": "v1", "kind": "ConfigMap",
                             "metadata": {"name": "vault-ca"},
                             "data": {"ca.crt": self.vault_ca.pem()}}, namespace)

    # --- CloudTaser ----------------------------------------------------------------------------

    def helm(self, *arguments):
        """The real Helm; its output."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.work),
                       "KUBECONFIG": str(self.api.kubeconfig), **GO_TOOL}
        done = subprocess.run([self.binaries / "helm", *map(str, arguments)], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            raise RigError(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def install(self, command="install", agent=None, **more):
        """`more`: values of the chart beside those that say what this cluster is; `agent`: those of the agent, which
        there is none without."""
        values = self.work / "values.json"
        self._values = more
        values.write_text(json.dumps({
            **more,
            "image": {"repository": f"{REPOSITORY}/cloudtaser-webhook",
                      "digest": self.digests["cloudtaser-webhook"]},
            "injector": {"image": {"repository": f"{REPOSITORY}/cloudtaser-injector",
                                   "digest": self.digests["cloudtaser-injector"]}},
            # Under emulation, with all pods starting at once, a login takes its time.
            "vault": {"address": self.vault.url, "role": "app", "timeout": "30s",
                      "retryBudget": "2m"},
            "allow": {"caConfigmap": True},
            "agent": {"enabled": agent is not None, "labelHold": "30s", **(agent or {}), "image": {
                "repository": f"{REPOSITORY}/cloudtaser-agent", "digest": self.digests["cloudtaser-agent"]}}}))
        return self.helm(command, RELEASE, chart(), "--namespace", SYSTEM, "--create-namespace",
                         "--values", values, "--wait", "--timeout", "5m")

    def upgrade(self, **more):
        """Other values; those of install() that are not named stay."""
        return self.install("upgrade", **{**self._values, **more})

    def uninstall(self):
        return self.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "5m")

    # --- pods ----------------------------------------------------------------------------------

    def pods(self, namespace, selector):
        """The pods with this label that are not on their way out."""
        listing = self.api.api("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector="
                               + selector.replace("=", "%3D"))
        return [pod for pod in listing["items"] if "deletionTimestamp" not in pod["metadata"]]

    def wait_pod(self, namespace, selector, test, what, seconds=PATIENCE_S):
        """The first pod with this label of which test(pod) is true; tells what there is if none
        comes to be."""
        def attempt():
            return next((pod for pod in self.pods(namespace, selector) if test(pod)), None)
        try:
            return wait_until(attempt, f"a pod {selector} in {namespace} {what}", seconds, 0.3)
        except RigError as error:
            raise RigError(f"{error}\n{self.describe(namespace, selector)}") from None

    def wait_running(self, namespace, selector, seconds=PATIENCE_S):
        return self.wait_pod(namespace, selector, running, "to be Running", seconds)

    def log(self, namespace, pod, container="app"):
        name = pod if isinstance(pod, str) else pod["metadata"]["name"]
        done = self.api.kubectl("logs", "-n", namespace, name, "-c", container, check=False)
        return done.stdout + done.stderr

    def wait_log(self, namespace, pod, text, container="app", seconds=90):
        """The container's log once it holds `text`."""
        found = []

        def attempt():
            found[:] = [self.log(namespace, pod, container)]
            return text in found[0]
        try:
            wait_until(attempt, f"{text!r} in the log of {pod['metadata']['name']}", seconds, 0.5)
        except RigError as error:
            raise RigError(f"{error}; it is\n{found[0]}") from None
        return found[0]

    def execute(self, namespace, pod, *command, container="app"):
        """kubectl exec; a CompletedProcess."""
        return self.api.kubectl("exec", "-n", namespace, pod["metadata"]["name"], "-c", container, "--",
                                *command, check=False)

    def describe(self, namespace, selector=None):
        """Where things stand, for a failure: pods, the last events, what the pods have logged."""
        wide = self.api.kubectl("get", "pods", "-n", namespace, "-o", "wide", check=False)
        events = self.api.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp",
                                  "--no-headers", check=False)
        parts = [wide.stdout + wide.stderr, *events.stdout.splitlines()[-12:]]
        for pod in self.pods(namespace, selector)[:2] if selector else []:
            for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
                log = self.log(namespace, pod, container["name"]).splitlines()[-8:]
                parts += [f"-- {pod['metadata']['name']}/{container['name']}:", *log]
        return "\n".join(parts)


def running(pod):
    """Running, and each of its containers ready."""
    status = pod.get("status", {})
    return status.get("phase") == "Running" and all(
        c["ready"] for c in status.get("containerStatuses", [{"ready": False}]))


def succeeded(pod):
    return pod.get("status", {}).get("phase") == "Succeeded"
