// SPDX-License-Identifier: Apache-2.0
#include "variables.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "ref.h"

#define RESERVED "CLOUDTASER_"

// As expansion.Expand() of Kubernetes: '$' takes the next character; "$(" without ")" is literal.
bool ct_variables_each_expansion(const char *text,
                                 bool (*found)(void *cls, const char *name, size_t len), void *cls)
{
    bool closed = true; // may a ')' follow? Looked for once, not for each "$(" again
    for (const char *p = strchr(text, '$'); p != NULL && p[1] != '\0'; p = strchr(p, '$')) {
        bool open = p[1] == '(' && closed;
        const char *end = open ? strchr(p + 2, ')') : NULL;
        if (end == NULL) {
            closed = closed && !open;
            p += 2;
            continue;
        }
        if (found(cls, p + 2, (size_t)(end - p - 2))) {
            return true;
        }
        p = end + 1;
    }
    return false;
}

static int bad_minimum(struct ct_case *c, const struct ct_container *container, const char *why,
                       const char *value, struct ct_err *err)
{
    return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                        "variable " CT_MIN_SCORE_VARIABLE
                        " of %s %.80s %s%.40s: give a whole number "
                        "from 0 to %d as its value",
                        ct_container_kind(container), container->name, why, value, ct_score_max());
}

static int read_minimum(struct ct_case *c, const struct ct_container *container,
                        const json_t *variable, int *min, struct ct_err *err)
{
    if (json_object_get(variable, "valueFrom") != NULL) {
        return bad_minimum(c, container, "takes its value from elsewhere (valueFrom)", "", err);
    }
    const char *value = ct_json_str(variable, "value");
    value = value != NULL ? value : "";
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 4 || value[digits] != '\0' || atoi(value) > ct_score_max()) {
        return bad_minimum(c, container, "is ", value, err);
    }
    int points = atoi(value);
    *min = points > *min ? points : *min;
    return 0;
}

static int check_reserved(struct ct_case *c, const struct ct_container *container, const char *name,
                          struct ct_err *err)
{
    if (container->wrap && strcmp(name, CT_CONFIG_VARIABLE) == 0) {
        return 0;
    }
    return ct_case_deny(c, CT_REASON_RESERVED, err,
                        "variable %.80s of %s %.80s: names that start with " RESERVED
                        " are CloudTaser's own; only " CT_MIN_SCORE_VARIABLE
                        " may be set, settings belong into annotations",
                        name, ct_container_kind(container), container->name);
}

static int check_reference(struct ct_case *c, const struct ct_container *container,
                           const char *name, const char *value, struct ct_err *err)
{
    if (!ct_ref_present(value)) {
        return 0;
    }
    if (!container->wrap) {
        ct_warnings_add(
            &c->warnings,
            "cloudtaser: variable %.80s of %s %.80s holds a reference, but the container is "
            "not wrapped and gets its text as it is: name it in cloudtaser.io/containers",
            name, ct_container_kind(container), container->name);
        return 0;
    }
    struct ct_ref_part *parts = NULL;
    size_t n;
    struct ct_err why = {0};
    int r = ct_ref_split(value, &parts, &n, &why);
    free(parts);
    if (r == 0) {
        return 0;
    }
    if (r == -CT_ENOMEM) {
        return ct_err_set(err, CT_ENOMEM, "%s", why.msg);
    }
    return ct_case_deny(c, CT_REASON_REFERENCE, err,
                        "variable %.80s of %s %.80s is \"%.120s\", a bad reference: %.250s", name,
                        ct_container_kind(container), container->name, value, why.msg);
}

static int check_container(struct ct_case *c, const struct ct_container *container, int *min,
                           struct ct_err *err)
{
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        const char *name = ct_json_str(variable, "name");
        const char *value = ct_json_str(variable, "value");
        int r = 0;
        if (strcmp(name, CT_MIN_SCORE_VARIABLE) == 0) {
            r = read_minimum(c, container, variable, min, err);
        } else if (strncmp(name, RESERVED, strlen(RESERVED)) == 0) {
            r = check_reserved(c, container, name, err);
        } else if (value != NULL && container->reference) {
            r = check_reference(c, container, name, value, err);
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

// The names of variables whose value is a secret, itself or by $(NAME) of an earlier one.
struct secrets {
    json_t *names;
    char hit[80];
};

static bool is_secret(void *cls, const char *name, size_t len)
{
    struct secrets *s = cls;
    if (json_object_getn(s->names, name, len) == NULL) {
        return false;
    }
    (void)snprintf(s->hit, sizeof(s->hit), "%.*s", (int)(len < 79 ? len : 79), name);
    return true;
}

static int collect_secrets(const struct ct_case *c, const struct ct_container *container,
                           struct secrets *s, struct ct_err *err)
{
    int failed = 0;
    for (size_t i = 0; i < c->annotations.n_variables; i++) {
        failed |= json_object_set_new(s->names, c->annotations.variables[i].name, json_true());
    }
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        const char *value = ct_json_str(variable, "value");
        if (value != NULL &&
            (ct_ref_present(value) || ct_variables_each_expansion(value, is_secret, s))) {
            failed |= json_object_set_new(s->names, ct_json_str(variable, "name"), json_true());
        }
    }
    return failed != 0 ? ct_err_set(err, CT_ENOMEM, "out of memory") : 0;
}

static bool expands(const json_t *list, size_t from)
{
    for (size_t i = from; i < json_array_size(list); i++) {
        if (strstr(json_string_value(json_array_get(list, i)), "$(") != NULL) {
            return true;
        }
    }
    return false;
}

static int check_exposure(struct ct_case *c, const struct ct_container *container,
                          struct ct_err *err)
{
    const struct {
        const char *name;
        const json_t *list;
    } lists[] = {{"command", container->command}, {"args", container->args}};
    if (!expands(container->command, 0) && !expands(container->args, 0)) {
        return 0;
    }
    CT_AUTO_JSON names = json_object();
    struct secrets s = {.names = names};
    int r = names != NULL ? collect_secrets(c, container, &s, err)
                          : ct_err_set(err, CT_ENOMEM, "out of memory");
    for (size_t l = 0; l < CT_ARRAY_LEN(lists) && r == 0; l++) {
        for (size_t i = 0; i < json_array_size(lists[l].list) && r == 0; i++) {
            const char *text = json_string_value(json_array_get(lists[l].list, i));
            if (ct_variables_each_expansion(text, is_secret, &s)) {
                r = ct_case_deny(
                    c, CT_REASON_EXPOSURE, err,
                    "%s of %s %.80s uses $(%s), whose value is a secret: it would show in "
                    "the process's command line; let the program read the variable",
                    lists[l].name, ct_container_kind(container), container->name, s.hit);
            }
        }
    }
    return r;
}

static bool holds_nested(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strstr(json_string_value(json_array_get(list, i)), "${vault:") != NULL) {
            return true;
        }
    }
    return false;
}

static void warn_unresolved(struct ct_case *c, const struct ct_container *container)
{
    bool command = holds_nested(container->command);
    if (command || holds_nested(container->args)) {
        ct_warnings_add(&c->warnings,
                        "cloudtaser: %s of %s %.80s holds a reference; references in command and "
                        "args are not resolved: put it into a variable",
                        command ? "command" : "args", ct_container_kind(container),
                        container->name);
    }
}

// What a ConfigMap or Secret gives may hold references, which the wrapper resolves too.
static bool takes_from_elsewhere(const struct ct_container *container)
{
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        if (json_object_get(variable, "valueFrom") != NULL) {
            return true;
        }
    }
    return json_array_size(json_object_get(container->json, "envFrom")) > 0;
}

static void warn_without_reference(struct ct_case *c)
{
    bool found = c->annotations.n_variables > 0 || c->annotations.paths != NULL;
    for (size_t i = 0; i < c->n_containers && !found; i++) {
        found = c->containers[i].reference || takes_from_elsewhere(&c->containers[i]);
    }
    if (!found) {
        ct_warnings_add(&c->warnings,
                        "cloudtaser: the pod asks for injection, but neither its variables nor its "
                        "annotations hold a reference");
    }
}

int ct_variables_check(struct ct_case *c, int *ret_min, struct ct_err *err)
{
    *ret_min = 0;
    warn_without_reference(c);
    for (size_t i = 0; i < c->n_containers; i++) {
        const struct ct_container *container = &c->containers[i];
        if (container->injector) {
            continue;
        }
        int r = check_container(c, container, ret_min, err);
        if (r == 0 && container->wrap) {
            warn_unresolved(c, container);
            r = check_exposure(c, container, err);
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static bool is_derived(const struct ct_derived *derived, const char *value)
{
    return value != NULL && (strcmp(value, derived->text) == 0 ||
                             (derived->other != NULL && strcmp(value, derived->other) == 0));
}

int ct_variables_check_derived(struct ct_case *c, const struct ct_container *container,
                               const struct ct_derived *derived, struct ct_err *err)
{
    int found = 0;
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        if (strcmp(ct_json_str(variable, "name"), derived->name) != 0) {
            continue;
        }
        if (found != 0 || !is_derived(derived, ct_json_str(variable, "value")) ||
            json_object_get(variable, "valueFrom") != NULL) {
            return ct_case_deny(
                c, derived->reason, err,
                "variable %.80s of %s %.80s is set already, and not to what CloudTaser "
                "sets it to%s: remove it",
                derived->name, ct_container_kind(container), container->name,
                derived->reason == CT_REASON_ANNOTATION ? " for an annotation" : "");
        }
        found = 1;
    }
    return found;
}
