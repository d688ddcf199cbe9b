// SPDX-License-Identifier: Apache-2.0
//
// Changes of a pod that exists already. They are never patched; but an injected pod must stay what it
// was admitted as, and no other may come to look like one.
#ifndef CT_WEBHOOK_UPDATE_H
#define CT_WEBHOOK_UPDATE_H

#include "pod.h"

// Kubernetes lets images change (in a gated pod before anything has run) and annotations at any time.
// Denies another image for our init container than the one it had or the operator's, changed
// annotations inject and status of an injected pod, and their appearance on any other. 0 otherwise.
CT_CHECKED int ct_update_check(struct ct_case *c, struct ct_err *err);

#endif
