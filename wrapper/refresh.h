// SPDX-License-Identifier: Apache-2.0
//
// Reads the secrets again beside a running app and tells whether they have changed since it was started.
// Values are not kept for that: a digest of each is, under a key of this process's own.
#ifndef CT_REFRESH_H
#define CT_REFRESH_H

#include <stdint.h>

#include "err.h"
#include "resolve.h"

#define CT_REFRESH_DIGEST 32

struct ct_refresh;

// Takes the digests of what the app is started with. `plan` and `source` are borrowed. CT_ENOMEM,
// CT_ESYSTEM.
CT_CHECKED int ct_refresh_new(const struct ct_plan *plan, const struct ct_secret_source *source,
                              const struct ct_secrets *secrets, struct ct_refresh **ret,
                              struct ct_err *err);
void ct_refresh_free(struct ct_refresh *r);
CT_DEFINE_AUTO(ct_refresh, ct_refresh_free);

// Reads once. 1: variables differ from what they were when they were read last, `names` (at least 64
// bytes) says which, as far as there is room; 0: none does. What was read counts as known from then on.
CT_CHECKED int ct_refresh_look(struct ct_refresh *r, char *names, size_t size, struct ct_err *err);

#endif
