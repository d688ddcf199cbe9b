// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes quantities ("100m", "32Mi"), as far as comparing two of them needs it.
#ifndef CT_WEBHOOK_QUANTITY_H
#define CT_WEBHOOK_QUANTITY_H

#include <stdbool.h>

#include "err.h"

// Reads an unsigned quantity: digits with an optional fraction, then one of n u m k M G T P E,
// Ki Mi Gi Ti Pi Ei, or eN. CT_EINVAL says what is allowed.
CT_CHECKED int ct_quantity_parse(const char *text, double *ret, struct ct_err *err);

// Do both texts mean the same amount? The API server writes "0.1" as "100m". False when one is none.
bool ct_quantity_equal(const char *a, const char *b);

#endif
