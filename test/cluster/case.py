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

    def assert_delivered(self, pod, namespace=APPS, container="app"):
        """Its app has the password, without that being anywhere in the log; returns the log once it
        tells the score too, which may come later."""
        line = f"PGPASSWORD sha256 {hashlib.sha256(self.password.encode()).hexdigest()}\n"
        self.cluster.wait_log(namespace, pod, line, container)
        log = self.cluster.wait_log(namespace, pod, "] kprobes_active: ", container)
        self.assertNotIn(self.password, log)
        self.assertEqual(pod["metadata"]["annotations"]["cloudtaser.io/status"], "injected")
        return log

    def assert_protected(self, pod, namespace=APPS, container="app"):
        """Delivered, with all the points that there are without an agent."""
        log = self.assert_delivered(pod, namespace, container)
        self.assertIn(f"{SCORE}55/75\n", log)
        self.assertIn("] memfd_secret: OK (+15)\n", log)
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
