// SPDX-License-Identifier: Apache-2.0
#include "secrets.h"

#include <string.h>

#include "secmem.h"

static void wipe(char *p, size_t len)
{
    if (p != NULL) {
        explicit_bzero(p, len);
        ct_arena_free(p);
    }
}

void ct_secrets_done(struct ct_secrets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct ct_secret_variable *v = &s->item[i];
        wipe(v->value, v->value_len);
        ct_arena_free(v->name);
    }
    ct_arena_free(s->item);
    *s = (struct ct_secrets){0};
}
