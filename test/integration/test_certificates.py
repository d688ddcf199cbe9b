# SPDX-License-Identifier: Apache-2.0
"""The webhook's own certificates: made, agreed on by two replicas, renewed while pods are created."""

import base64
import http.server
import json
import ssl
import threading
import time

import environment
from pods import TestCase, container, pod
from process import free_port, wait_until
from webhook import Webhook

NAME = "renewing"
SECRETS = "/api/v1/namespaces/apps/secrets"
SECRET = f"{SECRETS}/{NAME}"
CONFIGURATION = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
MERGE = "application/merge-patch+json"
LIFE = 12
UNREGISTERED = ('{"error":"not ready: nothing calls this webhook: there is no webhook configuration '
                'renewing"}\n')
RIGHTS = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME],
     "verbs": ["get", "update"]},
    {"apiGroups": ["admissionregistration.k8s.io"], "resourceNames": [NAME],
     "resources": ["mutatingwebhookconfigurations"], "verbs": ["get", "patch"]},
]


class Load:
    """Threads that create pods (as dry runs) until told to end."""

    def __init__(self, cluster, clients=3):
        self._cluster, self._stop = cluster, threading.Event()
        self.done, self.failures = 0, []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self):
        while not self._stop.is_set():
            status, text = self._cluster.request(
                "POST", "/api/v1/namespaces/renewed/pods?dryRun=All",
                pod(inject=False, containers=[container()]))
            if status != 201:
                self.failures.append((status, text[:300]))
            self.done += 1
            time.sleep(0.1)


class Between:
    """The API server as one replica is to see it: what is done with `meanwhile` happens once, between a reading of the
    Secret and the write that follows."""

    def __init__(self, cluster, kubeconfig):
        self.meanwhile, self.writes = None, []
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                writes = self.command in ("POST", "PUT") and self.path.startswith(SECRETS)
                if writes and between.meanwhile:
                    act, between.meanwhile = between.meanwhile, None
                    act()
                status, answer = cluster.request(
                    self.command, self.path, json.loads(body) if body else None,
                    content_type=self.headers.get("Content-Type", "application/json"),
                    token=self.headers["Authorization"].removeprefix("Bearer "))
                if writes:
                    between.writes.append((self.command, status))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = forward

            def log_message(self, *_):
                pass

        port = free_port()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.kubeconfig = kubeconfig.with_name(f"between-{port}.yaml")
        self.kubeconfig.write_text(kubeconfig.read_text().replace(cluster.url, f"http://127.0.0.1:{port}"))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Certificates(TestCase):
    @classmethod
    def setUpClass(cls):
        cluster = environment.current().cluster
        cluster.namespace("renewed", {"certificates": "renewed"})
        cls.kubeconfig, _ = cluster.account("apps", NAME)
        cluster.grant("apps", NAME, RIGHTS)

    def setUp(self):
        self.webhooks = []
        self.addCleanup(self.remove)

    def remove(self):
        for webhook in self.webhooks:
            webhook.close()
        self.webhooks.clear()
        for path in (CONFIGURATION, SECRET):
            self.cluster.request("DELETE", path)

    def start(self, life=LIFE, kubeconfig=None, ready=True):
        Certificates.started = getattr(Certificates, "started", 0) + 1
        webhook = Webhook(
            self.env.webhook_ca, self.env.nodes_file, self.env.logs,
            ["--kubeconfig", kubeconfig or self.kubeconfig, "--cert-mode", "self", "--cert-secret", NAME,
             "--webhook-configuration", NAME, "--cert-name", "127.0.0.1", "--cert-name", "localhost",
             "--cert-life", f"{life}s"],
            name=f"certificates-{Certificates.started}", own_certificate=True, ready=ready)
        self.webhooks.append(webhook)
        return webhook

    def register(self):
        """An entry for each replica, so that a pod needs them all; no caBundle as yet."""
        self.cluster.api("POST", CONFIGURATION.rpartition("/")[0], {
            "metadata": {"name": NAME}, "webhooks": [{
                "name": f"replica-{i}.example.com", "admissionReviewVersions": ["v1"],
                "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 10,
                "namespaceSelector": {"matchLabels": {"certificates": "renewed"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                           "resources": ["pods"]}],
                "clientConfig": {"url": f"{webhook.url}/mutate"},
            } for i, webhook in enumerate(self.webhooks)]})

    def secret(self):
        return {key: base64.b64decode(text).decode()
                for key, text in self.cluster.api("GET", SECRET)["data"].items()}

    def shown(self, i):
        return ssl.get_server_certificate(("127.0.0.1", self.webhooks[i].port), timeout=5)

    def bundles(self):
        return [base64.b64decode(entry["clientConfig"].get("caBundle", "")).decode()
                for entry in self.cluster.api("GET", CONFIGURATION)["webhooks"]]

    def wait_told(self):
        wait_until(lambda: set(self.bundles()) == {self.secret()["ca.crt"]}, "the caBundles", 40)

    def wait_ready(self):
        for webhook in self.webhooks:
            wait_until(lambda w=webhook: w.get("/readyz")[0] == 200, "it to be ready", 20)

    def wait_log(self, part, seconds=20):
        wait_until(lambda: any(part in w.service.text() for w in self.webhooks), part, seconds, 0.1)

    def count_log(self, part):
        return sum(w.service.text().count(part) for w in self.webhooks)

    def test_renewed_under_load_without_a_failure(self):
        for _ in range(2):
            self.start(ready=False)
        for webhook in self.webhooks:
            wait_until(lambda w=webhook: w.get("/readyz") == (503, UNREGISTERED), "both to agree",
                       20)
        self.assertEqual(self.count_log(": created"), 1)
        self.register()
        self.wait_told()
        self.wait_ready()
        first = self.secret()
        with Load(self.cluster) as load:
            wait_until(lambda: load.done > 20, "the load", 20)
            # An authority lives 36 s and gets its successor after 24: all that is shown in the end is
            # signed by the successor.
            time.sleep(3 * LIFE + 8)
        self.assertEqual(load.failures, [])
        self.assertGreater(load.done, 200)
        last = self.secret()
        # The first authority, if it is there still, is not the one that signs any more.
        self.assertFalse(last["ca.crt"].startswith(first["ca.crt"]))
        self.assertNotEqual(first["ca.key"], last["ca.key"])
        self.assertGreaterEqual(self.count_log("a renewed certificate is in it"), 4)
        self.assertGreaterEqual(self.count_log("has a successor"), 1)
        self.assertGreaterEqual(self.count_log("another replica's certificate"), 2)
        # Each step was one replica's.
        self.assertLess(self.count_log("a renewed certificate is in it"), 10)
        for webhook in self.webhooks:
            self.assertEqual(self.count_log("error"), 0, webhook.service.text())
            self.assertNotIn("PRIVATE KEY", webhook.service.text())

    def test_a_deleted_or_garbled_secret(self):
        self.start(3600, ready=False)
        self.register()
        self.wait_told()
        self.wait_ready()
        with Load(self.cluster, 2) as load:
            wait_until(lambda: load.done > 5, "the load", 20)
            before = self.secret()
            self.cluster.api("DELETE", SECRET)
            wait_until(lambda: self.cluster.request("GET", SECRET)[0] == 200, "it to be back", 40)
            self.assertEqual(self.secret(), before)  # what was in use is what it is made of
            self.cluster.api("PATCH", SECRET, content_type=MERGE, body={
                "data": {"ca.key": base64.b64encode(b"garbage").decode()},
                "metadata": {"labels": {"kept": "yes"}}})
            self.wait_log(f"Secret apps/{NAME} was of no use and has been replaced: ca.key holds no "
                          "private key in PEM", 40)
            self.assertEqual(self.secret(), before)
            self.assertEqual(self.cluster.api("GET", SECRET)["metadata"]["labels"]["kept"], "yes")
        self.assertEqual(load.failures, [])
        self.cluster.api("PATCH", CONFIGURATION, content_type="application/json-patch+json", body=[
            {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}])
        wait_until(lambda: self.bundles() == [before["ca.crt"]], "the caBundle to be back", 40)

    def test_a_replica_that_makes_all_anew_does_not_shut_out_the_others(self):
        """It starts when the Secret is of no use or gone, before those that run have seen that."""
        garbage = {"data": {"ca.key": base64.b64encode(b"garbage").decode()}}
        for damage in (lambda: self.cluster.api("PATCH", SECRET, content_type=MERGE, body=garbage),
                       lambda: self.cluster.api("DELETE", SECRET)):
            self.start(3600, ready=False)
            wait_until(lambda: self.cluster.request("GET", SECRET)[0] == 200, "the Secret", 20)
            self.register()
            self.wait_told()
            self.wait_ready()
            with Load(self.cluster, 2) as load:
                wait_until(lambda: load.done > 5, "the load", 20)
                before = self.secret()
                damage()
                self.start(3600, ready=False)
                self.wait_ready()
                # The other one looks each ten seconds.
                wait_until(lambda: self.shown(0) == self.shown(1), "both to show the same", 30)
                self.wait_told()
            self.assertEqual(load.failures, [])
            self.assertIn(before["ca.crt"].strip(), self.secret()["ca.crt"])
            self.remove()

    def test_two_writers_of_the_secret(self):
        """One has read it, and another writes before that one does: what is there stays, and both show it."""
        between = Between(self.cluster, self.kubeconfig)
        self.addCleanup(between.close)
        garbage = {"data": {"ca.key": base64.b64encode(b"garbage").decode()}}
        held = []

        def another():
            self.start(3600, ready=False)
            wait_until(lambda: self.cluster.request("GET", SECRET)[0] == 200 and
                       "PRIVATE KEY" in self.secret()["ca.key"], "the other's Secret", 8, 0.05)
            held.append(self.secret())

        between.meanwhile = another
        slow = self.start(3600, kubeconfig=between.kubeconfig, ready=False)
        for write, taken in ("POST", 1), ("PUT", 2):
            wait_until(lambda n=taken: slow.service.text().count("another replica's certificate") == n,
                       "the slower one to take the Secret", 20)
            self.assertEqual(between.writes[-1:], [(write, 409)])
            self.assertEqual(self.secret(), held[-1])
            self.assertEqual(self.shown(0), self.shown(1))
            [other] = [w for w in self.webhooks if w is not slow]
            self.assertEqual(other.service.text().count("another replica's certificate"), 0)
            if write == "POST":
                other.close()
                self.webhooks.remove(other)
                between.meanwhile = another
                self.cluster.api("PATCH", SECRET, content_type=MERGE, body=garbage)
        self.assertNotEqual(held[0]["tls.crt"], held[1]["tls.crt"])
        for part in ": created", "has been replaced", "PRIVATE KEY":
            self.assertNotIn(part, slow.service.text())

    def test_a_secret_that_is_there_is_adopted(self):
        first = self.start(3600, ready=False)
        wait_until(lambda: self.cluster.request("GET", SECRET)[0] == 200, "the Secret", 20)
        held = self.secret()
        first.close()
        second = self.start(3600, ready=False)
        wait_until(lambda: second.get("/readyz") == (503, UNREGISTERED), "the Secret to be taken", 20)
        self.assertEqual(self.secret(), held)
        self.assertIn("there is no webhook configuration renewing yet",
                      self.webhooks[1].service.text())
        self.register()
        self.wait_log("has been brought up to date", 40)
        wait_until(lambda: second.get("/readyz")[0] == 200, "it to be ready", 10)
        self.cluster.api("DELETE", CONFIGURATION)
        wait_until(lambda: second.get("/readyz") == (503, UNREGISTERED), "the registration's end", 20)

    def test_without_rights_it_is_not_ready(self):
        kubeconfig, _ = self.cluster.account("apps", "rightless")
        webhook = self.start(kubeconfig=kubeconfig, ready=False)
        wait_until(lambda: "cannot get resource" in webhook.get("/readyz")[1], "the reason", 20)
        self.assertEqual(webhook.get("/readyz")[0], 503)
