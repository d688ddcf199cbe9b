# SPDX-License-Identifier: Apache-2.0
"""The chart with certificates by cert-manager: its own controllers issue, renew and inject, the API server
verifies."""

import base64
import json
import os
import ssl
import subprocess
import threading
import time

from chart import CONFIGURATION, NAMESPACE, SECRET, TestCase, pod
from process import Service, wait_until

CRDS = "cert-manager-crds.yaml"
AUTHORITY = f"/api/v1/namespaces/{NAMESPACE}/secrets/cloudtaser-ca"
CERTIFICATES = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificates"


class Load:
    """One client that creates opted-in pods, as dry runs, until the end of the `with` block."""

    def __init__(self, test):
        self._test, self._stop = test, threading.Event()
        self.done, self.failures = 0, []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(40)

    def _run(self):
        while not self._stop.is_set():
            status, answer = self._test.try_pod(pod())
            if status != 201:
                self.failures.append(answer["message"])
            self.done += 1
            time.sleep(0.05)

    def goes_on(self):
        before = self.done
        wait_until(lambda: self.done > before + 10, "the load to go on", 20)


class CertManager(TestCase):
    def setUp(self):
        crds = self.env.binaries / CRDS
        self.cluster.kubectl("apply", "--server-side", "-f", str(crds))
        self.addCleanup(self.cluster.kubectl, "delete", "--ignore-not-found", "-f", str(crds))
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(crds))
        self.manage()

    def manage(self, *options):
        self.manager = Service("cert-manager", [
            self.env.binaries / "cert-manager", "--kubeconfig", self.cluster.kubeconfig, *options],
            self.env.logs)
        self.addCleanup(self.manager.end)

    def secret(self, path=SECRET):
        """What cert-manager has put into a Secret; empty while there is none."""
        status, raw = self.cluster.request("GET", path)
        data = json.loads(raw).get("data", {}) if status == 200 else {}
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def wait_issued(self, path=SECRET, before=None):
        """Once it holds a certificate, and another than before."""
        old = (before or {}).get("tls.crt")

        def fresh():
            now = self.secret(path)
            return now.get("tls.crt") not in (None, old) and now
        self.manager.wait_for(fresh, f"cert-manager to write {path}", 40)
        return self.secret(path)

    def reissue(self, name):
        """What `cmctl renew` does."""
        self.cluster.api("PATCH", f"{CERTIFICATES}/{name}/status", content_type="application/merge-patch+json",
                         body={"status": {"conditions": [{
                             "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
                             "message": "asked for by the test",
                             "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}]}})

    def mount(self, secret):
        """As kubelet does some time after the Secret has changed: both files in one step."""
        folder = self.env.work / "tls"
        fresh = self.env.work / f"tls-{time.monotonic_ns()}"
        fresh.mkdir()
        for key in ("tls.crt", "tls.key"):
            (fresh / key).write_text(secret[key])
        link = self.env.work / "tls.new"
        link.symlink_to(fresh)
        os.replace(link, folder)
        return folder

    def subject_of_issuer(self, secret):
        return subprocess.run(["openssl", "x509", "-noout", "-issuer"], input=secret["tls.crt"], text=True,
                              check=True, capture_output=True).stdout.strip()

    def shown(self, webhook):
        return ssl.get_server_certificate(("127.0.0.1", webhook.port), timeout=5).strip()

    def told(self):
        return {base64.b64decode(e["clientConfig"].get("caBundle", "")).decode() for e in
                self.cluster.api("GET", CONFIGURATION)["webhooks"]}

    def first_of(self, pem):
        end = "-----END CERTIFICATE-----"
        return pem[:pem.index(end) + len(end)].strip()

    def start(self):
        """The chart, and a webhook that shows what cert-manager has issued."""
        webhook = self.webhook("cert-manager-webhook")
        self.install({"certificates": {"mode": "cert-manager"}, "webhook": {"url": webhook.url}})
        secret = self.wait_issued()
        folder = self.mount(secret)
        webhook.start(options=("--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key"))
        wait_until(lambda: all(secret["ca.crt"].strip() in told for told in self.told()), "the caBundles", 30)
        self.wait_injects()
        return webhook, secret

    def take_up(self, webhook, first, second):
        """As kubelet brings the second certificate."""
        self.assertEqual(self.shown(webhook), self.first_of(first["tls.crt"]))
        self.mount(second)
        wait_until(lambda: self.shown(webhook) == self.first_of(second["tls.crt"]), "it to be shown", 20)

    def test_issued_and_renewed(self):
        webhook, first = self.start()
        self.assertIn("cloudtaser-ca", self.subject_of_issuer(first))
        made = self.admitted(pod())
        self.assertEqual(made["metadata"]["annotations"]["cloudtaser.io/status"], "injected")
        with Load(self) as load:
            self.reissue("cloudtaser-webhook")
            second = self.wait_issued(before=first)
            load.goes_on()
            self.take_up(webhook, first, second)
            load.goes_on()
        self.assertEqual(load.failures, [])
        self.assertNotEqual(first["tls.key"], second["tls.key"])
        self.assertIn("certificate read again", webhook.service.text())

    def renew_authority(self, among):
        """kubelet brings a new certificate a minute after API servers are told of its authority: until then
        they verify the one before it. among(told, new): have they been told?"""
        webhook, first = self.start()
        authority = self.secret(AUTHORITY)
        with Load(self) as load:
            self.reissue("cloudtaser-ca")
            renewed = self.wait_issued(AUTHORITY, authority)["tls.crt"].strip()
            self.reissue("cloudtaser-webhook")
            second = self.wait_issued(before=first)
            wait_until(lambda: all(among(bundle.strip(), renewed) for bundle in self.told()), "the caBundles", 30)
            load.goes_on()
            self.take_up(webhook, first, second)
            load.goes_on()
        self.assertEqual(load.failures, [])

    def test_a_renewed_authority(self):
        self.renew_authority(lambda told, new: new in told)

    def test_a_renewed_authority_that_replaces_the_one_before(self):
        """As cert-manager before 1.19 writes caBundles."""
        self.manager.end()
        self.manage("--feature-gates=CAInjectorMerging=false")
        self.renew_authority(lambda told, new: new == told)

    def test_what_stays_behind(self):
        self.start()
        self.uninstall()
        names = {s["metadata"]["name"] for s in
                 self.cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]}
        # As the notes say.
        self.assertLessEqual({"cloudtaser-webhook-tls", "cloudtaser-ca"}, names)
        for name in names:
            self.cluster.api("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")
