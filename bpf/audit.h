// SPDX-License-Identifier: Apache-2.0
//
// The record of registrations: one line of JSON for each decision.
#ifndef CT_AUDIT_H
#define CT_AUDIT_H

#include "buf.h"
#include "pod_identity.h"
#include "shared.h"
#include "vet.h"

enum ct_audit_decision {
    CT_AUDIT_ACCEPTED,
    CT_AUDIT_REFUSED,
    CT_AUDIT_MARKED,    // has taken the first answer
    CT_AUDIT_PROTECTED, // has taken the second one
    CT_AUDIT_UNPROTECTED,
};

struct ct_audit {
    const struct ct_ask *ask;
    const struct ct_vetted *vetted;    // NULL where nothing was looked at
    const struct ct_pod_identity *pod; // NULL where it is not known
    enum ct_audit_decision decision;
    const char *reason; // a sentence; NULL or "" for none
    unsigned refusals;  // of its cgroup so far; 0: not told
};

// Appends the line, its newline with it. A failed append shows in `out`.
void ct_audit_json(const struct ct_audit *audit, struct ct_buf *out);

#endif
