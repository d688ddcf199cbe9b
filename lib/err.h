// SPDX-License-Identifier: Apache-2.0
//
// One error regime for the whole project: a function that can fail returns 0 or a negative code and
// takes `struct ct_err *err` last. The struct belongs to the caller, needs no allocation and may be
// NULL. A message is a sentence that a person can act on; it never holds a secret or a token.
#ifndef CT_ERR_H
#define CT_ERR_H

#include "cleanup.h"

// What went wrong, coarse enough to choose an exit code or an HTTP status by. Values are stable.
enum ct_code {
    CT_OK = 0,
    CT_EINVAL = 1,    // malformed input: a person must change what they wrote
    CT_EDENIED = 2,   // understood and refused: policy, permission, 403
    CT_ENOTFOUND = 3, // path, key, file or program does not exist
    CT_EUNAVAIL = 4,  // the other side cannot be reached or is not ready: worth a retry
    CT_EPROTO = 5,    // the other side answered something that makes no sense
    CT_ETOOBIG = 6,   // a bound was exceeded
    CT_ENOMEM = 7,    // out of (secret) memory: an ordinary error
    CT_ESYSTEM = 8,   // a system call failed; errno_value says how
    CT_ENOEXEC = 9,   // the program exists and cannot be executed
};

struct ct_err {
    int code;        // an enum ct_code, 0 while no error was set
    int errno_value; // errno behind CT_ESYSTEM, else 0
    char msg[512];   // always terminated; cut with "…" when longer
};

// Sets code and sentence in one call. Returns -code, so that `return ct_err_set(…)` is the idiom.
// err may be NULL: only the code is returned then. Thread-safe for distinct err.
int ct_err_set(struct ct_err *err, enum ct_code code, const char *fmt, ...) CT_PRINTF(3, 4);

// As ct_err_set with CT_ESYSTEM (ENOMEM becomes CT_ENOMEM), and appends ": <strerror> (ERRNONAME)".
// Reads errno first thing; pass what was tried, with its path: "cannot open /x".
int ct_err_errno(struct ct_err *err, const char *fmt, ...) CT_PRINTF(2, 3);

// Puts context in front of a set message: "context: message". The code is kept and returned
// negative; -CT_ESYSTEM when err is NULL or holds no error, so that a failure never turns into a
// success.
int ct_err_wrap(struct ct_err *err, const char *fmt, ...) CT_PRINTF(2, 3);

// Adds one more sentence to those already set, `separator` between them, for parsers that tell all
// problems at once; what does not fit is cut. The first code is kept. Returns the code, negative.
int ct_err_add(struct ct_err *err, const char *separator, enum ct_code code, const char *fmt, ...)
    CT_PRINTF(4, 5);

// "EPERM" for EPERM, for a fact that has no room for a sentence. Static, never NULL.
const char *ct_err_name(int errno_value);

#endif
