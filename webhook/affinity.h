// SPDX-License-Identifier: Apache-2.0
//
// The required node affinity that keeps a pod off nodes that cannot give it its minimum score.
#ifndef CT_WEBHOOK_AFFINITY_H
#define CT_WEBHOOK_AFFINITY_H

#include "patch.h"
#include "pod.h"

// Appends what c->minimum.affinity_* asks for: the requirements go into every term that is not empty
// (terms are ORed, and an empty one matches nothing), or into a new term when there is no required
// node affinity. Requirements that a term holds already are not added again.
void ct_affinity_patch(const struct ct_case *c, struct ct_patch *patch);

#endif
