// SPDX-License-Identifier: Apache-2.0
//
// May this pod run on that node? As kube-scheduler's NodeName, NodeAffinity, TaintToleration and
// NodeUnschedulable plugins answer it; resources and ports are not looked at.
#ifndef CT_WEBHOOK_CANDIDATE_H
#define CT_WEBHOOK_CANDIDATE_H

#include <jansson.h>
#include <stdbool.h>

#include "nodes.h"

// `spec` is the pod's. With spec.nodeName set only the name counts (no scheduler is asked).
// nodeSelectorTerms are ORed, an empty term matches nothing, a term with a requirement that the API
// server would refuse matches nothing.
bool ct_candidate_matches(const json_t *spec, const struct ct_node *node);
// What keeps the pod off that node, as words for a person; NULL when nothing does. Static.
const char *ct_candidate_obstacle(const json_t *spec, const struct ct_node *node);

// Is this a node selector term without any requirement?
bool ct_candidate_term_empty(const json_t *term);

// spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution, NULL when missing.
const json_t *ct_candidate_required(const json_t *spec);

#endif
