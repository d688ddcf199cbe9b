# SPDX-License-Identifier: Apache-2.0
"""When Vault says no, or nothing: exit code, sentence, and never a secret in any log."""

import time

from containers import PREFIX, RunTestCase, one_pod
from environment import RETRY_BUDGET
from pods import REFERENCE


class Failures(RunTestCase):
    def fails(self, code, texts, annotations=None, reference=REFERENCE):
        """The wrapper must end with `code`, its message holds each text; the app never ran."""
        start = time.monotonic()
        ended, log, message = self.run_to_end(one_pod(
            {"X": reference}, ["/app", "X"], annotations))
        self.assertLess(time.monotonic() - start, RETRY_BUDGET + 15)
        self.tries = log.count("trying again in ") + 1
        self.assertEqual(ended, code, log)
        self.assertNotIn("sha256", log, "the app ran")
        self.assertNotIn("ready", log, "the app ran")
        for text in texts:
            self.assertIn(text, message)
        self.assertIn(PREFIX, log)
        self.assertIn(message.strip(), log)
        return message

    def refuses_secret(self, reference, *texts):
        return self.fails(102, [reference.split("#")[0].removeprefix("vault:"), *texts],
                          reference=reference)

    def test_sealed(self):
        self.fails(103, [self.env.sealed.url, "sealed"], {"vault-address": self.env.sealed.url})
        self.assertGreater(self.tries, 2, "it gave up too early")

    def test_sealed_for_a_moment_only(self):
        # It is unsealed while the wrapper tries again: the app starts as if nothing had been.
        sealed = self.env.sealed
        with self.running(one_pod({"X": REFERENCE}, ["/app", "X"],
                                  {"vault-address": sealed.url})) as run:
            run.containers["app"].wait_log("Vault is sealed; trying again")
            # While it waits it holds the service-account token, and nowhere but in secret memory.
            self.assert_wrapper_clean(run)
            sealed.unseal()
            try:
                self.assertEqual(run.wait(30), {"app": 0}, run.containers["app"].log())
            finally:
                sealed.seal()
            self.assert_values(run.containers["app"].log(), X=self.env.values["password"])

    def test_stopped(self):
        self.fails(103, [self.env.stopped_url], {"vault-address": self.env.stopped_url})
        self.assertGreater(self.tries, 2, "it gave up too early")

    def test_wrong_certificate_authority(self):
        self.fails(103, [self.env.vault.url, "certificate"], {"vault-ca-configmap": "other-ca"})
        self.assertEqual(self.tries, 1, "a wrong certificate is no better the next time")

    def test_no_certificate_authority(self):
        self.fails(103, [self.env.vault.url], {"vault-ca-configmap": None})

    def test_unknown_role(self):
        self.fails(101, ["login at auth/kubernetes as role nobody", self.env.vault.url],
                   {"vault-role": "nobody"})
        self.assertEqual(self.tries, 1, "a refusal is final")

    def test_a_role_of_another_namespace(self):
        self.fails(101, ["as role elsewhere", "403"], {"vault-role": "elsewhere"})

    def test_wrong_audience(self):
        self.fails(101, ["audience"], {"vault-role": "audience"})
        self.fails(101, ["audience"], {"vault-role": "audience",
                                       "vault-audience": "somebody.else"})

    def test_unknown_login_mount(self):
        self.fails(101, ["login at auth/nowhere"], {"vault-auth-path": "nowhere"})

    def test_denied_path(self):
        self.refuses_secret("vault:secret/data/forbidden#key", "403")

    def test_missing_path(self):
        self.refuses_secret("vault:secret/data/gone#key", "Vault has no secret secret/data/gone")

    def test_missing_key(self):
        self.refuses_secret("vault:secret/data/db#passwort", "has no key passwort")

    def test_missing_version(self):
        self.refuses_secret("vault:secret/data/db#password#99", "Vault has no version 99 of secret")

    def test_a_value_that_is_no_string(self):
        self.refuses_secret("vault:secret/data/api#port", "the value of key port is a number")

    def test_a_value_with_a_nul(self):
        self.refuses_secret("vault:secret/data/api#nul", "key nul holds a NUL")

    def test_a_version_of_a_store_that_keeps_none(self):
        self.refuses_secret("vault:kv1/db#password#2", "KV version 1 keeps no versions")

    def test_a_path_of_version_1_on_version_2(self):
        self.refuses_secret("vault:secret/db#password", "MOUNT/data/NAME")
