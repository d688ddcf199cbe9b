# SPDX-License-Identifier: Apache-2.0
"""The real Vault, with a KV v2 store and the kubernetes login."""

import http.client
import json
import pathlib
import re
import ssl

from process import RigError, Service, wait_until

REVIEWER_NAMESPACE = "vault-system"
REVIEWER = "vault-reviewer"


class VaultRefused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class RealVault:
    """A Vault that serves HTTPS with a certificate of `authority`; sealed until unseal(). It keeps nothing:
    another one at its port is what a Vault in development mode is after a restart."""

    def __init__(self, binaries, authority, log_dir, name="vault", init=True,
                 host="127.0.0.1", port=0):
        certificate, key = authority.issue(name, (f"IP:{host}", "DNS:localhost"))
        self.host = host
        self.authority = authority
        self._tls = ssl.create_default_context(cafile=str(authority.certificate))
        self._root = None
        self.service = Service(
            name, [pathlib.Path(binaries) / "vault", "-listen", f"{host}:{port}", "-log-level", "info",
                   "-tls-cert", certificate, "-tls-key", key], log_dir)
        try:
            line = self.service.wait_for(
                lambda: re.search(r"listening on https://[\d.]+:(\d+)", self.service.text()),
                f"{name} to listen", 60)
            self.port = int(line[1])
            self.url = f"https://{host}:{self.port}"
            if init:
                self._init()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.service.end()

    # --- talk to it ----------------------------------------------------------------------------

    def api(self, method, path, body=None, token=None, wrap=None):
        """One request to /v1/PATH; the decoded answer ({} if empty), or VaultRefused."""
        headers = {"X-Vault-Request": "true"}
        if token or self._root:
            headers["X-Vault-Token"] = token or self._root
        if wrap:
            headers["X-Vault-Wrap-TTL"] = wrap
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=15,
                                                 context=self._tls)
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body),
                               headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise VaultRefused(answer.status, raw.decode(errors="replace"))
        return json.loads(raw) if raw else {}

    def _init(self):
        keys = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key, self._root = keys["keys_base64"][0], keys["root_token"]
        self.unseal()

    def unseal(self):
        self.api("PUT", "sys/unseal", {"key": self._unseal_key})

    def seal(self):
        self.api("PUT", "sys/seal")

    # --- what it holds -------------------------------------------------------------------------

    def mount_kv2(self, path="secret"):
        self.api("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": "2"}})
        self._until_answers(lambda: self.put(f"{path}/data/probe", {"probe": "x"}), f"{path}/")

    def mount_kv1(self, path):
        self.api("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": "1"}})

    def _until_answers(self, request, what):
        """A fresh KV v2 mount upgrades itself for a moment and refuses meanwhile."""
        def attempt():
            try:
                request()
                return True
            except VaultRefused as error:
                if error.code not in (400, 404, 500, 503):
                    raise
                return False
        wait_until(attempt, f"Vault to answer at {what}", 20)

    def put(self, path, values):
        """A new version of a secret; PATH as the API has it (secret/data/db)."""
        mount_and_data = "/data/" in path
        return self.api("POST", path, {"data": values} if mount_and_data else values)

    def policy(self, name, rules):
        """`rules`: path -> list of capabilities."""
        text = "".join(f'path "{path}" {{ capabilities = {json.dumps(list(caps))} }}\n'
                       for path, caps in rules.items())
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def token(self, policies, ttl="20m"):
        answer = self.api("POST", "auth/token/create", {"policies": list(policies), "ttl": ttl})
        return answer["auth"]["client_token"]

    def enable_kubernetes(self, cluster, mount="kubernetes"):
        """The kubernetes login, checked by TokenReview on `cluster`'s API server."""
        self.api("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
        self.api("POST", f"auth/{mount}/config", {
            "kubernetes_host": cluster.url, "kubernetes_ca_cert": cluster.authority.pem(),
            "token_reviewer_jwt": reviewer_token(cluster), "disable_local_ca_jwt": True})

    def enable_jwt(self, cluster, mount="jwt"):
        """The jwt login, which verifies tokens by the API server's public key, offline."""
        self.api("POST", f"sys/auth/{mount}", {"type": "jwt"})
        self.api("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [cluster.token_key()]})

    def jwt_role(self, name, subject, audience, policies, mount="jwt", **more):
        self.api("POST", f"auth/{mount}/role/{name}", {
            "role_type": "jwt", "user_claim": "sub", "bound_subject": subject,
            "bound_audiences": [audience], "token_policies": list(policies), "token_ttl": "20m",
            **more})

    def enable_approle(self, name, policies, mount="approle", **more):
        """A role for programs; returns its role id."""
        self.api("POST", f"sys/auth/{mount}", {"type": "approle"})
        self.api("POST", f"auth/{mount}/role/{name}", {
            "token_policies": list(policies), "token_ttl": "20m", **more})
        return self.api("GET", f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]

    def secret_id(self, name, mount="approle", wrap=None):
        """A secret id, or a wrapping token for one that lives as long as `wrap` says."""
        answer = self.api("POST", f"auth/{mount}/role/{name}/secret-id", {}, wrap=wrap)
        return answer["wrap_info"]["token"] if wrap else answer["data"]["secret_id"]

    def tokens_of_role(self, name):
        """Accessors of the tokens that a login by this role made and that are still good."""
        found = set()
        for accessor in self.api("LIST", "auth/token/accessors")["data"]["keys"]:
            try:
                data = self.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            except VaultRefused:
                continue  # ended meanwhile
            if (data.get("meta") or {}).get("role") == name:
                found.add(accessor)
        return found

    def role(self, name, accounts, namespaces, policies, audience=None, mount="kubernetes"):
        body = {"bound_service_account_names": list(accounts), "token_ttl": "20m",
                "bound_service_account_namespaces": list(namespaces),
                "token_policies": list(policies)}
        if audience:
            body["audience"] = audience
        self.api("POST", f"auth/{mount}/role/{name}", body)


def reviewer_token(cluster):
    """The token that Vault asks with: of an account that may do TokenReview and nothing else."""
    status, _ = cluster.request("GET", f"/api/v1/namespaces/{REVIEWER_NAMESPACE}")
    if status == 404:
        cluster.namespace(REVIEWER_NAMESPACE)
        cluster.api("POST", f"/api/v1/namespaces/{REVIEWER_NAMESPACE}/serviceaccounts",
                    {"metadata": {"name": REVIEWER}})
        cluster.api("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "metadata": {"name": REVIEWER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": REVIEWER,
                          "namespace": REVIEWER_NAMESPACE}]})
    elif status != 200:
        raise RigError(f"namespace {REVIEWER_NAMESPACE}: HTTP {status}")
    return cluster.service_account_token(REVIEWER_NAMESPACE, REVIEWER, seconds=3600)
