// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <string.h>

#include "json.h"
#include "nodes_build.h"
#include "scratch.h"

const struct ct_kind ct_kind_node = {
    .kind = "Node",
    .list = "NodeList",
    .singular = "node",
    .plural = "nodes",
    .path = "/api/v1/nodes",
    .gather_ms = 100,
};

// Nothing is gathered: a pod may follow its new namespace at once.
const struct ct_kind ct_kind_namespace = {
    .kind = "Namespace",
    .list = "NamespaceList",
    .singular = "namespace",
    .plural = "namespaces",
    .path = "/api/v1/namespaces",
    .only_label = CT_NAMESPACE_LABEL,
};

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static enum ct_taint_effect taint_effect(const json_t *taint)
{
    const char *effect = or_empty(ct_json_str(taint, "effect"));
    if (strcmp(effect, "NoSchedule") == 0) {
        return CT_TAINT_NO_SCHEDULE;
    }
    return strcmp(effect, "NoExecute") == 0 ? CT_TAINT_NO_EXECUTE : CT_TAINT_OTHER;
}

static bool keeps_label(const struct ct_kind *what, const char *key)
{
    return what->only_label == NULL || strcmp(key, what->only_label) == 0;
}

static int measure_item(const struct ct_kind *what, const json_t *item, size_t index,
                        struct ct_measure *m, struct ct_err *err)
{
    const char *kind = ct_json_str(item, "kind");
    const char *name = ct_json_str(json_object_get(item, "metadata"), "name");
    if ((kind != NULL && strcmp(kind, what->kind) != 0) || name == NULL || *name == '\0') {
        return ct_err_set(err, CT_EINVAL,
                          "item %zu of the %s list is no %s with a name (kind \"%s\")", index,
                          what->singular, what->kind, or_empty(kind));
    }
    m->nodes++;
    ct_measure_text(m, name);
    ct_measure_text(m, ct_json_str(ct_json_at(item, "status", "nodeInfo", NULL), "kernelVersion"));
    const char *key;
    json_t *value;
    json_object_foreach(ct_json_at(item, "metadata", "labels", NULL), key, value)
    {
        if (keeps_label(what, key)) {
            m->labels++;
            ct_measure_text(m, key);
            ct_measure_text(m, json_string_value(value));
        }
    }
    size_t i;
    json_t *taint;
    json_array_foreach(ct_json_at(item, "spec", "taints", NULL), i, taint)
    {
        m->taints++;
        ct_measure_text(m, ct_json_str(taint, "key"));
        ct_measure_text(m, ct_json_str(taint, "value"));
    }
    return 0;
}

static int by_label_key(const void *a, const void *b)
{
    return strcmp(((const struct ct_label *)a)->key, ((const struct ct_label *)b)->key);
}

static int by_node_name(const void *a, const void *b)
{
    return strcmp(((const struct ct_node *)a)->name, ((const struct ct_node *)b)->name);
}

const char *ct_node_label(const struct ct_node *node, const char *key)
{
    if (node->n_labels == 0) {
        return NULL;
    }
    struct ct_label wanted = {.key = key};
    const struct ct_label *found =
        bsearch(&wanted, node->labels, node->n_labels, sizeof(wanted), by_label_key);
    return found != NULL ? found->value : NULL;
}

bool ct_kernel_at_least(const char *version, unsigned major, unsigned minor)
{
    unsigned numbers[2] = {0, 0};
    for (size_t i = 0; i < CT_ARRAY_LEN(numbers); i++) {
        if (!isdigit((unsigned char)*version)) {
            return false;
        }
        for (; isdigit((unsigned char)*version); version++) {
            numbers[i] = numbers[i] * 10 + (unsigned)(*version - '0');
            if (numbers[i] > 9999) {
                return false;
            }
        }
        version += *version == '.' && i == 0;
    }
    return numbers[0] > major || (numbers[0] == major && numbers[1] >= minor);
}

// "0".."35"; anything else is garbage and worth nothing.
static int parse_points(const char *text)
{
    int value = 0;
    size_t digits = 0;
    for (; digits < 3 && isdigit((unsigned char)text[digits]); digits++) {
        value = value * 10 + (text[digits] - '0');
    }
    return digits > 0 && text[digits] == '\0' && value <= CT_NODE_MAX_POINTS ? value : -1;
}

static bool one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static void judge_share(struct ct_node *node)
{
    static const char *const blocking[] = {"lsm", "fmod_ret", "kprobe", NULL};
    static const char *const enforcing[] = {"lsm", "fmod_ret", "kprobe", "reactive", NULL};
    struct ct_node_share *share = &node->share;
    for (size_t i = 0; i < node->n_labels && !share->agent; i++) {
        share->agent =
            strncmp(node->labels[i].key, CT_NODE_LABEL_PREFIX, strlen(CT_NODE_LABEL_PREFIX)) == 0;
    }
    const char *memfd = or_empty(ct_node_label(node, CT_NODE_LABEL_PREFIX "memfd-secret"));
    // On by default from 6.5; before, only a boot parameter that nothing tells of turns it on.
    bool kernel = ct_kernel_at_least(node->kernel, 6, 5) && strcmp(memfd, "false") != 0;
    share->without_agent = kernel ? 15 : 0;
    if (!share->agent) {
        share->points = share->without_agent;
        share->memfd_secret = kernel;
        return;
    }
    int points =
        parse_points(or_empty(ct_node_label(node, CT_NODE_LABEL_PREFIX "protection-points")));
    if (points < 0) {
        return;
    }
    const char *enforcement = or_empty(ct_node_label(node, CT_NODE_LABEL_PREFIX "enforcement"));
    share->points = points;
    share->memfd_secret = strcmp(memfd, "true") == 0;
    share->ebpf = one_of(enforcement, enforcing);
    share->kprobes = one_of(enforcement, blocking);
}

static void fill_node(const struct ct_kind *what, const json_t *item, struct ct_interner *in,
                      struct ct_label **labels, struct ct_taint **taints, struct ct_node *node)
{
    node->name = ct_intern(in, ct_json_str(json_object_get(item, "metadata"), "name"));
    node->kernel = ct_intern(
        in, or_empty(ct_json_str(ct_json_at(item, "status", "nodeInfo", NULL), "kernelVersion")));
    node->labels = *labels;
    const char *key;
    json_t *value;
    json_object_foreach(ct_json_at(item, "metadata", "labels", NULL), key, value)
    {
        if (keeps_label(what, key)) {
            (*labels)->key = ct_intern(in, key);
            (*labels)->value = ct_intern(in, or_empty(json_string_value(value)));
            (*labels)++;
            node->n_labels++;
        }
    }
    qsort(*labels - node->n_labels, node->n_labels, sizeof(**labels), by_label_key);
    node->taints = *taints;
    size_t i;
    json_t *taint;
    json_array_foreach(ct_json_at(item, "spec", "taints", NULL), i, taint)
    {
        enum ct_taint_effect effect = taint_effect(taint);
        if (effect != CT_TAINT_OTHER) {
            (*taints)->key = ct_intern(in, or_empty(ct_json_str(taint, "key")));
            (*taints)->value = ct_intern(in, or_empty(ct_json_str(taint, "value")));
            (*taints)->effect = effect;
            (*taints)++;
            node->n_taints++;
        }
    }
    node->unschedulable = json_is_true(ct_json_at(item, "spec", "unschedulable", NULL));
    judge_share(node);
}

// Sorts; a name that comes twice is an error.
static int sort(const struct ct_kind *what, struct ct_nodes *nodes, struct ct_err *err)
{
    qsort(nodes->nodes, nodes->n, sizeof(*nodes->nodes), by_node_name);
    for (size_t i = 1; i < nodes->n; i++) {
        if (strcmp(nodes->nodes[i - 1].name, nodes->nodes[i].name) == 0) {
            return ct_err_set(err, CT_EINVAL, "%s %s is in the %s list twice", what->singular,
                              nodes->nodes[i].name, what->singular);
        }
    }
    return 0;
}

static int fill(const struct ct_kind *what, const json_t *items, const struct ct_measure *m,
                struct ct_nodes *nodes, struct ct_err *err)
{
    struct ct_interner in = {0};
    int r = ct_nodes_allocate(m, nodes, &in, err);
    struct ct_label *labels = nodes->labels;
    struct ct_taint *taints = nodes->taints;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        if (r == 0) {
            fill_node(what, item, &in, &labels, &taints, &nodes->nodes[nodes->n++]);
        }
    }
    free(in.slots);
    if (r == 0 && in.failed) {
        r = ct_err_set(err, CT_ENOMEM, "out of memory for %zu %s", m->nodes, what->plural);
    }
    return r == 0 ? sort(what, nodes, err) : r;
}

int ct_nodes_of_items(const struct ct_kind *what, const json_t *items, struct ct_nodes **ret,
                      struct ct_err *err)
{
    struct ct_measure m = {0};
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        int r = measure_item(what, item, i, &m, err);
        if (r != 0) {
            return r;
        }
    }
    CT_AUTO(ct_nodes) *nodes = NULL;
    int r = ct_nodes_make(&nodes, err);
    r = r == 0 ? fill(what, items, &m, nodes, err) : r;
    if (r == 0) {
        *ret = ct_steal(&nodes);
    }
    return r;
}

// ---- a document ----

static int check_list(const struct ct_kind *what, const json_t *list, const json_t **ret_items,
                      struct ct_err *err)
{
    const char *version = or_empty(ct_json_str(list, "apiVersion"));
    const char *kind = or_empty(ct_json_str(list, "kind"));
    const json_t *items = json_object_get(list, "items");
    if (strcmp(version, "v1") != 0 ||
        (strcmp(kind, "List") != 0 && strcmp(kind, what->list) != 0) || !json_is_array(items)) {
        return ct_err_set(err, CT_EINVAL,
                          "the %s list is no v1 List or %s with items (apiVersion \"%s\", "
                          "kind \"%s\"): give what `kubectl get %s -o json` prints",
                          what->singular, what->list, version, kind, what->plural);
    }
    if (json_array_size(items) > CT_NODES_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "the %s list has %zu %s, %zu are allowed",
                          what->singular, json_array_size(items), what->plural, CT_NODES_MAX);
    }
    *ret_items = items;
    return 0;
}

int ct_nodes_parse(const char *data, size_t len, struct ct_nodes **ret, struct ct_err *err)
{
    return ct_kind_parse(&ct_kind_node, data, len, ret, err);
}

int ct_kind_parse(const struct ct_kind *what, const char *data, size_t len, struct ct_nodes **ret,
                  struct ct_err *err)
{
    char name[32];
    CT_AUTO_JSON list = NULL;
    const json_t *items = NULL;
    ct_scratch_forget_failure();
    (void)snprintf(name, sizeof(name), "the %s list", what->singular);
    int r = ct_json_parse(data, len, name, &list, err);
    if (ct_scratch_failure() != 0) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading %s", name);
    }
    if (r == 0) {
        r = check_list(what, list, &items, err);
    }
    return r == 0 ? ct_nodes_of_items(what, items, ret, err) : r;
}

size_t ct_nodes_count(const struct ct_nodes *nodes)
{
    return nodes != NULL ? nodes->n : 0;
}

const struct ct_node *ct_nodes_at(const struct ct_nodes *nodes, size_t i)
{
    return i < ct_nodes_count(nodes) ? &nodes->nodes[i] : NULL;
}

const struct ct_node *ct_nodes_find(const struct ct_nodes *nodes, const char *name)
{
    if (ct_nodes_count(nodes) == 0) {
        return NULL;
    }
    struct ct_node wanted = {.name = name};
    return bsearch(&wanted, nodes->nodes, nodes->n, sizeof(wanted), by_node_name);
}

void ct_nodes_stats(const struct ct_nodes *nodes, struct ct_nodes_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->nodes = ct_nodes_count(nodes);
    for (size_t i = 0; i < ret->nodes; i++) {
        const struct ct_node *node = &nodes->nodes[i];
        ret->agents += node->share.agent;
        ret->unschedulable += node->unschedulable;
        ret->by_points[node->share.points]++;
    }
}
