// SPDX-License-Identifier: Apache-2.0
//
// References to secrets, as they stand in the values of environment variables:
//   vault:PATH#KEY[#VERSION]              the whole value
//   text${vault:PATH#KEY[#VERSION]}text   any number of them inside a longer text
// PATH is Vault's API path without /v1/ (for KV v2: mount/data/name); one that starts with v1/,
// /v1/ or another vault: is refused.
//
// A value that starts with "vault:" and holds no '#' is a reference that lacks its key - an error -
// unless what follows the colon is a port number ("vault:8200", "vault:8200/ui"): a host, left
// alone.
#ifndef CT_REF_H
#define CT_REF_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define CT_REF_PATH_MAX 512
#define CT_REF_KEY_MAX 253
#define CT_REF_MAX_PER_VALUE 64

struct ct_ref {
    char path[CT_REF_PATH_MAX + 1]; // no leading or trailing '/', no empty, "." or ".." segment,
        // characters: letters, digits, and -._~@+=:/ (spaces are not allowed)
    char key[CT_REF_KEY_MAX + 1]; // any printable ASCII but '#', '{', '}', '$'
    unsigned version;             // 0: the newest
};

// One piece of a value: literal text, or a reference.
struct ct_ref_part {
    bool is_ref;
    const char *text; // literal: points into the parsed value, len bytes, not terminated
    size_t len;
    struct ct_ref ref;
};

// Does the value hold a reference, whole or nested? Cheap; says yes for malformed ones too.
bool ct_ref_present(const char *value);

// Parses "PATH#KEY[#VERSION]" (without "vault:"), as it stands in `env.NAME` annotations.
// CT_EINVAL names what is wrong and what is allowed; `text` is quoted (references are no secrets).
CT_CHECKED int ct_ref_parse(const char *text, size_t len, struct ct_ref *ret, struct ct_err *err);

// Cuts a value into parts, at most CT_REF_MAX_PER_VALUE references. *ret_parts is malloc'd
// (free() it), *ret_n its count; text pointers borrow `value`. A value without references gives one
// literal part. CT_EINVAL, CT_ETOOBIG, CT_ENOMEM.
CT_CHECKED int ct_ref_split(const char *value, struct ct_ref_part **ret_parts, size_t *ret_n,
                            struct ct_err *err);

#endif
