// SPDX-License-Identifier: Apache-2.0
//
// The variables of the app's environment whose values hold secrets. Everything here lives in the
// wrapper's arena.
#ifndef CT_SECRETS_H
#define CT_SECRETS_H

#include <stddef.h>

#include "cleanup.h"

struct ct_secret_variable {
    char *name;
    char *value; // resolved; NUL-terminated, holds no other NUL
    size_t value_len;
};

struct ct_secrets {
    struct ct_secret_variable *item;
    size_t n;
};

void ct_secrets_done(struct ct_secrets *s); // wipes and frees

#endif
