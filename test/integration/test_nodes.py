# SPDX-License-Identifier: Apache-2.0
"""Minimum scores against the nodes that `kubectl get nodes -o json` tells of."""

from environment import AGENT_LABELS, NODE_PREFIX
from pods import TestCase, pod
from process import wait_until

POINTS = NODE_PREFIX + "protection-points"
# A pod of its own reaches 40 points; 70 needs 30 of the node: more than 29.
AT_70 = {"key": POINTS, "operator": "Gt", "values": ["29"]}


def terms(stored):
    affinity = stored["spec"]["affinity"]["nodeAffinity"]
    return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]


def required(*node_terms):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": list(node_terms)}}}


class Nodes(TestCase):
    def test_a_minimum_that_needs_an_agent_becomes_affinity(self):
        original = pod({"min-protection-score": "70"})
        stored = self.admit(original)
        self.assert_injected(stored, original)
        self.assertEqual(terms(stored), [{"matchExpressions": [AT_70]}])
        self.assertEqual(self.settings(stored)["min-score"], 70)

    def test_a_minimum_that_every_matching_node_reaches_needs_none(self):
        stored = self.admit(pod({"min-protection-score": "55"}, nodeSelector={"pool": "modern"}))
        self.assertNotIn("affinity", stored["spec"])
        stored = self.admit(pod({"min-protection-score": "40"}))
        self.assertNotIn("affinity", stored["spec"])

    def test_existing_affinity_is_extended(self):
        zone = {"key": "pool", "operator": "In", "values": ["agent", "modern"]}
        other = {"key": "pool", "operator": "NotIn", "values": ["old"]}
        preferred = [{"weight": 1, "preference": {"matchExpressions": [zone]}}]
        mine = required({"matchExpressions": [zone]}, {"matchExpressions": [other]})
        mine["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
        mine["podAntiAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 3, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {}}}]}
        stored = self.admit(pod({"min-protection-score": "70"}, affinity=mine))
        self.assertEqual(terms(stored), [{"matchExpressions": [zone, AT_70]},
                                         {"matchExpressions": [other, AT_70]}])
        kept = stored["spec"]["affinity"]
        self.assertEqual(
            kept["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"], preferred)
        self.assertEqual(kept["podAntiAffinity"], mine["podAntiAffinity"])

    def test_refused_when_the_selector_leaves_no_such_node(self):
        reason = self.refused(pod({"min-protection-score": "70"}, nodeSelector={"pool": "modern"}),
                              "70", "modern")
        self.assertIn("agent", reason)
        self.refused(pod({"min-protection-score": "70"}, affinity=required(
            {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["old"]}]})), "70")
        self.refused(pod({"min-protection-score": "70"}, nodeSelector={"pool": "nowhere"}), "70")

    def test_taints(self):
        wanted = {"nodeSelector": {"pool": "tainted"}}
        self.refused(pod({"min-protection-score": "70"}, **wanted), "70")
        tolerated = [{"key": "dedicated", "operator": "Equal", "value": "db",
                      "effect": "NoSchedule"}]
        self.admit(pod({"min-protection-score": "70"}, tolerations=tolerated, **wanted))

    def test_named_node(self):
        self.admit(pod({"min-protection-score": "70"}, nodeName="agent"))
        self.refused(pod({"min-protection-score": "70"}, nodeName="modern"), "70", "modern")

    def test_required_checks(self):
        stored = self.admit(pod({"require": "kprobes_active"}))
        self.assertIn(NODE_PREFIX, str(terms(stored)))
        self.refused(pod({"require": "kprobes_active"}, nodeSelector={"pool": "modern"}),
                     "kprobes_active")

    def test_a_label_flips_the_decision_within_seconds(self):
        wanted = pod({"min-protection-score": "70"}, nodeSelector={"pool": "flip"})
        self.refused(wanted, "70", "flip")
        self.cluster.label_node("flip", AGENT_LABELS)
        self.cluster.write_nodes(self.env.nodes_file)

        def admitted():
            done = self.cluster.kubectl("create", "-n", "apps", "-f", "-", stdin=wanted,
                                        check=False)
            return done.returncode == 0
        wait_until(admitted, "the webhook to see the node's new label", 10, 0.1)
        self.cluster.label_node("flip", {key: None for key in AGENT_LABELS})
        self.cluster.write_nodes(self.env.nodes_file)

        def refused():
            fresh = pod({"min-protection-score": "70"}, nodeSelector={"pool": "flip"})
            done = self.cluster.kubectl("create", "-n", "apps", "-f", "-", stdin=fresh,
                                        check=False)
            return done.returncode != 0 and "denied" in done.stderr
        wait_until(refused, "the webhook to see that the label is gone", 10, 0.1)

    def test_a_broken_nodes_file_keeps_the_last_good_one(self):
        good = self.env.nodes_file.read_text()
        webhook = self.env.webhook
        refused = webhook.reloads("nodes", "refused")
        try:
            self.env.nodes_file.write_text(good[:len(good) // 2])
            wait_until(lambda: webhook.reloads("nodes", "refused") > refused,
                       "the webhook to refuse the nodes file", 10)
            self.admit(pod({"min-protection-score": "70"}))
        finally:
            self.cluster.write_nodes(self.env.nodes_file)
