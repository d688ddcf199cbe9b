// SPDX-License-Identifier: Apache-2.0
//
// Looks host names up: getaddrinfo(3), whose files and servers the app may have in its hands once it
// runs. What it says is used where something else proves who answers there (vault_connect.c).
#ifndef CT_LOOKUP_H
#define CT_LOOKUP_H

#include "err.h"

// The addresses of `host` as "ADDRESS[,ADDRESS…]", as many of the first 16 as fit. Blocks for as long as
// the resolver does. CT_EUNAVAIL.
CT_CHECKED int ct_lookup(const char *host, char *ret, size_t size, struct ct_err *err);

// The same on a thread of its own, for `patience_ms` at most: a FIFO in the place of /etc/hosts may
// hold that thread up for ever, and then every later call fails at once until it comes back. Call
// from one thread only, with all signals blocked.
CT_CHECKED int ct_lookup_patiently(const char *host, unsigned patience_ms, char *ret, size_t size,
                                   struct ct_err *err);

#endif
