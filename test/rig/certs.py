# SPDX-License-Identifier: Apache-2.0
"""Certificates for a test run: an authority of its own and servers on 127.0.0.1."""

import pathlib
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *[str(a) for a in arguments]], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)


def rsa_key(path):
    """An RSA key: what kube-apiserver signs service-account tokens with."""
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    return path


class Authority:
    """A certificate authority whose files lie in `folder`."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.certificate = self.folder / f"{name}.crt"
        self._key = self.folder / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-sha256", "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key,
                 "-out", self.certificate,
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def pem(self):
        return self.certificate.read_text()

    def issue(self, name, hosts=("IP:127.0.0.1", "DNS:localhost"), days=2, subject=None):
        """(certificate, key) of a server called by one of `hosts`, or of a client, whose `subject`
        (default: /CN=NAME) names groups and user to the API server; of 0 days, it has ended."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request)
        extensions.write_text("basicConstraints=critical,CA:FALSE\n"
                              "keyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=serverAuth,clientAuth\n"
                              f"subjectAltName={','.join(hosts)}\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
                 "-CAcreateserial", "-sha256", "-days", days, "-extfile", extensions,
                 "-out", certificate)
        return certificate, key
