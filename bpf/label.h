// SPDX-License-Identifier: Apache-2.0
//
// What a node's labels say of it: the facts of the last self-test, but for those that affinity uses, which
// move up at once and down slowly. kubelet looks at the affinity of running pods again when it starts, and a
// moment's loss must not end them. Pure: nothing here speaks with anybody.
#ifndef CT_LABEL_H
#define CT_LABEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "shared.h"

#define CT_LABEL_PREFIX "cloudtaser.node-restriction.kubernetes.io/"
#define CT_LABEL_MANAGER "cloudtaser-agent"
#define CT_LABEL_KERNEL_MAX 65

// What a node can do for its pods. Plain data: it is sent from one process of the agent to another.
struct ct_node_facts {
    int points;      // the node's share of the score
    int enforcement; // enum ct_tier: the weakest that refuses a way of reading memory; none: one is open
    int memfd_secret;                 // 0 or 1
    int vectors;                      // how many are refused
    char kernel[CT_LABEL_KERNEL_MAX]; // as uname(2) tells it
    // 1: nothing was enforced here before, so that there is no loss: what the labels say is another start of the
    // node's, and none of it is kept.
    int first;
};

enum ct_label_slow { CT_LABEL_POINTS, CT_LABEL_ENFORCEMENT, CT_LABEL_MEMFD, CT_LABEL_SLOW };

struct ct_label {
    unsigned hold_ms; // for how long a loss must last until it is told
    bool known;       // `told` holds something
    struct ct_node_facts told;
    uint64_t lower_since[CT_LABEL_SLOW]; // 0: not below what is told
};

// Takes facts in; true when `told` is not what it was. now_ms: any clock that does not go back, and is not 0.
bool ct_label_take(struct ct_label *label, const struct ct_node_facts *facts, uint64_t now_ms);

// Takes what a v1 Node's labels say as what was told before: so that the start of an agent whose pins
// enforce takes nothing away at once. Without such labels, or with some that nobody of us wrote, there is nothing that was told.
void ct_label_read(struct ct_label *label, const json_t *node);

// The body of a server-side apply; facts NULL takes all labels away. A failed append shows in `out`.
void ct_label_write(const struct ct_node_facts *facts, const char *node, struct ct_buf *out);

#endif
