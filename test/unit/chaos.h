// SPDX-License-Identifier: Apache-2.0
//
// Allocation failures on purpose. Link with --wrap of malloc, calloc, realloc, strdup and strndup
// (the variable CT_CHAOS of this folder's CMakeLists.txt). jansson joins in by chaos_join_jansson().
#ifndef CT_TEST_CHAOS_H
#define CT_TEST_CHAOS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

// Allocations until the one that fails; 0: none does.
static size_t chaos_countdown;
static bool chaos_struck;

static inline bool chaos_strikes(void)
{
    if (chaos_countdown == 0) {
        return false;
    }
    chaos_countdown--;
    chaos_struck = chaos_struck || chaos_countdown == 0;
    return chaos_countdown == 0;
}

void *__wrap_malloc(size_t size)
{
    return chaos_strikes() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return chaos_strikes() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return chaos_strikes() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
    return chaos_strikes() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return chaos_strikes() ? NULL : __real_strndup(s, n);
}

static inline void chaos_join_jansson(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
}

// Lets the Nth allocation from now on fail.
static inline void chaos_start(size_t nth)
{
    chaos_countdown = nth;
    chaos_struck = false;
}

// Back to normal. Did an allocation fail?
static inline bool chaos_stop(void)
{
    chaos_countdown = 0;
    return chaos_struck;
}

#endif
