// SPDX-License-Identifier: Apache-2.0
//
// The AdmissionReview around a pod: what is asked, and how it is answered.
#ifndef CT_WEBHOOK_REVIEW_H
#define CT_WEBHOOK_REVIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

// Borrowed from the parsed document. Strings are never NULL.
struct ct_review {
    const char *uid;
    const char *operation;
    const char *user; // request.userInfo.username
    const char *subresource;
    const char *namespace;
    bool pod; // kind is v1 Pod, resource is pods
    bool dry_run;
    const json_t *object;     // NULL or an object
    const json_t *old_object; // likewise: what an UPDATE changes
};

// Checks the envelope. -CT_EINVAL when it cannot be answered: no admission.k8s.io/v1 AdmissionReview,
// no request, no uid.
CT_CHECKED int ct_review_read(const json_t *document, struct ct_review *ret, struct ct_err *err);

// Warnings for the one who created the pod. Each is cut into pieces of at most 256 bytes, the API
// server's bound, with "…" where it goes on; more than CT_WARNINGS_MAX pieces are left out. Zero-initialise with .text.max set.
#define CT_WARNINGS_MAX 16
#define CT_WARNING_BYTES 256
// Room for all of them, whatever they hold: an escaped character takes six bytes.
#define CT_WARNINGS_BYTES ((size_t)CT_WARNINGS_MAX * (6 * CT_WARNING_BYTES + 3))
struct ct_warnings {
    struct ct_buf text; // "…","…"
    unsigned n;
};
void ct_warnings_add(struct ct_warnings *w, const char *fmt, ...) CT_PRINTF(2, 3);

// The complete answer. `patch` is the JSON Patch's text, NULL or empty for none.
void ct_review_allow(const char *uid, const struct ct_buf *patch,
                     const struct ct_warnings *warnings, struct ct_buf *out);
// A denial is 403; one that may pass by itself, with retry_s > 0, is 503 and tells when to ask again,
// which client libraries do without being told.
void ct_review_deny(const char *uid, const char *sentence, unsigned retry_s,
                    const struct ct_warnings *warnings, struct ct_buf *out);

#endif
