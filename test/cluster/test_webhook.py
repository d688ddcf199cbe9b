# SPDX-License-Identifier: Apache-2.0
"""What becomes of pods while the webhook is ended, absent, and given new certificates."""

import base64
import http.client
import json
import ssl
import threading
import time

import workloads
from case import TestCase
from cluster import APPS, PATIENCE_S, SYSTEM, running
from process import wait_until

# How long after a kill requests may still fail, where all of the node is emulated.
SECONDS_OF_FAILURES = 60
KILL_ONE = """for p in /proc/[0-9]*; do
    read -r name <$p/comm && [ "$name" = cloudtaser-webh ] && kill -9 ${p#/proc/} && exit
done"""
WEBHOOK = "app.kubernetes.io/component=webhook"
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/cloudtaser-webhook-tls"
PORT = 8443


class Load:
    """Clients that create opted-in pods, as dry runs, until the end of the `with` block."""

    def __init__(self, cluster, clients=2):
        self._cluster, self._stop = cluster, threading.Event()
        self.done, self.failures, self.last_failure = 0, [], 0.0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.done > 10, "the load", 60)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _run(self):
        while not self._stop.is_set():
            try:
                self._one()
            except (OSError, http.client.HTTPException) as error:
                self._failed(repr(error))
            self.done += 1
            time.sleep(0.1)

    def _failed(self, text):
        self.failures.append(text)
        self.last_failure = time.monotonic()

    def _one(self):
        status, raw = self._cluster.request("POST", f"/api/v1/namespaces/{APPS}/pods?dryRun=All",
                                            workloads.pod("load"))
        if status != 201:
            self._failed(f"{status}: {raw[:300].decode(errors='replace')}")
        elif json.loads(raw)["metadata"]["annotations"].get("cloudtaser.io/status") != "injected":
            self._failed("a pod was let in as it was")

    def goes_on(self):
        before = self.done
        wait_until(lambda: self.done > before + 20, "the load to go on", 60)


class Webhook(TestCase):
    def replicas(self):
        """Those of its pods that serve."""
        return [pod for pod in self.cluster.pods(SYSTEM, WEBHOOK) if running(pod)]

    def wait_replicas(self, count=2, without=None):
        def attempt():
            found = self.replicas()
            names = [pod["metadata"]["name"] for pod in self.cluster.pods(SYSTEM, WEBHOOK)]
            return len(names) == len(found) == count and without not in names
        wait_until(attempt, f"{count} replicas of the webhook", PATIENCE_S, 0.3)

    def gone(self, pod):
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}"
        return self.api.request("GET", path)[0] == 404

    def shown_by(self, pod):
        """The certificate that a replica shows, in DER."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(pod["status"]["podIP"], PORT, timeout=20,
                                                 context=context)
        connection.connect()
        try:
            return connection.sock.getpeercert(binary_form=True)
        finally:
            connection.close()

    def in_secret(self):
        """The certificate in the Secret, in DER."""
        pem = base64.b64decode(self.api.api("GET", SECRET)["data"]["tls.crt"]).decode()
        return ssl.PEM_cert_to_DER_cert(pem[:pem.index("-----END CERTIFICATE-----")]
                                        + "-----END CERTIFICATE-----\n")

    def scale(self, replicas):
        self.api.kubectl("scale", "deployment/cloudtaser-webhook", "-n", SYSTEM,
                         f"--replicas={replicas}")

    def test_a_replica_ended_under_load(self):
        self.end_under_load()

    def test_a_replica_ended_by_force_under_load(self):
        """Its endpoint goes at once, and kubelet still gives it a moment."""
        self.end_under_load("--force", "--grace-period=0")

    def end_under_load(self, *options):
        self.wait_replicas()
        victim = self.replicas()[0]
        with Load(self.api) as load:
            self.api.kubectl("delete", "pod", "-n", SYSTEM, victim["metadata"]["name"],
                             "--wait=false", *options)
            wait_until(lambda: self.gone(victim), "the replica to be gone", 120, 0.3)
            self.wait_replicas(without=victim["metadata"]["name"])
            load.goes_on()
        print(f"     {load.done} pods were asked for", flush=True)
        self.assertEqual(load.failures, [])

    def restarts(self):
        return sum(status["restartCount"] for pod in self.cluster.pods(SYSTEM, WEBHOOK)
                   for status in pod["status"].get("containerStatuses", ()))

    def test_a_replica_killed_under_load(self):
        """SIGKILL, as by a kernel that is out of memory. Nobody asks the API server to try the other
        replica, so some requests fail; none gets in as it was, and soon all pass again."""
        self.wait_replicas()
        self.api.create(workloads.root_on_the_node("killer"), APPS)
        self.addCleanup(self.delete, "pod", "killer")
        killer = self.cluster.wait_running(APPS, "app=killer")
        before = self.restarts()
        with Load(self.api) as load:
            start = time.monotonic()
            done = self.cluster.execute(APPS, killer, "sh", "-c", KILL_ONE)
            self.assertEqual(done.returncode, 0, done.stderr)
            wait_until(lambda: self.restarts() == before + 1, "the kill to be noticed", 60, 0.2)
            self.wait_replicas()
            load.goes_on()
            failed = len(load.failures)
            load.goes_on()
        for failure in load.failures:
            self.assertRegex(failure, '^500: .*failed calling webhook')
        self.assertEqual(len(load.failures), failed)
        seconds = max(load.last_failure - start, 0)
        print(f"     {failed} of {load.done} requests failed, the last one {seconds:.1f} s after the kill",
              flush=True)
        self.assertLess(seconds, SECONDS_OF_FAILURES)

    def test_a_certificate_renewed_under_load(self):
        """By its name the first: soon after the pods' tests the next renewal is due."""
        self.wait_replicas()
        first = self.in_secret()
        with Load(self.api) as load:
            wait_until(lambda: self.in_secret() != first, "a renewed certificate", 180, 0.5)
            fresh = self.in_secret()
            for pod in self.replicas():
                wait_until(lambda pod=pod: self.shown_by(pod) == fresh,
                           f"{pod['metadata']['name']} to show it", 60, 0.5)
            load.goes_on()
        print(f"     {load.done} pods were asked for", flush=True)
        self.assertEqual(load.failures, [])

    def test_without_a_webhook(self):
        self.scale(0)
        try:
            wait_until(lambda: not self.api.kubectl("get", "pods", "-n", SYSTEM, "-o",
                                                    "name").stdout.strip(),
                       "the webhook's pods to be gone", 120, 0.5)
            done = self.api.kubectl("create", "-n", APPS, "-f", "-", check=False,
                                    stdin=workloads.pod("early"))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('failed calling webhook "pods.cloudtaser.io"', done.stderr)
            self.api.create(workloads.deployment("later"), APPS)
            self.api.create(workloads.deployment("other", inject=False), APPS)
            self.cluster.wait_running(APPS, "app=other")
            self.assertEqual(self.cluster.pods(APPS, "app=later"), [])
        finally:
            self.scale(2)
        self.wait_replicas()
        # The pods that could not be made come by themselves once it is back.
        self.assert_protected(self.cluster.wait_running(APPS, "app=later", 240))
        for name in ("later", "other"):
            self.delete("deployment", name)
