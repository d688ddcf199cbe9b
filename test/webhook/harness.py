# SPDX-License-Identifier: Apache-2.0
"""The running webhook over real TLS, and clients that load it and count what fails."""

import contextlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import sys
import tempfile
import threading
import time
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "rig"), str(TESTS / "bench")]
import certs  # noqa: E402
import process  # noqa: E402
import requests as bodies  # noqa: E402

PROGRAM = process.build_dir() / "webhook" / "cloudtaser-webhook"
JSON = {"Content-Type": "application/json"}


def review(minimum=None, containers=1, opted_in=True):
    """The bytes of a review; with a minimum score if given."""
    document = bodies.review(opted_in, containers)
    if minimum is not None:
        annotations = document["request"]["object"]["metadata"]["annotations"]
        annotations["cloudtaser.io/min-protection-score"] = str(minimum)
    return json.dumps(document).encode()


class WebhookTest(unittest.TestCase):
    """A folder with certificates and a nodes file, and what starts the program in it."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="ct-webhook-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.authority = certs.Authority(self.folder, "authority")
        self.certificate, self.key = self.authority.issue("webhook")
        self.tls = ssl.create_default_context(cafile=str(self.authority.certificate))
        self.nodes_file = self.folder / "nodes.json"
        self.write_nodes("6.12.0")
        self.port = process.free_port()
        self.service = None

    def replace(self, path, text):
        """As editors and kubectl do: a new file takes the old one's place."""
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text)
        os.replace(fresh, path)

    def write_nodes(self, *kernels):
        items = [bodies.node(f"node-{i}", kernel) for i, kernel in enumerate(kernels)]
        self.replace(self.nodes_file,
                     json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def start(self, *options, name="webhook", ready=True, certificate=None, key=None,
              vault="https://vault.example.com:8200", nodes=None, wait=20):
        argv = [PROGRAM, "--listen", f"127.0.0.1:{self.port}",
                "--tls-cert", certificate or self.certificate, "--tls-key", key or self.key,
                *(nodes or ("--nodes-file", self.nodes_file)),
                "--vault-address", vault, *options]
        if "--drain-delay" not in options:
            argv += ["--drain-delay", "0s"]
        self.service = process.Service(name, argv, self.folder)
        self.addCleanup(self.end, self.service)
        expected = {200} if ready else {200, 503}
        self.service.wait_for(lambda: self.try_get("/readyz") in expected, "the webhook", wait)
        return self.service

    def end(self, service):
        """A program that a sanitizer stopped, or that did not end, fails the test."""
        self.assertEqual(service.end(process.signal.SIGTERM, 30), 0, service.tail())

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls)

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, bytes) over a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def try_get(self, path):
        try:
            return self.ask("GET", path)[0]
        except OSError:
            return None

    def raw(self):
        """A TLS socket on which nothing has been said yet."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        wrapped = self.tls.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(wrapped.close)
        return wrapped

    def peer_certificate(self):
        with contextlib.closing(self.connect()) as connection:
            connection.connect()
            return connection.sock.getpeercert(binary_form=True)

    def response(self, body):
        """The `response` of an answered review."""
        status, _, answer = self.ask("POST", "/mutate", body, JSON)
        self.assertEqual(status, 200, answer)
        return json.loads(answer)["response"]

    def metric(self, series):
        for line in self.ask("GET", "/metrics")[2].decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return None

    def log_lines(self, part):
        return [line for line in self.service.text().splitlines() if part in line]

    def wait_for(self, probe, what, seconds=10):
        return self.service.wait_for(probe, what, seconds)


class Load:
    """Threads that send reviews, with a breath between them: whether one fails is asked, not how many there can be. Half of them keep their connection, the others make
    a new one for each request. A refused connection ends a client, and is a failure if REFUSED_FAILS;
    every other trouble is one."""

    REFUSED_FAILS = False

    def __init__(self, test, clients=4):
        self._test = test
        self._body = review()
        self._stop = threading.Event()
        self.failures = []
        self.answered = [0] * clients
        self._threads = [threading.Thread(target=self._run, args=(i, i % 2 == 0), daemon=True)
                         for i in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        process.wait_until(lambda: min(self.answered) > 0 or self.failures, "the load to begin", 20)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        self.join()

    def join(self):
        """Waits for clients that end by themselves, for there is nobody any more to ask."""
        for thread in self._threads:
            thread.join(30)
            if thread.is_alive():
                self.failures.append("a client hangs")

    def _run(self, number, keep):
        connection = None
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = self._test.connect()
                    try:
                        connection.connect()
                    except ConnectionRefusedError:
                        if self.REFUSED_FAILS:
                            self.failures.append("refused")
                        return
                connection.request("POST", "/mutate?timeout=10s", self._body, JSON)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or b'"patch":' not in text:
                    self.failures.append(f"{answer.status} {text[:200]}")
                    return
                self.answered[number] += 1
                time.sleep(0.005)
                # http.client reconnects in silence after "Connection: close"; not here.
                if answer.will_close or not keep:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{'kept' if keep else 'new'} connection: {error!r}")
                return
        if connection is not None:
            connection.close()


def main():
    """Skips (77) without the program; a failure where tests must run."""
    if not PROGRAM.is_file():
        print(f"{PROGRAM} is missing: run make build first", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
