#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rig's own parts that the tests believe: JSON Patch, and what kubelet makes of a container."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "rig"))
import json_patch  # noqa: E402
import oci  # noqa: E402
import volumes  # noqa: E402


class JsonPatch(unittest.TestCase):
    # document, operations, result or a part of the error
    CASES = [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a/b": {"c~d": 1}}, [{"op": "replace", "path": "/a~1b/c~0d", "value": 2}],
         {"a/b": {"c~d": 2}}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"},
                      {"op": "add", "path": "/b/-", "value": 2}], {"a": [1], "b": [1, 2]}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], "another one"),
        ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], "there is no 'b'"),
        ({"a": 1}, [{"op": "remove", "path": "/b"}], "there is no 'b'"),
        ({"a": 1}, [{"op": "add", "path": "/b/c", "value": 2}], "there is no 'b'"),
        ({"a": [1]}, [{"op": "add", "path": "/a/3", "value": 2}], "past the end"),
        ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 2}], "no index"),
        ({"a": 1}, [{"op": "frob", "path": "/a"}], "not known"),
    ]

    def test_cases(self):
        for document, operations, expected in self.CASES:
            with self.subTest(operations=operations):
                before = json.dumps(document)
                if isinstance(expected, str):
                    with self.assertRaisesRegex(json_patch.PatchError, expected):
                        json_patch.apply(document, operations)
                else:
                    self.assertEqual(json_patch.apply(document, operations), expected)
                self.assertEqual(json.dumps(document), before)


class Kubelet(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ct-rig-")
        self.addCleanup(lambda: __import__("shutil").rmtree(self.folder))

    def image(self, **settings):
        return oci.Image(self.folder, settings)

    def test_expansion(self):
        known = {"A": "1", "B": "$(A)"}
        for text, expected in [
                ("$(A)", "1"), ("x$(A)y$(A)", "x1y1"), ("$(B)", "$(A)"), ("$(C)", "$(C)"),
                ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A", "$A"), ("$", "$"), ("$(A", "$(A"),
                ("${vault:a#b}", "${vault:a#b}")]:
            with self.subTest(text):
                self.assertEqual(oci.expand(text, known), expected)

    def test_environment_is_expanded_in_order(self):
        container = {"name": "c", "env": [
            {"name": "EARLY", "value": "$(LATE)"}, {"name": "LATE", "value": "x"},
            {"name": "AFTER", "value": "$(LATE)"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no",
                                                            "optional": True}}}]}
        objects = volumes.Objects(secrets={"s": {"k": "v"}})
        env, own = oci.environment({"spec": {}}, container, self.image(env=["I=1", "LATE=i"]),
                                   objects)
        self.assertEqual(own, {"EARLY": "$(LATE)", "LATE": "x", "AFTER": "x", "KEY": "v"})
        self.assertEqual((env["I"], env["LATE"]), ("1", "x"))

    def test_command_line(self):
        image = self.image(entrypoint=["/e"], cmd=["d"])
        for command, args, expected in [
                (None, None, ["/e", "d"]), (None, ["a"], ["/e", "a"]), (["/c"], None, ["/c"]),
                (["/c", "$(X)"], ["$(X)"], ["/c", "1", "1"])]:
            with self.subTest(command=command, args=args):
                container = {"name": "c", "command": command, "args": args}
                self.assertEqual(oci.command_line(container, image, {"X": "1"}), expected)
        with self.assertRaisesRegex(oci.PodError, "what to run"):
            oci.command_line({"name": "c"}, self.image(), {})

    def test_security_context_of_container_beats_the_pods(self):
        pod = {"spec": {"securityContext": {"runAsUser": 1, "runAsNonRoot": True}}}
        got = oci.security(pod, {"name": "c", "securityContext": {"runAsUser": 2}}, self.image())
        self.assertEqual((got["user"], got["no_new_privs"]), (2, False))
        with self.assertRaisesRegex(oci.PodError, "run as root"):
            oci.security(pod, {"name": "c", "securityContext": {"runAsUser": 0}}, self.image())

    def test_capabilities(self):
        for asked, expected in [
                ({"drop": ["ALL"]}, []),
                ({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, ["CAP_NET_BIND_SERVICE"]),
                ({"add": ["SYS_PTRACE"], "drop": ["KILL"]}, None)]:
            with self.subTest(asked):
                got = oci.capabilities({"capabilities": asked})
                if expected is not None:
                    self.assertEqual(got, expected)
        self.assertIn("CAP_SYS_PTRACE", got)
        self.assertNotIn("CAP_KILL", got)

    def test_projected_volume_has_kubelets_links_and_modes(self):
        pod = {"metadata": {}, "spec": {
            "securityContext": {"runAsUser": 1234}, "containers": [{"name": "c"}],
            "volumes": [{"name": "v", "projected": {"defaultMode": 0o444, "sources": [
                {"serviceAccountToken": {"path": "t", "audience": "x"}},
                {"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}]}}]}}
        made = volumes.Volumes(pod, os.path.join(self.folder, "v"), volumes.Objects(
            configmaps={"m": {"k": "content", "other": ""}}, token=lambda a, s: "token for " + a))
        folder = made.paths["v"]
        self.assertEqual(os.readlink(os.path.join(folder, "t")), "..data/t")
        self.assertEqual(sorted(n for n in os.listdir(folder) if n[0] != "."), ["p", "t"])
        token = os.stat(os.path.join(folder, "t"))
        self.assertEqual((token.st_mode & 0o777, token.st_uid), (0o600, 1234))
        self.assertEqual(os.stat(os.path.join(folder, "p")).st_mode & 0o777, 0o444)
        with open(os.path.join(folder, "t"), encoding="ascii") as f:
            self.assertEqual(f.read(), "token for x")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root")
        sys.exit(1 if os.environ.get("CT_MUST_RUN") else 77)
    unittest.main()
