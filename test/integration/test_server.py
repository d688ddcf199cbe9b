# SPDX-License-Identifier: Apache-2.0
"""The webhook as a server: what it does with bad requests, new certificates, its own end."""

import json
import signal

from environment import APPS
from pods import TestCase, pod
from process import wait_until

JSON = {"Content-Type": "application/json"}


class Server(TestCase):
    def test_bad_requests(self):
        def review(**changes):
            whole = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                     "request": {"uid": "u", "operation": "CREATE", "object": {}}}
            whole.update(changes)
            return json.dumps(whole)
        cases = {
            "malformed": ("POST", "{", JSON, 400),
            "empty": ("POST", "", JSON, 400),
            "no request": ("POST", review(request=None), JSON, 400),
            "no uid": ("POST", review(request={"operation": "CREATE"}), JSON, 400),
            "apiVersion": ("POST", review(apiVersion="admission.k8s.io/v1beta1"), JSON, 400),
            "content type": ("POST", review(), {"Content-Type": "text/plain"}, 415),
            "too large": ("POST", "x" * ((7 << 20) + 1), JSON, 413),
            "GET": ("GET", None, {}, 405),
        }
        for name, (method, body, headers, expected) in cases.items():
            with self.subTest(name):
                status, text = self.env.webhook.send(method, "/mutate", body, headers)
                self.assertEqual(status, expected, text)
                if expected == 400:
                    self.assertIn("error", json.loads(text))
        self.admit(pod())

    def test_a_renewed_certificate_is_taken_up(self):
        webhook = self.env.webhook
        before = webhook.peer_certificate()
        kept = webhook.connect()
        self.addCleanup(kept.close)

        def ask():
            kept.request("GET", "/healthz")
            answer = kept.getresponse()
            answer.read()
            return answer.status
        self.assertEqual(ask(), 200)
        socket = kept.sock
        webhook.authority.issue("webhook")
        wait_until(lambda: webhook.peer_certificate() != before, "the new certificate", 15)
        self.assertEqual(ask(), 200)
        self.assertIs(kept.sock, socket, "the old connection was dropped")
        self.admit(pod())

    def test_without_the_webhook_no_pod_slips_through(self):
        webhook = self.env.webhook
        self.assertEqual(webhook.close(signal.SIGTERM), 0, webhook.service.tail())
        try:
            done = self.cluster.kubectl("create", "-n", APPS, "-f", "-", stdin=pod(), check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("failed calling webhook", done.stderr)
            self.admit(pod(inject=False))
        finally:
            webhook.start()
        self.admit(pod())

    def test_modes(self):
        webhook = self.env.webhook
        below = {"min-protection-score": "70"}
        try:
            for mode, patched in (("warn", True), ("audit", False)):
                with self.subTest(mode):
                    webhook.close()
                    webhook.start("--mode", mode)
                    manifest = pod(below, nodeSelector={"pool": "old"})
                    done = self.cluster.kubectl("create", "-n", APPS, "-o", "json", "-f", "-",
                                                stdin=manifest)
                    self.assertIn("Warning: ", done.stderr)
                    self.assertIn("70", done.stderr)
                    stored = json.loads(done.stdout)
                    self.assertEqual("initContainers" in stored["spec"], patched)
            webhook.close()
            webhook.start("--mode", "warn")
            self.refused(pod({"min-protection-score": "high"}), "min-protection-score")
        finally:
            webhook.close()
            webhook.start()
