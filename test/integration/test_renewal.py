# SPDX-License-Identifier: Apache-2.0
"""The token's life at the real Vault while the app runs, and what root finds in memory then."""

import contextlib
import signal
import time

from containers import RunTestCase, one_pod
from environment import APPS
from pods import REFERENCE
from process import free_port, wait_until

TTL = 5
RENEWALS = "cloudtaser_wrapper_token_renewals_total"
LOGINS = "cloudtaser_wrapper_logins_total"
FAILURES = "cloudtaser_wrapper_token_failures_total"
EXPIRY = "cloudtaser_wrapper_token_expiry_timestamp_seconds"


class Renewal(RunTestCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()

    def pod_of(self, role, **annotations):
        return one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"], {
            "vault-auth-method": "jwt", "vault-audience": "vault.example.com",
            "vault-role": role, "metrics-port": str(self.port), **annotations})

    def tokens(self, role, vault=None):
        return (vault or self.env.vault).tokens_of_role(role)

    def only_token(self, role, vault=None):
        return wait_until(lambda: list(self.tokens(role, vault)), "the token", 10)[0]

    def ends(self, run):
        run.kill("app", signal.SIGTERM)
        self.assertEqual(run.wait(10), {"app": 0})
        return run.containers["app"].log().split("kprobes_active", 1)[1]

    def assert_counts(self, renewed, logins, failures):
        """What the metrics tell of the token; `renewed` and `failures` are at least, `logins` exactly."""
        told = self.scrape(self.port)
        self.assertEqual(told[LOGINS], logins, told)
        self.assertGreaterEqual(told[RENEWALS], renewed, told)
        (self.assertGreaterEqual if failures else self.assertEqual)(told[FAILURES], failures, told)
        self.assertEqual((told["cloudtaser_protection_score"], told["cloudtaser_protection_max"],
                          told["token_protected"], told["kprobes_active"]), (55, 75, 1, 0))
        return told

    def test_renewed_and_no_trace_in_memory(self):
        with self.running(self.pod_of("brief")) as run:
            run.containers["app"].wait_log("ready")
            token = self.only_token("brief")
            time.sleep(2.5 * TTL)
            self.assertEqual(self.tokens("brief"), {token}, "it would have ended twice")
            told = self.assert_counts(3, 0, 0)
            self.assertTrue(0 < told[EXPIRY] - time.time() < TTL + 1, told)
            self.assert_wrapper_clean(run)
            said = self.ends(run)
            self.assertNotIn("the Vault token", said)

    def test_replaced_before_its_longest_life_ends(self):
        with self.running(self.pod_of("bounded")) as run:
            run.containers["app"].wait_log("ready")
            first = self.only_token("bounded")
            wait_until(lambda: self.tokens("bounded") - {first}, "another token", 15)
            self.assert_counts(1, 1, 0)
            self.assert_wrapper_clean(run)
            self.assertNotIn("the Vault token", self.ends(run))

    def test_revoked_and_logged_in_again(self):
        with self.running(self.pod_of("brief")) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            vault = self.env.vault
            for accessor in self.tokens("brief"):
                vault.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
            self.assertEqual(self.tokens("brief"), set())
            app.wait_log("the Vault token is good again")
            self.assertEqual(len(self.tokens("brief")), 1)
            self.assert_counts(0, 1, 0)
            self.assert_wrapper_clean(run)
            said = self.ends(run)
            self.assertEqual(said.count("the Vault token is void; logging in again"), 1, said)

    @contextlib.contextmanager
    def unsealed(self):
        """The Vault that is sealed as a rule, open; it is closed again at the end."""
        sealed = self.env.sealed
        sealed.unseal()
        try:
            sealed.jwt_role("steady", f"system:serviceaccount:{APPS}:default", "vault.example.com", ["app"],
                            token_ttl="20s")
            yield sealed
        finally:
            sealed.unseal()
            sealed.seal()

    def test_sealed_for_less_than_the_tokens_life(self):
        with self.unsealed() as vault, self.running(self.pod_of("steady", **{
                "vault-address": vault.url})) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            token = self.only_token("steady", vault)
            vault.seal()
            said = app.wait_log("the Vault token cannot be kept alive; trying again until it ends", 40)
            self.assertIn("503: Vault is sealed", said)
            self.assert_counts(0, 0, 1)
            self.assert_wrapper_clean(run)
            vault.unseal()
            app.wait_log("the Vault token is good again")
            self.assertEqual(self.tokens("steady", vault), {token}, "renewed, not replaced")
            self.assert_counts(1, 0, 1)
            self.assertNotIn("has ended", self.ends(run))

    def test_sealed_beyond_the_tokens_life(self):
        with self.unsealed() as vault, self.running(self.pod_of("brief", **{
                "vault-address": vault.url})) as run:
            app = run.containers["app"]
            app.wait_log("ready")
            vault.seal()
            app.wait_log("the Vault token has ended and there is no other yet; the app runs on", 40)
            told = self.assert_counts(0, 0, 1)
            self.assertLess(told[EXPIRY], time.time() + 1)
            self.assertTrue(app.running)
            vault.unseal()
            app.wait_log("the Vault token is good again", 40)
            self.assertEqual(len(self.tokens("brief", vault)), 1)
            self.assertGreater(self.assert_counts(0, 1, 1)[EXPIRY], time.time())
            self.assert_wrapper_clean(run)
            said = self.ends(run)
            self.assertEqual(said.count("the Vault token has ended"), 1, said)

    def test_a_vault_that_has_forgotten_everything(self):
        """As one in development mode does when it is restarted: the token is void, what it came from is not."""
        url = self.env.stopped_url
        vault = self.env.vault_at_the_stopped_port("vault-before")
        try:
            with self.running(self.pod_of("brief", **{"vault-address": url})) as run:
                app = run.containers["app"]
                app.wait_log("ready")
                vault.close()
                app.wait_log("the Vault token ", 40)
                self.assertTrue(app.running)
                vault = self.env.vault_at_the_stopped_port("vault-after")
                app.wait_log("the Vault token is good again", 40)
                self.assertEqual(len(self.tokens("brief", vault)), 1)
                self.assert_counts(0, 1, 1)
                self.assert_wrapper_clean(run)
                self.ends(run)
        finally:
            vault.close()
