// SPDX-License-Identifier: Apache-2.0
#include "scratch.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define ALIGNMENT ((size_t)16)
#define FIRST_CHUNK                                                                                \
    ((size_t)512 << 10) // a pod of ten containers fits; untouched pages cost nothing
#define NEXT_CHUNK ((size_t)1 << 20)

#ifdef __SANITIZE_ADDRESS__
#define USE_MALLOC true
#elif defined(__has_feature)
#define USE_MALLOC __has_feature(address_sanitizer)
#else
#define USE_MALLOC false
#endif

struct chunk {
    struct chunk *next;
    size_t size; // of data
    _Alignas(16) char data[];
};

// The first chunk is kept for the thread's life, the others for one request.
struct scratch {
    struct chunk *first;
    struct chunk *others;
    char *at;
    char *end;
    size_t total;
    bool open;
    int failure; // of an allocation since open, negative
};

static _Thread_local struct scratch scratch;
static pthread_key_t first_chunk_key;

static bool in_chunk(const struct chunk *c, const char *p)
{
    return p >= c->data && p < c->data + c->size;
}

static bool in_scratch(const char *p)
{
    if (scratch.first != NULL && in_chunk(scratch.first, p)) {
        return true;
    }
    for (const struct chunk *c = scratch.others; c != NULL; c = c->next) {
        if (in_chunk(c, p)) {
            return true;
        }
    }
    return false;
}

static struct chunk *chunk_new(size_t size)
{
    struct chunk *c = malloc(sizeof(*c) + size);
    if (c != NULL) {
        c->next = NULL;
        c->size = size;
    }
    return c;
}

static void *bump_slow(size_t size)
{
    size_t chunk_size = size > NEXT_CHUNK ? size : NEXT_CHUNK;
    if (chunk_size > CT_SCRATCH_MAX || scratch.total > CT_SCRATCH_MAX - chunk_size) {
        scratch.failure = -CT_ETOOBIG;
        return NULL;
    }
    struct chunk *c = chunk_new(chunk_size);
    if (c == NULL) {
        scratch.failure = -CT_ENOMEM;
        return NULL;
    }
    c->next = scratch.others;
    scratch.others = c;
    scratch.total += chunk_size;
    scratch.at = c->data + size;
    scratch.end = c->data + chunk_size;
    return c->data;
}

static void *scratch_alloc(size_t size)
{
    if (!scratch.open) {
        void *p = malloc(size);
        scratch.failure = p != NULL ? scratch.failure : -CT_ENOMEM;
        return p;
    }
    if (size > CT_SCRATCH_MAX) {
        scratch.failure = -CT_ETOOBIG;
        return NULL;
    }
    size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (size <= (size_t)(scratch.end - scratch.at)) {
        char *p = scratch.at;
        scratch.at += size;
        return p;
    }
    return bump_slow(size);
}

void ct_scratch_free(void *p)
{
    if (p != NULL && !in_scratch(p)) {
        free(p);
    }
}

void *ct_scratch_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    void *p = scratch_alloc(bytes > 0 ? bytes : 1);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

void ct_scratch_install(void)
{
    // Without the key a thread's first chunk would be leaked at its end, nothing worse.
    (void)pthread_key_create(&first_chunk_key, free);
    json_set_alloc_funcs(scratch_alloc, ct_scratch_free);
}

void ct_scratch_open(void)
{
    scratch.failure = 0;
    if (USE_MALLOC) {
        return;
    }
    if (scratch.first == NULL) {
        scratch.first = chunk_new(FIRST_CHUNK);
        (void)pthread_setspecific(first_chunk_key, scratch.first);
    }
    scratch.at = scratch.first != NULL ? scratch.first->data : NULL;
    scratch.end = scratch.first != NULL ? scratch.first->data + scratch.first->size : NULL;
    scratch.total = 0;
    scratch.open = true;
}

void ct_scratch_close_json(json_t *document)
{
    if (!scratch.open) {
        json_decref(document);
    }
    while (scratch.others != NULL) {
        struct chunk *next = scratch.others->next;
        free(scratch.others);
        scratch.others = next;
    }
    scratch.open = false;
}

int ct_scratch_failure(void)
{
    return scratch.failure;
}

void ct_scratch_forget_failure(void)
{
    scratch.failure = 0;
}
