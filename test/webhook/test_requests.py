#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the webhook answers to good requests, to bad ones and to slow senders."""

import json
import pathlib
import re
import socket
import subprocess
import time

import harness
from harness import JSON, review

MAX_BODY = 7 << 20


def whole(**changes):
    document = json.loads(review())
    document.update(changes)
    return json.dumps(document)


class Requests(harness.WebhookTest):
    def setUp(self):
        super().setUp()
        self.start()

    def tearDown(self):
        # Whatever came before, it still serves.
        self.assertIn("patch", self.response(review()))

    def errors(self, reason):
        return self.metric(f'cloudtaser_webhook_requests_total{{decision="error",reason="{reason}"}}')

    def test_refused_with_400_and_a_sentence(self):
        cases = {
            "malformed": ("{", "JSON"),
            "empty": ("", "JSON"),
            "no object": ("[]", "AdmissionReview"),
            "binary": (bytes(range(256)), "JSON"),
            "deep": ("[" * 100000, "JSON"),
            "no request": (whole(request=None), "request"),
            "no uid": (whole(request={"operation": "CREATE"}), "uid"),
            "apiVersion": (whole(apiVersion="admission.k8s.io/v1beta1"), "admission.k8s.io/v1"),
            "kind": (whole(kind="Pod"), "AdmissionReview"),
        }
        for name, (body, part) in cases.items():
            with self.subTest(name):
                status, headers, answer = self.ask("POST", "/mutate", body, JSON)
                self.assertEqual(status, 400, answer)
                self.assertEqual(headers["Content-Type"], "application/json")
                document = json.loads(answer)
                self.assertEqual(list(document), ["error"])
                self.assertIn(part, document["error"])
        self.assertEqual(self.errors("malformed"), len(cases))

    def test_content_type(self):
        for value, expected in {"application/json": 200, "application/json; charset=utf-8": 200,
                                "Application/JSON": 200, "text/plain": 415, "": 415,
                                "application/jsonp": 415}.items():
            with self.subTest(value):
                status, _, answer = self.ask("POST", "/mutate", review(), {"Content-Type": value})
                self.assertEqual(status, expected, answer)
                if expected == 415:
                    self.assertIn("application/json", json.loads(answer)["error"])
        self.assertEqual(self.errors("not_served"), 3)

    def test_methods_and_paths(self):
        cases = {("GET", "/mutate"): (405, "POST"), ("PUT", "/mutate"): (405, "POST"),
                 ("POST", "/healthz"): (405, "GET, HEAD"), ("GET", "/nothing"): (404, None),
                 ("GET", "/mutate/x"): (404, None), ("HEAD", "/healthz"): (200, None),
                 ("GET", "/healthz"): (200, None), ("GET", "/readyz?verbose"): (200, None),
                 ("GET", "/healthz%00x"): (404, None), ("GET", "/healthz?%00x"): (200, None),
                 ("GET", "/healthz?" + "q" * 600): (414, None)}
        for (method, path), (expected, allow) in cases.items():
            with self.subTest(f"{method} {path[:40]}"):
                status, headers, answer = self.ask(method, path)
                self.assertEqual(status, expected)
                self.assertEqual(headers["Allow"], allow)
                if status >= 400:
                    self.assertIn("error", json.loads(answer))
        refused = sum(expected >= 400 for expected, _ in cases.values())
        self.assertEqual(self.errors("not_served"), refused)
        self.assertEqual(self.log_lines("answered "), [])  # at info, of reviews only

    def test_too_large_is_told_before_the_body_is_read(self):
        sock = self.raw()
        sock.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % (5 * MAX_BODY))
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(str(MAX_BODY).encode(), answer)

    def test_too_large_is_told_to_who_sends_it_all(self):
        # An object within the API server's bound grows up to sixfold when Go writes < as \u003c.
        for size in (MAX_BODY + 1, 3 * (1 << 20) * 6, 4 * MAX_BODY):
            with self.subTest(size):
                status, _, answer = self.ask("POST", "/mutate", b" " * size, JSON)
                self.assertEqual(status, 413)
                self.assertIn(str(MAX_BODY), json.loads(answer)["error"])
        self.assertEqual(self.errors("too_large"), 3)
        self.assertEqual(len(self.log_lines("answered POST /mutate with HTTP 413")), 3)

    def test_a_body_must_have_one_end(self):
        for framing, expected in ((b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
                                  (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   b"2\r\n{}\r\n0\r\n\r\n", 400),
                                  (b"Transfer-Encoding: identity\r\n\r\n{}", 501)):
            with self.subTest(framing):
                sock = self.raw()
                sock.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
                             b"\r\n" + framing)
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % expected), answer)
                self.assertIn(b"Transfer-Encoding", answer)

    def test_the_largest_body_is_read(self):
        body = review()
        padded = body + b" " * (MAX_BODY - len(body))
        self.assertIn("patch", self.response(padded))

    def chunked(self, total):
        """Sends so much in chunks; (status, True) or (None, False) when it was cut off."""
        sock = self.raw()
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        try:
            sock.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(total // 65536):
                sock.sendall(chunk)
            sock.sendall(b"0\r\n\r\n")
            answer = sock.recv(65536)
        except OSError:
            answer = b""
        found = re.match(rb"HTTP/1.1 (\d+)", answer)
        return int(found.group(1)) if found else None

    def test_chunked_bodies_are_bounded_too(self):
        self.assertEqual(self.chunked(65536), 400)  # complete, though only spaces
        self.assertEqual(self.chunked(MAX_BODY + 65536), 413)
        self.assertEqual(self.chunked(4 * MAX_BODY), 413)
        self.assertIsNone(self.chunked(6 * MAX_BODY))

    def test_what_is_no_request_at_all(self):
        for garbage in (b"\x16\x03\x01" + b"\xff" * 500, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096):
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain:
                plain.sendall(garbage)  # no TLS
        for garbage in (b"\r\n" * 10, b"\xff\xfe\0\1\r\n\r\n", b"GET\r\n\r\n",
                        b"GET / HTTP/1.1\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
                        b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Content-Length: -1\r\n\r\n",
                        b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 99999999999999999999999999\r\n\r\n"):
            with self.subTest(garbage[:40]):
                sock = self.raw()
                try:
                    sock.sendall(garbage)
                    sock.shutdown(socket.SHUT_WR)
                    self.assertNotRegex(sock.recv(65536), rb"^HTTP/1.1 2")
                except OSError:
                    pass  # closed on us is an answer too

    def test_slow_senders_are_cut_off(self):
        head = (b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n")
        kept = self.connect()
        self.addCleanup(kept.close)
        kept.request("GET", "/healthz")
        self.assertEqual(kept.getresponse().read(), b"ok\n")
        before = kept.sock
        silent = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.addCleanup(silent.close)
        stalled = {"before TLS": (silent, 8), "after TLS": (self.raw(), 8),
                   "in its head": (self.raw(), 8), "in its body": (self.raw(), 20)}
        stalled["in its head"][0].sendall(head[:20])
        stalled["in its body"][0].sendall(head + b"{")
        start = time.monotonic()
        for name, (sock, most) in stalled.items():
            with self.subTest(name):
                self.assertEqual(sock.recv(65536), b"")
                self.assertLess(time.monotonic() - start, most)
        # Go's clients keep a connection for 90 s: to end it earlier fails the request that meets it.
        time.sleep(max(0.0, 18 - (time.monotonic() - start)))
        kept.request("GET", "/healthz")
        self.assertEqual(kept.getresponse().read(), b"ok\n")
        self.assertIs(kept.sock, before)

    def test_connections_are_kept_after_errors(self):
        connection = self.connect()
        self.addCleanup(connection.close)
        sockets = set()
        for headers, expected in (({"Content-Type": "text/plain"}, 415), (JSON, 200), (JSON, 200)):
            connection.request("POST", "/mutate", review(), headers)
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, expected)
            sockets.add(connection.sock)
        self.assertEqual(len(sockets), 1)

    def test_log_and_metrics_tell_the_decision(self):
        self.assertIn("patch", self.response(review()))
        self.assertTrue(self.response(review(opted_in=False))["allowed"])
        denied = self.response(review(minimum=75))
        self.assertFalse(denied["allowed"])
        self.assertEqual(denied["status"]["code"], 403)
        self.assertEqual(len(self.log_lines("patched pod shop/web-6d4cf56db6-*")), 1)
        self.assertEqual(len(self.log_lines("denied pod shop/web-6d4cf56db6-*: reason=score")), 1)
        self.assertEqual(self.log_lines("skipped pod"), [])
        for decision, reason in (("patched", "none"), ("skipped", "none"), ("denied", "score")):
            self.assertEqual(self.metric(f'cloudtaser_webhook_requests_total{{decision="{decision}",'
                                         f'reason="{reason}"}}'), 1)
        self.assertEqual(self.metric("cloudtaser_webhook_request_duration_seconds_count"), 3)
        self.assertEqual(self.metric("cloudtaser_webhook_requests_in_flight"), 0)
        self.assertEqual(self.metric('cloudtaser_webhook_nodes{points="15"}'), 1)
        left = self.metric("cloudtaser_webhook_certificate_expiry_timestamp_seconds") - time.time()
        self.assertTrue(86400 < left <= 2 * 86400, left)

    def test_metrics_are_what_prometheus_reads(self):
        """The rules of the text format, and those of promtool for names."""
        self.response(review())
        self.response(review(minimum=75))
        families, seen, family = {}, {}, None
        sample = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"\\\n]*",?)*)\})? (\S+)')
        for line in self.ask("GET", "/metrics")[2].decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
                self.assertNotIn(family, families)
                families[family] = None
                continue
            if line.startswith("# TYPE "):
                self.assertEqual(line.split()[2], family)
                families[family] = line.split()[3]
                continue
            name, labels, value = sample.fullmatch(line).groups()
            suffixes = ("_bucket", "_sum", "_count") if families[family] == "histogram" else ("",)
            self.assertIn(name, [family + suffix for suffix in suffixes])
            self.assertNotIn((name, labels), seen)
            seen[name, labels] = float(value)
        for family, kind in families.items():
            self.assertTrue(family.startswith("cloudtaser_webhook_"))
            self.assertEqual(family.endswith("_total"), kind == "counter", family)
            self.assertNotRegex(family, "_(ms|us|milliseconds|minutes|hours|kb|mb)(_|$)")
            documented = (pathlib.Path(__file__).parents[2] / "docs/metrics.md").read_text()
            self.assertIn(f"| `{family}` | {kind} |", documented)
        buckets = [value for (name, _), value in seen.items() if name.endswith("_bucket")]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual(buckets[-1], seen["cloudtaser_webhook_request_duration_seconds_count", None])
        self.assertEqual(sum(value for (name, labels), value in seen.items()
                             if name == "cloudtaser_webhook_requests_total"), 2)

    def test_tls_is_new_enough(self):
        # The refusal must be the server's own, not the client's.
        for option, works in (("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False)):
            with self.subTest(option):
                done = subprocess.run(
                    ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", option, "-cipher",
                     "ALL:@SECLEVEL=0"], input="", text=True, capture_output=True, timeout=30,
                    check=False)
                self.assertIn("CONNECTED", done.stdout)
                self.assertEqual("Cipher is TLS_AES_128_GCM_SHA256" in done.stdout
                                 or "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256" in done.stdout, works,
                                 done.stdout + done.stderr)
                if not works:
                    self.assertNotIn("no protocols available", done.stderr)


if __name__ == "__main__":
    harness.main()
