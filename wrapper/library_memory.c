// SPDX-License-Identifier: Apache-2.0
#include "library_memory.h"

#include <openssl/crypto.h>

#include "http.h"
#include "json.h"
#include "secmem.h"

// A level takes some 250 bytes of stack, and the thread beside the app has 128 KiB of it. Vault's own
// answers have less than ten levels; what a secret nests further can be no variable.
#define JSON_DEPTH_MAX 64

static void *crypto_alloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return ct_arena_alloc(n);
}

static void *crypto_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return ct_arena_realloc(p, n);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    ct_arena_free(p);
}

int ct_library_memory_take(struct ct_err *err)
{
    static const struct ct_http_memory memory = {
        .alloc = ct_arena_alloc,
        .free = ct_arena_free,
        .realloc = ct_arena_realloc,
        .strdup = ct_arena_strdup,
        .calloc = ct_arena_calloc,
    };
    if (CRYPTO_set_mem_functions(crypto_alloc, crypto_realloc, crypto_free) != 1) {
        return ct_err_set(err, CT_ESYSTEM,
                          "OpenSSL has allocated before it was given secret memory");
    }
    if (ct_arena_area() == NULL) {
        if (err != NULL && ct_arena_error() != NULL) {
            *err = *ct_arena_error();
        }
        return ct_err_wrap(err, "no memory for secrets");
    }
    ct_json_set_memory(ct_arena_alloc, ct_arena_free);
    ct_json_set_depth(JSON_DEPTH_MAX);
    return ct_http_init(&memory, err);
}
