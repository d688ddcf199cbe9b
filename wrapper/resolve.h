// SPDX-License-Identifier: Apache-2.0
//
// From the wrapper's environment to the app's secrets: which variables hold references, and what
// they come to. The plan is made first, so that a malformed reference is told before any login.
#ifndef CT_RESOLVE_H
#define CT_RESOLVE_H

#include <jansson.h>

#include "err.h"
#include "secrets.h"

#define CT_RESOLVE_MAX_TOTAL ((size_t)512 << 10) // bytes of resolved values together

#define CT_RESOLVE_MAX_WHOLE 256 // variables that secrets taken whole may become, together

struct ct_plan;

// Looks through "NAME=value" strings (NULL-terminated; borrowed for the plan's life) for references.
// CLOUDTASER_CONFIG is not looked at: the app does not get it. `paths` ("PATH,PATH", "" for none, as
// settings hold them) are secrets of which each key becomes a variable of the key's name. CT_EINVAL
// for a malformed reference, naming the variable; CT_ETOOBIG, CT_ENOMEM.
CT_CHECKED int ct_plan_make(const char *const *environment, const char *paths, struct ct_plan **ret,
                            struct ct_err *err);
void ct_plan_free(struct ct_plan *plan);
CT_DEFINE_AUTO(ct_plan, ct_plan_free);

// How many variables hold references; those of whole secrets are not known yet.
size_t ct_plan_count(const struct ct_plan *plan);

// Where secrets come from: ct_vault_read() in the wrapper.
struct ct_secret_source {
    // The object of a secret's keys, a new reference in *ret.
    int (*read)(void *cls, const char *path, unsigned version, json_t **ret, struct ct_err *err);
    void *cls;
};

// Reads every (path, version) once and puts the values together in the arena. A failure of the
// source is passed on with the variable's name; CT_ENOTFOUND for a missing key, CT_EINVAL for a value
// that is no string or holds a NUL, CT_ETOOBIG, CT_ENOMEM: the sentence names variable, path and key.
// The keys of a secret taken whole must be names that annotations may give a variable, and must not
// be in the environment or in another such secret: CT_EINVAL. CT_ENOTFOUND when it has no keys.
// *ret is empty after an error; free it with ct_secrets_done().
CT_CHECKED int ct_plan_resolve(const struct ct_plan *plan, const struct ct_secret_source *source,
                               struct ct_secrets *ret, struct ct_err *err);

#endif
