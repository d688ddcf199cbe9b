// SPDX-License-Identifier: Apache-2.0
//
// A quick look at a request: is it, beyond doubt, one that does not concern this webhook? Most pods of
// a cluster are not opted in, and reading them whole costs ten times as much as seeing that.
#ifndef CT_WEBHOOK_PEEK_H
#define CT_WEBHOOK_PEEK_H

#include <stdbool.h>
#include <stddef.h>

// Pieces of the body, not terminated; text is NULL when missing.
struct ct_slice {
    const char *text;
    size_t len;
};

struct ct_peek {
    struct ct_slice api_version, kind, uid, namespace, name, generate_name, subresource, operation;
    struct ct_slice user;
    bool object;  // request.object is an object
    bool dry_run; // request.dryRun is true
};

// True when the body is a well-formed AdmissionReview v1 with a uid and an object, for no subresource,
// and the word "cloudtaser" stands nowhere in it. False for everything else, and for everything
// unusual (characters beyond ASCII, rare escapes, long numbers, deep nesting, keys that stand twice
// among those that decide it): such a body is to be read in earnest, errors are found there. One pass, no memory.
bool ct_peek_skippable(const char *body, size_t len, struct ct_peek *ret);

// Looks for request.uid in a body that JSON's own reader refused, so that the request can be answered
// at all. Brackets and strings are told apart, nothing else is checked. False when there is none, or
// none of printable ASCII.
bool ct_peek_uid(const char *body, size_t len, struct ct_slice *ret);

#endif
