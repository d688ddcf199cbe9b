# SPDX-License-Identifier: Apache-2.0
"""Pods that look injected and are not, while no webhook answers: each is let in without the policies, and
refused with them."""

import copy
import json

from chart import IMAGE, VAULT, TestCase, pod
from process import wait_until

OTHER = "https://vault.evil.example:8200"
OWN = "which are CloudTaser's own: remove it"
NOT_THE_INJECTOR = 'init container "cloudtaser-injector" is not the one that CloudTaser injects'
NOT_WRITTEN = "CLOUDTASER_CONFIG of a wrapped container is not what CloudTaser writes"
ADDRESS = f"is not one that the operator allows: {VAULT}"


def injector(made):
    return made["spec"]["initContainers"][0]


def app(made):
    return made["spec"]["containers"][0]


def config(change):
    """A forgery of CLOUDTASER_CONFIG: change(text) gives the new one."""
    def forge(made):
        variable = next(v for v in app(made)["env"] if v["name"] == "CLOUDTASER_CONFIG")
        variable["value"] = change(variable["value"])
    return forge


def setting(**more):
    """One in which these settings stand too, or instead."""
    more = {key.replace("_", "-"): value for key, value in more.items()}
    return config(lambda text: json.dumps({**json.loads(text), **more}, separators=(",", ":")))


def put(path, value):
    """Sets what a dotted path names."""
    def forge(made):
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in way:
            made = made[key]
        made[last] = value
    return forge


def add(path, *values):
    def forge(made):
        for key in path.split("."):
            made = made[int(key)] if key.isdigit() else made.setdefault(key, [])
        made.extend(values)
    return forge


def both(*changes):
    def forge(made):
        for change in changes:
            change(made)
    return forge


def mounted(path, **more):
    """A volume of the author's, mounted somewhere in the app's container."""
    return both(add("spec.volumes", {"name": "mine", "emptyDir": {}}),
                add("spec.containers.0.volumeMounts", {"name": "mine", "mountPath": path, **more}))


def rename(old, new):
    return config(lambda text: text.replace(old, new, 1))


def drop_variable(made):
    app(made)["env"] = [v for v in app(made)["env"] if v["name"] != "CLOUDTASER_CONFIG"]


def by_reference(made):
    drop_variable(made)
    app(made)["env"].append({"name": "CLOUDTASER_CONFIG", "valueFrom": {
        "configMapKeyRef": {"name": "mine", "key": "config"}}})


def twice(made):
    found = next(v for v in app(made)["env"] if v["name"] == "CLOUDTASER_CONFIG")
    app(made)["env"].append({**found, "value": found["value"].replace(VAULT, OTHER)})


def move_injector(made):
    made["spec"]["initContainers"].insert(0, {"name": "first", "image": "first:1"})


def account_volume(made):
    mount = next(m for m in injector(made)["volumeMounts"] if m["name"] != "cloudtaser")
    volume = next(v for v in made["spec"]["volumes"] if v["name"] == mount["name"])
    volume.pop("projected")
    volume["emptyDir"] = {}


def volume(name, **source):
    def forge(made):
        made["spec"]["volumes"] = [{"name": name, **source} if v["name"] == name else v
                                   for v in made["spec"]["volumes"]]
    return forge


def side(made):
    made["metadata"]["annotations"]["cloudtaser.io/containers"] = "app, side"
    made["spec"]["containers"].append({"name": "side", "image": "side:1", "command": ["/side"]})


def writable(made):
    mount = next(m for m in app(made)["volumeMounts"] if m["name"] == "cloudtaser")
    mount.pop("readOnly")


FORGED = {
    "the wrapper left out": (put("spec.containers.0.command", ["/app", "run"]),
                             "a container that is to be protected is not"),
    "another program": (put("spec.containers.0.command", ["/cloudtaser/../app", "--", "run"]),
                        "a container that is to be protected is not"),
    "no program": (put("spec.containers.0.command", ["/cloudtaser/wrapper", "--"]),
                   "a container that is to be protected is not"),
    "one container of two": (side, "a container that is to be protected is not"),
    "status": (put("metadata.annotations.cloudtaser~io/status", "fine"), "was not injected"),
    "the image": (put("spec.initContainers.0.image", "evil:1"), f'but the operator gives "{IMAGE}"'),
    "the image's tag": (put("spec.initContainers.0.image", IMAGE.split("@")[0] + ":1"),
                        "but the operator gives"),
    "the injector's command": (put("spec.initContainers.0.command", ["/bin/sh"]), NOT_THE_INJECTOR),
    "its arguments": (put("spec.initContainers.0.args", ["x"]), NOT_THE_INJECTOR),
    "its environment": (put("spec.initContainers.0.env", [{"name": "LD_PRELOAD", "value": "/x"}]),
                        NOT_THE_INJECTOR),
    "its environment, by reference": (put("spec.initContainers.0.envFrom", [
        {"configMapRef": {"name": "mine"}}]), NOT_THE_INJECTOR),
    "its user": (put("spec.initContainers.0.securityContext.runAsUser", 65533), NOT_THE_INJECTOR),
    "its privileges": (put("spec.initContainers.0.securityContext", {"privileged": True}),
                       NOT_THE_INJECTOR),
    "its capabilities": (put("spec.initContainers.0.securityContext.capabilities",
                             {"drop": ["ALL"], "add": ["SYS_ADMIN"]}), NOT_THE_INJECTOR),
    "its end": (put("spec.initContainers.0.restartPolicy", "Always"), NOT_THE_INJECTOR),
    "a hook of its own": (both(put("spec.initContainers.0.restartPolicy", "Always"), put(
        "spec.initContainers.0.lifecycle", {"postStart": {"exec": {"command": ["/x"]}}})), NOT_THE_INJECTOR),
    "its mounts": (both(add("spec.volumes", {"name": "mine", "emptyDir": {}}), add(
        "spec.initContainers.0.volumeMounts", {"name": "mine", "mountPath": "/cloudtaser-wrapper"})),
        NOT_THE_INJECTOR),
    "its mount's place": (put("spec.initContainers.0.volumeMounts.0.subPath", "x"), NOT_THE_INJECTOR),
    "its message": (put("spec.initContainers.0.terminationMessagePath", "/cloudtaser/wrapper"),
                    NOT_THE_INJECTOR),
    "the account's volume": (account_volume, "that is not the API server's"),
    "an earlier init container": (move_injector, "was not injected"),
    "a volume from the host": (volume("cloudtaser", hostPath={"path": "/tmp"}),
                               "are not those that CloudTaser injects"),
    "an identity that was made": (volume("cloudtaser-identity", configMap={"name": "mine"}),
                                  "are not those that CloudTaser injects"),
    "one volume more": (add("spec.volumes", {"name": "cloudtaser-more", "emptyDir": {}}),
                        'another volume\'s name starts with "cloudtaser"'),
    "a writer": (writable, OWN),
    "a fellow that writes": (add("spec.containers", {"name": "fellow", "image": "x", "volumeMounts": [
        {"name": "cloudtaser", "mountPath": "/w"}]}), OWN),
    "an init container that writes": (add("spec.initContainers", {"name": "late", "image": "x", "volumeMounts": [
        {"name": "cloudtaser", "mountPath": "/w"}]}), OWN),
    "a fellow that reads": (add("spec.containers", {"name": "fellow", "image": "x", "volumeMounts": [
        {"name": "cloudtaser-identity", "mountPath": "/t", "readOnly": True}]}), OWN),
    "a fellow of our name": (add("spec.containers", {"name": "cloudtaser-x", "image": "x"}),
                             'names of containers that start with "cloudtaser-"'),
    "a device": (both(
        add("spec.volumes", {"name": "mine", "persistentVolumeClaim": {"claimName": "mine"}}),
        add("spec.containers.0.volumeDevices", {"name": "mine", "devicePath": "/cloudtaser/wrapper"})), OWN),
    "a message": (put("spec.containers.0.terminationMessagePath", "/cloudtaser/wrapper"), OWN),
    "one container taken back": (both(
        lambda made: made["spec"]["containers"].append({**copy.deepcopy(app(made)), "name": "second"}),
        put("spec.containers.0.command", ["/app", "run"]), put("spec.containers.0.volumeMounts", [])),
        "a container that is to be protected is not"),
    "a mount taken away": (put("spec.containers.0.volumeMounts", []), "lacks CloudTaser's mounts"),
    "another Vault": (setting(address=OTHER), ADDRESS),
    "another Vault, after the right one": (
        rename('"version":1,', f'"version":1,"address":"{OTHER}",'), ADDRESS),
    "another Vault, behind a space": (
        config(lambda text: text[:-1] + f',"address" :"{OTHER}"}}'), NOT_WRITTEN),
    "another Vault, behind an escape": (
        config(lambda text: text[:-1] + f',"addr\\u0065ss":"{OTHER}"}}'), NOT_WRITTEN),
    "another Vault, by expansion": (both(
        add("spec.containers.0.env", {"name": "X", "value": f'","address":"{OTHER}'}),
        lambda made: app(made)["env"].insert(0, app(made)["env"].pop()),
        setting(role="$(X)")), NOT_WRITTEN),
    "the address as a role": (setting(address=OTHER, role=f'"address":"{VAULT}",'), NOT_WRITTEN),
    "no Vault's certificate": (setting(skip_verify=True), "needs the operator's permission"),
    "an authority": (setting(ca_file="/app/ca.crt"), "needs the operator's permission"),
    "secrets in the clear": (setting(plain_environment=True), "needs the operator's permission"),
    "a lower minimum": (setting(min_score=10), "the minimum score in CLOUDTASER_CONFIG is below 20"),
    "no minimum": (config(lambda text: text.replace(',"min-score":20', "")), "is below 20"),
    "two minimums": (config(lambda text: text[:-1] + ',"min-score":0}'), "is below 20"),
    "a minimum in words": (setting(min_score="75"), "is below 20"),
    "no settings": (drop_variable, NOT_WRITTEN),
    "settings by reference": (by_reference, NOT_WRITTEN),
    "settings twice": (twice, NOT_WRITTEN),
}
for _path in ("/cloudtaser/", "/cloudtaser/wrapper", "//cloudtaser", "/./cloudtaser/", "cloudtaser",
              "/cloudtaser-identity/vault-token", "/a/../cloudtaser", "/../cloudtaser/x",
              "/cloudtaser/\n"):
    FORGED[f"a mount at {_path!r}"] = (mounted(_path), OWN)

# What is an author's own business.
HARMLESS = {
    "nothing": lambda made: None,
    "a higher minimum": setting(min_score=55),
    "another role": setting(role="other"),
    "a mount of another name": mounted("/cloudtasers"),
    "a mount below another": mounted("/data/cloudtaser"),
    "a fellow": add("spec.containers", {"name": "fellow", "image": "x"}),
    "an init container": add("spec.initContainers", {"name": "late", "image": "x"}),
    "the container named": put("metadata.annotations.cloudtaser~io/containers", " app ,"),
}


class Forged(TestCase):
    def injected(self):
        """A pod as the webhook makes it, ready to be created again."""
        webhook = self.webhook("forged")
        values = {"failurePolicy": "Ignore", "minProtectionScore": 20,
                  "webhook": {"url": webhook.url, "timeoutSeconds": 1}}
        self.install(values)
        webhook.start()
        self.wait_injects()
        made = self.admitted(pod())
        webhook.close()
        made["metadata"] = {"name": "probe", "annotations": made["metadata"]["annotations"]}
        made.pop("status")
        return made

    def forge(self, base, change):
        made = copy.deepcopy(base)
        # A path's dots stand between keys.
        annotations = made["metadata"]["annotations"]
        made["metadata"]["annotations"] = {k.replace(".", "~"): v for k, v in annotations.items()}
        change(made)
        annotations = made["metadata"]["annotations"]
        made["metadata"]["annotations"] = {k.replace("~", "."): v for k, v in annotations.items()}
        return made

    def test_each_is_refused(self):
        base = self.injected()
        # Without the account's mount there is nothing to forge in it.
        self.assertEqual(len(injector(base)["volumeMounts"]), 2)
        pods = {name: self.forge(base, change) for name, (change, _) in FORGED.items()}
        for name, change in HARMLESS.items():
            with self.subTest(name):
                self.admitted(self.forge(base, change))
        for name, (_, sentence) in FORGED.items():
            with self.subTest(name):
                self.refused(pods[name], "ValidatingAdmissionPolicy 'cloudtaser-shape'", sentence)
        self.uninstall()
        wait_until(lambda: self.try_pod(pods["the image"])[0] == 201, "the policies to be gone", 20)
        for name, made in pods.items():
            with self.subTest(f"{name}, without the policies"):
                self.admitted(made)

    def test_permissions_are_the_operators(self):
        self.install({"failurePolicy": "Ignore", "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}})
        self.wait_policies(pod())
        base = self.injected_by_hand()
        self.refused(self.forge(base, setting(skip_verify=True)), "needs the operator's permission")
        self.install({"allow": {"skipVerify": True}, "failurePolicy": "Ignore",
                      "vault": {"allow": [OTHER]},
                      "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}}, command="upgrade")
        allowed = self.forge(base, both(setting(skip_verify=True), setting(address=OTHER)))
        wait_until(lambda: self.try_pod(allowed)[0] == 201, "the permission", 20)
        self.refused(self.forge(base, setting(plain_environment=True)), "(one of ca-file, plain-environment)")

    def test_a_namespace_has_a_minimum_too(self):
        self.install({"failurePolicy": "Ignore", "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}})
        self.wait_policies(pod())
        low, high = self.injected_by_hand(), self.injected_by_hand()
        setting(min_score=54)(low)
        setting(min_score=55)(high)
        self.namespace("scored", {"cloudtaser.io/min-protection-score": "55"})
        self.namespace("garbled", {"cloudtaser.io/min-protection-score": "high"})
        self.admitted(low)
        self.admitted(high, "scored")
        self.refused(low, "is below 55, which the operator, the pod or the label of namespace scored asks for",
                     namespace="scored")
        self.refused(high, "of namespace garbled", namespace="garbled")
        for key in ("cloudtaser.io/min-protection-score", "CLOUDTASER_MIN_PROTECTION_SCORE"):
            wants = copy.deepcopy(low)
            wants["metadata"]["annotations"][key] = "55"
            self.refused(wants, "is below 55")
        self.install({"failurePolicy": "Ignore", "mode": "warn",
                      "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}}, command="upgrade")
        wait_until(lambda: self.try_pod(low, "scored")[0] == 201, "mode warn", 20)

    def injected_by_hand(self):
        """The least that the policies let in."""
        text = json.dumps({"version": 1, "address": VAULT, "role": "app",
                           "token-file": "/cloudtaser-identity/vault-token"}, separators=(",", ":"))
        made = pod({"cloudtaser.io/status": "injected"}, automountServiceAccountToken=False, volumes=[
            {"name": "cloudtaser", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "cloudtaser-identity", "projected": {"sources": [
                {"serviceAccountToken": {"path": "vault-token"}}]}}],
            initContainers=[{
                "name": "cloudtaser-injector", "image": IMAGE,
                "command": ["/cloudtaser-injector", "/cloudtaser-wrapper", "/cloudtaser/wrapper"],
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                    "runAsNonRoot": True, "runAsUser": 65532,
                                    "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "cloudtaser", "mountPath": "/cloudtaser"}]}])
        app(made)["command"] = ["/cloudtaser/wrapper", "--", "/app"]
        app(made)["env"].append({"name": "CLOUDTASER_CONFIG", "value": text})
        app(made)["volumeMounts"] = [
            {"name": name, "mountPath": f"/{name}", "readOnly": True}
            for name in ("cloudtaser", "cloudtaser-identity")]
        return made

    def test_the_largest_pod(self):
        """The policies have a budget of work: the largest pod that the webhook takes must fit."""
        self.install({"failurePolicy": "Ignore", "minProtectionScore": 20,
                      "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}})
        self.wait_policies(pod())
        made = self.injected_by_hand()
        setting(min_score=20)(made)
        first = app(made)
        for i in range(254):
            more = copy.deepcopy(first)
            more["name"] = f"app-{i}"
            more["env"] += [{"name": f"V{n}", "value": "x" * 20} for n in range(30)]
            more["volumeMounts"] += [{"name": "data", "mountPath": f"/data/{n}"} for n in range(10)]
            made["spec"]["containers"].append(more)
        made["spec"]["volumes"].append({"name": "data", "emptyDir": {}})
        self.assertGreater(len(json.dumps(made)), 500000)
        self.admitted(made)
        made["spec"]["containers"][-1]["command"] = ["/app"]
        self.refused(made, "a container that is to be protected is not")
