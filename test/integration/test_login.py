# SPDX-License-Identifier: Apache-2.0
"""The other ways to log in to the real Vault: jwt, approle, a response-wrapped secret id."""

from containers import RunTestCase, one_pod
from environment import APPS
from pods import PREFIX, REFERENCE

JWT = {"vault-auth-method": "jwt", "vault-audience": "vault.example.com"}


class Login(RunTestCase):
    def approle(self, text, **more):
        """Annotations of a pod whose Secret holds this."""
        self.credentials["approle"] = text
        return {"vault-auth-method": "approle", "vault-role": self.env.role_id,
                "vault-secret-id-secret": "approle", **more}

    def wrapped(self, text):
        return self.approle(text, **{"vault-secret-id-wrapped": "true"})

    def starts(self, annotations):
        with self.running(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"],
                                  annotations)) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            self.assert_score(log)
            self.assert_wrapper_clean(run)

    def fails(self, annotations, *words):
        code, log, message = self.run_to_end(one_pod({"PGPASSWORD": REFERENCE},
                                                     ["/app", "PGPASSWORD"], annotations))
        self.assertEqual(code, 101, log)
        self.assertNotIn("sha256", log)
        for word in words:
            self.assertIn(word, message)

    def test_jwt(self):
        self.starts(JWT)

    def test_jwt_of_another_audience(self):
        self.fails({"vault-auth-method": "jwt"}, "login at auth/jwt as role app", "audience")

    def test_jwt_role_that_there_is_not(self):
        self.fails({**JWT, "vault-role": "nobody"}, "login at auth/jwt as role nobody")

    def test_approle(self):
        secret_id = self.env.vault.secret_id("app")
        self.starts(self.approle(secret_id))
        stored = self.admit(one_pod({"PGPASSWORD": REFERENCE}, ["/app"], self.approle(secret_id)))
        [identity] = [v["projected"] for v in stored["spec"]["volumes"]
                      if v["name"] == "cloudtaser-identity"]
        self.assertIn({"secret": {"name": "approle",
                                  "items": [{"key": "secret-id", "path": "vault-token"}]}},
                      identity["sources"])
        self.assertEqual(len([s for s in identity["sources"] if "serviceAccountToken" in s]), 1)

    def test_approle_with_a_destroyed_secret_id(self):
        secret_id = self.env.vault.secret_id("app")
        self.env.vault.api("POST", "auth/approle/role/app/secret-id/destroy",
                           {"secret_id": secret_id})
        self.fails(self.approle(secret_id), "login at auth/approle as role", "400")

    def test_wrapped_secret_id(self):
        token = self.env.vault.secret_id("app", wrap="5m")
        self.starts(self.wrapped(token))
        # A restart finds the token used up.
        self.fails(self.wrapped(token), "If nothing of yours used it", "intercepted",
                   "wrapping token is not valid")

    def test_wrapped_secret_id_that_somebody_took(self):
        vault = self.env.vault
        token = vault.secret_id("app", wrap="5m")
        taken = vault.api("POST", "sys/wrapping/unwrap", {}, token=token)["data"]
        self.fails(self.wrapped(token), "intercepted")
        # Wrapped anew, so that it would work: Vault knows where the token was made.
        again = vault.api("POST", "sys/wrapping/wrap", taken, wrap="5m")["wrap_info"]["token"]
        self.fails(self.wrapped(again), "was made by sys/wrapping/wrap", "intercepted")
        # The control: it would have worked.
        self.assertEqual(vault.api("POST", "sys/wrapping/unwrap", {}, token=again)["data"],
                         taken)

    def test_wrapped_token_of_something_else(self):
        made = self.env.vault.api("POST", "auth/token/create", {"policies": ["app"]}, wrap="5m")
        self.fails(self.wrapped(made["wrap_info"]["token"]), "was made by auth/token/create")

    def test_what_a_pod_must_say(self):
        self.refused(one_pod({"X": REFERENCE}, ["/app"], {"vault-auth-method": "approle"}),
                     PREFIX + "vault-secret-id-secret")
        self.refused(one_pod({"X": REFERENCE}, ["/app"], {
            "vault-auth-method": "approle", "vault-secret-id-secret": "approle"}),
            "give the role id in", namespace=APPS)
