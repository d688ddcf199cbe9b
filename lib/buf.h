// SPDX-License-Identifier: Apache-2.0
//
// A growing byte buffer with a bound, and the two encodings that admission answers need.
#ifndef CT_BUF_H
#define CT_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"

// Zero-initialise with the bound set: `struct ct_buf b = {.max = 1 << 20};`. data is NULL while
// empty and is NUL-terminated otherwise (the NUL is not counted). A failed append (bound, memory)
// sets `failed` and leaves the content as it was: append freely, look at `failed` once.
struct ct_buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
    bool secret; // what growing leaves behind is wiped too, at the price of a copy
};

void ct_buf_done(struct ct_buf *b);  // frees; usable again afterwards
void ct_buf_wipe(struct ct_buf *b);  // explicit_bzero of the whole capacity, then frees
void ct_buf_reset(struct ct_buf *b); // len = 0, failed = false, capacity is kept
// Room for `len` more bytes (and the NUL) behind data + len; the caller fills it and raises len.
// NULL when there is none; `failed` is set then, as for an append.
CT_CHECKED char *ct_buf_reserve(struct ct_buf *b, size_t len);
void ct_buf_add(struct ct_buf *b, const void *data, size_t len);
void ct_buf_add_str(struct ct_buf *b, const char *s);
void ct_buf_addf(struct ct_buf *b, const char *fmt, ...) CT_PRINTF(2, 3);
// A JSON string with its quotes, escaped per RFC 8259; `s` must be valid UTF-8 (as jansson gives
// it).
void ct_buf_add_json(struct ct_buf *b, const char *s, size_t len);
// A JSON Pointer token (RFC 6901: '~' -> "~0", '/' -> "~1"), JSON-escaped too, without quotes.
void ct_buf_add_pointer(struct ct_buf *b, const char *token);
// Base64 (RFC 4648, padded, no line breaks).
void ct_buf_add_base64(struct ct_buf *b, const void *data, size_t len);

#define CT_AUTO_BUF __attribute__((cleanup(ct_buf_done))) struct ct_buf
#define CT_AUTO_SECRET_BUF __attribute__((cleanup(ct_buf_wipe))) struct ct_buf

#endif
