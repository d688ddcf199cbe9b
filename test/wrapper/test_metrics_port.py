#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The wrapper's metrics port: off unless asked for, and no way to hold anything up."""
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import unittest

import bad_vault
import harness
from process import free_port

APP = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
print("ready", flush=True)
while signal.sigwait({signal.SIGUSR1, signal.SIGTERM}) != signal.SIGTERM:
    print("told", flush=True)
"""
LABELS = 'pod="web-x7k2p",namespace="shop"'


class MetricsPort(harness.RigCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        claims = {"kubernetes.io": {"namespace": "shop", "pod": {"name": "web-x7k2p", "uid": "u"}}}
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        (cls.rig.folder / "identity").write_text(f"e30.{body}.c2ln\n")

    def start(self, port, **changes):
        settings = self.rig.settings(**{"metrics_port": port,
                                        "identity_file": str(self.rig.folder / "identity"), **changes})
        process = self.rig.start([harness.PYTHON, "-c", APP], settings, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        self.addCleanup(harness.put_down, process)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def scrape(self, port, path="/metrics", method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def values(self, port):
        status, text = self.scrape(port)
        self.assertEqual(status, 200)
        harness.assert_nothing_leaks(self, text)
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if not line.startswith("#")}

    def test_tells_the_score_and_the_tokens_life(self):
        vault = bad_vault.BadVault(self.rig.folder / "server.pem", self.rig.folder / "server.key")
        self.addCleanup(vault.close)
        vault.lease = 3
        port = free_port()
        process = self.start(port, address=vault.address)
        said = ""
        while "kprobes_active" not in said:
            said += process.stderr.readline()
        points = int(said.split("Protection score: ")[1].split("/")[0])
        values = self.values(port)
        self.assertEqual(values[f"cloudtaser_protection_score{{{LABELS}}}"], points)
        self.assertEqual(values[f"cloudtaser_protection_max{{{LABELS}}}"], 75)
        for name, passed in (("mlock", "mlock: OK" in said), ("ebpf_connected", False)):
            self.assertEqual(values[f'cloudtaser_wrapper_check_passed{{{LABELS},check="{name}"}}'],
                             int(passed))
        time.sleep(5)
        values = self.values(port)
        self.assertGreaterEqual(values[f"cloudtaser_wrapper_token_renewals_total{{{LABELS}}}"], 2)
        self.assertEqual(values[f"cloudtaser_wrapper_logins_total{{{LABELS}}}"], 0)
        end = values[f"cloudtaser_wrapper_token_expiry_timestamp_seconds{{{LABELS}}}"]
        self.assertAlmostEqual(end, time.time() + 2, delta=3)

    def test_no_score_before_there_is_one(self):
        """A launcher may take its time: 0 of 0 points would raise an alarm."""
        port = free_port()
        settings = self.rig.settings(metrics_port=port, identity_file=str(self.rig.folder / "identity"))
        process = self.rig.start(["/bin/sh", "-c", "read x; exec sleep 1000"], settings,
                                 {"S": "vault:secret/data/fine#password"}, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdin.close)
        self.addCleanup(harness.put_down, process)
        self.assertIn("following", process.stderr.readline())
        values = self.values(port)
        self.assertEqual([name for name in values if "token_renewals" not in name and "logins" not in name
                          and "token_failures" not in name and "log_lines" not in name], [])
        process.stdin.write("\n")
        process.stdin.flush()
        harness.until(lambda: f"cloudtaser_protection_score{{{LABELS}}}" in self.values(port), "the score", 10)

    def test_nothing_else_is_there(self):
        port = free_port()
        self.start(port)
        self.assertEqual(self.scrape(port, "/")[0], 404)
        self.assertEqual(self.scrape(port, "/debug/pprof")[0], 404)
        self.assertEqual(self.scrape(port, method="POST")[0], 405)
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"\0" * 3000)
            self.assertIn(b" 431 ", raw.recv(100))

    def test_off_without_the_setting(self):
        def sockets(process):
            folder = f"/proc/{process.pid}/fd"
            links = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
            return [link for link in links if link.startswith("socket:")]

        self.assertEqual(len(sockets(self.start(free_port()))), 1, "the control")
        self.assertEqual(sockets(self.start(None, identity_file=None)), [])

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = self.rig.run(["/bin/true"], self.rig.settings(metrics_port=port))
        self.assertEqual(result.returncode, 104, result.stderr)
        self.assertIn(f"metrics-port {port} cannot be listened at: Address in use",
                      result.stderr)

    def test_slow_and_many_clients(self):
        port = free_port()
        process = self.start(port)
        slow = []
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            client.sendall(b"GET /met")
            slow.append(client)
        for _ in range(20):
            begin = time.monotonic()
            self.values(port)
            self.assertLess(time.monotonic() - begin, 1)
            process.send_signal(signal.SIGUSR1)
            self.assertEqual(process.stdout.readline(), "told\n")
        # Who does not finish is put out.
        begin = time.monotonic()
        for client in slow:
            try:
                self.assertEqual(client.recv(1), b"")
            except ConnectionResetError:
                pass
            client.close()
        self.assertLess(time.monotonic() - begin, 8)
        process.terminate()
        self.assertEqual(process.wait(10), 0)


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
