// SPDX-License-Identifier: Apache-2.0
//
// Nothing that the author writes is trusted: what looks injected must be what would be injected.
#ifndef CT_WEBHOOK_TRUST_H
#define CT_WEBHOOK_TRUST_H

#include "pod.h"

// Volumes, mounts, devices, names of containers, the init container and the status annotation: each
// that is ours by name or place must equal the derived one. `identity` is the derived text of the
// identity volume.
CT_CHECKED int ct_trust_check_shape(struct ct_case *c, const char *identity, struct ct_err *err);

// Does a pod carry our volume? Its annotations can be changed while it runs, its volumes cannot.
bool ct_trust_injected(const json_t *spec);

// For an ephemeral container added to a running pod: it must keep away from our volumes and paths.
// Pods that were never injected are left alone.
CT_CHECKED int ct_trust_check_ephemeral(struct ct_case *c, struct ct_err *err);

#endif
