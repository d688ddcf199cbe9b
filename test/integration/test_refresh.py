# SPDX-License-Identifier: Apache-2.0
"""Secrets that change at the real Vault while the app runs, and a token that is void when they are read."""

import json
import secrets
import signal

from containers import RunTestCase, one_pod
from environment import APPS, digest
from process import free_port, wait_until

LOGINS = "cloudtaser_wrapper_logins_total"


class Refresh(RunTestCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.path = f"secret/data/changing/{self._testMethodName}"
        self.old, self.new = self.change("old"), f"ct-new-{secrets.token_hex(16)}"
        self.credentials["new"] = self.new  # among what must not be found

    def change(self, name, value=None):
        value = value or f"ct-{name}-{secrets.token_hex(16)}"
        self.env.vault.put(self.path, {"password": value})
        self.credentials[name] = value
        return value

    def admit_and_bind(self, *args, **more):
        """The pod asks for the shortest interval that may be asked for; nobody waits that long here."""
        stored = super().admit_and_bind(*args, **more)
        [app] = stored["spec"]["containers"]
        [config] = [e for e in app["env"] if e["name"] == "CLOUDTASER_CONFIG"]
        settings = json.loads(config["value"])
        self.assertEqual(settings["refresh-interval-ms"], 30000)
        config["value"] = json.dumps({**settings, "refresh-interval-ms": 1000})
        return stored

    def pod_that(self, reaction, role="app"):
        return one_pod({"PGPASSWORD": f"vault:{self.path}#password"}, ["/app", "--stay", "PGPASSWORD"], {
            "vault-auth-method": "jwt", "vault-audience": "vault.example.com", "vault-role": role,
            "refresh-interval": "30s", "on-change": reaction, "metrics-port": str(self.port)})

    def ends(self, run):
        run.kill("app", signal.SIGTERM)
        self.assertEqual(run.wait(10), {"app": 0})
        return run.containers["app"].log()

    def test_keep(self):
        with self.running(self.pod_that("keep")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            self.change("new", self.new)
            app.wait_log("secrets have changed at Vault (PGPASSWORD): the app keeps those it has")
            self.assert_wrapper_clean(run)
            log = self.ends(run)
            self.assert_values(log, PGPASSWORD=self.old)
            self.assertNotIn(digest(self.new), log)
            self.assertEqual(log.count("secrets have changed"), 1)

    def test_signal(self):
        with self.running(self.pod_that("signal:SIGHUP")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            self.change("new", self.new)
            log = app.wait_log(f"ended by {int(signal.SIGHUP)}")
            self.assertEqual(run.wait(10), {"app": 0})
            self.assertIn("the app is told by a signal", log)
            self.assertNotIn(digest(self.new), log)

    def test_restart(self):
        with self.running(self.pod_that("restart")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            self.assert_values(app.log(), PGPASSWORD=self.old)
            self.change("new", self.new)
            log = app.wait_log(f"PGPASSWORD sha256 {digest(self.new)}")
            self.assertIn(f"ended by {int(signal.SIGTERM)}", log)
            wait_until(lambda: app.log().count("ready") == 2, "the app", 10)
            self.assert_wrapper_clean(run)
            self.assert_attacks_fail({"wrapper": app.pid, "app": app.app_pid()}, self.new)
            self.assertEqual(self.scrape(self.port)["cloudtaser_protection_score"], 55)
            log = self.ends(run)
            self.assertEqual(log.count("Protection score: 55/75"), 2, log)
            self.assert_score(log.split("the app is ended and started again", 1)[1])

    def test_a_secret_that_is_deleted_and_comes_back(self):
        with self.running(self.pod_that("restart")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            self.env.vault.api("DELETE", self.path)
            app.wait_log("the secrets cannot be read again; trying on: variable PGPASSWORD")
            self.assertTrue(app.running)
            self.change("old", self.old)
            app.wait_log("the secrets can be read again")
            log = self.ends(run)
            self.assertEqual(log.count("ready"), 1, "it is the value that it was")
            self.assertNotIn("secrets have changed", log)

    def test_a_revoked_token_is_replaced_when_a_read_shows_it(self):
        """Its renewal would be a quarter of an hour away."""
        vault = self.env.vault
        vault.jwt_role("watched", f"system:serviceaccount:{APPS}:default", "vault.example.com", ["app"])
        with self.running(self.pod_that("keep", "watched")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            for accessor in vault.tokens_of_role("watched"):
                vault.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
            log = app.wait_log("the Vault token is good again")
            self.assertIn("the Vault token is void; logging in again: looking the token up: ", log)
            self.change("new", self.new)
            app.wait_log("secrets have changed at Vault (PGPASSWORD)")
            self.assertEqual(len(vault.tokens_of_role("watched")), 1)
            self.assertEqual(self.scrape(self.port)[LOGINS], 1)
            self.assert_wrapper_clean(run)
            self.assertNotIn("cannot be read", self.ends(run))
