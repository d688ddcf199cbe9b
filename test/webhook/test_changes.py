#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What changes while the webhook runs: certificates, nodes, and its end; all of it under load."""

import contextlib
import json
import os
import socket
import ssl
import threading
import time

import harness
import process
from harness import Load, review


class Certificates(harness.WebhookTest):
    def serial_of_new_connections(self, before):
        return self.wait_for(lambda: self.peer_certificate() != before, "the new certificate")

    def test_renewal_under_load_fails_no_request(self):
        self.start()
        with Load(self, 6) as load:
            for _ in range(3):
                before = self.peer_certificate()
                self.authority.issue("webhook")
                self.serial_of_new_connections(before)
        self.assertEqual(load.failures, [])
        self.assertGreater(min(load.answered), 3)
        taken = self.metric('cloudtaser_webhook_reloads_total{file="certificate",result="taken"}')
        self.assertGreaterEqual(taken, 3)

    def test_a_kept_connection_outlives_its_certificate(self):
        self.start()
        before = self.peer_certificate()
        kept = self.connect()
        self.addCleanup(kept.close)
        for _ in range(2):
            kept.request("GET", "/healthz")
            self.assertEqual(kept.getresponse().read(), b"ok\n")
            sock = kept.sock
            self.authority.issue("webhook")
            self.serial_of_new_connections(before)
        kept.request("GET", "/healthz")
        self.assertEqual(kept.getresponse().read(), b"ok\n")
        self.assertIs(kept.sock, sock)

    def test_mounted_volumes_swap_a_link(self):
        def fill(generation):
            folder = self.folder / f"..{generation}"
            folder.mkdir()
            certificate, key = self.authority.issue("webhook")
            os.replace(certificate, folder / "tls.crt")
            os.replace(key, folder / "tls.key")
            link = self.folder / "..data_tmp"
            link.symlink_to(folder.name)
            os.replace(link, self.folder / "..data")
        fill("first")
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).symlink_to(f"..data/{name}")
        self.start(certificate=self.folder / "tls.crt", key=self.folder / "tls.key")
        before = self.peer_certificate()
        fill("second")
        self.serial_of_new_connections(before)
        self.assertEqual(self.log_lines("stays in use"), [])

    def test_a_bad_pair_is_refused_once_and_the_old_one_stays(self):
        self.start()
        before = self.peer_certificate()
        good = self.certificate.read_text(), self.key.read_text()
        _, other_key = self.authority.issue("other")
        for i, (path, text, part) in enumerate((
                (self.certificate, "garbage", "holds no certificate chain in PEM"),
                (self.certificate, "", "holds no certificate chain in PEM"),
                (self.key, other_key.read_text(), "does not belong to the certificate"),
                (self.key, "garbage", "holds no private key in PEM"))):
            with self.subTest(part):
                self.replace(path, text)
                self.wait_for(lambda: len(self.log_lines("stays in use")) > i, "the refusal")
                self.assertIn(part, self.log_lines("stays in use")[i])
                self.assertIn(str(path), self.log_lines("stays in use")[i])
                time.sleep(2.5)
                self.assertEqual(len(self.log_lines("stays in use")), i + 1)
                self.assertEqual(self.peer_certificate(), before)
                self.assertNotIn("PRIVATE KEY", self.service.text())
                # Back to the good pair, in silence but for one line.
                taken = len(self.log_lines("certificate read again"))
                self.replace(path, good[path == self.key])
                self.wait_for(lambda: len(self.log_lines("certificate read again")) > taken,
                              "the good pair")


class Handshake(harness.WebhookTest):
    def not_ready(self):
        status, _, text = self.ask("GET", "/readyz")
        return json.loads(text)["error"] if status == 503 else ""

    def test_a_certificate_that_has_ended_is_not_ready(self):
        # Callers would refuse it; it is served all the same, for who looks at /readyz.
        certificate, key = self.authority.issue("ended", days=0)
        time.sleep(1.1)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.start(certificate=certificate, key=key, ready=False)
        self.wait_for(lambda: "the certificate that is served has ended" in self.not_ready(),
                      "the reason")
        good, good_key = self.authority.issue("good")
        self.replace(key, good_key.read_text())
        self.replace(certificate, good.read_text())
        self.wait_for(lambda: self.try_get("/readyz") == 200, "it to be ready")


class Nodes(harness.WebhookTest):
    MINIMUM = 55  # 40 are the pod's own, 15 a new kernel's

    def decision(self):
        return self.response(review(self.MINIMUM))

    def test_a_new_list_decides_the_next_request(self):
        self.start()
        self.assertTrue(self.decision()["allowed"])
        self.write_nodes("5.10.0", "6.1.0")
        self.wait_for(lambda: not self.decision()["allowed"], "the old kernels")
        self.assertIn("kernel 6.1", self.decision()["status"]["message"])
        self.write_nodes("5.10.0", "6.12.0")
        self.wait_for(lambda: self.decision()["allowed"], "the new kernel")
        self.assertEqual(self.metric('cloudtaser_webhook_reloads_total{file="nodes",result="taken"}'), 3)

    def test_garbage_keeps_the_old_list_and_is_told_once(self):
        self.start()
        for i, garbage in enumerate(("garbage", "", "{}", '{"kind":"List","items":[{"kind":"Pod"}]}')):
            with self.subTest(garbage):
                self.replace(self.nodes_file, garbage)
                self.wait_for(lambda: len(self.log_lines("stay in use")) > i, "the refusal")
                self.assertIn(str(self.nodes_file), self.log_lines("stay in use")[i])
                time.sleep(1.5)
                self.assertEqual(len(self.log_lines("stay in use")), i + 1)
                self.assertTrue(self.decision()["allowed"])
                self.assertEqual(self.try_get("/readyz"), 200)
        os.remove(self.nodes_file)
        self.wait_for(lambda: len(self.log_lines("stay in use")) > 4, "the refusal")
        self.assertTrue(self.decision()["allowed"])

    def test_not_ready_without_a_list(self):
        os.remove(self.nodes_file)
        self.start(ready=False)
        status, _, answer = self.ask("GET", "/readyz")
        self.assertEqual(status, 503)
        self.assertIn(str(self.nodes_file), json.loads(answer)["error"])
        self.assertEqual(self.try_get("/healthz"), 200)
        # What does not need a node's share is decided all the same; what does is refused.
        self.assertIn("patch", self.response(review()))
        self.assertFalse(self.decision()["allowed"])
        self.write_nodes("6.12.0")
        self.wait_for(lambda: self.try_get("/readyz") == 200, "readiness")
        self.assertTrue(self.decision()["allowed"])

    def test_swaps_under_load_fail_no_request(self):
        self.start()
        with Load(self) as load:
            for i in range(6):
                self.write_nodes(*["6.12.0", "5.10.0"][: 1 + i % 2])
                taken = 'cloudtaser_webhook_reloads_total{file="nodes",result="taken"}'
                self.wait_for(lambda: self.metric(taken) >= i + 2, "the nodes")
        self.assertEqual(load.failures, [])


class Callers(Load):
    """A load whose clients also fail when they are refused, and somebody who watches /readyz."""

    REFUSED_FAILS = True

    def __init__(self, test):
        super().__init__(test, 4)
        self.told = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        super().__enter__()
        self._watcher.start()
        return self

    def _watch(self):
        while self._test.try_get("/readyz") == 200:
            time.sleep(0.05)
        self.told = True


class End(harness.WebhookTest):
    def ends_under_load(self, sig):
        self.start(name=f"webhook-{int(sig)}")
        with Load(self, 6) as load:
            time.sleep(1)
            before = sum(load.answered)
            self.service.process.send_signal(sig)
            start = time.monotonic()
            self.assertEqual(self.service.process.wait(20), 0, self.service.tail())
            self.assertLess(time.monotonic() - start, 12)
            load.join()
        self.assertEqual(load.failures, [])
        self.assertGreater(before, 10)

    def test_signals_under_load_fail_no_request(self):
        for sig in (process.signal.SIGTERM, process.signal.SIGINT, process.signal.SIGTERM):
            self.ends_under_load(sig)

    def test_a_running_request_is_finished(self):
        self.start()
        body = review()
        sock = self.raw()
        sock.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body[:100])
        time.sleep(0.3)
        self.service.process.send_signal(process.signal.SIGTERM)
        time.sleep(0.5)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5)
        sock.sendall(body[100:])
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:200])
        self.assertIn(b"Connection: close", answer)
        self.assertEqual(self.service.process.wait(5), 0, self.service.tail())

    def test_idle_connections_do_not_hold_it_up(self):
        self.start()
        for _ in range(5):
            self.raw()
        start = time.monotonic()
        self.service.process.send_signal(process.signal.SIGTERM)
        self.assertEqual(self.service.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 4)

    def drain(self, delay, name):
        """Callers who are told by /readyz that this is no place to go, and act on it a second later, as
        a cluster's proxies do. Returns what failed, and how many requests came after the signal."""
        self.port = process.free_port()
        self.start("--drain-delay", delay, name=name)
        with Callers(self) as callers:
            time.sleep(0.5)
            before = sum(callers.answered)
            self.service.process.send_signal(process.signal.SIGTERM)
            self.wait_for_end(lambda: callers.told, "the word to be out")
            time.sleep(1)
            callers.stop()
            after = sum(callers.answered) - before
            self.assertEqual(self.service.process.wait(20), 0, self.service.tail())
        return callers.failures, after

    def wait_for_end(self, probe, what):
        """As wait_for(), of a program that may end meanwhile."""
        return process.wait_until(probe, what, 10)

    def test_no_request_fails_while_the_word_goes_round(self):
        failures, _ = self.drain("0s", "control")
        self.assertNotEqual(failures, [], "the control: without a delay callers are refused")
        failures, after = self.drain("3s", "drained")
        self.assertEqual(failures, [])
        self.assertGreater(after, 20)

    def test_a_kept_connection_is_given_back_while_it_still_serves(self):
        self.start("--drain-delay", "20s")
        kept = self.connect()
        self.addCleanup(kept.close)
        kept.request("GET", "/readyz")
        answer = kept.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (200, None))
        answer.read()
        self.service.process.send_signal(process.signal.SIGTERM)
        self.wait_for(lambda: self.try_get("/readyz") == 503, "it to be unready", 2)
        self.assertIn(b"told to end", self.ask("GET", "/readyz")[2])
        kept.request("POST", "/mutate", review(), harness.JSON)
        answer = kept.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
        self.assertEqual(self.try_get("/healthz"), 200)
        # Somebody is in a hurry.
        start = time.monotonic()
        self.service.process.send_signal(process.signal.SIGTERM)
        self.assertEqual(self.service.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 4)

    def test_the_time_for_running_requests_is_bounded(self):
        for number, (timeout, signals, longest) in enumerate((("1s", 1, 4), ("60s", 2, 4))):
            with self.subTest(timeout):
                self.port = process.free_port()
                self.start("--drain-timeout", timeout, name=f"bounded-{number}")
                sock = self.raw()
                sock.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                             b"Content-Length: 1000\r\n\r\n{")
                time.sleep(0.3)
                start = time.monotonic()
                for _ in range(signals):
                    self.service.process.send_signal(process.signal.SIGTERM)
                    time.sleep(0.5)
                self.assertEqual(self.service.process.wait(20), 0, self.service.tail())
                self.assertLess(time.monotonic() - start, longest)

    def test_peers_that_go_away_do_no_harm(self):
        self.start()
        body = review(containers=10)
        head = (b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body))
        for sent in (b"", head, head + body[:1000], (head + body) * 5):
            for _ in range(5):
                sock = self.raw()
                with contextlib.suppress(OSError):
                    sock.sendall(sent)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    sock.close()
        self.assertIn("patch", self.response(review()))


class Start(harness.WebhookTest):
    def fails(self, *changed, status=1):
        options = {"--listen": f"127.0.0.1:{self.port}", "--tls-cert": self.certificate,
                   "--tls-key": self.key, "--nodes-file": self.nodes_file}
        options.update(dict(zip(changed[::2], changed[1::2])))
        argv = [harness.PROGRAM]
        for name, value in options.items():
            argv += [name, value] if value is not None else []
        service = process.Service("failing", argv, self.folder)
        self.assertEqual(service.process.wait(20), status, service.tail())
        return service.text()

    def test_what_cannot_work_is_told(self):
        _, other_key = self.authority.issue("other")
        self.assertIn("/nowhere/tls.crt", self.fails("--tls-cert", "/nowhere/tls.crt"))
        self.assertIn("does not belong", self.fails("--tls-key", other_key))
        self.assertIn("is no address to listen on", self.fails("--listen", "8443"))
        self.assertIn("is no address to listen on", self.fails("--listen", "::1:8443"))
        self.assertIn("cannot listen on", self.fails("--listen", "example.com:8443"))
        self.assertIn("there is no --nodes-file", self.fails("--nodes-file", None, status=1))
        self.assertIn("log-level", self.fails("--log-level", "loud", status=2))
        self.assertIn("mode", self.fails("--mode", "sometimes", status=2))
        several = self.fails("--log-level", "loud", "--mode", "sometimes", status=2).splitlines()
        self.assertGreater(len(several), 1, several)
        for line in several:
            self.assertTrue(line.startswith("cloudtaser-webhook: "), several)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            text = self.fails("--listen", address)
            self.assertIn(address, text)
            self.assertIn("Address already in use", text)

    def test_help_and_version(self):
        for option, part in (("--help", "--nodes-file FILE"), ("--version", "cloudtaser-webhook ")):
            service = process.Service("asked", [harness.PROGRAM, option], self.folder)
            self.assertEqual(service.process.wait(10), 0)
            self.assertIn(part, service.text())

    def test_what_weakens_all_pods_is_warned_of(self):
        for number, (vault, kernels, expected) in enumerate((
                ("https://vault.example.com:8200", ["6.12.0"], []),
                ("http://vault.example.com:8200", ["6.12.0"], ["is http://", "in the clear"]),
                ("https://vault.example.com:8200", [], ["0 nodes read from", "are refused"]))):
            with self.subTest(vault=vault, kernels=kernels):
                self.port = process.free_port()
                self.write_nodes(*kernels)
                self.start(name=f"warned-{number}", vault=vault)
                warnings = self.log_lines("warn")
                self.assertEqual(len(warnings), 1 if expected else 0, warnings)
                for part in expected:
                    self.assertIn(part, warnings[0])
                self.assertEqual(len(self.log_lines(f"serves on 127.0.0.1:{self.port}")), 1)
                self.end(self.service)

    def records(self):
        """The access log's lines."""
        lines = [json.loads(line) for line in self.service.text().splitlines()]
        return [line for line in lines if "decision" in line]

    def test_a_line_in_json_for_each_request(self):
        self.start("--log-format", "json")
        secret = "hunter2-is-no-password"
        named = json.loads(review())
        named["request"].update(dryRun=True, userInfo={"username": 'evil"\n{"decision":"x"}' + "u" * 500})
        named["request"]["object"]["metadata"]["name"] = "n" * 1000
        named["request"]["object"]["spec"]["containers"][0].setdefault("env", []).append(
            {"name": "PLAIN", "value": secret})
        for body in (review(), review(55), review(minimum=75), review(opted_in=False),
                     json.dumps(named).encode(), b"{"):
            self.ask("POST", "/mutate", body, harness.JSON)
        records = self.records()
        told = [(r["decision"], r["reason"], r.get("score"), r.get("candidates"), r["dry_run"],
                 r["status"]) for r in records]
        self.assertEqual(told, [
            ("patched", "none", 0, None, False, 200), ("patched", "none", 55, 1, False, 200),
            ("denied", "score", 75, 0, False, 200), ("skipped", "none", 0, None, False, 200),
            ("patched", "none", 0, None, True, 200), ("error", "malformed", None, None, False, 400)])
        common = {"time", "program", "level", "msg", "decision", "reason", "duration_us", "dry_run",
                  "status"}
        for record in records[:4]:
            self.assertLessEqual(common | {"uid", "namespace", "generateName", "user", "operation",
                                           "score", "warnings"}, set(record))
            self.assertEqual((record["namespace"], record["operation"]), ("shop", "CREATE"))
            self.assertEqual(record["generateName"], "web-6d4cf56db6-")
            self.assertTrue(record["user"])
            self.assertEqual(record["uid"], json.loads(review())["request"]["uid"])
            self.assertGreaterEqual(record["duration_us"], 0)
        self.assertEqual(len(records[4]["name"]), 255)
        self.assertTrue(records[4]["user"].startswith('evil"?{"decision":"x"}uuu'), records[4])
        self.assertLess(len(records[4]["user"]), 130)
        self.assertLessEqual(common, set(records[5]))
        self.assertNotIn(secret, self.service.text())
        self.assertTrue(all(len(line) < 4096 for line in self.service.text().splitlines()))

    def test_how_json_and_metrics_tell_the_modes(self):
        for mode, minimum, opted, decision in (("warn", 75, True, "warned"),
                                               ("audit", 75, True, "audit"),
                                               ("audit", None, True, "patched")):
            with self.subTest(mode, minimum=minimum):
                self.port = process.free_port()
                self.start("--log-format", "json", "--mode", mode, name=f"{mode}-{minimum}")
                self.assertTrue(self.response(review(minimum, opted_in=opted))["allowed"])
                self.assertEqual([r["decision"] for r in self.records()], [decision])
                reason = "none" if minimum is None else "score"
                self.assertEqual(self.metric(f'cloudtaser_webhook_requests_total{{'
                                             f'decision="{decision}",reason="{reason}"}}'), 1)

    def test_log_level(self):
        every = ("serves on", "patched pod", "skipped pod", "denied pod", "refused a request")
        for level, shown in (("info", {0, 1, 3, 4}), ("debug", {0, 1, 2, 3, 4}), ("warn", {3, 4}),
                             ("error", set())):
            with self.subTest(level):
                self.port = process.free_port()
                self.start("--log-level", level, name=level)
                self.assertIn("patch", self.response(review()))
                self.assertTrue(self.response(review(opted_in=False))["allowed"])
                self.assertFalse(self.response(review(minimum=75))["allowed"])
                self.assertEqual(self.ask("POST", "/mutate", "{", harness.JSON)[0], 400)
                self.assertEqual({i for i, part in enumerate(every) if self.log_lines(part)}, shown)

    def test_settings_by_file(self):
        config = self.folder / "config.json"
        config.write_text('{"injector-image": "registry.example.com/injector:file", "mode": "audit"}')
        self.start("--config", config)
        self.assertTrue(self.response(review(minimum=75))["allowed"])


if __name__ == "__main__":
    harness.main()
