# SPDX-License-Identifier: Apache-2.0
"""Pods that must be refused, each with a reason that its author can act on."""

from pods import REFERENCE, TestCase, container, pod

MOUNT = {"name": "cloudtaser", "mountPath": "/cloudtaser"}


def one(**more):
    return [container(env={"PGPASSWORD": REFERENCE}, **more)]


def with_env(*variables):
    made = container(env={"PGPASSWORD": REFERENCE})
    made["env"] += variables
    return [made]


class Author(TestCase):
    def refuse_all(self, cases):
        """name -> (pod, texts of the reason)"""
        for name, (manifest, *texts) in cases.items():
            with self.subTest(name):
                self.refused(manifest, *texts)

    def test_bad_annotations(self):
        self.refuse_all({
            "inject": (pod({"inject": "yes"}), "cloudtaser.io/inject", "yes", "true"),
            "unknown key": (pod({"min-protction-score": "70"}), "min-protction-score"),
            "score no number": (pod({"min-protection-score": "high"}),
                                "min-protection-score", "high"),
            "score too high": (pod({"min-protection-score": "76"}), "min-protection-score", "76",
                               "75"),
            "auth method": (pod({"vault-auth-method": "ldap"}), "vault-auth-method", "ldap",
                            "kubernetes"),
            "require": (pod({"require": "memfd_secret,magic"}), "require", "magic"),
            "env.NAME": (pod({"env.X": "secret/data/db"}), "env.X", "secret/data/db"),
            "env-map without path": (pod({"env-map": "a=A"}), "env-map"),
            "container unknown": (pod({"containers": "nobody"}), "nobody"),
        })

    def test_bad_references(self):
        cases = {
            "no key": ("vault:secret/data/db", '"secret/data/db"'),
            "version": ("vault:secret/data/db#password#new", '"secret/data/db#password#new"'),
            "dots": ("vault:secret/../sys/mounts#x", '"secret/../sys/mounts#x"'),
            "empty segment": ("vault:secret//db#x", '"secret//db#x"'),
            "not closed": ("a${vault:secret/data/db#password", "lacks its closing '}'"),
        }
        for name, (value, text) in cases.items():
            with self.subTest(name):
                self.refused(pod(containers=[container(env={"X": value})]),
                             f'variable X of container app is "{value}", a bad reference: ', text)

    def test_foreign_addresses(self):
        self.refuse_all({
            "foreign": (pod({"vault-address": "https://evil.example.com"}),
                        "https://evil.example.com", "not allowed"),
            "prefix of an allowed one": (pod({"vault-address": self.env.vault.url + ".evil.org"}),
                                         self.env.vault.url + ".evil.org"),
            "user in front": (
                pod({"vault-address": self.env.vault.url.replace("//", "//x@")}),
                "vault-address"),
            "plain http": (pod({"vault-address": self.env.vault.url.replace("https", "http")}),
                           "vault-address"),
        })

    def test_permissions_that_the_operator_did_not_give(self):
        self.refuse_all({
            "skip-verify": (pod({"vault-skip-verify": "true"}), "vault-skip-verify"),
            "plain environment": (pod({"plain-environment": "true"}), "plain-environment"),
        })

    def test_a_minimum_that_no_node_reaches(self):
        reason = self.refused(
            pod({"min-protection-score": "70"}, nodeSelector={"pool": "old"}), "70", "old")
        self.assertIn("kernel 5.10", reason)
        self.refused(pod({"CLOUDTASER_MIN_PROTECTION_SCORE": "56"},
                         nodeSelector={"pool": "modern"}), "56", "modern")
        variable = {"name": "CLOUDTASER_MIN_PROTECTION_SCORE", "value": "56"}
        self.refused(pod(containers=with_env(variable), nodeSelector={"pool": "modern"}), "56")
        self.refused(pod({"min-protection-score": "56"}, nodeName="modern"), "56", "modern")
        # The minimum of the annotation is not lowered by the variable.
        self.refused(pod({"min-protection-score": "56"},
                         containers=with_env({**variable, "value": "10"}),
                         nodeSelector={"pool": "modern"}), "56")

    def test_a_variable_that_hides_its_minimum(self):
        source = {"configMapKeyRef": {"name": "vault-ca", "key": "ca.crt"}}
        self.refused(pod(containers=with_env(
            {"name": "CLOUDTASER_MIN_PROTECTION_SCORE", "valueFrom": source})),
            "CLOUDTASER_MIN_PROTECTION_SCORE")

    def test_no_command(self):
        made = container(env={"PGPASSWORD": REFERENCE})
        del made["command"]
        self.refused(pod(containers=[made]), "app", "command")

    def test_a_secret_in_a_command_line(self):
        self.refused(pod(containers=one(args=["--password=$(PGPASSWORD)"])), "PGPASSWORD", "args")
        self.refused(pod(containers=one(command=["/app", "$(PGPASSWORD)"])),
                     "PGPASSWORD", "command")

    def test_reserved_names_and_paths(self):
        volume = {"volumes": [{"name": "mine", "emptyDir": {}}]}

        def mounted(path):
            return pod(containers=one(volumeMounts=[{"name": "mine", "mountPath": path}]),
                       **volume)
        self.refuse_all({
            "CLOUDTASER_CONFIG": (pod(containers=with_env(
                {"name": "CLOUDTASER_CONFIG", "value": "{}"})), "CLOUDTASER_CONFIG"),
            "CLOUDTASER_ANYTHING": (pod(containers=with_env(
                {"name": "CLOUDTASER_ANYTHING", "value": "1"})), "CLOUDTASER_ANYTHING"),
            "path": (mounted("/cloudtaser"), "/cloudtaser"),
            "path below": (mounted("/cloudtaser/wrapper"), "/cloudtaser/wrapper"),
            "path in disguise": (mounted("/srv/..//cloudtaser/./x"), "/cloudtaser"),
            "identity": (mounted("/cloudtaser-identity"), "/cloudtaser-identity"),
            "container": (pod(containers=one() + [container("cloudtaser-x", {})]),
                          "cloudtaser-x"),
            "another variable of the name": (
                pod({"env.PGPASSWORD": "secret/data/db#username"}), "PGPASSWORD"),
        })

    def test_what_looks_injected_but_is_not(self):
        injector = container("cloudtaser-injector", None, ["/cloudtaser-injector", "/bin/evil",
                                                           "/cloudtaser/wrapper"])
        evil = [{"name": "cloudtaser", "hostPath": {"path": "/tmp"}}]
        self.refuse_all({
            "injector": (pod(initContainers=[injector]), "cloudtaser-injector"),
            "volume": (pod(volumes=evil), "cloudtaser"),
            "identity": (pod(volumes=[{"name": "cloudtaser-identity", "emptyDir": {}}]),
                         "cloudtaser-identity"),
            "mount in a fellow": (
                pod(containers=one() + [container("other", {}, ["/x"], volumeMounts=[MOUNT])],
                    volumes=[{"name": "cloudtaser", "emptyDir": {"sizeLimit": "16Mi"}}]),
                "cloudtaser"),
            "wrapped with settings of its own": (
                pod(containers=with_env({"name": "CLOUDTASER_CONFIG",
                                         "value": '{"address":"https://evil.example.com"}'}),
                    volumes=[{"name": "cloudtaser", "emptyDir": {"sizeLimit": "16Mi"}}]),
                "CLOUDTASER_CONFIG"),
        })

    def test_an_injector_with_a_way_to_be_replaced(self):
        stored = self.admit(pod())
        again = {"apiVersion": "v1", "kind": "Pod", "spec": stored["spec"],
                 "metadata": {"name": stored["metadata"]["name"] + "-again",
                              "annotations": stored["metadata"]["annotations"]}}
        # The control: as it was stored it is admitted, the service account's mount included.
        self.admit(again)
        again["metadata"]["name"] += "-2"
        injector = again["spec"]["initContainers"][0]
        again["spec"]["volumes"] += [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]
        mounts = [{"name": "a", "mountPath": "/var/run/secrets/a"},
                  {"name": "b", "mountPath": "/var/run/secrets/a/b"}]
        self.refuse_all({
            "nested mounts": ({**again, "spec": {**again["spec"], "initContainers": [
                {**injector, "volumeMounts": injector["volumeMounts"] + mounts}]}},
                "cloudtaser-injector", "volumeMounts", "copy of an injected one"),
            "variables": ({**again, "spec": {**again["spec"], "initContainers": [
                {**injector, "env": [{"name": "A", "value": "b"}]}]}},
                "cloudtaser-injector", "env", "copy of an injected one"),
        })

    def test_a_file_of_kubelets_over_ours(self):
        for path in ("/cloudtaser/wrapper", "/cloudtaser-identity/vault-token", "//cloudtaser/./x"):
            self.refused(pod(containers=one(terminationMessagePath=path)),
                         "terminationMessagePath", path)
        self.admit(pod(containers=one(terminationMessagePath="/tmp/message")))

    def test_a_program_that_a_variable_names(self):
        self.refused(pod(containers=one(command=["$(SH)", "-c", "x"])), "$(SH)", "write it out")

    def test_a_nul_in_a_key(self):
        made = pod()
        made["metadata"]["annotations"]["a\0b"] = "x"
        status, answer = self.cluster.request("POST", "/api/v1/namespaces/apps/pods", made)
        self.assertEqual(status, 403, answer)
        self.assertIn(b"a key holds a NUL character", answer)

    def test_every_problem_is_told_at_once(self):
        reason = self.refused(pod({"vault-auth-method": "ldap", "min-protection-score": "99"}))
        self.assertIn("ldap", reason)
        self.assertIn("99", reason)
