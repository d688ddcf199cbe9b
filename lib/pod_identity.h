// SPDX-License-Identifier: Apache-2.0
//
// Which pod a process is of. A pod's name is not known at admission where it is generated, and the host's
// name is another one in some pods; the service-account token that kubelet projects says it.
#ifndef CT_POD_IDENTITY_H
#define CT_POD_IDENTITY_H

#include <stddef.h>

#include "err.h"

struct ct_pod_identity {
    char pod[254]; // names as Kubernetes has them; "" when not known
    char space[64];
    char uid[64]; // "" when not known
};

// The claims kubernetes.io of a JWT, unverified: it is this pod's own, from kubelet. CT_EPROTO.
CT_CHECKED int ct_pod_identity_parse(const char *jwt, size_t len, struct ct_pod_identity *ret,
                                     struct ct_err *err);
// From a file; where that is none or says nothing, the host's name as the pod's.
void ct_pod_identity_find(const char *path, struct ct_pod_identity *ret);

#endif
