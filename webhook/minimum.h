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

#endif
