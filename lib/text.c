// SPDX-License-Identifier: Apache-2.0
#include "text.h"

#include <string.h>

#include "cleanup.h"

#define NEAREST_MAX 48 // characters of a name that may be proposed

bool ct_text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ct_text_is_alnum(char c)
{
    return ct_text_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool ct_text_consists(const char *s, size_t len, const char *extra)
{
    for (size_t i = 0; i < len; i++) {
        if (!ct_text_is_alnum(s[i]) && (s[i] == '\0' || strchr(extra, s[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

bool ct_text_is_printable(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] < 0x20 || s[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static bool is_dots(const char *segment, size_t len)
{
    return (len == 1 && segment[0] == '.') || (len == 2 && memcmp(segment, "..", 2) == 0);
}

bool ct_text_is_path(const char *s, size_t len)
{
    if (!ct_text_consists(s, len, CT_TEXT_PATH_CHARACTERS)) {
        return false;
    }
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && s[i] != '/') {
            continue;
        }
        if (i == start || is_dots(s + start, i - start)) {
            return false;
        }
        start = i + 1;
    }
    return true;
}

bool ct_text_is_label(const char *s, size_t len)
{
    if (len == 0 || len > 63 || s[0] == '-' || s[len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ct_text_is_digit(s[i]) && !(s[i] >= 'a' && s[i] <= 'z') && s[i] != '-') {
            return false;
        }
    }
    return true;
}

bool ct_text_is_subdomain(const char *s, size_t len)
{
    if (len > 253) {
        return false;
    }
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || s[i] == '.') {
            if (!ct_text_is_label(s + start, i - start)) {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

bool ct_text_number(const char *s, size_t len, unsigned long max, unsigned long *ret)
{
    unsigned long value = 0;
    if (len == 0 || (len > 1 && s[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ct_text_is_digit(s[i])) {
            return false;
        }
        unsigned long digit = (unsigned long)(s[i] - '0');
        if (digit > max || value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

const char *ct_text_show(struct ct_shown *shown, const char *s, size_t len)
{
    static const char mark[] = "…";
    size_t room = sizeof(shown->text) - sizeof(mark);
    size_t n = len < room ? len : room;
    for (size_t i = 0; i < n; i++) {
        shown->text[i] = s[i] >= 0x20 && s[i] <= 0x7e ? s[i] : '?';
    }
    if (n < len) {
        memcpy(shown->text + n, mark, sizeof(mark));
    } else {
        shown->text[n] = '\0';
    }
    return shown->text;
}

// The length of the character at s; 0: there is none.
static size_t character(const unsigned char *s, size_t len)
{
    // RFC 3629, section 4: the first byte and the second, of which some alone make a character.
    static const struct {
        unsigned char from, to, second_from, second_to;
        size_t len;
    } kinds[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (s[0] < 0x80) {
        return 1;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(kinds); i++) {
        if (s[0] < kinds[i].from || s[0] > kinds[i].to || len < kinds[i].len ||
            s[1] < kinds[i].second_from || s[1] > kinds[i].second_to) {
            continue;
        }
        for (size_t more = 2; more < kinds[i].len; more++) {
            if ((s[more] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return kinds[i].len;
    }
    return 0;
}

void ct_text_mend_utf8(char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = character((const unsigned char *)s + at, len - at);
        if (n == 0) {
            s[at] = '?';
        }
        at += n > 0 ? n : 1;
    }
}

bool ct_text_next(const char **rest, const char **entry, size_t *len)
{
    const char *start = *rest;
    if (start == NULL) {
        return false;
    }
    size_t n = strcspn(start, ",");
    *rest = start[n] == ',' ? start + n + 1 : NULL;
    while (n > 0 && *start == ' ') {
        start++;
        n--;
    }
    while (n > 0 && start[n - 1] == ' ') {
        n--;
    }
    *entry = start;
    *len = n;
    return true;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Levenshtein's distance, row by row. `b` has at most NEAREST_MAX characters.
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_len; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(replaced, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[b_len];
}

const char *ct_text_nearest(const char *text, size_t len,
                            const char *(*name_of)(const void *cls, size_t i), const void *cls,
                            size_t n)
{
    const char *nearest = NULL;
    size_t best = 3;
    for (size_t i = 0; i < n && len <= NEAREST_MAX; i++) {
        const char *name = name_of(cls, i);
        size_t name_len = name != NULL ? strlen(name) : NEAREST_MAX + 1;
        if (name_len > NEAREST_MAX) {
            continue;
        }
        size_t d = distance(text, len, name, name_len);
        if (d < best && 2 * d <= name_len) {
            best = d;
            nearest = name;
        }
    }
    return nearest;
}
