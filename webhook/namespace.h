// SPDX-License-Identifier: Apache-2.0
//
// The label of a pod's namespace as a source of the minimum: whoever manages the namespace decides on
// it, and no author of a pod can take it away.
#ifndef CT_WEBHOOK_NAMESPACE_H
#define CT_WEBHOOK_NAMESPACE_H

#include "pod.h"

// After ct_minimum_collect(): raises c->minimum to the label's value. Denies where the value is no
// number that a score can reach, and where the namespace is not known (yet: a new one's news may be on
// the way, so whoever asks is told to ask again). Does nothing without a snapshot of namespaces.
CT_CHECKED int ct_namespace_raise(struct ct_case *c, struct ct_err *err);

// For metrics: namespaces without the label, with a good one, and with one that gets pods refused.
struct ct_namespace_stats {
    size_t unlabelled;
    size_t labelled;
    size_t bad;
};
void ct_namespace_stats(const struct ct_nodes *namespaces, struct ct_namespace_stats *ret);

#endif
