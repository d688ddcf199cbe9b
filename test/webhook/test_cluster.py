#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes by list and watch, from an API server that behaves and from one that does not."""

import json
import os
import pathlib
import time

import api_server
import harness
import process
from harness import JSON, Load, review

OLD, NEW = "5.10.0", "6.12.0"
# What a pod may have of a node of kernel NEW, and not of one of kernel OLD.
NEEDS_NEW = 55


def node(name, kernel=NEW, version="1", **labels):
    made = harness.bodies.node(name, kernel, labels)
    made["metadata"]["resourceVersion"] = version
    return made


def nodes(count, kernel=NEW):
    return [node(f"node-{i:05}", kernel) for i in range(count)]


class ClusterTest(harness.WebhookTest):
    def serve(self, *some_nodes):
        self.api = api_server.ApiServer(process.free_port(), some_nodes)
        self.addCleanup(self.api.stop)

    def start_watching(self, *options, ready=True, name="webhook", wait=20):
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(self.api.kubeconfig())
        return self.start(*options, nodes=("--kubeconfig", kubeconfig), ready=ready, name=name,
                          wait=wait)

    def nodes_known(self):
        text = self.ask("GET", "/metrics")[2].decode()
        return sum(int(line.split()[-1]) for line in text.splitlines()
                   if line.startswith("cloudtaser_webhook_nodes{"))

    def events(self, event):
        return self.metric(
            f'cloudtaser_webhook_watch_events_total{{resource="nodes",event="{event}"}}')

    def age(self, resource="nodes"):
        return self.metric(f'cloudtaser_webhook_snapshot_age_seconds{{resource="{resource}"}}')

    def allowed(self, minimum=NEEDS_NEW):
        return self.response(review(minimum))["allowed"]

    def wait_known(self, count):
        self.wait_for(lambda: self.nodes_known() == count, f"{count} nodes", 15)

    def wait_watching(self, count=1):
        self.wait_for(lambda: self.api.open_watches() == count, "the watch", 15)

    def wait_allowed(self, wanted=True):
        self.wait_for(lambda: self.allowed() is wanted, f"allowed to be {wanted}", 15)


class Lists(ClusterTest):
    def test_pages_are_followed_to_the_end(self):
        self.serve(*nodes(1203, OLD), node("the-last", NEW))
        self.start_watching()
        self.assertEqual(self.nodes_known(), 1204)
        self.assertEqual([q["limit"] for q in self.api.lists], ["500"] * 3)
        self.assertNotIn("continue", self.api.lists[0])
        self.assertEqual(self.api.lists[2]["continue"], "c+/1000==")
        self.assertTrue(self.allowed())
        self.wait_watching()
        self.assertEqual(self.api.watches[0]["resourceVersion"], "1000")
        self.assertEqual(self.api.watches[0]["allowWatchBookmarks"], "true")

    def test_no_nodes_at_all(self):
        self.serve()
        self.start_watching()
        self.assertEqual(self.nodes_known(), 0)
        self.assertFalse(self.allowed())
        self.wait_watching()
        self.api.event("ADDED", node("first"))
        self.wait_allowed()

    def test_what_passes_by_itself(self):
        faults = {
            "429": [api_server.status(429, headers=[("Retry-After", "1")])],
            "503 twice": [api_server.status(503)] * 2,
            "dropped": [api_server.drop],
            "cut": [api_server.cut],
            "slow": [api_server.late(1.5)],
            "garbage": [api_server.garbage()],
            "not a list": [api_server.garbage(b'{"kind":"PodList","metadata":{"resourceVersion":"1"}}')],
            "no version": [api_server.garbage(b'{"kind":"NodeList","metadata":{},"items":[]}')],
            "a page without names": [api_server.garbage(
                b'{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[{}]}')],
            "the second page expired": [api_server.honest, api_server.status(410)],
            "the second page cut": [api_server.honest, api_server.cut],
        }
        for number, (what, list_faults) in enumerate(faults.items()):
            with self.subTest(what):
                self.port = process.free_port()
                self.serve(*nodes(700))
                self.api.list_faults = list(list_faults)
                service = self.start_watching(name=f"webhook-{number}")
                self.assertEqual(self.nodes_known(), 700)
                self.assertEqual(self.api.list_faults, [])
                self.assertTrue(self.allowed())
                self.end(service)
                self.api.stop()

    def test_an_endless_list_is_given_up(self):
        self.serve()
        forever = json.dumps({"kind": "NodeList", "metadata": {
            "resourceVersion": "1", "continue": "more"}, "items": []}).encode()
        self.api.list_faults = [api_server.garbage(forever)] * 1000
        self.start_watching(ready=False)
        self.wait_for(lambda: self.log_lines("has no end"), "the refusal", 30)

    def test_no_rights(self):
        self.serve(*nodes(3))
        self.api.list_faults = [api_server.status(403, "nodes is forbidden: no rights")] * 2
        self.start_watching(ready=False)
        self.wait_for(lambda: self.log_lines("HTTP 403: nodes is forbidden: no rights"), "the log")
        self.wait_known(3)

    def test_not_ready_until_something_is_known(self):
        self.serve(*nodes(3))
        self.api.list_faults = [api_server.status(403, "no rights")] * 100
        self.start_watching(ready=False)
        status, _, text = self.ask("GET", "/readyz")
        self.assertEqual(status, 503)
        self.assertIn(b"no nodes are known yet", text)
        status, _, text = self.ask("POST", "/mutate", review(), JSON)
        self.assertEqual(status, 503)
        self.assertIn(b"no nodes are known yet", text)
        self.assertTrue(self.response(review(opted_in=False))["allowed"])
        self.assertIsNone(self.age())
        # Its end waits for nobody.
        self.api.list_faults = [api_server.hang] * 10
        time.sleep(1)
        start = time.monotonic()
        self.end(self.service)
        self.assertLess(time.monotonic() - start, 3)

    def test_how_to_reach_it_must_be_said(self):
        argv = [harness.PROGRAM, "--listen", "127.0.0.1:0", "--tls-cert", self.certificate,
                "--tls-key", self.key]
        for more, part in (((), "this is no pod of a cluster"),
                           (("--kubeconfig", self.folder / "none"), "does not exist")):
            service = process.Service("refused", [*argv, *more], self.folder,
                                      env={"PATH": "/usr/bin"})
            process.wait_until(lambda: service.process.poll() is not None, "its end", 10)
            self.assertEqual(service.process.returncode, 1)
            self.assertIn(part, service.text())
            self.assertIn("--nodes-file", service.text())


class Watches(ClusterTest):
    def test_added_changed_deleted(self):
        self.serve(node("a", OLD))
        self.start_watching()
        self.wait_watching()
        self.assertFalse(self.allowed())
        self.api.event("ADDED", node("b", NEW))
        self.wait_allowed()
        self.assertEqual(self.nodes_known(), 2)
        self.api.event("MODIFIED", node("b", OLD))
        self.wait_allowed(False)
        self.api.event("MODIFIED", node("a", NEW))
        self.wait_allowed()
        self.api.event("DELETED", node("a", NEW))
        self.wait_allowed(False)
        self.assertEqual(self.nodes_known(), 1)
        self.assertEqual(self.events("changed"), 4)
        self.assertEqual(len(self.api.lists), 1)
        self.assertEqual(self.age(), 0)

    def test_a_report_that_changes_nothing_costs_nothing(self):
        self.serve(*nodes(5))
        self.start_watching()
        self.wait_watching()
        for _ in range(20):
            self.api.event("MODIFIED", node("node-00001", NEW))
        self.wait_for(lambda: self.events("unchanged") == 20, "the reports")
        self.assertEqual(self.events("changed"), 0)

    def test_resumes_where_it_was(self):
        self.serve(*nodes(5))
        self.start_watching()
        self.wait_watching()
        version = self.api.bookmark()
        time.sleep(0.3)
        self.api.end_watches()
        self.wait_for(lambda: len(self.api.watches) == 2, "the second watch")
        self.assertEqual(self.api.watches[1]["resourceVersion"], version)
        self.wait_watching()
        self.api.event("DELETED", node("node-00000"))
        self.wait_known(4)
        version = str(self.api.version)
        self.api.end_watches()
        self.wait_for(lambda: len(self.api.watches) == 3, "the third watch")
        self.assertEqual(self.api.watches[2]["resourceVersion"], version)
        self.assertEqual(len(self.api.lists), 1)
        self.assertEqual(self.log_lines("warning"), [])

    def test_a_version_that_is_gone_means_to_list_again(self):
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
        for number, fault in enumerate((api_server.status(410, "too old"), api_server.line(gone))):
            with self.subTest(number):
                self.port = process.free_port()
                self.serve(*nodes(5))
                service = self.start_watching(name=f"webhook-{number}")
                self.wait_watching()
                self.api.watch_faults = [fault]
                with self.api.lock:
                    self.api.objects["unseen"] = node("unseen")
                self.api.end_watches()
                self.wait_known(6)
                self.assertEqual(len(self.api.lists), 2)
                self.assertEqual(self.events("expired"), 1)
                self.assertEqual(self.events("failed"), 0)
                self.end(service)
                self.api.stop()

    def test_watches_that_go_wrong(self):
        event = {"type": "ADDED", "object": node("new")}
        faults = {
            "garbage": api_server.line(b"no json\n"),
            "an unknown event": api_server.line({**event, "type": "SHOUTED"}),
            "no object": api_server.line({"type": "ADDED"}),
            "a node without name": api_server.line({"type": "ADDED", "object": {"metadata": {}}}),
            "no version": api_server.line({"type": "BOOKMARK", "object": {}}),
            "an error": api_server.line({"type": "ERROR", "object": {"code": 500, "message": "x"}}),
            "HTTP 500": api_server.status(500),
            "429": api_server.status(429, headers=[("Retry-After", "1")]),
            "dropped": api_server.drop,
        }
        self.serve(*nodes(5))
        self.start_watching()
        for what, fault in faults.items():
            with self.subTest(what):
                self.wait_watching()
                failed = self.events("failed")
                # A kept connection that is dropped is tried afresh by libcurl.
                self.api.watch_faults = [fault] * (2 if fault == api_server.drop else 1)
                self.api.end_watches()
                self.wait_for(lambda: self.events("failed") > failed, "the failure", 15)
                self.assertEqual(self.ask("GET", "/readyz")[0], 200)
                self.assertTrue(self.allowed())
        self.wait_watching()
        self.api.event("DELETED", node("node-00000"))
        self.wait_known(4)
        self.assertTrue(self.log_lines("stay in use until they are 600 s old"))
        self.assertTrue(self.log_lines("answers again"))

    def test_a_line_without_end_is_bounded(self):
        self.serve(*nodes(5))
        self.start_watching()
        self.wait_watching()
        self.api.watch_faults = [api_server.line(b"x" * (5 << 20))]
        self.api.end_watches()
        self.wait_for(lambda: self.log_lines("a line is larger than"), "the refusal", 15)
        self.wait_watching()

    def test_a_burst_is_taken_together_and_no_request_fails(self):
        self.serve(*nodes(3000, OLD))
        self.start_watching()
        self.wait_watching()
        with Load(self, 4) as load:
            for i in range(2500):
                self.api.event("MODIFIED", node(f"node-{i:05}", NEW))
            for i in range(2500, 3000):
                self.api.event("DELETED", node(f"node-{i:05}", NEW))
            self.wait_known(2500)
        self.assertEqual(load.failures, [])
        new = self.metric('cloudtaser_webhook_nodes{points="15"}')
        self.assertEqual(new, 2500)
        self.assertEqual(len(self.api.lists), 6)  # the pages of the one list


class Absence(ClusterTest):
    def test_what_is_known_serves_for_a_bounded_time(self):
        self.serve(*nodes(3))
        self.start_watching("--nodes-max-age", "6s")
        self.wait_watching()
        self.api.stop()
        self.wait_for(lambda: (self.age() or 0) >= 1, "the age to show")
        self.assertTrue(self.allowed())
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)
        self.assertTrue(self.log_lines("ago stay in use until they are 6 s old"))
        message = self.response(review(70))["status"]["message"]
        self.assertRegex(message, r"may run on \(as they were [1-5] s ago: the API server has not "
                                  r"answered the webhook since\) none reaches that")
        self.wait_for(lambda: self.try_get("/readyz") == 503, "it to be unready", 15)
        # Of nodes and namespaces the older one counts.
        self.assertGreater(max(self.age(), self.age("namespaces")), 6)
        status, _, text = self.ask("POST", "/mutate", review(), JSON)
        self.assertEqual(status, 503)
        self.assertIn(b"s old, 6 s are allowed", text)
        self.assertEqual(
            self.metric('cloudtaser_webhook_requests_total{decision="error",reason="not_ready"}'), 1)
        self.assertTrue(self.response(review(opted_in=False))["allowed"])
        self.api.start()
        self.wait_for(lambda: self.try_get("/readyz") == 200, "it to be ready again", 30)
        self.assertTrue(self.allowed())
        self.assertEqual(self.age(), 0)
        self.assertEqual(len(self.api.lists), 1)  # resumed

    def test_what_is_old_is_told_with_each_decision(self):
        self.serve(*nodes(3))
        self.start_watching()
        self.wait_watching()
        self.assertNotIn("warnings", self.response(review()))
        self.api.stop()
        self.wait_for(lambda: (self.age() or 0) >= 10.1, "the age", 20)
        warnings = " ".join(self.response(review())["warnings"])
        self.assertRegex(warnings, r"nodes and namespaces as they were 1\d s ago")
        self.assertNotIn("warnings", self.response(review(opted_in=False)))


LABEL = "cloudtaser.io/min-protection-score"


def labelled(name, value):
    return api_server.namespace(name, **({LABEL: value} if value is not None else {}))


class Namespaces(ClusterTest):
    """The label is that of namespace shop, in which the reviews' pods are."""

    def label(self, value, event="MODIFIED"):
        self.api.namespaces.event(event, labelled("shop", value))

    def wait_refused(self, part):
        self.wait_for(lambda: part in self.sentence(), f"a refusal with {part}", 15)

    def sentence(self, minimum=None):
        return self.response(review(minimum)).get("status", {}).get("message", "")

    def test_the_label_raises_the_minimum_and_lowers_nothing(self):
        self.serve(node("old", OLD))
        self.start_watching()
        self.wait_for(lambda: self.api.namespaces.open_watches() == 1, "the watch", 15)
        self.assertTrue(self.allowed(None))
        self.label("55")
        self.wait_refused("a protection score of 55 (its namespace's label)")
        self.assertFalse(self.allowed(10), "the author has lowered it")
        self.label("0")
        self.wait_for(lambda: self.allowed(None), "the label to be lower", 15)
        self.assertFalse(self.allowed(55), "the label has lowered the author's")
        self.label(None)
        self.wait_for(lambda: self.metric('cloudtaser_webhook_namespaces{label="none"}') == 1, "it")
        self.assertTrue(self.allowed(None))

    def test_what_is_no_score_is_refused_by_name(self):
        self.serve(node("new", NEW))
        self.start_watching()
        self.wait_for(lambda: self.api.namespaces.open_watches() == 1, "the watch", 15)
        for value in ("7O", "76", "-1", "", "070", "4.5"):
            with self.subTest(value):
                self.label(value)
                self.wait_refused(f'namespace "shop" has label {LABEL}: "{value}"')
                self.assertFalse(self.allowed(75))
                self.assertTrue(self.response(review(opted_in=False))["allowed"])
        self.assertEqual(self.metric('cloudtaser_webhook_namespaces{label="bad"}'), 1)

    def test_an_unknown_namespace_is_to_be_tried_again(self):
        self.serve(node("new", NEW))
        self.start_watching()
        self.wait_for(lambda: self.api.namespaces.open_watches() == 1, "the watch", 15)
        self.label("30", "DELETED")
        self.wait_refused('namespace "shop" is not among the 0 that are known')
        status = self.response(review())["status"]
        self.assertEqual((status["code"], status["details"]), (503, {"retryAfterSeconds": 1}))
        self.label("30", "ADDED")
        self.wait_for(lambda: self.allowed(None), "it to be known", 15)

    def test_not_ready_until_they_are_known(self):
        self.serve(node("new", NEW))
        self.api.namespaces.list_faults = [api_server.status(403, "no rights")] * 100
        self.start_watching(ready=False)
        self.wait_for(lambda: self.nodes_known() == 1, "the nodes", 15)
        for method, path, body in (("GET", "/readyz", None), ("POST", "/mutate", review())):
            status, _, text = self.ask(method, path, body, JSON)
            self.assertEqual(status, 503)
            self.assertIn(b"no namespaces are known yet", text)
        self.assertTrue(self.response(review(opted_in=False))["allowed"])
        self.api.namespaces.list_faults = []
        self.wait_for(lambda: self.try_get("/readyz") == 200, "it to be ready", 30)

    def test_from_a_file(self):
        path = self.folder / "namespaces.json"

        def write(value):
            self.replace(path, json.dumps({"apiVersion": "v1", "kind": "List",
                                           "items": [labelled("shop", value)]}))
        self.start("--namespaces-file", path, ready=False)
        self.assertEqual(self.ask("POST", "/mutate", review(), JSON)[0], 503)
        self.assertIn("namespaces.json", json.loads(self.ask("GET", "/readyz")[2])["error"])
        write("75")
        self.wait_for(lambda: self.try_get("/readyz") == 200, "it to be ready", 15)
        self.wait_refused("75 (its namespace's label)")
        write("20")
        self.wait_for(lambda: self.allowed(None), "the new label", 15)

    def test_a_file_of_nodes_alone_knows_no_namespace(self):
        self.start()
        self.assertTrue(self.allowed(None))
        self.assertIsNone(self.metric('cloudtaser_webhook_namespaces{label="none"}'))


class Large(ClusterTest):
    def test_fifteen_thousand_nodes(self):
        """Pages as a real API server gives them: 7.8 KB a node."""
        if os.environ.get("CT_SANITIZED") == "1":
            self.skipTest("a sanitizer takes memory and time of its own")
        self.serve()
        labels = {f"example.com/label-{i}": f"value-{i}" for i in range(20)}
        every = []
        for i in range(15000):
            made = node(f"ip-10-{i // 65536}-{i // 256 % 256}-{i % 256}.internal", NEW, **labels,
                        **{"example.com/serial": f"{i:032x}"})
            made["metadata"]["annotations"] = {"example.com/more": "y" * 3000}
            every.append(made)
        self.assertGreater(len(json.dumps(every[0])), 7000)
        self.api.pages = [api_server.page(every, start, 500, 7) for start in range(0, 15000, 500)]
        del every
        service = self.start_watching(wait=60)
        # Time of the processor: tools/bench has the other, of a machine that does nothing else.
        fields = pathlib.Path(f"/proc/{service.pid}/stat").read_text(encoding="ascii")
        ticks = sum(map(int, fields.rpartition(")")[2].split()[11:13]))
        seconds = ticks / os.sysconf("SC_CLK_TCK")
        self.assertEqual(self.nodes_known(), 15000)
        status = pathlib.Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
        memory = {line.split()[0]: int(line.split()[1]) / 1024 for line in status.splitlines()
                  if line.startswith("VmRSS") or line.startswith("VmHWM")}
        print(f"15,000 nodes: {seconds * 1000:.0f} ms of CPU until ready, {memory}", flush=True)
        self.assertLess(seconds, 6)
        self.assertLess(memory["VmHWM:"], 80)


if __name__ == "__main__":
    harness.main()
