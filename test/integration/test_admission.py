# SPDX-License-Identifier: Apache-2.0
"""What the API server stores when kubectl creates a pod."""

import json

from environment import APPS, RETRY_BUDGET
from pods import PREFIX, REFERENCE, TestCase, container, pod

DB_PASSWORD = "${vault:secret/data/db#password}"


class Admission(TestCase):
    def test_a_pod_that_did_not_opt_in_never_reaches_the_webhook(self):
        before = self.env.webhook.reviews()
        for annotations in ({}, {PREFIX + "inject": "false"}):
            original = pod(annotations, inject=False)
            stored = self.admit(original)
            self.assertNotIn("initContainers", stored["spec"])
            self.assertEqual(stored["spec"]["containers"][0]["command"],
                             original["spec"]["containers"][0]["command"])
        self.assertEqual(self.env.webhook.reviews(), before)
        # The control: one that opts in is counted.
        patched = self.env.webhook.decisions("patched")
        self.admit(pod())
        self.assertGreater(self.env.webhook.reviews(), before)
        self.assertEqual(self.env.webhook.decisions("patched"), patched + 1)

    def test_the_documented_shape(self):
        original = pod()
        stored = self.admit(original)
        self.assert_injected(stored, original)
        settings = self.settings(stored)
        self.assertEqual(settings["address"], self.env.vault.url)
        self.assertEqual(settings["role"], "app")
        self.assertEqual(settings["ca-file"], "/cloudtaser-identity/ca.crt")
        self.assertNotIn("affinity", stored["spec"])

    def test_env_map_and_env_name(self):
        original = pod({"secret-paths": "secret/data/db", "env-map": "username=PGUSER",
                        "env.PGPASSWORD": "secret/data/db#password#1"},
                       [container(command=["/app", "PGUSER", "PGPASSWORD"], args=["--exit"])])
        stored = self.admit(original)
        [app] = stored["spec"]["containers"]
        values = {e["name"]: e.get("value") for e in app["env"]}
        self.assertEqual(values["PGUSER"], "${vault:secret/data/db#username}")
        self.assertEqual(values["PGPASSWORD"], "${vault:secret/data/db#password#1}")
        added = [e for e in app["env"] if e["name"] != "CLOUDTASER_CONFIG"]
        self.assert_injected(stored, original, extra_env={"app": added})

    def test_only_containers_that_hold_a_reference_are_wrapped(self):
        original = pod(containers=[
            container("app", {"DSN": f"postgres://u:{DB_PASSWORD}@db"}),
            container("helper", {"PLAIN": "yes"}, ["/helper"]),
        ], initContainers=[
            container("migrate", {"PGPASSWORD": REFERENCE}, ["/migrate"]),
            container("mesh", {"A": "b"}, ["/mesh"], restartPolicy="Always"),
            container("cache", {"KEY": "vault:secret/data/api#key"}, ["/cache"],
                      restartPolicy="Always"),
        ])
        stored = self.admit(original)
        self.assert_injected(stored, original, wrapped=("app", "migrate", "cache"))
        self.assertEqual([c["name"] for c in stored["spec"]["initContainers"]],
                         ["cloudtaser-injector", "migrate", "mesh", "cache"])

    def test_containers_that_are_named(self):
        original = pod({"containers": "second"}, [
            container("first", {"A": "b"}), container("second", {"PGPASSWORD": REFERENCE})])
        self.assert_injected(self.admit(original), original, wrapped=("second",))

    def test_audience_and_token_secret(self):
        original = pod({"vault-audience": "vault.example.com", "vault-role": "audience"})
        stored = self.admit(original)
        self.assert_injected(stored, original, audience="vault.example.com")
        self.assertEqual(self.settings(stored)["role"], "audience")
        original = pod({"vault-auth-method": "token", "vault-token-secret": "vault-token"})
        stored = self.admit(original)
        self.assert_injected(stored, original, token_secret="vault-token")
        self.assertEqual(self.settings(stored)["auth"], "token")

    def test_settings_for_the_wrapper(self):
        stored = self.admit(pod({"vault-namespace": "team/one", "vault-auth-path": "clusters/blue",
                                 "vault-role": "elsewhere", "min-protection-score": "40",
                                 "require": "mlock", "vault-address": self.env.sealed.url}))
        settings = self.settings(stored)
        self.assertEqual(settings["namespace"], "team/one")
        self.assertEqual(settings["auth-path"], "clusters/blue")
        self.assertEqual(settings["role"], "elsewhere")
        self.assertEqual(settings["address"], self.env.sealed.url)
        self.assertEqual(settings["min-score"], 40)
        self.assertEqual(settings["require"], ["mlock"])
        self.assertEqual(settings["retry-budget-ms"], int(RETRY_BUDGET * 1000))

    def test_what_the_author_wrote_survives(self):
        original = pod(
            containers=[container(
                env={"PGPASSWORD": REFERENCE, "LATER": "$(PGPASSWORD)-x"}, args=["a b", "$$c"],
                workingDir="/srv", volumeMounts=[{"name": "data", "mountPath": "/data"}],
                livenessProbe={"exec": {"command": ["/ok"]}, "periodSeconds": 7},
                resources={"limits": {"cpu": "1500m", "memory": "1Gi"}})],
            volumes=[{"name": "data", "emptyDir": {"medium": "Memory"}}],
            hostAliases=[{"ip": "127.0.0.2", "hostnames": ["db"]}], priorityClassName=None,
            topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone",
                                        "whenUnsatisfiable": "ScheduleAnyway",
                                        "labelSelector": {"matchLabels": {"a": "b"}}}])
        del original["spec"]["priorityClassName"]
        plain = json.loads(json.dumps(original))
        plain["metadata"] = {"name": original["metadata"]["name"] + "-plain"}
        stored, control = self.admit(original), self.admit(plain)
        self.assert_injected(stored, original)
        for spec in (stored["spec"], control["spec"]):
            spec.pop("initContainers", None)
            spec["volumes"] = [v for v in spec["volumes"] if v["name"] == "data"]
            for one in spec["containers"]:
                del one["command"], one["env"]
                one["volumeMounts"] = [m for m in one["volumeMounts"] if m["name"] == "data"]
        self.assertEqual(stored["spec"], control["spec"])

    def test_dry_run_changes_nothing_and_shows_the_same(self):
        original = pod()
        done = self.cluster.kubectl("create", "-n", APPS, "--dry-run=server", "-o", "json", "-f",
                                    "-", stdin=original)
        self.assert_injected(json.loads(done.stdout), original)
        status, _ = self.cluster.request(
            "GET", f"/api/v1/namespaces/{APPS}/pods/{original['metadata']['name']}")
        self.assertEqual(status, 404)
