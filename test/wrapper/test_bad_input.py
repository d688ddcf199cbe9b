#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever Vault, the network, the settings or the environment do wrong: the exit code, a sentence
with path and cause, and never a secret, a token or a JWT in any output."""
import json
import signal
import socket
import subprocess
import time
import unittest

import bad_vault
import harness
from bad_vault import BadVault, VALUE

SHOW = [harness.PYTHON, "-c", "import os; print('value=' + os.environ['S'])"]
PATH = "secret/data/"

# name of the answer to a read -> exit code, words of the sentence
READS = {
    "denied": (102, ["secret/data/denied", "403", "permission denied"]),
    "bad-request": (102, ["secret/data/bad-request", "400", "invalid role name"]),
    "echo": (102, ["secret/data/echo", "403"]),
    "missing": (102, ["Vault has no secret secret/data/missing"]),
    "deleted": (102, ["version 2 of secret secret/data/deleted is deleted"]),
    "destroyed": (102, ["version 2 of secret secret/data/destroyed is destroyed"]),
    "leased": (102, ["secret/data/leased is made for this reader and leased"]),
    "no-data": (102, ["secret/data/no-data", "not the answer of a KV engine", "MOUNT/data/NAME"]),
    "no-object": (102, ["secret/data/no-object has no key password"]),
    "half-v2": (102, ["secret/data/half-v2 has no key password"]),
    "not-json": (102, ["secret/data/not-json", "is not valid JSON (line 1, column 1): invalid syntax"]),
    "half-json": (102, ["secret/data/half-json", "is not valid JSON", "it ends too early"]),
    "empty": (102, ["secret/data/empty is empty, and JSON is expected"]),
    "twice": (102, ["secret/data/twice is not valid JSON", 'the key "password" stands twice in one object']),
    "teapot": (102, ["secret/data/teapot", "418", "short and stout"]),
    "no-content": (102, ["secret/data/no-content", "204"]),
    "huge": (102, ["secret/data/huge", "larger than 262144 bytes"]),
    "huge-declared": (102, ["secret/data/huge-declared", "larger than 262144 bytes"]),
    "endless": (102, ["secret/data/endless", "larger than 262144 bytes"]),
    "long-text": (102, ["secret secret/data/long-text has no key password"]),
    "deep-lists": (102, ["secret/data/deep-lists", "nested too deeply"]),
    "bloated": (125, ["variable S: out of memory while parsing Vault's answer"]),
    "redirect": (103, ["secret/data/redirect", "307", "redirect to https://other.example:8200,",
                       "not followed"]),
    "echo-redirect": (103, ["secret/data/echo-redirect", "307", "not followed"]),
    "sealed": (103, ["secret/data/sealed", "503", "sealed"]),
    "overloaded": (103, ["secret/data/overloaded", "429", "too many requests"]),
    "standby": (103, ["secret/data/standby", "473", "standby"]),
    "broken": (103, ["secret/data/broken", "500"]),
    "cut": (103, ["secret/data/cut", "cut short"]),
    "hang-up": (103, ["secret/data/hang-up"]),
    "silent": (103, ["secret/data/silent", "timed out"]),
    "garbage": (103, ["secret/data/garbage"]),
    "long-header": (103, ["secret/data/long-header"]),
}
LOGINS = {
    "denied": (101, ["auth/kubernetes", "role denied", "403", "permission denied"]),
    "bad-request": (101, ["role bad-request", "400", "invalid role name"]),
    "echo": (101, ["role echo", "403"]),
    "missing": (101, ["role missing", "404"]),
    "not-json": (101, ["role not-json", "the login is not valid JSON"]),
    "half-json": (101, ["role half-json", "it ends too early"]),
    "empty": (101, ["role empty", "the login is empty"]),
    "twice": (101, ["role twice", 'the key "password" stands twice']),
    "no-token": (101, ["role no-token", "no auth.client_token"]),
    "odd-token": (101, ["role odd-token", "not printable"]),
    "mfa": (101, ["role mfa", "second factor"]),
    "huge": (101, ["role huge", "larger than 262144 bytes"]),
    "redirect": (103, ["role redirect", "redirect to https://other.example:8200,"]),
    "sealed": (103, ["role sealed", "sealed"]),
    "broken": (103, ["role broken", "500"]),
    "cut": (103, ["role cut", "cut short"]),
    "silent": (103, ["role silent", "timed out"]),
}
# value of the variable S -> exit code, words
REFERENCES = {
    "vault:secret/data/fine#nokey": (102, ["variable S", "secret secret/data/fine has no key nokey"]),
    "vault:secret/data/fine#number": (102, ["variable S", "key number is a number", "only a string"]),
    "vault:secret/data/fine#flag": (102, ["variable S", "key flag is a boolean"]),
    "vault:secret/data/fine#none": (102, ["variable S", "key none is null"]),
    "vault:secret/data/fine#list": (102, ["variable S", "key list is an array"]),
    "vault:secret/data/fine#object": (102, ["variable S", "key object is an object"]),
    "vault:secret/data/fine#nul": (102, ["variable S", "key nul holds a NUL"]),
    "vault:secret/data/other-version#password#2": (102, ["version 2 was asked for", "version 9"]),
    "vault:kv/v1#password#2": (102, ["secret kv/v1", "version 2 was asked for",
                                     "KV version 1 keeps no versions"]),
    "vault:kv/half-v2#data": (102, ["variable S", "key data is an object"]),
    "vault:secret/data/missing#password#4": (102, ["no version 4 of secret secret/data/missing"]),
    "vault:nomount/x#password": (102, ["Vault has no secret nomount/x", "MOUNT/data/NAME"]),
    "${vault:secret/data/fine#big}" * 4: (102, ["variable S", "exceed 524288 bytes"]),
    "vault:secret/data/fine": (104, ["variable S", '"secret/data/fine" lacks its key']),
    "vault:/secret#x": (104, ["variable S"]),
    "vault:secret/../x#y": (104, ["variable S"]),
    "vault:secret/data/fine#password#x": (104, ["variable S"]),
    "a${vault:secret/data/fine#password": (104, ["variable S"]),
}


class BadInput(harness.RigCase):
    def refused(self, result, code, words):
        self.assertEqual(result.returncode, code, result.stderr)
        harness.assert_nothing_leaks(self, result.stdout, result.stderr)
        self.assertEqual(result.stdout, "", "the app must not have run")
        lines = [line for line in result.stderr.splitlines() if "error: " in line]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertTrue(lines[0].startswith("[cloudtaser-wrapper] error: "), lines[0])
        for word in words:
            self.assertIn(word, lines[0])

    def read(self, value, settings=None):
        return self.rig.run(SHOW, settings or self.rig.settings(), {"S": value})

    def test_control(self):
        """The good case: or all of the refusals below would prove nothing."""
        result = self.read(f"a-${{vault:{PATH}fine#password}}-b")
        self.assertEqual((result.returncode, result.stdout), (0, f"value=a-{VALUE}-b\n"),
                         result.stderr)
        harness.assert_nothing_leaks(self, result.stderr)

    def test_long_values_fit(self):
        result = self.rig.run([harness.PYTHON, "-c", "import os; print(len(os.environb[b'S']))"],
                              None, {"S": f"${{vault:{PATH}fine#big}}" * 2})
        self.assertEqual(result.stdout, "400000\n", result.stderr)

    def test_reads(self):
        for name, (code, words) in READS.items():
            with self.subTest(read=name):
                timeout = 400 if name == "silent" else 2000
                self.refused(self.read(f"vault:{PATH}{name}#password",
                                       self.rig.settings(timeout_ms=timeout)), code, words)

    def test_logins(self):
        for name, (code, words) in LOGINS.items():
            with self.subTest(login=name):
                timeout = 400 if name == "silent" else 2000
                self.refused(self.read(f"vault:{PATH}fine#password",
                                       self.rig.settings(role=name, timeout_ms=timeout)), code, words)

    def test_references(self):
        for value, (code, words) in REFERENCES.items():
            with self.subTest(value=value[:60]):
                self.refused(self.read(value), code, words)

    def test_kv_version_1(self):
        result = self.read("${vault:kv/v1#password}:${vault:secret/data/fine#user}")
        self.assertEqual((result.returncode, result.stdout), (0, f"value={VALUE}:web\n"),
                         result.stderr)
        harness.assert_nothing_leaks(self, result.stderr)

    def test_whole_paths(self):
        """Each key of a path becomes a variable; what cannot be one is refused."""
        show = [harness.PYTHON, "-c", "import os; print(os.environ['WHOLE_A'], os.environ['S'],"
                " 'whole.b' in os.environ)"]
        settings = self.rig.settings(paths=f"{PATH}whole")
        result = self.rig.run(show, settings, {"S": f"vault:{PATH}whole#WHOLE_A"})
        self.assertEqual((result.returncode, result.stdout), (0, f"{VALUE} {VALUE} True\n"),
                         result.stderr)
        harness.assert_nothing_leaks(self, result.stderr)
        for name, words in {
                "whole-odd": ['variable "a b"', "letters, digits"],
                "whole-reserved": ["LD_ are reserved"],
                "whole-path": ["variable PATH is in the environment already"],
                "whole-none": ["has no keys"],
                "whole-many": ["more than 256 keys"],
                "fine": ["key number is a number"],
                "missing": ["Vault has no secret secret/data/missing"],
                "denied": ["403"],
                f"whole,{PATH}whole": ["variable WHOLE_A comes from two secrets"]}.items():
            with self.subTest(paths=name):
                self.refused(self.rig.run(SHOW, self.rig.settings(paths=PATH + name)), 102,
                             [PATH + name.split(",")[0], *words])
        self.refused(self.rig.run(SHOW, self.rig.settings(paths="a,,b")), 104,
                     ['paths: "" is no path'])

    def test_malformed_reference_is_told_before_login(self):
        before = len(self.rig.vault.requests)
        self.refused(self.read("vault:secret/data/fine#"), 104, ["variable S"])
        self.assertEqual(len(self.rig.vault.requests), before)

    def test_settings(self):
        good = self.rig.settings()
        cases = {
            "": ["CLOUDTASER_CONFIG"],
            "{": ["CLOUDTASER_CONFIG"],
            "[]": ["CLOUDTASER_CONFIG"],
            json.dumps(good)[:-1] + ', "min-score": 75, "min-score": 0}': ['the key "min-score" stands twice in one object'],
            json.dumps({**good, "adress": "x"}): ["adress"],
            json.dumps({**good, "address": "ftp://x"}): ["address", "ftp://x"],
            json.dumps({**good, "min-score": 3.5}): ["min-score"],
            json.dumps({**good, "require": ["speed"]}): ["require", "speed"],
            json.dumps({**good, "ca-file": "/nowhere/ca.pem"}): ["/nowhere/ca.pem", "No such file"],
            json.dumps({**good, "token-file": "/nowhere/jwt"}): ["/nowhere/jwt"],
            json.dumps({**good, "token-file": "/"}): ["token file"],
            json.dumps({**good, "token-file": "/dev/null"}): ["token file"],
        }
        for text, words in cases.items():
            with self.subTest(settings=text[-60:]):
                self.refused(self.read(f"vault:{PATH}fine#password", text or " "), 104, words)
        result = subprocess.run([harness.WRAPPER, "--", "true"], env={}, text=True,
                                capture_output=True, check=False)
        self.refused(result, 104, ["the variable CLOUDTASER_CONFIG is missing"])

    def test_command_line(self):
        for arguments in [], ["--"], ["true"], ["--verbose", "true"]:
            with self.subTest(arguments=arguments):
                result = subprocess.run([harness.WRAPPER, *arguments], env={}, text=True,
                                        capture_output=True, check=False)
                self.refused(result, 104, ["no program to start"])

    def test_bad_token_files(self):
        for content in "", "\n", "two words", "a\nb", "x" * 9000, "ö":
            with self.subTest(content=content[:20]):
                path = self.rig.folder / "odd-token"
                path.write_text(content)
                self.refused(self.read(f"vault:{PATH}fine#password",
                                       self.rig.settings(token_file=str(path))), 104, [str(path)])

    def test_tls(self):
        folder = self.rig.folder
        (folder / "not-pem").write_text("this is no certificate\n")
        cases = [
            ("server", "other-ca.pem", ["other-ca.pem", "certificate"]),
            ("wrong-name", "ca.pem", ["certificate", "no alternative certificate subject name"]),
            ("expired", "ca.pem", ["certificate", "expired"]),
            ("server", "not-pem", ["not-pem", "certificate"]),
        ]
        for name, ca, words in cases:
            with self.subTest(certificate=name, ca=ca):
                vault = BadVault(folder / f"{name}.pem", folder / f"{name}.key")
                started = time.monotonic()
                settings = self.rig.settings(address=vault.address, ca_file=str(folder / ca),
                                             retry_budget_ms=20000)
                self.refused(self.read(f"vault:{PATH}fine#password", settings), 103,
                             [vault.address, *words])
                self.assertLess(time.monotonic() - started, 5, "a wrong CA is not worth a retry")
                self.assertEqual(vault.requests, [])
                vault.close()

    def test_skip_verify_takes_any_certificate(self):
        folder = self.rig.folder
        vault = BadVault(folder / "wrong-name.pem", folder / "wrong-name.key")
        settings = self.rig.settings(address=vault.address, skip_verify=True, ca_file=None)
        result = self.read(f"vault:{PATH}fine#password", settings)
        self.assertEqual((result.returncode, result.stdout), (0, f"value={VALUE}\n"), result.stderr)
        self.assertEqual(result.stderr.count("is not verified (skip-verify)"), 1, result.stderr)
        vault.close()

    def test_no_tls_where_it_is_expected(self):
        vault = BadVault(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
        settings = self.rig.settings(address=f"https://127.0.0.1:{vault.port}")
        self.refused(self.read(f"vault:{PATH}fine#password", settings), 103,
                     [f"https://127.0.0.1:{vault.port}", "does it speak TLS?"])
        vault.close()

    def test_a_ca_file_that_is_no_pem(self):
        path = self.rig.folder / "jwt"
        self.refused(self.read(f"vault:{PATH}fine#password", self.rig.settings(ca_file=str(path))),
                     103, [f"the CA file {path} cannot be read as PEM certificates"])

    def test_nobody_there(self):
        with socket.socket() as deaf:  # bound and never listening: nobody else can answer there
            deaf.bind(("127.0.0.1", 0))
            port = deaf.getsockname()[1]
            settings = self.rig.settings(address=f"https://127.0.0.1:{port}")
            self.refused(self.read(f"vault:{PATH}fine#password", settings), 103,
                         [f"127.0.0.1:{port}", "given up after"])
        settings = self.rig.settings(address="https://vault.invalid:8200")
        self.refused(self.read(f"vault:{PATH}fine#password", settings), 103, ["vault.invalid"])

    def test_retries_mend(self):
        for name in bad_vault.FLAKY:
            with self.subTest(flaky=name):
                result = self.read(f"vault:{PATH}{name}#password",
                                   self.rig.settings(retry_budget_ms=10000))
                self.assertEqual((result.returncode, result.stdout), (0, f"value={VALUE}\n"),
                                 result.stderr)
                waits = [line for line in result.stderr.splitlines() if "trying again in" in line]
                # A kept connection that breaks is tried anew by the HTTP client itself, once.
                self.assertIn(len(waits), (1, 2) if name == "flaky-hang-up" else (2,), result.stderr)
                for line in waits:
                    self.assertIn("[cloudtaser-wrapper] warning: ", line)
        result = self.read(f"vault:{PATH}fine#password",
                           self.rig.settings(role="flaky-503", retry_budget_ms=10000))
        self.assertEqual(result.stdout, f"value={VALUE}\n", result.stderr)

    def test_budget_bounds_a_silent_server(self):
        started = time.monotonic()
        settings = self.rig.settings(role="silent", timeout_ms=10000, retry_budget_ms=1500)
        self.refused(self.read(f"vault:{PATH}fine#password", settings), 103, ["timed out"])
        self.assertLess(time.monotonic() - started, 5)

    def test_told_to_end_while_retrying(self):
        settings = self.rig.settings(role="sealed", retry_budget_ms=60000)
        process = self.rig.start(SHOW, settings, {"S": f"vault:{PATH}fine#password"},
                                 stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stderr.readline()  # the first retry is told
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        self.assertEqual((process.returncode, out), (128 + signal.SIGTERM, ""), err)
        self.assertIn("stopped by signal 15 before the app was started", err)

    def test_one_connection_and_one_read_for_each_secret(self):
        vault = BadVault(self.rig.folder / "server.pem", self.rig.folder / "server.key")
        variables = {"S": f"vault:{PATH}fine#password", "T": f"${{vault:{PATH}fine#user}}:x",
                     "U": f"vault:{PATH}fine#password#3"}
        settings = self.rig.settings(address=vault.address, namespace="team/a")
        result = self.rig.run([harness.PYTHON, "-c",
                               "import os; print(*(os.environ[n] for n in 'STU'))"],
                              settings, variables)
        self.assertEqual(result.stdout, f"{VALUE} web:x {VALUE}\n", result.stderr)
        self.assertEqual([(m, p) for m, p, _ in vault.requests],
                         [("POST", "/v1/auth/kubernetes/login"), ("GET", f"/v1/{PATH}fine"),
                          ("GET", f"/v1/{PATH}fine?version=3")])
        self.assertEqual(vault.connections, 1)
        for _, _, headers in vault.requests:
            self.assertEqual(headers["x-vault-namespace"], "team/a")
            self.assertEqual(headers["x-vault-request"], "true")
            self.assertNotIn("expect", headers)
        self.assertNotIn("x-vault-token", vault.requests[0][2])
        vault.close()

    def test_environment_does_not_lead_astray(self):
        """What would make other clients use a proxy, another Vault or another CA is ignored, and
        passed on to the app."""
        trap = BadVault(greeting=b"")
        url = f"http://127.0.0.1:{trap.port}"
        variables = {name: url for name in (
            "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
            "VAULT_ADDR")}
        variables.update(SSL_CERT_FILE="/nowhere", SSL_CERT_DIR="/nowhere", OPENSSL_CONF="/nowhere",
                         VAULT_TOKEN="wrong", VAULT_NAMESPACE="wrong", CURL_CA_BUNDLE="/nowhere",
                         S=f"vault:{PATH}fine#password")
        for vault in self.rig.vault, BadVault():
            result = self.rig.run([harness.PYTHON, "-c",
                                   "import os; print(os.environ['S'], os.environ['HTTPS_PROXY'], "
                                   "'CLOUDTASER_CONFIG' in os.environ)"],
                                  self.rig.settings(address=vault.address), variables)
            self.assertEqual(result.stdout, f"{VALUE} {url} False\n", result.stderr)
            told = result.stderr.count(f"{vault.address} is asked without TLS")
            self.assertEqual(told, 1 if vault.address.startswith("http:") else 0, result.stderr)
        self.assertEqual(trap.connections, 0)
        trap.close()

    def test_token_method(self):
        path = self.rig.folder / "vault-token"
        path.write_text(f"  {bad_vault.TOKEN}\n\n")
        settings = self.rig.settings(auth="token", role=None, token_file=str(path))
        before = len(self.rig.vault.requests)
        result = self.read(f"vault:{PATH}fine#password", settings)
        self.assertEqual(result.stdout, f"value={VALUE}\n", result.stderr)
        self.assertEqual([p for _, p, _ in self.rig.vault.requests[before:]][:1],
                         [f"/v1/{PATH}fine"])
        path.write_text("hvs.another-token-that-is-refused")
        self.refused(self.read(f"vault:{PATH}fine#password", settings), 102,
                     ["secret/data/fine", "403"])

    def with_credential(self, text, **changes):
        path = self.rig.folder / "credential"
        path.write_text(text + "\n")
        return self.rig.settings(token_file=str(path), **changes)

    def test_jwt_login(self):
        before = len(self.rig.vault.requests)
        result = self.read(f"vault:{PATH}fine#password", self.rig.settings(auth="jwt"))
        self.assertEqual(result.stdout, f"value={VALUE}\n", result.stderr)
        self.assertEqual(self.rig.vault.requests[before][1], "/v1/auth/jwt/login")
        self.refused(self.read(f"vault:{PATH}fine#password",
                               self.rig.settings(auth="jwt", role="denied", auth_path="oidc/x")),
                     101, ["login at auth/oidc/x as role denied", "403"])
        self.refused(self.read(f"vault:{PATH}fine#password",
                               self.rig.settings(auth="jwt", role=None)), 104, ["role is missing"])

    def test_approle_login(self):
        settings = self.with_credential(bad_vault.SECRET_ID, auth="approle")
        before = len(self.rig.vault.requests)
        result = self.read(f"vault:{PATH}fine#password", settings)
        self.assertEqual(result.stdout, f"value={VALUE}\n", result.stderr)
        harness.assert_nothing_leaks(self, result.stderr)
        self.assertEqual([(m, p) for m, p, _ in self.rig.vault.requests[before:]],
                         [("POST", "/v1/auth/approle/login"), ("GET", f"/v1/{PATH}fine")])
        self.refused(self.read(f"vault:{PATH}fine#password",
                               self.with_credential("another-secret-id", auth="approle")),
                     101, ["login at auth/approle as role fine", "403", "permission denied"])

    def wrapped(self, kind, **changes):
        return self.read(f"vault:{PATH}fine#password", self.with_credential(
            bad_vault.WRAPPING + kind, auth="approle", secret_id_wrapped=True, **changes))

    def test_wrapped_secret_id(self):
        before = len(self.rig.vault.requests)
        result = self.wrapped("good")
        self.assertEqual(result.stdout, f"value={VALUE}\n", result.stderr)
        harness.assert_nothing_leaks(self, result.stderr)
        sent = self.rig.vault.requests[before:]
        self.assertEqual([p for _, p, _ in sent],
                         ["/v1/sys/wrapping/lookup", "/v1/sys/wrapping/unwrap",
                          "/v1/auth/approle/login", f"/v1/{PATH}fine"])
        self.assertEqual(["x-vault-token" in h for _, _, h in sent], [False, True, False, True])
        void = ["is not valid (any more)", "may have been intercepted", "works once"]
        file = str(self.rig.folder / "credential")
        self.refused(self.wrapped("good"), 101, [file, "If nothing of yours used it", *void])
        self.refused(self.wrapped("unheard-of"), 101, [file, *void])
        # Used up by this start itself: the answer was lost on its way.
        self.refused(self.wrapped("lost", retry_budget_ms=5000), 101,
                     ["A try of this start whose answer was lost may have used it", *void])
        # Unwrapped by somebody, and what it held wrapped again: not even unwrapped.
        before = len(self.rig.vault.requests)
        self.refused(self.wrapped("foreign"), 101,
                     ["was made by sys/wrapping/wrap and not by auth/approle/role/NAME/secret-id",
                      "may have been intercepted"])
        self.assertEqual(len(self.rig.vault.requests) - before, 1)
        self.refused(self.wrapped("odd"), 101, ["holds no data.creation_path"])
        self.refused(self.wrapped("none"), 101, ["holds no data.secret_id"])

    def test_minimum_that_cannot_be_reached_costs_no_login(self):
        for settings, words in [
                (self.rig.settings(min_score=70),
                 ["of at most", "below the minimum of 70", "no agent on this node"]),
                (self.rig.settings(require=["kprobes_active"]),
                 ["required check", "kprobes_active: no agent on this node"])]:
            before = len(self.rig.vault.requests)
            self.refused(self.read(f"vault:{PATH}fine#password", settings), 100, words)
            self.assertEqual(len(self.rig.vault.requests), before, "nothing may be fetched")

    def test_program_that_cannot_run(self):
        plain = self.rig.folder / "plain"
        plain.write_text("no program\n")
        cases = [(["/nowhere/program"], 127), (["no-such-program-anywhere"], 127),
                 ([str(plain)], 126), (["/"], 126)]
        for command, code in cases:
            with self.subTest(command=command):
                result = self.rig.run(command)
                self.refused(result, code, [command[0]])


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
