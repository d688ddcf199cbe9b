# SPDX-License-Identifier: Apache-2.0
"""The webhook's golden cases against the policies: what it makes of a pod they let in, and what it refuses they
refuse too when it does not answer."""

import copy
import json

import json_patch
from chart import TestCase, pod
from process import ROOT

CASES = ROOT / "test" / "golden" / "mutate"
# A path with `..` that names a folder of ours counts as ours: CEL cannot clean it.
STRICTER = {"mount-similar-path"}
# They come with a complete shape: what is amiss with it is that settings have changed (all that ever were are
# accepted here), or that a container was added since.
COMPLETE = {"copy-with-other-injector", "copy-with-other-settings", "reinvocation-reference-elsewhere",
            "reinvocation-wraps-new"}
NO_WEBHOOK = {"failurePolicy": "Ignore", "webhook": {"url": "https://127.0.0.1:1", "timeoutSeconds": 1}}


def cases():
    """(name, settings, request, expected) of those that create a pod."""
    for path in sorted(CASES.glob("*/input.json")):
        given = json.loads(path.read_text())
        request = (given.get("review") or {}).get("request")
        if isinstance(request, dict) and request.get("operation") == "CREATE" and \
                not request.get("subResource") and isinstance(request.get("object"), dict):
            yield (path.parent.name, given.get("settings", {}), request,
                   json.loads((path.parent / "expected.json").read_text()))


def creatable(made):
    """The pod as somebody would send it, with what these examples leave out."""
    made = copy.deepcopy(made)
    made.setdefault("apiVersion", "v1")
    made.setdefault("kind", "Pod")
    made["metadata"] = {"name": "golden", "annotations": made["metadata"].get("annotations") or {}}
    for key in ("containers", "initContainers"):
        for container in made["spec"].get(key) or []:
            # Some are malformed on purpose.
            if isinstance(container, dict):
                container.setdefault("image", "registry.example.com/app:1")
    made["spec"]["serviceAccountName"] = "default"
    made["spec"].pop("serviceAccount", None)
    made["spec"].pop("nodeName", None)
    return made


class Golden(TestCase):
    def setUp(self):
        self.namespace("apps")

    def possible(self, pods):
        """Those that the API server takes at all, before there are policies."""
        return {name: made for name, made in pods.items() if self.try_pod(made)[0] == 201}

    def install_as(self, all_settings):
        """With all that any of the cases was decided by."""
        def every(key):
            return sorted({s[key] for s in all_settings if key in s})
        allow = every("vault-address") + sorted({a for s in all_settings for a in s.get("vault-allow", ())})
        self.install({**NO_WEBHOOK, "vault": {"allow": allow},
                      "injector": {"acceptedImages": every("injector-image")},
                      "allow": {"skipVerify": True, "caConfigmap": True, "plainEnvironment": True}})
        self.wait_policies(pod())

    def test_what_the_webhook_makes_is_let_in(self):
        pods, settings = {}, []
        for name, given, request, expected in cases():
            # Another mode would have other policies.
            if expected["outcome"] in ("patched", "unchanged") and given.get("mode", "enforce") == "enforce":
                patch = expected["answer"]["response"].get("patch", [])
                pods[name] = creatable(json_patch.apply(request["object"], patch))
                settings.append(given)
        possible = self.possible(pods)
        self.assertGreater(len(possible), 50, sorted(set(pods) - set(possible)))
        self.install_as(settings)
        for name, made in possible.items():
            with self.subTest(name):
                if name in STRICTER:
                    self.refused(made, "which are CloudTaser's own: remove it")
                else:
                    self.admitted(made)

    def test_what_the_webhook_refuses_does_not_start_without_it(self):
        pods, settings = {}, []
        for name, given, request, expected in cases():
            if expected["outcome"] in ("denied", "unprotected", "patched"):
                pods[name] = creatable(request["object"])
                settings.append(given)
        possible = self.possible(pods)
        self.assertGreater(len(possible), 100, sorted(set(pods) - set(possible)))
        self.install_as(settings)
        for name, made in possible.items():
            with self.subTest(name):
                if name in COMPLETE:
                    self.admitted(made)
                else:
                    self.refused(made, "ValidatingAdmissionPolicy 'cloudtaser-shape'")
