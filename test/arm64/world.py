# SPDX-License-Identifier: Apache-2.0
"""What the aarch64 tests share: the programs, a Vault with one secret, settings for the wrapper."""

import json
import os
import pathlib
import re
import tempfile

import certs
import process

STATIC = process.build_dir() / "static-arm64"
WRAPPER = STATIC / "wrapper/cloudtaser-wrapper"
INJECTOR = STATIC / "injector/cloudtaser-injector"
APP = STATIC / "test/arm64/arm64_app"
CLOUDTASER = process.build_dir() / "cli/cloudtaser"
VALUE = "planted-value-of-db-5e8b21c07a"
JWT = "eyJhbGciOiJSUzI1NiJ9.cGxhbnRlZA.c2lnbmF0dXJl"
HOST = "10.0.2.2"  # this machine, seen from a guest of QEMU's user-mode network


def missing():
    """What must be built first; None when everything is there."""
    for path in (WRAPPER, INJECTOR, APP, CLOUDTASER):
        if not os.access(path, os.X_OK):
            return f"{path} is missing: tools/build dev all static-arm64 builds it"
    return None


class World:
    """A folder with certificates and a token file, and `cloudtaser dev-vault` over HTTPS."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="ct-arm64-")
        self.folder = pathlib.Path(self._temporary.name)
        authority = certs.Authority(self.folder, "authority")
        self.ca = authority.certificate
        certificate, key = authority.issue("vault", (f"IP:{HOST}", "IP:127.0.0.1"))
        self.jwt = self.folder / "jwt"
        self.jwt.write_text(JWT)
        (self.folder / "kv.json").write_text(json.dumps({"db": {"password": VALUE}}))
        self._vault = process.Service("dev-vault", [
            CLOUDTASER, "dev-vault", "--listen", "127.0.0.1:0", "--role", "web",
            "--kv", self.folder / "kv.json", "--tls-cert", certificate, "--tls-key", key],
            self.folder)
        self.port = int(self._vault.wait_for(
            lambda: re.search(r"on port (\d+): export VAULT_ADDR=https://", self._vault.text()), "its port")[1])

    def close(self):
        self._vault.end()
        self._temporary.cleanup()

    def settings(self, host, ca, jwt, **changes):
        """The text of CLOUDTASER_CONFIG."""
        base = {"version": 1, "address": f"https://{host}:{self.port}", "role": "web",
                "ca-file": str(ca), "token-file": str(jwt), "retry-budget-ms": 10000}
        base.update({name.replace("_", "-"): value for name, value in changes.items()})
        return json.dumps(base)


def score(text):
    """The last score of a log: its sum, and each check's verdict."""
    head = re.findall(r"Protection score: (\d+/\d+)", text)
    checks = dict(re.findall(r"^\[cloudtaser-wrapper\] (\w+): ((?:OK|FAIL) \(.*)$", text, re.M))
    return (head[-1] if head else None), checks
