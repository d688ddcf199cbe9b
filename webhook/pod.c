// SPDX-License-Identifier: Apache-2.0
#include "pod.h"

#include <stdarg.h>
#include <string.h>

#include "candidate.h"
#include "json.h"
#include "ref.h"
#include "scratch.h"
#include "shape.h"
#include "variables.h"

int ct_case_deny(struct ct_case *c, enum ct_reason reason, struct ct_err *err, const char *fmt, ...)
{
    char text[sizeof(err->msg)];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    c->reason = reason;
    return ct_err_set(err, CT_EDENIED, "%s", text);
}

int ct_case_refuse(struct ct_case *c, enum ct_reason reason, int r)
{
    if (r == -CT_ENOMEM) {
        return r;
    }
    c->reason = reason;
    return -CT_EDENIED;
}

const char *ct_container_kind(const struct ct_container *container)
{
    return container->init ? "init container" : "container";
}

size_t ct_container_command_start(const struct ct_container *container)
{
    return container->wrapped ? 2 : 0;
}

// A list that may be missing, whose elements are all of one type.
static int read_list(struct ct_case *c, const json_t *object, const char *owner, const char *key,
                     json_type type, const json_t **ret, struct ct_err *err)
{
    const json_t *list = json_object_get(object, key);
    if (list == NULL || json_is_null(list)) {
        *ret = NULL;
        return 0;
    }
    bool good = json_is_array(list);
    size_t i;
    json_t *element;
    json_array_foreach(list, i, element)
    {
        good = good && json_typeof(element) == type;
    }
    if (!good) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err, "%s of %s is no list of %s", key, owner,
                            type == JSON_STRING ? "texts" : "objects");
    }
    *ret = list;
    return 0;
}

static int read_variables(struct ct_case *c, struct ct_container *container, struct ct_err *err)
{
    int r =
        read_list(c, container->json, container->name, "env", JSON_OBJECT, &container->env, err);
    if (r != 0) {
        return r;
    }
    if (json_array_size(container->env) > CT_POD_MAX_VARIABLES) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err,
                            "%s %s has %zu variables in env; %d are allowed",
                            ct_container_kind(container), container->name,
                            json_array_size(container->env), CT_POD_MAX_VARIABLES);
    }
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        const char *value = ct_json_str(variable, "value");
        if (ct_json_str(variable, "name") == NULL) {
            return ct_case_deny(c, CT_REASON_MALFORMED, err, "a variable of %s %s has no name",
                                ct_container_kind(container), container->name);
        }
        container->reference = container->reference || (value != NULL && ct_ref_present(value));
    }
    return 0;
}

static int read_container(struct ct_case *c, struct ct_container *container, struct ct_err *err)
{
    container->name = ct_json_str(container->json, "name");
    if (container->name == NULL) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err, "%s %zu has no name",
                            ct_container_kind(container), container->index);
    }
    container->injector = container->init && strcmp(container->name, CT_SHAPE_INJECTOR) == 0;
    int r = read_list(c, container->json, container->name, "command", JSON_STRING,
                      &container->command, err);
    if (r == 0) {
        r = read_list(c, container->json, container->name, "args", JSON_STRING, &container->args,
                      err);
    }
    if (r == 0) {
        r = read_list(c, container->json, container->name, "volumeMounts", JSON_OBJECT,
                      &container->mounts, err);
    }
    if (r == 0) {
        r = read_variables(c, container, err);
    }
    const char *first = json_string_value(json_array_get(container->command, 0));
    const char *second = json_string_value(json_array_get(container->command, 1));
    container->wrapped = first != NULL && second != NULL && strcmp(first, CT_SHAPE_WRAPPER) == 0 &&
                         strcmp(second, "--") == 0;
    return r;
}

// managedFields tells who wrote what: `f:spec` / `f:containers` / `k:{"name":"app"}`. What is not
// listed there was added by another webhook in this same request. Without any list all is the author's.
static bool listed(const json_t *managed, const char *list, const char *name, bool *ret_any)
{
    char key[300];
    (void)snprintf(key, sizeof(key), "k:{\"name\":\"%s\"}", name);
    bool found = false;
    size_t i;
    json_t *entry;
    json_array_foreach(managed, i, entry)
    {
        const json_t *spec = ct_json_at(entry, "fieldsV1", "f:spec", NULL);
        *ret_any = *ret_any || json_object_get(spec, "f:containers") != NULL ||
                   json_object_get(spec, "f:initContainers") != NULL;
        found = found || json_object_get(json_object_get(spec, list), key) != NULL;
    }
    return found;
}

static void find_author(struct ct_case *c)
{
    const json_t *managed = json_object_get(c->metadata, "managedFields");
    bool any = false;
    for (size_t i = 0; i < c->n_containers; i++) {
        struct ct_container *container = &c->containers[i];
        container->author = listed(managed, container->init ? "f:initContainers" : "f:containers",
                                   container->name, &any);
    }
    for (size_t i = 0; i < c->n_containers && !any; i++) {
        c->containers[i].author = true;
    }
}

static size_t count_requirements(const json_t *list)
{
    size_t n = 0;
    size_t i;
    json_t *requirement;
    json_array_foreach(list, i, requirement)
    {
        n += 1 + json_array_size(json_object_get(requirement, "values"));
    }
    return n;
}

// What each node will be held against.
static size_t count_constraints(const json_t *spec)
{
    size_t n = json_array_size(json_object_get(spec, "tolerations")) +
               json_object_size(json_object_get(spec, "nodeSelector"));
    size_t i;
    json_t *term;
    json_array_foreach(json_object_get(ct_candidate_required(spec), "nodeSelectorTerms"), i, term)
    {
        n += 1 + count_requirements(json_object_get(term, "matchExpressions")) +
             count_requirements(json_object_get(term, "matchFields"));
    }
    return n;
}

static int check_bounds(struct ct_case *c, struct ct_err *err)
{
    const struct {
        const char *what;
        size_t n;
        size_t max;
    } bounds[] = {
        {"containers",
         json_array_size(json_object_get(c->spec, "initContainers")) +
             json_array_size(json_object_get(c->spec, "containers")),
         CT_POD_MAX_CONTAINERS},
        {"entries in managedFields", json_array_size(json_object_get(c->metadata, "managedFields")),
         CT_POD_MAX_MANAGERS},
        {"requirements of nodes", count_constraints(c->spec), CT_POD_MAX_REQUIREMENTS},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(bounds); i++) {
        if (bounds[i].n > bounds[i].max) {
            return ct_case_deny(c, CT_REASON_MALFORMED, err,
                                "the pod has %zu %s; %zu are allowed with CloudTaser", bounds[i].n,
                                bounds[i].what, bounds[i].max);
        }
    }
    return 0;
}

int ct_pod_read(struct ct_case *c, struct ct_err *err)
{
    const json_t *init = NULL;
    const json_t *regular = NULL;
    int r = check_bounds(c, err);
    if (r == 0) {
        r = read_list(c, c->spec, "the pod", "initContainers", JSON_OBJECT, &init, err);
    }
    if (r == 0) {
        r = read_list(c, c->spec, "the pod", "containers", JSON_OBJECT, &regular, err);
    }
    if (r != 0) {
        return r;
    }
    if (json_array_size(regular) == 0) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err, "the pod has no containers");
    }
    c->n_init = json_array_size(init);
    c->n_containers = c->n_init + json_array_size(regular);
    c->containers = ct_scratch_calloc(c->n_containers, sizeof(*c->containers));
    if (c->containers == NULL) {
        c->n_containers = 0;
        return ct_err_set(err, CT_ENOMEM, "out of memory for the pod's containers");
    }
    size_t variables = 0;
    for (size_t i = 0; i < c->n_containers && r == 0; i++) {
        struct ct_container *container = &c->containers[i];
        container->init = i < c->n_init;
        container->index = container->init ? i : i - c->n_init;
        container->json = json_array_get(container->init ? init : regular, container->index);
        r = read_container(c, container, err);
        variables += json_array_size(container->env);
    }
    if (r == 0 && variables > CT_POD_MAX_ALL_VARIABLES) {
        r = ct_case_deny(c, CT_REASON_MALFORMED, err,
                         "the pod has %zu variables in env of all containers; %d are allowed with "
                         "CloudTaser",
                         variables, CT_POD_MAX_ALL_VARIABLES);
    }
    if (r == 0) {
        find_author(c);
    }
    return r;
}

static struct ct_container *find(struct ct_case *c, const char *name)
{
    for (size_t i = 0; i < c->n_containers; i++) {
        if (strcmp(c->containers[i].name, name) == 0) {
            return &c->containers[i];
        }
    }
    return NULL;
}

static void list_names(const struct ct_case *c, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < c->n_containers && used < size; i++) {
        if (!c->containers[i].injector) {
            used += (size_t)snprintf(out + used, size - used, "%s%.63s", used > 0 ? ", " : "",
                                     c->containers[i].name);
        }
    }
}

static int choose_named(struct ct_case *c, struct ct_err *err)
{
    for (size_t i = 0; i < c->annotations.n_containers; i++) {
        const char *name = c->annotations.containers[i];
        struct ct_container *container = find(c, name);
        if (container == NULL || container->injector) {
            char names[200];
            list_names(c, names, sizeof(names));
            return ct_case_deny(
                c, CT_REASON_CONTAINER, err,
                "cloudtaser.io/containers names \"%.80s\", but the pod's containers "
                "are: %s",
                name, names);
        }
        container->wrap = true;
    }
    return 0;
}

// The author's containers that hold a reference; if none does, the author's regular ones. And those
// of the author that are wrapped already: what another webhook adds to one container in between must
// not take the protection from the others.
static size_t choose_default(struct ct_case *c)
{
    size_t chosen = 0;
    for (size_t i = 0; i < c->n_containers; i++) {
        struct ct_container *container = &c->containers[i];
        container->wrap = container->author && container->reference && !container->injector;
        chosen += container->wrap;
    }
    for (size_t i = c->n_init; i < c->n_containers && chosen == 0; i++) {
        c->containers[i].wrap = c->containers[i].author;
    }
    chosen = 0;
    for (size_t i = 0; i < c->n_containers; i++) {
        struct ct_container *container = &c->containers[i];
        container->wrap =
            container->wrap || (container->author && container->wrapped && !container->injector);
        chosen += container->wrap;
    }
    return chosen;
}

// May what stands for $(NAME) name the program? Not when its last '/' comes behind.
static bool names_program(void *cls, const char *name, size_t len)
{
    (void)cls;
    return strchr(name + len, '/') == NULL;
}

// What kubelet makes of it is not known here, and whether it is a launcher depends on the name.
static int check_program(struct ct_case *c, const struct ct_container *container,
                         const char *program, struct ct_err *err)
{
    if (!ct_variables_each_expansion(program, names_program, NULL)) {
        return 0;
    }
    return ct_case_deny(c, CT_REASON_COMMAND, err,
                        "command of %s %s runs \"%.80s\": the program's name must not come from a "
                        "variable; write it out",
                        ct_container_kind(container), container->name, program);
}

// Another webhook may wrap commands too. Wrapping its program anew would start the wrapper twice, the
// second one without its settings, which no app gets.
static int check_order(struct ct_case *c, const struct ct_container *container, struct ct_err *err)
{
    size_t start = ct_container_command_start(container);
    size_t i;
    json_t *word;
    json_array_foreach(container->command, i, word)
    {
        if (i > start && strcmp(json_string_value(word), CT_SHAPE_WRAPPER) == 0) {
            return ct_case_deny(
                c, CT_REASON_COMMAND, err,
                "command of %s %s runs \"%.80s\" before " CT_SHAPE_WRAPPER
                ", which must be first: another webhook has changed it after CloudTaser; tell that "
                "one to leave this container out",
                ct_container_kind(container), container->name,
                json_string_value(json_array_get(container->command, start)));
        }
    }
    return 0;
}

static int check_command(struct ct_case *c, const struct ct_container *container,
                         struct ct_err *err)
{
    const char *kind = ct_container_kind(container);
    if (container->wrap) {
        size_t start = ct_container_command_start(container);
        const char *program = json_string_value(json_array_get(container->command, start));
        if (program == NULL || *program == '\0') {
            return ct_case_deny(
                c, CT_REASON_COMMAND, err,
                "%s %s has no command: set command: to the image's entrypoint (see "
                "`docker inspect` or `skopeo inspect --config`), and args: to its cmd",
                kind, container->name);
        }
        if (ct_shape_path_reserved(program) && *program == '/') {
            return ct_case_deny(c, CT_REASON_TAMPERED, err,
                                "command of %s %s runs \"%.80s\": " CT_SHAPE_DIR " is CloudTaser's "
                                "own; give the app's program",
                                kind, container->name, program);
        }
        int r = check_program(c, container, program, err);
        return r == 0 ? check_order(c, container, err) : r;
    }
    const char *program = json_string_value(json_array_get(container->command, 0));
    if (!container->injector && program != NULL && *program == '/' &&
        ct_shape_path_reserved(program)) {
        return ct_case_deny(
            c, CT_REASON_TAMPERED, err,
            "command of %s %s runs \"%.80s\", but the container is not to be wrapped: "
            "name it in cloudtaser.io/containers, or give the app's program",
            kind, container->name, program);
    }
    return 0;
}

int ct_pod_choose(struct ct_case *c, struct ct_err *err)
{
    const char *os = ct_json_str(json_object_get(c->spec, "os"), "name");
    if (os != NULL && strcmp(os, "linux") != 0) {
        return ct_case_deny(c, CT_REASON_CONTAINER, err,
                            "the pod is for \"%.40s\" (spec.os.name): only Linux can be protected; "
                            "remove cloudtaser.io/inject",
                            os);
    }
    if (c->annotations.n_containers > 0) {
        int r = choose_named(c, err);
        if (r != 0) {
            return r;
        }
    } else if (choose_default(c) == 0) {
        return ct_case_deny(
            c, CT_REASON_CONTAINER, err,
            "there is nothing to wrap: no container of the pod is the author's (others "
            "were added by webhooks); name one in cloudtaser.io/containers");
    }
    for (size_t i = 0; i < c->n_containers; i++) {
        int r = check_command(c, &c->containers[i], err);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}
