// SPDX-License-Identifier: Apache-2.0
//
// Inside of annotation.h: the variables that annotations ask for.
#ifndef CT_ANNOTATION_VARIABLE_H
#define CT_ANNOTATION_VARIABLE_H

#include "annotation.h"

#define CT_ANNOTATION_VALUE_MAX 16384
#define CT_ANNOTATION_KEY(name) CT_ANNOTATION_PREFIX name

// A piece of a text; borrowed, not terminated.
struct ct_slice {
    const char *s;
    size_t len;
};

int ct_annotation_no_memory(struct ct_err *err);

// Adds the variable `name` with the reference PATH#KEY[#VERSION]. `key` is the annotation that asks
// for it, for the sentence. CT_EINVAL, CT_ETOOBIG, CT_ENOMEM.
CT_CHECKED int ct_annotation_add_variable(struct ct_annotations *a, const char *key,
                                          struct ct_slice name, struct ct_slice ref,
                                          struct ct_err *err);

// Adds the variables of `secret-paths` with `env-map` (NULL when missing: they mean something
// together only). All problems are told in one message. Errors as above.
CT_CHECKED int ct_annotation_read_map(const char *secret_paths, const char *env_map,
                                      struct ct_annotations *a, struct ct_err *err);

#endif
