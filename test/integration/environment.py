# SPDX-License-Identifier: Apache-2.0
"""What all tests share: one control plane, Vaults in every state, one webhook, some nodes."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import secrets
import shutil
import subprocess

import process
from certs import Authority
from control_plane import ControlPlane
from vault import RealVault
from webhook import Webhook

NODE_PREFIX = "cloudtaser.node-restriction.kubernetes.io/"
AGENT_LABELS = {f"{NODE_PREFIX}protection-points": "35", f"{NODE_PREFIX}memfd-secret": "true",
                f"{NODE_PREFIX}enforcement": "lsm", f"{NODE_PREFIX}kernel": "6.12"}
IMAGE = "registry.example.com/cloudtaser/injector@sha256:" + "5" * 64
# The namespace whose pods Vault's role lets in.
APPS = "apps"
RETRY_BUDGET = 4.0

_current = None


def current():
    """The environment of this run."""
    return _current


def missing():
    """Why the tests cannot run here, or None."""
    for tool in ("runc", "openssl"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (tools/setup does it)"
    if os.geteuid() != 0:
        return "only root can run containers and read another process's memory"
    return None


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def _only_run(base):
    """One run at a time in a build folder."""
    with open(base / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise process.RigError(f"another run is under way in {base}") from None
        yield


def _clear_what_was_left(work):
    """Containers and mounts of a run that was killed; its servers ended with it."""
    for root in work.glob("pods/*/runc"):
        for ident in os.listdir(root):
            subprocess.run(["runc", "--root", root, "delete", "--force", ident], check=False)
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        left = [line.split()[1] for line in mounts]
    for path in reversed(left):
        if path.startswith(f"{work}/"):
            subprocess.run(["umount", "-l", path], check=True)


@contextlib.contextmanager
def open_environment():
    global _current
    with contextlib.ExitStack() as stack:
        _current = Environment(stack)
        try:
            yield _current
        finally:
            _current = None


class Environment:
    WHAT = "etcd, kube-apiserver, Vault and the webhook"

    def __init__(self, stack):
        self.base = process.build_dir() / "integration"
        self.base.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_only_run(self.base))
        self.logs, self.work = self.base / "logs", self.base / "work"
        _clear_what_was_left(self.work)
        for folder in (self.logs, self.work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, mode=0o700)
        self.services = []
        self.jwts = []
        binaries = process.testenv()
        self.app = process.build_dir() / "test" / "integration" / "integration-app"
        for name in ("cloudtaser-webhook", "cloudtaser-wrapper", "cloudtaser-injector"):
            process.product(name)
        self.vault_ca = Authority(self.work, "vault-ca")
        self.other_ca = Authority(self.work, "other-ca")
        self.webhook_ca = Authority(self.work, "webhook-ca")
        self.cluster = ControlPlane(binaries, self.work, self.logs)
        stack.callback(self.cluster.close)
        self.services += self.cluster.services
        self._start_vaults(binaries, stack)
        self._add_nodes()
        self._start_webhook(stack)
        self._fill_cluster()

    def _start_vaults(self, binaries, stack):
        self._binaries = binaries
        self.vault = RealVault(binaries, self.vault_ca, self.logs)
        stack.callback(self.vault.close)
        self.sealed = RealVault(binaries, self.vault_ca, self.logs, "vault-sealed")
        stack.callback(self.sealed.close)
        # Values that cannot be anywhere by chance, so that any copy found is a leak.
        self.values = {name: f"ct-{name}-{secrets.token_hex(16)}"
                       for name in ("username", "password", "old-password", "api-key",
                                    "v1-password", "whole")}
        self._fill_vault(self.sealed)
        self.role_id = self._fill_vault(self.vault)
        self.vault_token = self.vault.token(["app"])
        self.sealed.seal()
        self.stopped_port = process.free_port()
        self.stopped_url = f"https://127.0.0.1:{self.stopped_port}"
        self.services += [self.vault.service, self.sealed.service]

    def vault_at_the_stopped_port(self, name):
        """A Vault like the others where else none answers; the caller closes it."""
        vault = RealVault(self._binaries, self.vault_ca, self.logs, name, port=self.stopped_port)
        try:
            self._fill_vault(vault)
        except BaseException:
            vault.close()
            raise
        return vault

    def _fill_vault(self, vault):
        vault.mount_kv2()
        vault.mount_kv1("kv1")
        vault.put("secret/data/db", {"username": self.values["username"],
                                     "password": self.values["old-password"]})
        vault.put("secret/data/db", {"username": self.values["username"],
                                     "password": self.values["password"]})
        vault.put("secret/data/api", {"key": self.values["api-key"], "port": 5432,
                                      "nul": "a\0b"})
        vault.put("kv1/whole", {"WHOLE_KEY": self.values["whole"], "whole.other": "2"})
        vault.put("secret/data/forbidden", {"key": "nobody may read this"})
        vault.put("kv1/db", {"password": self.values["v1-password"],
                              "data": {"password": "of a key that is named data"}})
        vault.enable_kubernetes(self.cluster)
        read = ["read"]
        vault.policy("app", {"secret/data/db": read, "secret/data/api": read,
                             "secret/data/gone": read, "kv1/db": read,
                             "kv1/whole": read, "secret/db": read,
                             "secret/data/changing/*": read})
        vault.role("app", ["default"], [APPS, "restricted"], ["app"])
        vault.role("audience", ["default"], [APPS], ["app"], audience="vault.example.com")
        vault.enable_jwt(self.cluster)
        vault.jwt_role("app", f"system:serviceaccount:{APPS}:default", "vault.example.com", ["app"])
        for name, more in (("brief", {}), ("bounded", {"token_max_ttl": "8s"})):
            vault.jwt_role(name, f"system:serviceaccount:{APPS}:default", "vault.example.com",
                           ["app"], **{"token_ttl": "5s", **more})
        role_id = vault.enable_approle("app", ["app"])
        vault.role("elsewhere", ["default"], ["another-namespace"], ["app"])
        return role_id

    def _add_nodes(self):
        self.nodes_file = self.work / "nodes.json"
        add = self.cluster.add_node
        add("modern", "6.12.41-cloud-amd64", {"pool": "modern"})
        add("old", "5.10.0-32-amd64", {"pool": "old"})
        add("agent", "6.1.0-37-amd64", {"pool": "agent", **AGENT_LABELS})
        add("flip", "6.12.41-cloud-amd64", {"pool": "flip"})
        add("tainted", "6.12.41-cloud-amd64", {"pool": "tainted", **AGENT_LABELS},
            [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}])
        self.cluster.write_nodes(self.nodes_file)

    def _start_webhook(self, stack):
        self.options = [
            "--injector-image", IMAGE, "--vault-address", self.vault.url,
            "--vault-allow", self.vault.url, "--vault-allow", self.sealed.url,
            "--vault-allow", self.stopped_url, "--allow-ca-configmap",
            "--vault-retry-budget", f"{int(RETRY_BUDGET * 1000)}ms", "--vault-role", "app"]
        self.webhook = Webhook(self.webhook_ca, self.nodes_file, self.logs,
                               [*self.options, "--log-format", "json"])
        stack.callback(self.webhook.close)
        self.webhook.register(self.cluster)

    def _fill_cluster(self):
        cluster = self.cluster
        cluster.namespace(APPS)
        cluster.namespace("restricted", {"pod-security.kubernetes.io/enforce": "restricted"})
        for namespace in (APPS, "restricted"):
            for name, authority in (("vault-ca", self.vault_ca), ("other-ca", self.other_ca)):
                cluster.create({"apiVersion": "v1", "kind": "ConfigMap",
                                "metadata": {"name": name},
                                "data": {"ca.crt": authority.pem()}}, namespace)
            cluster.create({"apiVersion": "v1", "kind": "Secret",
                            "metadata": {"name": "vault-token"},
                            "stringData": {"token": self.vault_token}}, namespace)

    def suspects(self, text):
        """The services whose logs may explain a failure with this text."""
        services = [*self.services, self.webhook.service]
        dead = [s for s in services if s.process.poll() is not None]
        if not dead and "cloudtaser-wrapper] " in text:
            return [self.vault.service]
        return dead or ([self.webhook.service] if "admission webhook" in text else [])

    def everything_logged(self):
        """(name, bytes) of every log of this run so far, the control plane's too."""
        return [(path.name, path.read_bytes()) for path in sorted(self.logs.iterdir())]
