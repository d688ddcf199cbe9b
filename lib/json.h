// SPDX-License-Identifier: Apache-2.0
//
// A thin layer over jansson: bounded parsing with sentences, and typed look-ups that never crash on
// a value of another type. jansson's own functions are used freely beside it.
#ifndef CT_JSON_H
#define CT_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

static inline void ct_json_unref(json_t **j)
{
    json_decref(*j);
}

// `CT_AUTO_JSON doc = NULL;` - one reference dropped at the end of the scope.
#define CT_AUTO_JSON __attribute__((cleanup(ct_json_unref))) json_t *

// Gives jansson its memory, through a layer that makes parsing survive the want of it: jansson goes on
// with what it could not keep when there is no memory for a token's text, so once one allocation
// has failed all others of that parse fail as well. Call once, before anything else of jansson.
void ct_json_set_memory(void *(*alloc)(size_t), void (*give_back)(void *));

// Bounds the depth of documents: jansson calls itself for each level, 2048 of them unless told, and
// that takes more stack than a thread of this program may have. Call once, before threads.
void ct_json_set_depth(size_t max);

// Parses one document. Integers beyond 64 bits are kept as reals rather than refused. Depth is
// bounded (ct_json_set_depth()). A string value may hold NUL ("\u0000"): ct_json_str() gives NULL for
// it, and json_string_length() tells. A key that stands twice in one object is refused: which of the two
// counts is a matter of taste. `what` names the document in the sentence ("nodes file /x");
// content is never quoted in it, for it may be a secret; of what it holds only such a key is named.
// The document must be an object or an array; no bytes at all may be NULL. Returns a new reference in
// *ret. CT_EINVAL, CT_ENOMEM. Thread-safe.
CT_CHECKED int ct_json_parse(const char *data, size_t len, const char *what, json_t **ret,
                             struct ct_err *err);

// The string at obj[key]; NULL when obj is no object, the key is missing or the value no string
// or one that holds NUL. Borrowed.
const char *ct_json_str(const json_t *obj, const char *key);

// Follows keys to the end of a NULL-terminated list; NULL when any step is missing. Borrowed.
json_t *ct_json_at(const json_t *obj, ...) __attribute__((sentinel));

#endif
