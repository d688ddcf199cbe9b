// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "nodes_build.h"

// A node with its part's place: of two with one name the later part's counts.
struct entry {
    const struct ct_node *node;
    size_t part;
};

static int by_name_and_part(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->node->name, y->node->name);
    return order != 0 ? order : (x->part > y->part) - (x->part < y->part);
}

static void copy_node(const struct ct_node *from, struct ct_interner *in, struct ct_label **labels,
                      struct ct_taint **taints, struct ct_node *to)
{
    *to = *from;
    to->name = ct_intern(in, from->name);
    to->kernel = ct_intern(in, from->kernel);
    to->labels = *labels;
    to->taints = *taints;
    for (size_t i = 0; i < from->n_labels; i++) {
        (*labels)->key = ct_intern(in, from->labels[i].key);
        (*labels)++->value = ct_intern(in, from->labels[i].value);
    }
    for (size_t i = 0; i < from->n_taints; i++) {
        (*taints)->effect = from->taints[i].effect;
        (*taints)->key = ct_intern(in, from->taints[i].key);
        (*taints)++->value = ct_intern(in, from->taints[i].value);
    }
}

static void measure_copy(const struct ct_node *node, struct ct_measure *m)
{
    m->nodes++;
    m->labels += node->n_labels;
    m->taints += node->n_taints;
    ct_measure_text(m, node->name);
    ct_measure_text(m, node->kernel);
    for (size_t i = 0; i < node->n_labels; i++) {
        ct_measure_text(m, node->labels[i].key);
        ct_measure_text(m, node->labels[i].value);
    }
    for (size_t i = 0; i < node->n_taints; i++) {
        ct_measure_text(m, node->taints[i].key);
        ct_measure_text(m, node->taints[i].value);
    }
}

// Sorted, one entry a name, those that are gone left out. Returns how many are left.
static size_t settle(struct entry *entries, size_t n)
{
    size_t left = 0;
    qsort(entries, n, sizeof(*entries), by_name_and_part);
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n || strcmp(entries[i].node->name, entries[i + 1].node->name) != 0;
        if (last && !entries[i].node->gone) {
            entries[left++] = entries[i];
        }
    }
    return left;
}

static int fill_merged(const struct entry *entries, size_t n, struct ct_nodes *nodes,
                       struct ct_err *err)
{
    struct ct_interner in = {0};
    struct ct_measure m = {0};
    for (size_t i = 0; i < n; i++) {
        measure_copy(entries[i].node, &m);
    }
    int r = ct_nodes_allocate(&m, nodes, &in, err);
    struct ct_label *labels = nodes->labels;
    struct ct_taint *taints = nodes->taints;
    for (size_t i = 0; i < n && r == 0; i++) {
        copy_node(entries[i].node, &in, &labels, &taints, &nodes->nodes[nodes->n++]);
    }
    free(in.slots);
    return r == 0 && in.failed ? ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", n) : r;
}

int ct_nodes_merge(const struct ct_nodes *const *parts, size_t n_parts, struct ct_nodes **ret,
                   struct ct_err *err)
{
    CT_AUTO(ct_nodes) *nodes = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        n += ct_nodes_count(parts[i]);
    }
    struct entry *entries = calloc(n + 1, sizeof(*entries));
    if (entries == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", n);
    }
    n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        for (size_t k = 0; k < ct_nodes_count(parts[i]); k++) {
            entries[n++] = (struct entry){.node = &parts[i]->nodes[k], .part = i};
        }
    }
    n = settle(entries, n);
    int r = n > CT_NODES_MAX ? ct_err_set(err, CT_ETOOBIG, "there are %zu nodes, %zu are allowed",
                                          n, CT_NODES_MAX)
                             : ct_nodes_make(&nodes, err);
    r = r == 0 ? fill_merged(entries, n, nodes, err) : r;
    free(entries);
    if (r == 0) {
        *ret = ct_steal(&nodes);
    }
    return r;
}

void ct_nodes_mark_gone(struct ct_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        nodes->nodes[i].gone = true;
    }
}

bool ct_node_equal(const struct ct_node *a, const struct ct_node *b)
{
    bool equal = strcmp(a->name, b->name) == 0 && strcmp(a->kernel, b->kernel) == 0 &&
                 a->n_labels == b->n_labels && a->n_taints == b->n_taints &&
                 a->unschedulable == b->unschedulable && a->gone == b->gone;
    for (size_t i = 0; equal && i < a->n_labels; i++) {
        equal = strcmp(a->labels[i].key, b->labels[i].key) == 0 &&
                strcmp(a->labels[i].value, b->labels[i].value) == 0;
    }
    for (size_t i = 0; equal && i < a->n_taints; i++) {
        equal = a->taints[i].effect == b->taints[i].effect &&
                strcmp(a->taints[i].key, b->taints[i].key) == 0 &&
                strcmp(a->taints[i].value, b->taints[i].value) == 0;
    }
    return equal;
}
