// SPDX-License-Identifier: Apache-2.0
#include "apply.h"

#include <string.h>

#include "json.h"
#include "text.h"

#define TOKEN_MAX 512

// The next token of a JSON Pointer, unescaped; false at the end, or when it is too long.
static bool next_token(const char **pointer, char out[TOKEN_MAX])
{
    const char *p = *pointer;
    size_t n = 0;
    if (*p != '/') {
        return false;
    }
    for (p++; *p != '\0' && *p != '/'; p++) {
        char c = *p;
        if (c == '~' && (p[1] == '0' || p[1] == '1')) {
            p++;
            c = *p == '0' ? '~' : '/';
        }
        if (n == TOKEN_MAX - 1) {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *pointer = p;
    return true;
}

static bool read_index(const char *token, size_t max, size_t *ret)
{
    unsigned long index = 0;
    bool good = ct_text_number(token, strlen(token), max, &index);
    *ret = index;
    return good;
}

static json_t *step(json_t *at, const char *token)
{
    size_t index;
    if (json_is_object(at)) {
        return json_object_get(at, token);
    }
    return read_index(token, json_array_size(at), &index) ? json_array_get(at, index) : NULL;
}

// The object or list that holds what the pointer names, and the last token; NULL when there is none.
static json_t *find_parent(json_t *document, const char *pointer, char last[TOKEN_MAX])
{
    json_t *at = document;
    if (!next_token(&pointer, last)) {
        return NULL;
    }
    while (*pointer != '\0') {
        at = step(at, last);
        if (at == NULL || !next_token(&pointer, last)) {
            return NULL;
        }
    }
    return json_is_object(at) || json_is_array(at) ? at : NULL;
}

static int lost(const char *path, struct ct_err *err)
{
    return ct_err_set(err, CT_EPROTO, "the patch names \"%s\", which the pod does not have", path);
}

// Takes the reference.
static int insert(json_t *document, const char *path, json_t *value, bool replace,
                  struct ct_err *err)
{
    CT_AUTO_JSON owned = value;
    char last[TOKEN_MAX];
    json_t *parent = find_parent(document, path, last);
    size_t size = json_array_size(parent);
    size_t index = size;
    int failed = 0;
    if (owned == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the patch");
    }
    if (parent == NULL || (replace && step(parent, last) == NULL)) {
        return lost(path, err);
    }
    if (json_is_object(parent)) {
        failed = json_object_set(parent, last, owned);
    } else if (strcmp(last, "-") != 0 && !read_index(last, size, &index)) {
        return lost(path, err);
    } else if (replace) {
        failed = json_array_set(parent, index, owned);
    } else {
        failed = json_array_insert(parent, index, owned);
    }
    return failed != 0 ? ct_err_set(err, CT_ENOMEM, "out of memory for the patch") : 0;
}

// A new reference to what was there; NULL when nothing was.
static json_t *take(json_t *document, const char *path)
{
    char last[TOKEN_MAX];
    size_t index = 0;
    json_t *parent = find_parent(document, path, last);
    json_t *value = parent != NULL ? json_incref(step(parent, last)) : NULL;
    if (value != NULL && json_is_object(parent)) {
        (void)json_object_del(parent, last);
    } else if (value != NULL && read_index(last, json_array_size(parent), &index)) {
        (void)json_array_remove(parent, index);
    }
    return value;
}

static int apply_one(json_t *document, const json_t *operation, struct ct_err *err)
{
    const char *op = ct_json_str(operation, "op");
    const char *path = ct_json_str(operation, "path");
    const char *from = ct_json_str(operation, "from");
    const json_t *value = json_object_get(operation, "value");
    if (op == NULL || path == NULL) {
        return ct_err_set(err, CT_EPROTO, "an operation of the patch has no op or no path");
    }
    if (strcmp(op, "move") == 0 && from != NULL) {
        json_t *moved = take(document, from);
        return moved != NULL ? insert(document, path, moved, false, err) : lost(from, err);
    }
    bool replace = strcmp(op, "replace") == 0;
    if (value == NULL || (!replace && strcmp(op, "add") != 0)) {
        return ct_err_set(err, CT_EPROTO, "the patch has an operation that is not understood");
    }
    return insert(document, path, json_deep_copy(value), replace, err);
}

int ct_apply_patch(json_t *document, const json_t *patch, struct ct_err *err)
{
    size_t i;
    json_t *operation;
    int r = 0;
    json_array_foreach(patch, i, operation)
    {
        r = apply_one(document, operation, err);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}
