// SPDX-License-Identifier: Apache-2.0
//
// The annotations of an opted-in pod (prefix cloudtaser.io/), parsed and checked in one
// table-driven place for webhook and CLI. Everything here is written by the pod's author and
// trusted in nothing.
#ifndef CT_ANNOTATION_H
#define CT_ANNOTATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "ref.h"

#define CT_ANNOTATION_PREFIX "cloudtaser.io/"
#define CT_ANNOTATION_INJECT "cloudtaser.io/inject"
#define CT_ANNOTATION_STATUS "cloudtaser.io/status"
#define CT_ANNOTATION_MAX_VARIABLES 256
#define CT_MIN_SCORE_VARIABLE "CLOUDTASER_MIN_PROTECTION_SCORE"

// One variable that an annotation asks for: from `env.NAME`, or from `secret-paths` with `env-map`.
struct ct_annotation_variable {
    char *name;
    struct ct_ref ref;
};

// Strings are NULL when the annotation is missing; they are owned by the struct.
struct ct_annotations {
    bool inject;
    char *vault_address;
    char *vault_role;
    bool has_auth;
    enum ct_auth auth;
    char *vault_auth_path;
    char *vault_namespace;
    char *vault_audience;
    char *vault_ca_configmap;     // its key "ca.crt"
    char *vault_token_secret;     // auth method token: a Secret, its key "token"
    char *vault_secret_id_secret; // auth method approle: a Secret, its key "secret-id"
    bool vault_secret_id_wrapped; // that key holds a wrapping token
    bool vault_skip_verify;
    bool plain_environment;
    enum ct_launcher_mode launcher;
    int min_score;         // highest of min-protection-score and CLOUDTASER_MIN_PROTECTION_SCORE; 0
    uint32_t require;      // bits of enum ct_check
    unsigned metrics_port; // 0: none
    unsigned refresh_s;    // seconds; 0: secrets are not read again
    char *on_change;       // as ct_on_change_parse() takes it
    char **containers;     // NULL: not named
    size_t n_containers;
    struct ct_annotation_variable *variables;
    size_t n_variables;
    char *paths; // of secrets taken whole, as "PATH,PATH", each once; NULL for none
};

// Is the pod opted in? 1 yes, 0 no; -CT_EINVAL for a value other than "true" and "false".
// `annotations` may be NULL. Cheap: looks at one key.
CT_CHECKED int ct_annotations_opted_in(const json_t *annotations, struct ct_err *err);

// Parses and checks all of them. Unknown keys under the prefix are refused, but for `status`: a
// misspelt min-protection-score must not pass in silence. An entry of env-map is "key=NAME", which
// needs exactly one path in secret-paths, or "path#key=NAME", whose path secret-paths must list.
// "*" takes every path of secret-paths whole, "path#*" that one: each of its keys becomes a variable
// of the key's name, which only the wrapper can see.
// The sentence names key, value and what is allowed; all problems are told in one message.
// CT_EINVAL, CT_ETOOBIG, CT_ENOMEM. Free with ct_annotations_done() in every case.
CT_CHECKED int ct_annotations_parse(const json_t *annotations, struct ct_annotations *ret,
                                    struct ct_err *err);
void ct_annotations_done(struct ct_annotations *a);

// For docs/annotations.md. Static texts in Markdown; names stand without the prefix.
struct ct_annotation_info {
    const char *name;
    const char *value; // what is allowed
    const char *help;  // what it means
};
// Annotation number `i`, "env.NAME" and the bare key among them. False past the end. Thread-safe.
bool ct_annotation_describe(size_t i, struct ct_annotation_info *ret);

// Is this a name that an environment variable may have? [A-Za-z_][A-Za-z0-9_.-]*, at most 253, and
// not reserved (CLOUDTASER_*, LD_*).
CT_CHECKED int ct_annotation_check_variable(const char *name, struct ct_err *err);

#endif
