// SPDX-License-Identifier: Apache-2.0
//
// The cluster's nodes, reduced to what admission needs of them; and its namespaces, of which that is a
// name and one label, in the same form. A snapshot is immutable once parsed, so that any number of
// threads may read it.
#ifndef CT_WEBHOOK_NODES_H
#define CT_WEBHOOK_NODES_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "json.h"

#define CT_NODE_LABEL_PREFIX "cloudtaser.node-restriction.kubernetes.io/"
#define CT_NAMESPACE_LABEL "cloudtaser.io/min-protection-score"
#define CT_NODE_MAX_POINTS 35 // memfd_secret 15, ebpf_connected 10, kprobes_active 10

struct ct_label {
    const char *key;
    const char *value;
};

enum ct_taint_effect { CT_TAINT_OTHER, CT_TAINT_NO_SCHEDULE, CT_TAINT_NO_EXECUTE };

struct ct_taint {
    const char *key;
    const char *value;
    enum ct_taint_effect effect;
};

// The node's share of the score, from its agent's labels or, without an agent, from its kernel.
struct ct_node_share {
    bool agent;        // the agent's labels are there
    int points;        // what the node gives: 0..CT_NODE_MAX_POINTS
    int without_agent; // what it would give if it had no agent
    bool memfd_secret; // CT_CHECK_MEMFD_SECRET passes there
    bool ebpf;         // CT_CHECK_EBPF_CONNECTED
    bool kprobes;      // CT_CHECK_KPROBES_ACTIVE: synchronous blocking
};

struct ct_node {
    const char *name;
    const char *kernel;            // nodeInfo.kernelVersion, "" when unknown
    const struct ct_label *labels; // sorted by key
    size_t n_labels;
    const struct ct_taint *taints; // only those that keep pods away
    size_t n_taints;
    bool unschedulable; // counts as the taint node.kubernetes.io/unschedulable:NoSchedule
    bool gone;          // only in a part for ct_nodes_merge(): takes the node away
    struct ct_node_share share;
};

struct ct_nodes;

// What a snapshot is made of.
struct ct_kind {
    const char *kind; // "Node"
    const char *list; // "NodeList"
    const char *singular;
    const char *plural;
    const char *path;       // in the API: "/api/v1/nodes"
    const char *only_label; // of the labels this one is kept; NULL: all
    unsigned gather_ms;     // how long changes wait for others to be taken together
};
extern const struct ct_kind ct_kind_node;
extern const struct ct_kind ct_kind_namespace;

// Parses what `kubectl get nodes -o json` prints (a v1 List or NodeList of v1 Nodes). *ret starts
// with one reference. An item that is no Node, or has no name, is refused: a list that is half
// understood would be worse than an old one. CT_EINVAL, CT_ENOMEM.
CT_CHECKED int ct_nodes_parse(const char *data, size_t len, struct ct_nodes **ret,
                              struct ct_err *err);

// As ct_nodes_parse(), of any kind.
CT_CHECKED int ct_kind_parse(const struct ct_kind *what, const char *data, size_t len,
                             struct ct_nodes **ret, struct ct_err *err);

// As ct_kind_parse(), of the array of items alone (a page of a list). `items` stays the caller's.
CT_CHECKED int ct_nodes_of_items(const struct ct_kind *what, const json_t *items,
                                 struct ct_nodes **ret, struct ct_err *err);

// All parts in one: of nodes with one name that of the latest part counts, and one that is marked gone
// is left out. The parts stay the caller's, and may be NULL. CT_ETOOBIG, CT_ENOMEM.
CT_CHECKED int ct_nodes_merge(const struct ct_nodes *const *parts, size_t n_parts,
                              struct ct_nodes **ret, struct ct_err *err);
// Marks every node of a part that nobody else has yet.
void ct_nodes_mark_gone(struct ct_nodes *nodes);
// Is all that is kept of them the same?
bool ct_node_equal(const struct ct_node *a, const struct ct_node *b);

// One reference more, one less; the last one frees. Thread-safe (atomic count): a reader takes one
// under the lock that guards the pointer, and works without the lock.
struct ct_nodes *ct_nodes_ref(struct ct_nodes *nodes);
void ct_nodes_free(struct ct_nodes *nodes);
CT_DEFINE_AUTO(ct_nodes, ct_nodes_free);

// `nodes` may be NULL: none.
size_t ct_nodes_count(const struct ct_nodes *nodes);
const struct ct_node *ct_nodes_at(const struct ct_nodes *nodes, size_t i);
// By name; NULL when there is none.
const struct ct_node *ct_nodes_find(const struct ct_nodes *nodes, const char *name);
// The label's value, NULL when the node has no such label.
const char *ct_node_label(const struct ct_node *node, const char *key);

// For metrics: how many nodes, how many with an agent, and how many give each number of points.
struct ct_nodes_stats {
    size_t nodes;
    size_t agents;
    size_t unschedulable;
    size_t by_points[CT_NODE_MAX_POINTS + 1];
};
void ct_nodes_stats(const struct ct_nodes *nodes, struct ct_nodes_stats *ret);

// Is kernel version `version` ("6.1.0-18-amd64") at least major.minor? False when unreadable.
bool ct_kernel_at_least(const char *version, unsigned major, unsigned minor);

#endif
