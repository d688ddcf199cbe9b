// SPDX-License-Identifier: Apache-2.0
#include "buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#define FIRST_CAPACITY 256

void ct_buf_done(struct ct_buf *b)
{
    if (b->secret) {
        ct_buf_wipe(b);
        return;
    }
    free(b->data);
    *b = (struct ct_buf){.max = b->max};
}

void ct_buf_wipe(struct ct_buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    *b = (struct ct_buf){.max = b->max, .secret = b->secret};
}

void ct_buf_reset(struct ct_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

static char *grow(struct ct_buf *b, size_t cap)
{
    if (!b->secret) {
        return realloc(b->data, cap);
    }
    char *data = malloc(cap);
    if (data != NULL && b->data != NULL) {
        memcpy(data, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    return data;
}

char *ct_buf_reserve(struct ct_buf *b, size_t len)
{
    if (b->failed || len > b->max || b->len > b->max - len || b->max == SIZE_MAX) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->len + len + 1;
    if (need > b->cap) {
        size_t cap = b->cap < FIRST_CAPACITY / 2 ? FIRST_CAPACITY : b->cap * 2;
        if (cap > b->max + 1) {
            cap = b->max + 1;
        }
        if (cap < need) {
            cap = need;
        }
        char *data = grow(b, cap);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
        b->data[b->len] = '\0';
    }
    return b->data + b->len;
}

void ct_buf_add(struct ct_buf *b, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }
    char *to = ct_buf_reserve(b, len);
    if (to != NULL) {
        memcpy(to, data, len);
        to[len] = '\0';
        b->len += len;
    }
}

void ct_buf_add_str(struct ct_buf *b, const char *s)
{
    ct_buf_add(b, s, strlen(s));
}

void ct_buf_addf(struct ct_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        b->failed = true;
        return;
    }
    char *to = ct_buf_reserve(b, (size_t)len);
    if (to != NULL) {
        va_start(args, fmt);
        (void)vsnprintf(to, (size_t)len + 1, fmt, args);
        va_end(args);
        b->len += (size_t)len;
    }
}

// What follows the backslash; 'u' stands for \u00XX, 0 for "no escape needed".
static const char json_escape[256] = {
    ['\0'] = 'u', [1] = 'u',    [2] = 'u',    [3] = 'u',     [4] = 'u',    [5] = 'u',
    [6] = 'u',    [7] = 'u',    ['\b'] = 'b', ['\t'] = 't',  ['\n'] = 'n', [11] = 'u',
    ['\f'] = 'f', ['\r'] = 'r', [14] = 'u',   [15] = 'u',    [16] = 'u',   [17] = 'u',
    [18] = 'u',   [19] = 'u',   [20] = 'u',   [21] = 'u',    [22] = 'u',   [23] = 'u',
    [24] = 'u',   [25] = 'u',   [26] = 'u',   [27] = 'u',    [28] = 'u',   [29] = 'u',
    [30] = 'u',   [31] = 'u',   ['"'] = '"',  ['\\'] = '\\',
};

// Eight bytes at once: is there one below 0x20, a quote or a backslash? May say yes without cause
// (a borrow runs into the next byte), never no.
static bool word_needs_escape(const char *s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    uint64_t word;
    memcpy(&word, s, sizeof(word));
    uint64_t quote = word ^ (ones * '"');
    uint64_t slash = word ^ (ones * '\\');
    uint64_t hit =
        ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
    return (hit & tops) != 0;
}

// Length of the run at `s` that can be copied as it is.
static size_t plain_run(const char *s, size_t len)
{
    size_t i = 0;
    while (len - i >= 8 && !word_needs_escape(s + i)) {
        i += 8;
    }
    while (i < len && json_escape[(unsigned char)s[i]] == 0) {
        i++;
    }
    return i;
}

static void add_escaped(struct ct_buf *b, const char *s, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    while (len > 0) {
        size_t run = plain_run(s, len);
        ct_buf_add(b, s, run);
        if (run == len) {
            return;
        }
        unsigned char c = (unsigned char)s[run];
        char out[6] = {'\\', json_escape[c], '0', '0', hex[c >> 4], hex[c & 15]};
        ct_buf_add(b, out, out[1] == 'u' ? 6 : 2);
        s += run + 1;
        len -= run + 1;
    }
}

// Takes back what a half-done append left, so that a failed one changes nothing.
static void settle(struct ct_buf *b, size_t len_before)
{
    if (b->failed && b->data != NULL) {
        b->len = len_before;
        b->data[len_before] = '\0';
    }
}

void ct_buf_add_json(struct ct_buf *b, const char *s, size_t len)
{
    size_t before = b->len;
    if (plain_run(s, len) == len && len <= SIZE_MAX - 2) {
        char *to = ct_buf_reserve(b, len + 2);
        if (to != NULL) {
            to[0] = '"';
            memcpy(to + 1, s, len);
            to[len + 1] = '"';
            to[len + 2] = '\0';
            b->len += len + 2;
        }
        return;
    }
    ct_buf_add(b, "\"", 1);
    add_escaped(b, s, len);
    ct_buf_add(b, "\"", 1);
    settle(b, before);
}

void ct_buf_add_pointer(struct ct_buf *b, const char *token)
{
    size_t before = b->len;
    for (;;) {
        size_t run = strcspn(token, "~/");
        add_escaped(b, token, run);
        if (token[run] == '\0') {
            break;
        }
        ct_buf_add(b, token[run] == '~' ? "~0" : "~1", 2);
        token += run + 1;
    }
    settle(b, before);
}

void ct_buf_add_base64(struct ct_buf *b, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (len > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    size_t out_len = (len + 2) / 3 * 4;
    char *out = len > 0 ? ct_buf_reserve(b, out_len) : NULL;
    if (out == NULL) {
        return;
    }
    const unsigned char *in = data;
    for (; len >= 3; len -= 3, in += 3, out += 4) {
        unsigned v = (unsigned)in[0] << 16 | (unsigned)in[1] << 8 | in[2];
        out[0] = digits[v >> 18];
        out[1] = digits[v >> 12 & 63];
        out[2] = digits[v >> 6 & 63];
        out[3] = digits[v & 63];
    }
    if (len > 0) {
        unsigned v = (unsigned)in[0] << 16 | (len == 2 ? (unsigned)in[1] << 8 : 0);
        out[0] = digits[v >> 18];
        out[1] = digits[v >> 12 & 63];
        out[2] = len == 2 ? digits[v >> 6 & 63] : '=';
        out[3] = '=';
        out += 4;
    }
    *out = '\0';
    b->len += out_len;
}
