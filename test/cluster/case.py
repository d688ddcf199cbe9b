# SPDX-License-Identifier: Apache-2.0
"""What the tests of the cluster have in common."""

import hashlib
import unittest

import environment
from cluster import APPS

SCORE = "[cloudtaser-wrapper] Protection score: "
DENIED = 'admission webhook "pods.cloudtaser.io" denied the request: '
# Everything that anybody who may exec into a container reads of the environments there.
ENVIRONMENTS = ("sh", "-c", "cat /proc/[0-9]*/environ")


class TestCase(unittest.TestCase):
    maxDiff = None

    @property
    def env(self):
        return environment.current()

    @property
    def cluster(self):
        return self.env.cluster

    @property
    def api(self):
        return self.env.cluster.api

    @property
    def password(self):
        return self.cluster.secrets["password"]

    def assert_protected(self, pod, namespace=APPS, container="app", score="55/75"):
        """Its log tells the score, and its app has the password without that being anywhere in it."""
        line = f"PGPASSWORD sha256 {hashlib.sha256(self.password.encode()).hexdigest()}\n"
        log = self.cluster.wait_log(namespace, pod, line, container)
        self.assertIn(f"{SCORE}{score}\n", log)
        self.assertIn("] memfd_secret: " + ("OK (+15)\n" if score == "55/75" else "FAIL (+0) "), log)
        self.assertNotIn(self.password, log)
        self.assertEqual(pod["metadata"]["annotations"]["cloudtaser.io/status"], "injected")
        return log

    def assert_no_secret_in_environ(self, pod, namespace=APPS):
        for command in (("cat", "/proc/1/environ"), ENVIRONMENTS):
            done = self.cluster.execute(namespace, pod, *command)
            self.assertNotIn(self.password, done.stdout + done.stderr)
        # It was not for want of anything to read: its own environment is among them.
        self.assertIn("PGPASSWORD=", done.stdout)

    def refused(self, manifest, *sentences, namespace=APPS):
        """kubectl must be told no by the webhook, with each of these texts; returns the reason."""
        done = self.api.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest, check=False)
        self.assertNotEqual(done.returncode, 0, f"admitted: {done.stdout}")
        self.assertIn(DENIED, done.stderr)
        for sentence in sentences:
            self.assertIn(sentence, done.stderr)
        return done.stderr

    def delete(self, kind, name, namespace=APPS):
        self.api.kubectl("delete", kind, name, "-n", namespace, "--wait=false", "--ignore-not-found")
