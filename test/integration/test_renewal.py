# SPDX-License-Identifier: Apache-2.0
"""The token's life at the real Vault while the app runs, and what root finds in memory then."""

import signal
import time

from containers import RunTestCase, one_pod
from pods import REFERENCE
from process import wait_until

TTL = 5


class Renewal(RunTestCase):
    def pod_of(self, role):
        return one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"], {
            "vault-auth-method": "jwt", "vault-audience": "vault.example.com",
            "vault-role": role})

    def tokens(self, role):
        return self.env.vault.tokens_of_role(role)

    def only_token(self, role):
        return wait_until(lambda: list(self.tokens(role)), "the token", 10)[0]

    def ends(self, run):
        run.kill("app", signal.SIGTERM)
        self.assertEqual(run.wait(10), {"app": 0})
        return run.containers["app"].log().split("kprobes_active", 1)[1]

    def test_renewed_and_no_trace_in_memory(self):
        with self.running(self.pod_of("brief")) as run:
            run.containers["app"].wait_log("ready")
            token = self.only_token("brief")
            time.sleep(2.5 * TTL)
            self.assertEqual(self.tokens("brief"), {token}, "it would have ended twice")
            self.assert_wrapper_clean(run)
            said = self.ends(run)
            self.assertNotIn("the Vault token", said)

    def test_replaced_before_its_longest_life_ends(self):
        with self.running(self.pod_of("bounded")) as run:
            run.containers["app"].wait_log("ready")
            first = self.only_token("bounded")
            wait_until(lambda: self.tokens("bounded") - {first}, "another token", 15)
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
            self.assert_wrapper_clean(run)
            said = self.ends(run)
            self.assertEqual(said.count("the Vault token is void; logging in again"), 1, said)
