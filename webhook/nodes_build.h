// SPDX-License-Identifier: Apache-2.0
//
// How a snapshot of nodes is put together, shared by reading and by merging. Internal to nodes*.c.
#ifndef CT_WEBHOOK_NODES_BUILD_H
#define CT_WEBHOOK_NODES_BUILD_H

#include <stdatomic.h>

#include "nodes.h"

#define CT_NODES_MAX ((size_t)100000)

// Node labels repeat themselves from node to node, so that each text is kept once: a table of
// pointers into one block, open addressing, at most half full.
struct ct_interner {
    char *block; // as large as all texts together: what is not reached is never touched
    size_t used;
    const char **slots;
    size_t n_slots; // a power of two
    size_t n;
    bool failed;
};

struct ct_nodes {
    _Atomic(unsigned) references;
    char *block;
    struct ct_label *labels;
    struct ct_taint *taints;
    struct ct_node *nodes; // sorted by name
    size_t n;
};

// What must be allocated for a list.
struct ct_measure {
    size_t nodes;
    size_t labels;
    size_t taints;
    size_t bytes;
};

// Counts a text; NULL counts as "".
void ct_measure_text(struct ct_measure *m, const char *text);

// An empty snapshot with one reference; and its arrays, for what was measured. CT_ENOMEM. What is
// allocated for the interner beside the block is its slots: the caller frees them.
CT_CHECKED int ct_nodes_make(struct ct_nodes **ret, struct ct_err *err);
CT_CHECKED int ct_nodes_allocate(const struct ct_measure *m, struct ct_nodes *nodes,
                                 struct ct_interner *in, struct ct_err *err);

// The text in the block, once whatever number of times it comes. Sets in->failed when memory is out.
const char *ct_intern(struct ct_interner *in, const char *text);

#endif
