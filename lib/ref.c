// SPDX-License-Identifier: Apache-2.0
#include "ref.h"

#include <string.h>

#include "text.h"

#define WHOLE "vault:"
#define NESTED "${vault:"
#define WHOLE_LEN (sizeof(WHOLE) - 1)
#define NESTED_LEN (sizeof(NESTED) - 1)
#define EXPECTED "expected PATH#KEY or PATH#KEY#VERSION"
// Vault counts versions in a Go int; nobody has a thousand million of them.
#define VERSION_MAX 999999999

// "8200", "8200/ui", "8200,other:8200": what follows the host name "vault" in an address.
static bool is_port(const char *s, size_t len)
{
    size_t digits = 0;
    while (digits < len && ct_text_is_digit(s[digits])) {
        digits++;
    }
    unsigned long port;
    if (!ct_text_number(s, digits, 65535, &port)) {
        return false;
    }
    return digits == len || memchr("/,?; ", s[digits], 5) != NULL;
}

// Is the value as a whole a reference (well formed or not)?
static bool is_whole(const char *value)
{
    if (strncmp(value, WHOLE, WHOLE_LEN) != 0) {
        return false;
    }
    const char *rest = value + WHOLE_LEN;
    const char *nested = strstr(rest, NESTED);
    size_t len = nested != NULL ? (size_t)(nested - rest) : strlen(rest);
    return memchr(rest, '#', len) != NULL || !is_port(rest, len);
}

bool ct_ref_present(const char *value)
{
    return is_whole(value) || strstr(value, NESTED) != NULL;
}

static bool is_key(const char *s, size_t len)
{
    return len > 0 && ct_text_is_printable(s, len) && memchr(s, '{', len) == NULL &&
           memchr(s, '}', len) == NULL && memchr(s, '$', len) == NULL;
}

// What paths are written with by mistake. None of it can be meant: the login would go well, and Vault
// would say only that there is no such secret.
static int check_start(const char *shown, const char *path, size_t len, struct ct_err *err)
{
    static const char *const starts[] = {"vault:", "v1/", "/v1/"};
    for (size_t i = 0; i < CT_ARRAY_LEN(starts); i++) {
        size_t n = strlen(starts[i]);
        if (len >= n && memcmp(path, starts[i], n) == 0) {
            return ct_err_set(err, CT_EINVAL,
                              "reference \"%s\": write the path without %s in front", shown,
                              starts[i]);
        }
    }
    return 0;
}

static int check_path(const char *shown, const char *path, size_t len, struct ct_err *err)
{
    if (len > CT_REF_PATH_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "reference \"%s\": the path is longer than %d bytes",
                          shown, CT_REF_PATH_MAX);
    }
    if (len == 0) {
        return ct_err_set(err, CT_EINVAL, "reference \"%s\" lacks its path; " EXPECTED, shown);
    }
    int rc = check_start(shown, path, len, err);
    if (rc < 0) {
        return rc;
    }
    if (!ct_text_is_path(path, len)) {
        return ct_err_set(
            err, CT_EINVAL,
            "reference \"%s\": the path may hold letters, digits and " CT_TEXT_PATH_CHARACTERS
            ", no '/' at its start or end, and no part that "
            "is empty, \".\" or \"..\"",
            shown);
    }
    return 0;
}

static int check_key(const char *shown, const char *key, size_t len, struct ct_err *err)
{
    if (len > CT_REF_KEY_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "reference \"%s\": the key is longer than %d bytes",
                          shown, CT_REF_KEY_MAX);
    }
    if (len == 0) {
        return ct_err_set(err, CT_EINVAL, "reference \"%s\" lacks its key; " EXPECTED, shown);
    }
    if (!is_key(key, len)) {
        return ct_err_set(err, CT_EINVAL,
                          "reference \"%s\": the key may hold printable ASCII but '#', '{', '}' "
                          "and '$'",
                          shown);
    }
    return 0;
}

int ct_ref_parse(const char *text, size_t len, struct ct_ref *ret, struct ct_err *err)
{
    struct ct_shown buffer;
    const char *shown = ct_text_show(&buffer, text, len);
    memset(ret, 0, sizeof(*ret));
    const char *end = text + len;
    const char *hash = memchr(text, '#', len);
    size_t path_len = hash != NULL ? (size_t)(hash - text) : len;
    int rc = check_path(shown, text, path_len, err);
    if (rc < 0) {
        return rc;
    }
    if (hash == NULL) {
        return ct_err_set(err, CT_EINVAL, "reference \"%s\" lacks its key; " EXPECTED, shown);
    }
    const char *key = hash + 1;
    hash = memchr(key, '#', (size_t)(end - key));
    size_t key_len = (size_t)((hash != NULL ? hash : end) - key);
    rc = check_key(shown, key, key_len, err);
    if (rc < 0) {
        return rc;
    }
    unsigned long version = 0;
    if (hash != NULL &&
        (!ct_text_number(hash + 1, (size_t)(end - hash - 1), VERSION_MAX, &version) ||
         version == 0)) {
        return ct_err_set(err, CT_EINVAL,
                          "reference \"%s\": the version must be a number from 1 to %d", shown,
                          VERSION_MAX);
    }
    memcpy(ret->path, text, path_len);
    memcpy(ret->key, key, key_len);
    ret->version = (unsigned)version;
    return 0;
}

static size_t count_nested(const char *value)
{
    size_t n = 0;
    const char *at = strstr(value, NESTED);
    while (at != NULL) {
        n++;
        at = strstr(at + NESTED_LEN, NESTED);
    }
    return n;
}

static void add_literal(struct ct_ref_part *parts, size_t *n, const char *text, size_t len)
{
    if (len > 0) {
        parts[(*n)++] = (struct ct_ref_part){.text = text, .len = len};
    }
}

static int split_nested(const char *value, struct ct_ref_part *parts, size_t *n, struct ct_err *err)
{
    for (const char *at = strstr(value, NESTED); at != NULL; at = strstr(value, NESTED)) {
        add_literal(parts, n, value, (size_t)(at - value));
        const char *text = at + NESTED_LEN;
        const char *end = strchr(text, '}');
        if (end == NULL) {
            struct ct_shown shown;
            return ct_err_set(err, CT_EINVAL, "reference \"%s\" lacks its closing '}'",
                              ct_text_show(&shown, at, strlen(at)));
        }
        struct ct_ref_part *part = &parts[(*n)++];
        part->is_ref = true;
        int rc = ct_ref_parse(text, (size_t)(end - text), &part->ref, err);
        if (rc < 0) {
            return rc;
        }
        value = end + 1;
    }
    add_literal(parts, n, value, strlen(value));
    return 0;
}

int ct_ref_split(const char *value, struct ct_ref_part **ret_parts, size_t *ret_n,
                 struct ct_err *err)
{
    *ret_parts = NULL;
    *ret_n = 0;
    bool whole = is_whole(value);
    size_t refs = whole ? 1 : count_nested(value);
    if (refs > CT_REF_MAX_PER_VALUE) {
        return ct_err_set(err, CT_ETOOBIG,
                          "a value may hold at most %d references, and this one "
                          "holds %zu",
                          CT_REF_MAX_PER_VALUE, refs);
    }
    struct ct_ref_part *parts = calloc(2 * refs + 1, sizeof(*parts));
    if (parts == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading a reference");
    }
    size_t n = 0;
    int rc = 0;
    if (whole) {
        parts[n].is_ref = true;
        rc = ct_ref_parse(value + WHOLE_LEN, strlen(value + WHOLE_LEN), &parts[n].ref, err);
        n++;
    } else if (refs == 0) {
        parts[n++] = (struct ct_ref_part){.text = value, .len = strlen(value)};
    } else {
        rc = split_nested(value, parts, &n, err);
    }
    if (rc < 0) {
        free(parts);
        return rc;
    }
    *ret_parts = parts;
    *ret_n = n;
    return 0;
}
