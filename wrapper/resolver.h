// SPDX-License-Identifier: Apache-2.0
//
// Names looked up without blocking: by this program once more, in a process of its own, since the C
// library's resolver waits for seconds and asks nobody meanwhile. No secret comes near it.
#ifndef CT_RESOLVER_H
#define CT_RESOLVER_H

#include <stddef.h>

#include "err.h"
#include "http.h"

#define CT_RESOLVER_OPTION "--resolve"

// The other process's side: writes the addresses of `host` to stdout. Returns its exit code.
int ct_resolver_answer(const char *host);

// Asks `program` (a path; started as "PROGRAM --resolve HOST") for the addresses, as
// "ADDRESS[,ADDRESS…]", while `wake` is looked after. Gives up after 15 s, or once `stop` says so. The
// process is left to whoever reaps this one's children. CT_EUNAVAIL, CT_ESYSTEM.
CT_CHECKED int ct_resolver_ask(const char *program, const char *host,
                               const struct ct_http_wake *wake, bool (*stop)(void *cls), char *ret,
                               size_t size, struct ct_err *err);

#endif
