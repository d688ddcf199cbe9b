// SPDX-License-Identifier: Apache-2.0
//
// The score that a pod must reach, judged before it runs: the pod's own share and its nodes'.
#ifndef CT_WEBHOOK_MINIMUM_H
#define CT_WEBHOOK_MINIMUM_H

#include "pod.h"

// Fills c->minimum: the highest of annotations, variables (`from_variables`) and the operator's
// default, what is required, and what the pod's launcher and RuntimeClass cost.
void ct_minimum_collect(struct ct_case *c, int from_variables);

// Looks at the nodes, if the minimum or a required check needs them to: denies with the best three
// nodes and what each lacks, or settles what node affinity is to be injected (c->minimum.affinity_*)
// and warns of nodes that will not do.
CT_CHECKED int ct_minimum_judge(struct ct_case *c, struct ct_err *err);

// One node in the light of one pod, as ct_minimum_judge() sees it.
struct ct_minimum_node {
    const char *obstacle; // what keeps the pod off the node, ct_candidate_obstacle(); NULL: nothing
    int points;           // of the whole score: the pod's share and what this node adds
    uint32_t passes;      // checks of the node that pass and count for this pod
    bool good;            // reaches the minimum and passes what is required
    char lack[160];       // "kernel 5.10 < 5.14, no agent"; "" when nothing is lacking
};

// After ct_minimum_collect(). `obstacle` is static, nothing is borrowed.
void ct_minimum_look_at(const struct ct_case *c, const struct ct_node *node,
                        struct ct_minimum_node *ret);

#endif
