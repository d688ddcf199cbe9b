#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`cloudtaser explain` and `inject` beside a live cluster: test_cluster.py PROGRAM."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "webhook")]
import api_server  # noqa: E402

PROGRAM = ""
VAULT = "https://vault.example.com:8200"
LABEL = "cloudtaser.io/min-protection-score"
SETTINGS = {"listen": ":8443", "cert-mode": "self", "vault-address": VAULT, "vault-role": "from-the-map",
            "mode": "audit"}


def node(name, kernel="6.12.48", **labels):
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels},
            "status": {"nodeInfo": {"kernelVersion": kernel}}}


def template(**annotations):
    names = {"inject": "true", "vault-role": "web", "min-protection-score": "55", **annotations}
    return {"metadata": {"annotations": {f"cloudtaser.io/{k.replace('_', '-')}": v
                                         for k, v in names.items()}},
            "spec": {"containers": [{"name": "app", "image": "x", "command": ["/app/server"]}]}}


def deployment(name="web", namespace="shop", **annotations):
    return {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "managedFields": []},
            "spec": {"template": template(**annotations)}}


def status(code, reason, message):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                       "reason": reason, "message": message}).encode()


class Server(api_server.ApiServer):
    """With single objects, and refusals, by path."""

    def __init__(self, *arguments, **more):
        self.by_path, self.asked = {}, []
        super().__init__(*arguments, **more)
        self.port = self._server.server_address[1]

    def answer_request(self, handler):
        path = urllib.parse.urlsplit(handler.path).path
        self.asked.append(handler.path)
        answer = self.by_path.get(path)
        if answer is None and path not in ("/api/v1/nodes", "/api/v1/namespaces"):
            answer = 404, status(404, "NotFound", f"there is no {path}")
        if answer is None:
            super().answer_request(handler)
        else:
            api_server.send(handler, *answer)

    def put(self, path, document):
        self.by_path[path] = 200, json.dumps(document).encode()

    def refuse(self, path, what):
        self.by_path[path] = 403, status(403, "Forbidden", f'{what} is forbidden: User "dev" cannot '
                                         f'list resource "{what}"')


class Cluster(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="ct-cli-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.server = Server(0, [node(f"n{i:04}") for i in range(1203)] + [node("old", "5.10.0")])
        self.addCleanup(self.server.stop)
        self.server.put("/apis/apps/v1/namespaces/shop/deployments/web", deployment())
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(self.server.kubeconfig())
        self.manifest = self.folder / "web.json"
        self.manifest.write_text(json.dumps(deployment()))

    def run_it(self, *arguments, **variables):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **variables}
        done = subprocess.run([PROGRAM, *map(str, arguments)], env=environment, text=True, timeout=60,
                              capture_output=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def explain(self, *arguments, **variables):
        """Of the only pod, as -o json tells it."""
        code, out, err = self.run_it("explain", "-o", "json", "--vault-address", VAULT, *arguments,
                                     **variables)
        self.assertIn(code, (0, 1), err)
        (pod,) = json.loads(out)["pods"]
        return pod

    def test_nodes_come_by_pages(self):
        pod = self.explain("-f", self.manifest, "--kubeconfig", self.kubeconfig)
        self.assertEqual(pod["outcome"], "patched")
        self.assertEqual(len(pod["nodes"]), 1204)
        self.assertEqual([n["name"] for n in pod["nodes"] if not n["enough"]], ["old"])
        self.assertEqual([q.get("limit") for q in self.server.lists], ["500"] * 3)

    def test_where_the_kubeconfig_comes_from(self):
        self.assertEqual(len(self.explain("-f", self.manifest, KUBECONFIG=str(self.kubeconfig))["nodes"]),
                         1204)
        (self.folder / ".kube").mkdir()
        self.kubeconfig.rename(self.folder / ".kube/config")
        self.assertEqual(len(self.explain("-f", self.manifest)["nodes"]), 1204)

    def test_a_context_without_a_user(self):
        """As kubectl writes it for `kubectl proxy`."""
        config = json.loads(self.server.kubeconfig())
        config["contexts"][0]["context"]["user"] = ""
        config["users"] = None
        self.kubeconfig.write_text(json.dumps(config))
        self.assertEqual(len(self.explain("-f", self.manifest, "--kubeconfig", self.kubeconfig)["nodes"]),
                         1204)

    def test_a_context_by_name(self):
        both = json.loads(self.server.kubeconfig())
        both["current-context"] = "away"
        both["contexts"].append({"name": "away", "context": {"cluster": "away"}})
        both["clusters"].append({"name": "away", "cluster": {"server": "http://127.0.0.1:1"}})
        self.kubeconfig.write_text(json.dumps(both))
        config = ["--kubeconfig", self.kubeconfig]
        self.assertEqual(len(self.explain("-f", self.manifest, *config, "--context", "c")["nodes"]), 1204)
        code, out, err = self.run_it("explain", "-f", self.manifest, "--vault-address", VAULT, *config)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("127.0.0.1:1", err)
        code, out, err = self.run_it("explain", "-f", self.manifest, *config, "--context", "none")
        self.assertEqual((code, out), (2, ""))
        self.assertIn('"contexts" has no context named "none"', err)

    def test_a_list_that_expires_between_two_pages(self):
        def expired(handler):
            if "continue" not in handler.path:
                return False
            api_server.send(handler, 410, status(410, "Expired", "the continue token is too old"))
            return True
        self.server.list_faults += [expired, expired]
        pod = self.explain("-f", self.manifest, "--kubeconfig", self.kubeconfig)
        self.assertEqual(len(pod["nodes"]), 1204)
        self.assertEqual(len(self.server.lists), 5)

    def test_an_object(self):
        config = ["--kubeconfig", self.kubeconfig]
        for words in (["deployment/web", "-n", "shop"], ["-n", "shop", "deploy/web"],
                      ["deployments/web", "-nshop"], ["deployment.apps/web", "-nshop"]):
            pod = self.explain(*words, *config)
            self.assertEqual((pod["outcome"], pod["object"]), ("patched", "Deployment shop/web"))
        code, out, err = self.run_it("explain", "deployment/web", "-n", "shop", *config,
                                     "--vault-address", VAULT)
        self.assertEqual(code, 0, err)
        self.assertTrue(out.startswith("Deployment shop/web: would be protected\n"), out[:200])
        self.server.put("/api/v1/namespaces/default/pods/one",
                        {"apiVersion": "v1", "kind": "Pod", **template(),
                         "metadata": {**template()["metadata"], "name": "one", "namespace": "default"}})
        self.assertEqual(self.explain("pod/one", *config)["object"], "Pod default/one")

    def test_objects_that_are_none(self):
        cases = [
            (["secret/x"], 2, '"secret/x": KIND/NAME is allowed, with a kind that makes pods'),
            (["web"], 2, "KIND/NAME is allowed"),
            (["deployment.batch/web"], 2, "KIND/NAME is allowed"),
            (["deployment.app/web"], 2, "KIND/NAME is allowed"),
            (["pod.apps/web"], 2, "KIND/NAME is allowed"),
            ([self.manifest], 2, "a manifest's file is given by --file"),
            (["deployment/../../x"], 2, "KIND/NAME is allowed"),
            (["deployment/none", "-n", "shop"], 2, "there is no /apis/apps/v1/namespaces/shop"),
            (["deployment/web", "-n", "a/b"], 2, '-n "a/b": a namespace\'s name is allowed'),
            ([], 2, "name what to explain"),
            (["deployment/web", "-f", self.manifest], 2, "name what to explain"),
        ]
        for words, expected, sentence in cases:
            with self.subTest(words=words):
                code, out, err = self.run_it("explain", *words, "--kubeconfig", self.kubeconfig)
                self.assertEqual((code, out), (expected, ""), err)
                self.assertIn(sentence, err)

    def test_a_namespaces_label(self):
        for name, value in ("shop", "70"), ("other", "10"):
            labelled = api_server.namespace(name, **{LABEL: value})
            self.server.namespaces.objects[name] = labelled
        pod = self.explain("-f", self.manifest, "--kubeconfig", self.kubeconfig)
        self.assertEqual((pod["minimum"], pod["outcome"]), (70, "denied"))
        self.assertEqual(pod["sources"], {"annotation": 55, "variable": 0, "operator": 0, "namespace": 70})
        # Not there yet: no label, and a note.
        self.manifest.write_text(json.dumps(deployment(namespace="new")))
        self.assertEqual(self.explain("-f", self.manifest, "--kubeconfig", self.kubeconfig)["minimum"], 55)
        for command in ["explain"], ["inject"]:
            code, out, err = self.run_it(*command, "-f", self.manifest, "--kubeconfig", self.kubeconfig,
                                         "--vault-address", VAULT)
            self.assertEqual(code, 0, err)
            self.assertIn('note: Deployment new/web: namespace "new" is not among the 2 that are known', err)

    def test_the_namespace_of_what_names_none(self):
        """It is --namespace, or else the context's, and its label counts."""
        for name in "shop", "other":
            self.server.namespaces.objects[name] = api_server.namespace(
                name, **{LABEL: {"shop": "60", "other": "75"}[name]})
        document = deployment()
        del document["metadata"]["namespace"]
        self.manifest.write_text(json.dumps(document))
        config = json.loads(self.server.kubeconfig())
        config["contexts"][0]["context"]["namespace"] = "shop"
        self.kubeconfig.write_text(json.dumps(config))
        words = ["-f", self.manifest, "--kubeconfig", self.kubeconfig]
        pod = self.explain(*words)
        self.assertEqual((pod["object"], pod["minimum"]), ("Deployment shop/web", 60))
        pod = self.explain(*words, "-n", "other")
        self.assertEqual((pod["object"], pod["minimum"]), ("Deployment other/web", 75))
        code, out, err = self.run_it("inject", *words, "-n", "other", "--vault-address", VAULT)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("a protection score of 75 (its namespace's label)", err)
        self.manifest.write_text(json.dumps(deployment()))  # its own goes before both
        self.assertEqual(self.explain(*words, "-n", "other")["object"], "Deployment shop/web")

    def test_files_go_before_the_cluster(self):
        nodes = self.folder / "nodes.json"
        nodes.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": [node("only")]}))
        namespaces = self.folder / "namespaces.json"
        namespaces.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": [
            api_server.namespace("shop", **{LABEL: "60"})]}))
        files = ["--nodes-file", nodes, "--namespaces-file", namespaces]
        pod = self.explain("-f", self.manifest, *files)
        self.assertEqual(([n["name"] for n in pod["nodes"]], pod["minimum"]), (["only"], 60))
        pod = self.explain("deployment/web", "-n", "shop", *files, "--kubeconfig", self.kubeconfig)
        self.assertEqual(([n["name"] for n in pod["nodes"]], pod["minimum"]), (["only"], 60))
        self.assertEqual(self.server.asked, ["/apis/apps/v1/namespaces/shop/deployments/web"])

    def test_inject_asks_only_when_told(self):
        arguments = ["inject", "-f", self.manifest, "--vault-address", VAULT]
        code, out, err = self.run_it(*arguments, KUBECONFIG=str(self.kubeconfig))
        self.assertEqual((code, self.server.asked), (0, []), err)
        self.assertIn("no nodes are known", err)
        code, out, err = self.run_it(*arguments, "--kubeconfig", self.kubeconfig)
        self.assertEqual(code, 0, err)
        self.assertNotIn("no nodes are known", err)
        self.assertIn("/api/v1/nodes?limit=500", self.server.asked)

    def test_settings_from_the_cluster(self):
        path = "/api/v1/namespaces/cloudtaser-system/configmaps/cloudtaser-webhook"
        arguments = ["explain", "-f", self.manifest, "--from-cluster", "--kubeconfig", self.kubeconfig,
                     "-o", "json"]
        code, out, err = self.run_it(*arguments)
        self.assertEqual((code, out), (2, ""), err)
        self.assertIn("the webhook's settings: GET http", err)
        self.server.put(path, {"kind": "ConfigMap", "data": {"webhook.json": json.dumps(SETTINGS)}})
        self.manifest.write_text(json.dumps(deployment(vault_role="", min_protection_score="75")))
        document = deployment(min_protection_score="75")
        del document["spec"]["template"]["metadata"]["annotations"]["cloudtaser.io/vault-role"]
        self.manifest.write_text(json.dumps(document))
        code, out, err = self.run_it(*arguments)
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["pods"][0]["outcome"], "unprotected")  # mode audit
        # A flag goes before the map.
        code, out, err = self.run_it(*arguments, "--mode", "enforce")
        self.assertEqual((code, json.loads(out)["pods"][0]["outcome"]), (1, "denied"), err)
        where = "the ConfigMap cloudtaser-webhook in namespace cloudtaser-system"
        for text, sentence in (('{"nonsense": 1}', f'{where}: unknown key "nonsense"'),
                               ('{"mode": "loose"}', f'mode in {where} "loose": allowed:'),
                               ("[]", f"{where} must hold a JSON object"), ("{", f"{where} is not valid JSON")):
            self.server.put(path, {"kind": "ConfigMap", "data": {"webhook.json": text}})
            code, out, err = self.run_it(*arguments)
            self.assertEqual((code, out), (2, ""), err)
            self.assertIn(sentence, err)
        settings = self.folder / "settings.json"
        settings.write_text("{}")
        code, out, err = self.run_it(*arguments, "--config", settings)
        self.assertEqual((code, out), (2, ""), err)
        self.assertIn(f"--config cannot be given beside {where}", err)
        self.server.put(path, {"kind": "ConfigMap"})
        code, out, err = self.run_it(*arguments)
        self.assertEqual((code, out), (2, ""), err)
        self.assertIn("has no webhook.json", err)

    def test_rights_that_lack(self):
        self.server.refuse("/api/v1/namespaces", "namespaces")
        code, out, err = self.run_it("explain", "-f", self.manifest, "--vault-address", VAULT,
                                     "--kubeconfig", self.kubeconfig)
        self.assertEqual(code, 0, err)
        self.assertIn("note: namespaces may not be listed", err)
        self.server.refuse("/api/v1/nodes", "nodes")
        code, out, err = self.run_it("explain", "-f", self.manifest, "--vault-address", VAULT,
                                     "--kubeconfig", self.kubeconfig)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("the nodes cannot be listed (--nodes-file does without): GET http", err)
        self.assertIn('User "dev" cannot list', err)

    def test_no_cluster(self):
        arguments = ["explain", "-f", self.manifest, "--vault-address", VAULT]
        cases = [
            ({}, [], 2, "there is no cluster to ask: neither KUBECONFIG nor ~/.kube/config"),
            ({"KUBECONFIG": "/a:/b"}, [], 2, "KUBECONFIG names several files"),
            ({"KUBECONFIG": "/no/such/file"}, [], 2, "/no/such/file does not exist"),
            ({}, ["--kubeconfig", self.manifest], 2, "there is no current-context"),
        ]
        for variables, more, expected, sentence in cases:
            with self.subTest(variables=variables, more=more):
                code, out, err = self.run_it(*arguments, *more, **variables)
                self.assertEqual((code, out), (expected, ""), err)
                self.assertIn(sentence, err)
        self.server.stop()
        code, out, err = self.run_it(*arguments, "--kubeconfig", self.kubeconfig)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn(f"http://127.0.0.1:{self.server.port}/api/v1/nodes", err)

    def test_answers_that_make_no_sense(self):
        for body, sentence in ((b"<html>", "no list of nodes"), (b'{"items": 1}', "no list of nodes"),
                               (b'{"items": [{}]}', "Node")):
            self.server.by_path["/api/v1/nodes"] = 200, body
            code, out, err = self.run_it("explain", "-f", self.manifest, "--kubeconfig", self.kubeconfig)
            self.assertNotEqual(code, 0)
            self.assertEqual(out, "")
            self.assertIn(sentence, err)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
