// SPDX-License-Identifier: Apache-2.0
//
// The token's life while memory runs out: with the wrapper's allocator and libraries, the Nth allocation
// from the beginning of a renewal fails, for each N until none is left to fail. What is looked for is that
// this process survives. With "from" all allocations from the Nth on fail, as when the arena is full.
//
//   CLOUDTASER_CONFIG=… renewal-faults [one|from]
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library_memory.h"
#include "secmem.h"
#include "vault_internal.h"

// Steps grow beyond these: a handshake with its certificates has thousands of allocations.
#define EACH_UP_TO 600
#define LIVE_GROWTH_MAX ((size_t)64 << 10)

void *__real_ct_arena_alloc(size_t size);
void *__real_ct_arena_aligned(size_t alignment, size_t size);
void *__real_ct_arena_calloc(size_t n, size_t size);
void *__real_ct_arena_realloc(void *p, size_t size);
char *__real_ct_arena_strdup(const char *s);
void *__wrap_ct_arena_alloc(size_t size);
void *__wrap_ct_arena_aligned(size_t alignment, size_t size);
void *__wrap_ct_arena_calloc(size_t n, size_t size);
void *__wrap_ct_arena_realloc(void *p, size_t size);
char *__wrap_ct_arena_strdup(const char *s);

static size_t countdown; // 0: no fault
static bool struck;
static bool from; // everything after it fails too

static size_t assured;

// What was had a moment ago and given back can be had again, in parts as well: an allocation of the
// room that the client assures itself of makes those that follow safe, up to that size together.
static bool strikes(size_t size)
{
    bool safe = assured >= size + 32;
    assured = safe ? assured - size - 32 : 0;
    if (safe) {
        return false;
    }
    assured = size == CT_VAULT_CONNECTION_ROOM && countdown != 1 && !(from && struck) ? size : 0;
    if (countdown == 0) {
        return from && struck;
    }
    countdown--;
    struck = struck || countdown == 0;
    return countdown == 0;
}

void *__wrap_ct_arena_alloc(size_t size)
{
    return strikes(size) ? NULL : __real_ct_arena_alloc(size);
}

void *__wrap_ct_arena_aligned(size_t alignment, size_t size)
{
    return strikes(size) ? NULL : __real_ct_arena_aligned(alignment, size);
}

void *__wrap_ct_arena_calloc(size_t n, size_t size)
{
    return strikes(n * size) ? NULL : __real_ct_arena_calloc(n, size);
}

void *__wrap_ct_arena_realloc(void *p, size_t size)
{
    return strikes(size) ? NULL : __real_ct_arena_realloc(p, size);
}

char *__wrap_ct_arena_strdup(const char *s)
{
    return strikes(strlen(s) + 1) ? NULL : __real_ct_arena_strdup(s);
}

static int read_db(struct ct_vault *v, struct ct_err *err)
{
    json_t *keys = NULL;
    int rc = ct_vault_read(v, "secret/data/fine", 0, &keys, err);
    json_decref(keys);
    return rc;
}

static const struct {
    const char *name;
    int (*run)(struct ct_vault *v, struct ct_err *err);
} actions[] = {
    {"renewal", ct_vault_renew},
    {"look-up", ct_vault_look_up},
    {"login", ct_vault_login},
    {"read", read_db},
};

// Returns how many faults were put, or 0 when the action fails without one.
static size_t torture(struct ct_vault *v, size_t action, size_t *ret_failed)
{
    size_t put = 0;
    *ret_failed = 0;
    for (size_t n = 1;; n += n < EACH_UP_TO ? 1 : n / 40) {
        struct ct_err err = {0};
        struck = false;
        countdown = n;
        int rc = actions[action].run(v, &err);
        bool met = struck;
        countdown = 0;
        struck = false;
        ct_vault_disconnect(v);
        if (!met) {
            return rc == 0 ? put : 0;
        }
        put++;
        *ret_failed += rc < 0 ? 1 : 0;
    }
}

static size_t live(void)
{
    struct ct_arena_stats stats;
    ct_arena_stats(&stats);
    return stats.live;
}

int main(int argc, char **argv)
{
    static struct ct_config config;
    static const struct ct_vault_hooks none = {0};
    struct ct_err err = {0};
    struct ct_vault *v = NULL;
    const char *text = getenv(CT_CONFIG_VARIABLE);
    from = argc > 1 && strcmp(argv[1], "from") == 0;
    if (ct_library_memory_take(&err) < 0 ||
        ct_config_parse(text != NULL ? text : "", &config, &err) < 0 ||
        ct_vault_new(&config, NULL, &v, &err) < 0 || ct_vault_login(v, &err) < 0) {
        (void)fprintf(stderr, "not even without faults: %s\n", err.msg);
        return 1;
    }
    ct_vault_go_on(v, &none);
    int status = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(actions); i++) {
        size_t before = live();
        size_t failed = 0;
        size_t put = torture(v, i, &failed);
        size_t after = live();
        (void)printf("%s: %zu faults, %zu failures, %zu bytes left behind\n", actions[i].name, put,
                     failed, after > before ? after - before : 0);
        bool good = put > 0 && failed > 0 && after <= before + LIVE_GROWTH_MAX;
        status = good ? status : 1;
    }
    ct_vault_free(v);
    return status;
}
