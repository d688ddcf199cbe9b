// SPDX-License-Identifier: Apache-2.0
//
// YAML and JSON manifests as jansson values, and back. Scalars mean what they mean to kubectl: YAML 1.1
// with its many spellings of true and false (y and n among them), keys too.
#ifndef CT_CLI_YAML_DOC_H
#define CT_CLI_YAML_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

#define CT_YAML_MAX_BYTES ((size_t)10 << 20)     // of a text
#define CT_YAML_MAX_EXPANDED ((size_t)128 << 20) // of what aliases make of it, by estimate
#define CT_YAML_MAX_DEPTH 200                    // of lists and objects within each other

struct ct_yaml_document {
    json_t *value; // any type; null for an empty document
    size_t line;   // on which it begins, from 1
};

// Zero-initialise; free with ct_yaml_done() in every case.
struct ct_yaml {
    struct ct_yaml_document *documents;
    size_t n;
};

// Reads all documents of a text (UTF-8 or UTF-16, as libyaml knows it; JSON too). Aliases are
// replaced by copies of what they name, so that the values can be changed one by one; comments are
// lost, the order of keys is kept. What has no JSON counterpart (NaN, binary, foreign tags, keys that
// are lists) is refused. `what` names the text in the sentence, which tells line and column; content
// is not quoted but for the names of keys, tags and anchors. CT_EINVAL, CT_ETOOBIG, CT_ENOMEM.
CT_CHECKED int ct_yaml_read(const char *data, size_t len, const char *what, struct ct_yaml *ret,
                            struct ct_err *err);
void ct_yaml_done(struct ct_yaml *yaml);
#define CT_AUTO_YAML __attribute__((cleanup(ct_yaml_done))) struct ct_yaml

// Appends the documents, divided by "---". What was a string is read as one again by YAML 1.1 and 1.2
// alike: quoted where a plain text would be taken for something else. A real keeps its value.
// CT_ENOMEM, also when out->max does not suffice.
CT_CHECKED int ct_yaml_write(const struct ct_yaml *yaml, struct ct_buf *out, struct ct_err *err);

// How a plain scalar is understood.
enum ct_yaml_kind {
    CT_YAML_STRING,
    CT_YAML_NULL,
    CT_YAML_BOOL,
    CT_YAML_INTEGER,
    CT_YAML_REAL,
    CT_YAML_NO_JSON, // .nan, .inf: no number of JSON
};

struct ct_yaml_plain {
    enum ct_yaml_kind kind;
    bool truth;
    json_int_t integer;
    double real; // also of integers beyond 64 bits
};

void ct_yaml_resolve(const char *text, size_t len, struct ct_yaml_plain *ret);
// Might some reader of YAML take this plain text for anything but a string? Wider than what
// ct_yaml_resolve() knows: dates, sexagesimals, "=".
bool ct_yaml_ambiguous(const char *text, size_t len);

#endif
