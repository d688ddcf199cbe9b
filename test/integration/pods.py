# SPDX-License-Identifier: Apache-2.0
"""Pods of the tests, and what must be true of an injected one."""

import copy
import itertools
import json
import unittest

import environment
from environment import APPS, IMAGE

PREFIX = "cloudtaser.io/"
REFERENCE = "vault:secret/data/db#password"
ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
DENIED = 'admission webhook "pods.cloudtaser.io" denied the request: '
_counter = itertools.count(1)


def unique(stem):
    return f"{stem}-{next(_counter)}"


def container(name="app", env=None, command=("/app", "--exit", "0", "PGPASSWORD"), **more):
    made = {"name": name, "image": "registry.example.com/app:1", "command": list(command),
            "env": [{"name": k, "value": v} for k, v in (env or {}).items()], **more}
    return {key: value for key, value in made.items() if value not in (None, [])}


def pod(annotations=None, containers=None, name=None, inject=True, **spec):
    """An opted-in pod; annotations without the prefix."""
    every = {"inject": "true", "vault-ca-configmap": "vault-ca"} if inject else {}
    every.update(annotations or {})
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name or unique("pod"),
                     "annotations": {k if "/" in k or k.isupper() else PREFIX + k: v
                                     for k, v in every.items() if v is not None}},
        "spec": {"containers": containers or [container(env={"PGPASSWORD": REFERENCE})],
                 **spec}}


class TestCase(unittest.TestCase):
    maxDiff = None

    @property
    def env(self):
        return environment.current()

    @property
    def cluster(self):
        return self.env.cluster

    def admit(self, manifest, namespace=APPS):
        """Creates the pod with kubectl; as the API server stored it."""
        return self.cluster.create(manifest, namespace)

    def refused(self, manifest, *sentences, namespace=APPS):
        """kubectl must be told no by the webhook, with each of these texts; returns the reason."""
        done = self.cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest,
                                    check=False)
        self.assertNotEqual(done.returncode, 0, f"admitted: {done.stdout}")
        self.assertIn(DENIED, done.stderr)
        reason = done.stderr.split(DENIED, 1)[1]
        for sentence in sentences:
            self.assertIn(sentence, reason)
        name = manifest["metadata"].get("name")
        if name:
            status, _ = self.cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
            self.assertEqual(status, 404, "refused, and yet there")
        return reason.strip()

    # --- the shape -----------------------------------------------------------------------------

    def assert_injected(self, stored, original, wrapped=("app",), extra_env=None, audience=None,
                        ca="vault-ca", token_secret=None):
        """`stored` is `original` with exactly the documented changes, in the `wrapped` ones."""
        spec = stored["spec"]
        self.assertEqual(stored["metadata"]["annotations"][PREFIX + "status"], "injected")
        self._check_injector(spec["initContainers"][0])
        self._check_volumes(spec["volumes"], audience, ca, token_secret)
        before = {c["name"]: c for c in _containers(original["spec"])}
        after = {c["name"]: c for c in _containers(spec) if c["name"] != "cloudtaser-injector"}
        self.assertEqual(sorted(after), sorted(before))
        for name, now in after.items():
            if name in wrapped:
                self._check_wrapped(now, before[name], (extra_env or {}).get(name, []))
            else:
                for field in ("command", "args", "env"):
                    self.assertEqual(now.get(field), before[name].get(field), f"{name}.{field}")
                self.assertFalse([m for m in now.get("volumeMounts", [])
                                  if m["name"].startswith("cloudtaser")])

    def _check_injector(self, found):
        self.assertEqual(found["name"], "cloudtaser-injector")
        self.assertEqual(found["image"], IMAGE)
        self.assertEqual(found["command"], ["/cloudtaser-injector", "/cloudtaser-wrapper",
                                            "/cloudtaser/wrapper"])
        amount = {"cpu": "100m", "memory": "32Mi"}
        self.assertEqual(found["resources"], {"requests": amount, "limits": amount})
        self.assertEqual(found["securityContext"], {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"}})
        mounts = [m for m in found["volumeMounts"] if m["mountPath"] != ACCOUNT_PATH]
        self.assertEqual(mounts, [{"name": "cloudtaser", "mountPath": "/cloudtaser"}])
        self.assertNotIn("env", found)

    def _check_volumes(self, volumes, audience, ca, token_secret):
        ours = [v for v in volumes if v["name"].startswith("cloudtaser")]
        vault = {"path": "vault-token", "expirationSeconds": 600}
        if audience:
            vault["audience"] = audience
        own = {"serviceAccountToken": {"path": "cloudtaser-token", "audience": "cloudtaser",
                                       "expirationSeconds": 600}}
        sources = [own]
        if token_secret:
            sources.append({"secret": {"name": token_secret,
                                       "items": [{"key": "token", "path": "vault-token"}]}})
        else:
            sources.append({"serviceAccountToken": vault})
        if ca:
            sources.append({"configMap": {"name": ca,
                                          "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
        found = {v["name"]: v for v in ours}
        self.assertEqual(sorted(found), ["cloudtaser", "cloudtaser-identity"])
        self.assertEqual(len(ours), 2)
        self.assertEqual(found["cloudtaser"]["emptyDir"], {"sizeLimit": "16Mi"})
        identity = found["cloudtaser-identity"]["projected"]
        self.assertEqual(identity["defaultMode"], 0o444)
        self.assertCountEqual(identity["sources"], sources)

    def _check_wrapped(self, now, before, extra_env):
        self.assertEqual(now["command"], ["/cloudtaser/wrapper", "--", *before["command"]])
        self.assertEqual(now.get("args"), before.get("args"))
        env = copy.deepcopy(now["env"])
        config = [e for e in env if e["name"] == "CLOUDTASER_CONFIG"]
        self.assertEqual(len(config), 1)
        env.remove(config[0])
        self.assertEqual(env, before.get("env", []) + extra_env)
        settings = json.loads(config[0]["value"])
        self.assertTrue(settings["address"].startswith("https://127.0.0.1:"))
        self.assertEqual(settings["token-file"], "/cloudtaser-identity/vault-token")
        self.assertNotIn("container", settings)
        mounts = {m["mountPath"]: m for m in now["volumeMounts"]}
        for path, volume in (("/cloudtaser", "cloudtaser"),
                             ("/cloudtaser-identity", "cloudtaser-identity")):
            self.assertEqual(mounts[path],
                             {"name": volume, "mountPath": path, "readOnly": True})

    def settings(self, stored, name="app"):
        """What the wrapper of a container is told."""
        [found] = [c for c in _containers(stored["spec"]) if c["name"] == name]
        [value] = [e["value"] for e in found["env"] if e["name"] == "CLOUDTASER_CONFIG"]
        return json.loads(value)


def _containers(spec):
    return spec.get("initContainers", []) + spec["containers"]
