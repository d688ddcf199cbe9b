// SPDX-License-Identifier: Apache-2.0
#include "resolve.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "annotation.h"
#include "config.h"
#include "ref.h"
#include "secmem.h"
#include "text.h"

struct planned {
    const char *name; // borrowed from the environment, name_len bytes
    int name_len;
    struct ct_ref_part *parts;
    size_t n_parts;
};

struct ct_plan {
    struct planned *item;
    size_t n;
    size_t n_refs;
    const char *const *environment;    // borrowed
    char (*path)[CT_REF_PATH_MAX + 1]; // of the secrets taken whole
    size_t n_paths;
};

// What was read already: one entry a (path, version). Borrowed path.
struct cached {
    const char *path;
    unsigned version;
    json_t *keys;
};

struct cache {
    struct cached *item;
    size_t n;
};

void ct_plan_free(struct ct_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->n; i++) {
        free(plan->item[i].parts);
    }
    free(plan->item);
    free(plan->path);
    free(plan);
}

size_t ct_plan_count(const struct ct_plan *plan)
{
    return plan->n;
}

static int plan_variable(struct ct_plan *plan, const char *entry, struct ct_err *err)
{
    const char *equals = strchr(entry, '=');
    if (equals == NULL || !ct_ref_present(equals + 1)) {
        return 0;
    }
    struct planned *p = &plan->item[plan->n];
    p->name = entry;
    p->name_len = (int)(equals - entry);
    if (p->name_len == (int)strlen(CT_CONFIG_VARIABLE) &&
        memcmp(entry, CT_CONFIG_VARIABLE, (size_t)p->name_len) == 0) {
        return 0;
    }
    int rc = ct_ref_split(equals + 1, &p->parts, &p->n_parts, err);
    if (rc < 0) {
        return ct_err_wrap(err, "variable %.*s", p->name_len, p->name);
    }
    size_t refs = 0;
    for (size_t i = 0; i < p->n_parts; i++) {
        refs += p->parts[i].is_ref ? 1 : 0;
    }
    if (refs == 0) { // "vault:8200" is a host
        free(p->parts);
        p->parts = NULL;
        return 0;
    }
    plan->n++;
    plan->n_refs += refs;
    return 0;
}

static int plan_paths(struct ct_plan *plan, const char *paths, struct ct_err *err)
{
    const char *entry;
    size_t len;
    size_t n = 0;
    const char *rest = paths;
    while (paths[0] != '\0' && ct_text_next(&rest, &entry, &len)) {
        n++;
    }
    plan->path = calloc(n + 1, sizeof(*plan->path));
    if (plan->path == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the paths of secrets");
    }
    for (rest = paths; n > 0 && ct_text_next(&rest, &entry, &len); plan->n_paths++) {
        if (len > CT_REF_PATH_MAX) {
            return ct_err_set(err, CT_ETOOBIG, "a path of a secret is longer than %d bytes",
                              CT_REF_PATH_MAX);
        }
        memcpy(plan->path[plan->n_paths], entry, len);
    }
    return 0;
}

int ct_plan_make(const char *const *environment, const char *paths, struct ct_plan **ret,
                 struct ct_err *err)
{
    size_t n = 0;
    while (environment[n] != NULL) {
        n++;
    }
    CT_AUTO(ct_plan) *plan = calloc(1, sizeof(*plan));
    if (plan != NULL) {
        plan->item = calloc(n + 1, sizeof(*plan->item));
    }
    if (plan == NULL || plan->item == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the environment's references");
    }
    plan->environment = environment;
    for (size_t i = 0; i < n; i++) {
        int rc = plan_variable(plan, environment[i], err);
        if (rc < 0) {
            return rc;
        }
    }
    int rc = plan_paths(plan, paths, err);
    if (rc == 0) {
        *ret = ct_steal(&plan);
    }
    return rc;
}

// ---- values

static void cache_done(struct cache *c)
{
    for (size_t i = 0; i < c->n; i++) {
        json_decref(c->item[i].keys);
    }
    free(c->item);
}

// Borrowed from the cache. The cache has room for every reference and path of the plan.
static int look_up(struct cache *cache, const struct ct_secret_source *source, const char *path,
                   unsigned version, const json_t **ret, struct ct_err *err)
{
    for (size_t i = 0; i < cache->n; i++) {
        const struct cached *c = &cache->item[i];
        if (c->version == version && strcmp(c->path, path) == 0) {
            *ret = c->keys;
            return 0;
        }
    }
    struct cached *c = &cache->item[cache->n];
    int rc = source->read(source->cls, path, version, &c->keys, err);
    if (rc < 0) {
        return rc;
    }
    c->path = path;
    c->version = version;
    cache->n++;
    *ret = c->keys;
    return 0;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",  [JSON_NULL] = "null",
    };
    return names[json_typeof(value)];
}

static int check_value(const char *path, const char *key, const json_t *value, struct ct_err *err)
{
    if (!json_is_string(value)) {
        return ct_err_set(
            err, CT_EINVAL,
            "secret %s: the value of key %s is %s; only a string can become a variable", path, key,
            type_name(value));
    }
    if (memchr(json_string_value(value), '\0', json_string_length(value)) != NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "secret %s: the value of key %s holds a NUL, which a variable cannot",
                          path, key);
    }
    return 0;
}

// The value of one reference; borrowed from the cache.
static int value_of(struct cache *cache, const struct ct_secret_source *source,
                    const struct ct_ref *ref, const json_t **ret, struct ct_err *err)
{
    const json_t *keys = NULL;
    int rc = look_up(cache, source, ref->path, ref->version, &keys, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *value = json_object_get(keys, ref->key);
    if (value == NULL) {
        // The keys that do exist are not listed: their names may tell what they open.
        return ct_err_set(err, CT_ENOTFOUND, "secret %s has no key %s", ref->path, ref->key);
    }
    rc = check_value(ref->path, ref->key, value, err);
    if (rc == 0) {
        *ret = value;
    }
    return rc;
}

// One part's text: literal or secret.
static int part_text(struct cache *cache, const struct ct_secret_source *source,
                     const struct ct_ref_part *part, const char **text, size_t *len,
                     struct ct_err *err)
{
    if (!part->is_ref) {
        *text = part->text;
        *len = part->len;
        return 0;
    }
    const json_t *value = NULL;
    int rc = value_of(cache, source, &part->ref, &value, err);
    if (rc == 0) {
        *text = json_string_value(value);
        *len = json_string_length(value);
    }
    return rc;
}

static int resolve_variable(struct cache *cache, const struct ct_secret_source *source,
                            const struct planned *p, size_t *room, struct ct_secret_variable *ret,
                            struct ct_err *err)
{
    const char *text = NULL;
    size_t len = 0;
    size_t total = 0;
    // Measured first, then put together: a buffer that grew would leave copies behind.
    for (size_t i = 0; i < p->n_parts; i++) {
        int rc = part_text(cache, source, &p->parts[i], &text, &len, err);
        if (rc < 0) {
            return rc;
        }
        if (len > *room - total) {
            return ct_err_set(err, CT_ETOOBIG,
                              "the secrets of the environment together exceed %zu bytes",
                              CT_RESOLVE_MAX_TOTAL);
        }
        total += len;
    }
    ret->name = ct_arena_alloc((size_t)p->name_len + 1);
    ret->value = ct_arena_alloc(total + 1);
    if (ret->name == NULL || ret->value == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of secret memory for %zu bytes", total);
    }
    memcpy(ret->name, p->name, (size_t)p->name_len);
    ret->name[p->name_len] = '\0';
    for (size_t i = 0; i < p->n_parts; i++) {
        int rc = part_text(cache, source, &p->parts[i], &text, &len, err);
        if (rc < 0) {
            return rc;
        }
        memcpy(ret->value + ret->value_len, text, len);
        ret->value_len += len;
    }
    ret->value[ret->value_len] = '\0';
    *room -= total;
    return 0;
}

static int resolve_variables(const struct ct_plan *plan, const struct ct_secret_source *source,
                             struct cache *cache, size_t *room, struct ct_secrets *out,
                             struct ct_err *err)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct planned *p = &plan->item[i];
        out->n = i + 1; // counted before it is whole, so that a half-made one is freed too
        int rc = resolve_variable(cache, source, p, room, &out->item[i], err);
        if (rc < 0) {
            return ct_err_wrap(err, "variable %.*s", p->name_len, p->name);
        }
    }
    return 0;
}

// ---- secrets taken whole

// Whoever may write the secret chooses these names: none may displace a variable that the app
// has from elsewhere.
static int check_key(const struct ct_plan *plan, const struct ct_secrets *out, const char *key,
                     struct ct_err *err)
{
    int rc = ct_annotation_check_variable(key, err);
    size_t len = strlen(key);
    for (size_t i = 0; rc == 0 && plan->environment[i] != NULL; i++) {
        if (strncmp(plan->environment[i], key, len) == 0 && plan->environment[i][len] == '=') {
            rc = ct_err_set(err, CT_EINVAL, "variable %s is in the environment already", key);
        }
    }
    for (size_t i = 0; rc == 0 && i < out->n; i++) {
        if (strcmp(out->item[i].name, key) == 0) {
            rc = ct_err_set(err, CT_EINVAL, "variable %s comes from two secrets taken whole", key);
        }
    }
    return rc;
}

static int add_whole_key(const struct ct_plan *plan, const char *key, const json_t *value,
                         size_t *room, struct ct_secrets *out, struct ct_err *err)
{
    int rc = check_key(plan, out, key, err);
    if (rc < 0) {
        return rc;
    }
    struct ct_ref_part part = {.text = json_string_value(value), .len = json_string_length(value)};
    const struct planned p = {
        .name = key, .name_len = (int)strlen(key), .parts = &part, .n_parts = 1};
    out->n++;
    return resolve_variable(NULL, NULL, &p, room, &out->item[out->n - 1], err);
}

static int resolve_path(const struct ct_plan *plan, const char *path, const json_t *keys,
                        size_t *room, struct ct_secrets *out, struct ct_err *err)
{
    if (json_object_size(keys) == 0) {
        return ct_err_set(err, CT_ENOTFOUND, "secret %s has no keys", path);
    }
    const char *key;
    json_t *value;
    // The macro wants a mutable object and changes nothing.
    json_object_foreach((json_t *)(uintptr_t)keys, key, value)
    {
        if (out->n - plan->n == CT_RESOLVE_MAX_WHOLE) {
            return ct_err_set(err, CT_ETOOBIG,
                              "secret %s: the secrets taken whole have more than %d keys together",
                              path, CT_RESOLVE_MAX_WHOLE);
        }
        struct ct_shown shown;
        int rc = check_value(path, ct_text_show(&shown, key, strlen(key)), value, err);
        if (rc < 0) {
            return rc;
        }
        rc = add_whole_key(plan, key, value, room, out, err);
        if (rc < 0) {
            return ct_err_wrap(err, "secret %s, taken whole", path);
        }
    }
    return 0;
}

static int resolve_all(const struct ct_plan *plan, const struct ct_secret_source *source,
                       struct cache *cache, struct ct_secrets *out, struct ct_err *err)
{
    size_t room = CT_RESOLVE_MAX_TOTAL;
    int rc = resolve_variables(plan, source, cache, &room, out, err);
    for (size_t i = 0; rc == 0 && i < plan->n_paths; i++) {
        const json_t *keys = NULL;
        rc = look_up(cache, source, plan->path[i], 0, &keys, err);
        if (rc == 0) {
            rc = resolve_path(plan, plan->path[i], keys, &room, out, err);
        }
    }
    return rc;
}

int ct_plan_resolve(const struct ct_plan *plan, const struct ct_secret_source *source,
                    struct ct_secrets *ret, struct ct_err *err)
{
    struct cache cache = {.item = calloc(plan->n_refs + plan->n_paths + 1, sizeof(*cache.item))};
    size_t most = plan->n + (plan->n_paths > 0 ? CT_RESOLVE_MAX_WHOLE : 0);
    struct ct_secrets out = {.item = ct_arena_calloc(most + 1, sizeof(*out.item))};
    int rc = 0;
    *ret = (struct ct_secrets){0};
    if (cache.item == NULL || out.item == NULL) {
        rc = ct_err_set(err, CT_ENOMEM, "out of memory for the environment's secrets");
    } else {
        rc = resolve_all(plan, source, &cache, &out, err);
    }
    cache_done(&cache);
    if (rc < 0) {
        ct_secrets_done(&out);
        return rc;
    }
    *ret = out;
    return 0;
}
