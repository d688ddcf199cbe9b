// SPDX-License-Identifier: Apache-2.0
//
// The patch itself: what a protected pod has and this one lacks.
#ifndef CT_WEBHOOK_INJECT_H
#define CT_WEBHOOK_INJECT_H

#include "patch.h"
#include "pod.h"

// Writes the operations; none when the pod has everything. Container indexes are those of the request:
// the init container, which shifts the others, comes last. Denies variables that are there with
// another text than the derived one. `identity` is the text of the identity volume.
CT_CHECKED int ct_inject(struct ct_case *c, const char *identity, struct ct_patch *patch,
                         struct ct_err *err);

#endif
