# SPDX-License-Identifier: Apache-2.0
"""The real cloudtaser-webhook on loopback, registered in the test's API server."""

import base64
import http.client
import pathlib
import re
import signal
import ssl

from process import ROOT, Service, free_port, product

MANIFEST = ROOT / "test" / "rig" / "mutating-webhook.yaml"


class Webhook:
    """Started by the constructor's end; register() makes the API server call it."""

    def __init__(self, authority, nodes_file, log_dir, options=(), name="webhook", prefix=(),
                 env=None, ready=True, own_certificate=False):
        """Without a nodes file the options say how nodes are found. `prefix` stands before the
        program, as unshare does. With a certificate of its own it is not told of any, and not asked
        for one."""
        self.authority = authority
        self.certificate, self.key = authority.issue(name)
        self._tls = ssl.create_default_context(cafile=str(authority.certificate))
        if own_certificate:
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._name, self._log_dir = name, log_dir
        self._argv = [*prefix, product("cloudtaser-webhook"),
                      "--listen", f"127.0.0.1:{self.port}",
                      *(() if own_certificate else
                        ("--tls-cert", self.certificate, "--tls-key", self.key)),
                      "--drain-delay", "0s",
                      *(("--nodes-file", nodes_file) if nodes_file else ()), *options]
        self._env = env
        self._starts = 0
        self.service = None
        self.start(ready=ready)

    def start(self, *more, ready=True):
        """Starts it (again), with more options if need be; each start has a log of its own."""
        self._starts += 1
        name = self._name if self._starts == 1 else f"{self._name}-{self._starts}"
        self.service = Service(name, [*self._argv, *more], self._log_dir, env=self._env)
        try:
            self.service.wait_for(self._ready if ready else self._alive, f"{name} to be ready", 20)
        except BaseException:
            self.close()
            raise

    def connect(self):
        """A connection of one's own; close() it."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._tls)

    def peer_certificate(self):
        """The certificate that a new connection is shown, as DER."""
        connection = self.connect()
        connection.connect()
        try:
            return connection.sock.getpeercert(binary_form=True)
        finally:
            connection.close()

    def close(self, sig=signal.SIGTERM):
        return self.service.end(sig)

    def get(self, path):
        """(status, text)"""
        return self.send("GET", path)

    def send(self, method, path, body=None, headers=None):
        """Any request; (status, text)."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def _alive(self):
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def metrics(self):
        """name{labels} -> value"""
        lines = re.findall(r"^([a-z_]+(?:\{[^}\n]*\})?) (\S+)$", self.get("/metrics")[1], re.M)
        return {name: float(value) for name, value in lines}

    def reviews(self):
        """How many admission requests it has seen so far, whatever became of them."""
        return sum(value for name, value in self.metrics().items()
                   if name.startswith("cloudtaser_webhook_requests_total{"))

    def decisions(self, decision):
        """How many requests it has decided in this way: "patched", "admitted", "denied" …"""
        return sum(value for name, value in self.metrics().items()
                   if name.startswith(f'cloudtaser_webhook_requests_total{{decision="{decision}"'))

    def reloads(self, file, result):
        """How often it has read a changed file again: "taken" or "refused"."""
        return self.metrics()[
            f'cloudtaser_webhook_reloads_total{{file="{file}",result="{result}"}}']

    def bundle(self):
        """The caBundle that it is verified by."""
        return base64.b64encode(self.authority.certificate.read_bytes()).decode()

    def manifest(self):
        """The registration as kubectl is given it."""
        text = pathlib.Path(MANIFEST).read_text()
        return text.replace("@URL@", self.url).replace("@CA_BUNDLE@", self.bundle())

    def register(self, cluster):
        cluster.kubectl("apply", "-f", "-", stdin=self.manifest())
