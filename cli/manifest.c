// SPDX-License-Identifier: Apache-2.0
#include "manifest.h"

#include <string.h>

#include "json.h"
#include "text.h"

// Where a kind keeps the pods that it makes. A kind of the same name in a stranger's API group is
// something else.
static const struct kind {
    const char *group;
    const char *name;
    const char *path[4]; // of the template, to the first NULL; empty: the object itself
} kinds[] = {
    {"", "Pod", {NULL}},
    {"", "PodTemplate", {"template", NULL}},
    {"", "ReplicationController", {"spec", "template", NULL}},
    {"apps", "Deployment", {"spec", "template", NULL}},
    {"apps", "StatefulSet", {"spec", "template", NULL}},
    {"apps", "DaemonSet", {"spec", "template", NULL}},
    {"apps", "ReplicaSet", {"spec", "template", NULL}},
    {"batch", "Job", {"spec", "template", NULL}},
    {"batch", "CronJob", {"spec", "jobTemplate", "spec", "template"}},
};

struct walk {
    const char *what;
    const char *namespace; // of objects that name none; NULL: nobody said
    size_t document;
    size_t line;
    int (*visit)(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err);
    void *cls;
    struct ct_err *err;
};

static bool is_kind(const struct kind *kind, const char *api, const char *name)
{
    size_t group = strcspn(api, "/");
    bool core = api[group] == '\0'; // "v1"
    return strcmp(kind->name, name) == 0 &&
           (core ? *kind->group == '\0'
                 : strlen(kind->group) == group && memcmp(kind->group, api, group) == 0);
}

static const struct kind *find_kind(const char *api, const char *name)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(kinds); i++) {
        if (is_kind(&kinds[i], api, name)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static const char *shown(struct ct_shown *room, const char *text)
{
    return ct_text_show(room, text, strlen(text));
}

static void describe(const json_t *object, const char *kind, const char *namespace, char *out,
                     size_t size)
{
    struct ct_shown rooms[3];
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = ct_json_str(metadata, "name");
    const char *generate = ct_json_str(metadata, "generateName");
    const char *known = name != NULL ? name : generate != NULL ? generate : "(without a name)";
    (void)snprintf(out, size, "%s %s%s%s%s", shown(&rooms[0], kind),
                   namespace != NULL ? shown(&rooms[1], namespace) : "",
                   namespace != NULL ? "/" : "", shown(&rooms[2], known),
                   name == NULL && generate != NULL ? "*" : "");
}

static int visit_pod(const struct walk *w, const struct kind *kind, json_t *object)
{
    struct ct_manifest_pod pod = {.document = w->document, .line = w->line, .template = object};
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace = ct_json_str(metadata, "namespace");
    const char *name = ct_json_str(metadata, "name");
    const char *missing = NULL;
    namespace = namespace != NULL && *namespace != '\0' ? namespace : w->namespace;
    describe(object, kind->name, namespace, pod.object, sizeof(pod.object));
    for (size_t i = 0; i < CT_ARRAY_LEN(kind->path) && kind->path[i] != NULL; i++) {
        pod.template = json_object_get(pod.template, kind->path[i]);
        missing = missing == NULL && !json_is_object(pod.template) ? kind->path[i] : missing;
    }
    if (missing == NULL && !json_is_object(json_object_get(pod.template, "spec"))) {
        missing = kind->path[0] != NULL ? "template's spec" : "spec";
    }
    if (missing != NULL) {
        return ct_err_set(w->err, CT_EINVAL,
                          "%s, document %zu (line %zu), %s: its %s is missing or no object",
                          w->what, w->document, w->line, pod.object, missing);
    }
    pod.namespace = namespace != NULL ? namespace : "default";
    pod.name = name != NULL ? name : "";
    return w->visit(w->cls, &pod, w->err);
}

static int not_an_object(const struct walk *w)
{
    return ct_err_set(w->err, CT_EINVAL,
                      "%s, document %zu (line %zu): this is no Kubernetes object, which has the "
                      "texts \"apiVersion\" and \"kind\"",
                      w->what, w->document, w->line);
}

static int visit_object(const struct walk *w, json_t *object);

// `kind` is what each item is; NULL: as it says.
static int visit_items(const struct walk *w, const struct kind *kind, const json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        int r = kind == NULL           ? visit_object(w, item)
                : json_is_object(item) ? visit_pod(w, kind, item)
                                       : not_an_object(w);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

// A list of one kind, as the API server answers it: its items need not say what they are.
static const struct kind *kind_of_list(const char *api, const char *name)
{
    char item[64];
    size_t len = strlen(name);
    size_t tail = strlen("List");
    if (len <= tail || len >= sizeof(item) || strcmp(name + len - tail, "List") != 0) {
        return NULL;
    }
    (void)snprintf(item, sizeof(item), "%.*s", (int)(len - tail), name);
    return find_kind(api, item);
}

static int visit_object(const struct walk *w, json_t *object)
{
    const char *api = ct_json_str(object, "apiVersion");
    const char *name = ct_json_str(object, "kind");
    const json_t *items = json_object_get(object, "items");
    if (api == NULL || name == NULL) {
        return not_an_object(w);
    }
    if (strcmp(api, "v1") == 0 && strcmp(name, "List") == 0) {
        return visit_items(w, NULL, items);
    }
    const struct kind *kind = kind_of_list(api, name);
    if (kind != NULL) {
        return visit_items(w, kind, items);
    }
    kind = find_kind(api, name);
    return kind != NULL ? visit_pod(w, kind, object) : 0;
}

int ct_manifest_each(const struct ct_yaml *yaml, const char *what, const char *namespace,
                     int (*visit)(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err),
                     void *cls, struct ct_err *err)
{
    struct walk w = {.what = what, .namespace = namespace, .visit = visit, .cls = cls, .err = err};
    for (size_t i = 0; i < yaml->n; i++) {
        w.document = i + 1;
        w.line = yaml->documents[i].line;
        if (!json_is_null(yaml->documents[i].value)) {
            int r = visit_object(&w, yaml->documents[i].value);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}
