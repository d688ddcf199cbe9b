# SPDX-License-Identifier: Apache-2.0
"""`cloudtaser run` with the real Vault, over TLS."""

import os
import pathlib
import subprocess
import unittest

import environment
import memory_scan
from process import product

SECRET = "PGPASSWORD=secret/data/db#password"


class Terminal(unittest.TestCase):
    @property
    def env(self):
        return environment.current()

    def start(self, *words, program=("/usr/bin/printenv", "PGPASSWORD"), **variables):
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "VAULT_ADDR": self.env.vault.url + "/",
                   "VAULT_CACERT": str(self.env.vault_ca.certificate),
                   "VAULT_TOKEN": self.env.vault_token, **variables}
        return subprocess.Popen(
            [product("cloudtaser"), "run", "--wrapper", product("cloudtaser-wrapper"), *words, "--", *program],
            env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ends(self, *words, **variables):
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=60)
        self.assertNotIn(self.env.vault_token, err)
        return process.returncode, out, err

    def test_by_token(self):
        code, out, err = self.ends("--secret", SECRET)
        self.assertEqual((code, out), (0, self.env.values["password"] + "\n"), err)
        self.assertIn("token_protected: FAIL (+0) the Vault token was handed over", err)
        code, out, err = self.ends("--secret", SECRET + "#1")
        self.assertEqual((code, out), (0, self.env.values["old-password"] + "\n"), err)
        code, _, err = self.ends("--secret", "X=secret/data/forbidden#key")
        self.assertEqual(code, 102, err)
        code, _, err = self.ends("--secret", SECRET, VAULT_CACERT=str(self.env.other_ca.certificate))
        self.assertEqual(code, 103, err)
        code, out, err = self.ends("--secret", SECRET, VAULT_CACERT="", VAULT_SKIP_VERIFY="1")
        self.assertEqual(code, 0, err)

    def test_by_approle(self):
        path = pathlib.Path(self.env.work, "terminal-secret-id")
        login = ["--auth-method", "approle", "--role", self.env.role_id, "--token-file", path]
        path.write_text(self.env.vault.secret_id("app"))
        code, out, err = self.ends(*login, "--secret", SECRET)
        self.assertEqual((code, out), (0, self.env.values["password"] + "\n"), err)
        self.assertIn("token_protected: OK (+10)", err)
        path.write_text(self.env.vault.secret_id("app", wrap="5m"))
        for expected in (0, 101):  # it works once
            code, out, err = self.ends(*login, "--secret-id-wrapped", "--secret", SECRET)
            self.assertEqual(code, expected, err)

    def test_the_app_has_no_token(self):
        """With it planted in a variable of its own it is found."""
        for planted in {}, {"COPY": self.env.vault_token}:
            process = self.start("--secret", SECRET, program=["/bin/cat"], **planted)
            try:
                process.stdin.write("on\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline(), "on\n")
                (app,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                scan = memory_scan.scan(app, {"token": self.env.vault_token.encode()})
                environ = pathlib.Path(f"/proc/{app}/environ").read_bytes()
            finally:
                process.communicate("", timeout=20)
            self.assertEqual(scan.hits["token"] > 0, bool(planted), str(scan))
            self.assertEqual(self.env.vault_token.encode() in environ, bool(planted))
