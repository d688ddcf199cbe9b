// SPDX-License-Identifier: Apache-2.0
#include "nodes.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "json.h"
#include "scratch.h"

#define MAX_NODES ((size_t)100000)

// Node labels repeat themselves from node to node, so that each text is kept once: a table of
// pointers into one block, open addressing, at most half full.
struct interner {
    char *block; // as large as all texts together: what is not reached is never touched
    size_t used;
    const char **slots;
    size_t n_slots; // a power of two
    size_t n;
    bool failed;
};

struct ct_nodes {
    _Atomic(unsigned) references;
    char *block;
    struct ct_label *labels;
    struct ct_taint *taints;
    struct ct_node *nodes; // sorted by name
    size_t n;
};

// What must be allocated for a list.
struct measure {
    size_t nodes;
    size_t labels;
    size_t taints;
    size_t bytes;
};

// Where the text is, or belongs.
static size_t slot_of(const struct interner *in, const char *text, size_t len)
{
    uint64_t hash = 14695981039346656037ULL; // FNV-1a
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211ULL;
    }
    size_t slot = (size_t)hash & (in->n_slots - 1);
    while (in->slots[slot] != NULL && strcmp(in->slots[slot], text) != 0) {
        slot = (slot + 1) & (in->n_slots - 1);
    }
    return slot;
}

static void grow(struct interner *in)
{
    struct interner larger = {.n_slots = in->n_slots * 2};
    larger.slots = calloc(larger.n_slots, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        in->failed = true;
        return;
    }
    for (size_t i = 0; i < in->n_slots; i++) {
        if (in->slots[i] != NULL) {
            larger.slots[slot_of(&larger, in->slots[i], strlen(in->slots[i]))] = in->slots[i];
        }
    }
    free(in->slots);
    in->slots = larger.slots;
    in->n_slots = larger.n_slots;
}

static const char *intern(struct interner *in, const char *text)
{
    size_t len = strlen(text);
    size_t slot = slot_of(in, text, len);
    if (in->slots[slot] != NULL) {
        return in->slots[slot];
    }
    char *copy = in->block + in->used;
    memcpy(copy, text, len + 1);
    in->used += len + 1;
    if (in->failed) {
        return copy; // the table is full; all of it is thrown away in the end
    }
    in->slots[slot] = copy;
    if (++in->n * 2 > in->n_slots) {
        grow(in);
    }
    return copy;
}

static void measure_text(struct measure *m, const char *text)
{
    m->bytes += (text != NULL ? strlen(text) : 0) + 1;
}

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

static int measure_node(const json_t *item, size_t index, struct measure *m, struct ct_err *err)
{
    const char *kind = ct_json_str(item, "kind");
    const char *name = ct_json_str(json_object_get(item, "metadata"), "name");
    if ((kind != NULL && strcmp(kind, "Node") != 0) || name == NULL || *name == '\0') {
        return ct_err_set(err, CT_EINVAL,
                          "item %zu of the node list is no Node with a name (kind \"%s\")", index,
                          or_empty(kind));
    }
    m->nodes++;
    measure_text(m, name);
    measure_text(m, ct_json_str(ct_json_at(item, "status", "nodeInfo", NULL), "kernelVersion"));
    const char *key;
    json_t *value;
    json_object_foreach(ct_json_at(item, "metadata", "labels", NULL), key, value)
    {
        m->labels++;
        measure_text(m, key);
        measure_text(m, json_string_value(value));
    }
    size_t i;
    json_t *taint;
    json_array_foreach(ct_json_at(item, "spec", "taints", NULL), i, taint)
    {
        m->taints++;
        measure_text(m, ct_json_str(taint, "key"));
        measure_text(m, ct_json_str(taint, "value"));
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

static void fill_node(const json_t *item, struct interner *in, struct ct_label **labels,
                      struct ct_taint **taints, struct ct_node *node)
{
    node->name = intern(in, ct_json_str(json_object_get(item, "metadata"), "name"));
    node->kernel = intern(
        in, or_empty(ct_json_str(ct_json_at(item, "status", "nodeInfo", NULL), "kernelVersion")));
    node->labels = *labels;
    const char *key;
    json_t *value;
    json_object_foreach(ct_json_at(item, "metadata", "labels", NULL), key, value)
    {
        (*labels)->key = intern(in, key);
        (*labels)->value = intern(in, or_empty(json_string_value(value)));
        (*labels)++;
        node->n_labels++;
    }
    qsort(*labels - node->n_labels, node->n_labels, sizeof(**labels), by_label_key);
    node->taints = *taints;
    size_t i;
    json_t *taint;
    json_array_foreach(ct_json_at(item, "spec", "taints", NULL), i, taint)
    {
        enum ct_taint_effect effect = taint_effect(taint);
        if (effect != CT_TAINT_OTHER) {
            (*taints)->key = intern(in, or_empty(ct_json_str(taint, "key")));
            (*taints)->value = intern(in, or_empty(ct_json_str(taint, "value")));
            (*taints)->effect = effect;
            (*taints)++;
            node->n_taints++;
        }
    }
    node->unschedulable = json_is_true(ct_json_at(item, "spec", "unschedulable", NULL));
    judge_share(node);
}

// One element more than needed everywhere: an empty list is no special case.
static int allocate(const struct measure *m, struct ct_nodes *nodes, struct interner *in,
                    struct ct_err *err)
{
    in->n_slots = 64;
    nodes->block = malloc(m->bytes + 1);
    nodes->labels = calloc(m->labels + 1, sizeof(*nodes->labels));
    nodes->taints = calloc(m->taints + 1, sizeof(*nodes->taints));
    nodes->nodes = calloc(m->nodes + 1, sizeof(*nodes->nodes));
    in->slots = calloc(in->n_slots, sizeof(*in->slots));
    in->block = nodes->block;
    if (nodes->block == NULL || nodes->labels == NULL || nodes->taints == NULL ||
        nodes->nodes == NULL || in->slots == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", m->nodes);
    }
    return 0;
}

// Sorts; a name that comes twice is an error.
static int sort(struct ct_nodes *nodes, struct ct_err *err)
{
    qsort(nodes->nodes, nodes->n, sizeof(*nodes->nodes), by_node_name);
    for (size_t i = 1; i < nodes->n; i++) {
        if (strcmp(nodes->nodes[i - 1].name, nodes->nodes[i].name) == 0) {
            return ct_err_set(err, CT_EINVAL, "node %s is in the node list twice",
                              nodes->nodes[i].name);
        }
    }
    return 0;
}

static int fill(const json_t *items, const struct measure *m, struct ct_nodes *nodes,
                struct ct_err *err)
{
    struct interner in = {0};
    int r = allocate(m, nodes, &in, err);
    struct ct_label *labels = nodes->labels;
    struct ct_taint *taints = nodes->taints;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        if (r == 0) {
            fill_node(item, &in, &labels, &taints, &nodes->nodes[nodes->n++]);
        }
    }
    free(in.slots);
    if (r == 0 && in.failed) {
        r = ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", m->nodes);
    }
    return r == 0 ? sort(nodes, err) : r;
}

static int make(struct ct_nodes **ret, struct ct_err *err)
{
    struct ct_nodes *nodes = calloc(1, sizeof(*nodes));
    if (nodes == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the node list");
    }
    atomic_init(&nodes->references, 1);
    *ret = nodes;
    return 0;
}

int ct_nodes_of_items(const json_t *items, struct ct_nodes **ret, struct ct_err *err)
{
    struct measure m = {0};
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        int r = measure_node(item, i, &m, err);
        if (r != 0) {
            return r;
        }
    }
    CT_AUTO(ct_nodes) *nodes = NULL;
    int r = make(&nodes, err);
    r = r == 0 ? fill(items, &m, nodes, err) : r;
    if (r == 0) {
        *ret = ct_steal(&nodes);
    }
    return r;
}

// ---- merging ----

// A node with its part's place: of two with one name the later part's counts.
struct entry {
    const struct ct_node *node;
    size_t part;
};

static int by_name_and_part(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->node->name, y->node->name);
    return order != 0 ? order : (x->part > y->part) - (x->part < y->part);
}

static void copy_node(const struct ct_node *from, struct interner *in, struct ct_label **labels,
                      struct ct_taint **taints, struct ct_node *to)
{
    *to = *from;
    to->name = intern(in, from->name);
    to->kernel = intern(in, from->kernel);
    to->labels = *labels;
    to->taints = *taints;
    for (size_t i = 0; i < from->n_labels; i++) {
        (*labels)->key = intern(in, from->labels[i].key);
        (*labels)++->value = intern(in, from->labels[i].value);
    }
    for (size_t i = 0; i < from->n_taints; i++) {
        (*taints)->effect = from->taints[i].effect;
        (*taints)->key = intern(in, from->taints[i].key);
        (*taints)++->value = intern(in, from->taints[i].value);
    }
}

static void measure_copy(const struct ct_node *node, struct measure *m)
{
    m->nodes++;
    m->labels += node->n_labels;
    m->taints += node->n_taints;
    measure_text(m, node->name);
    measure_text(m, node->kernel);
    for (size_t i = 0; i < node->n_labels; i++) {
        measure_text(m, node->labels[i].key);
        measure_text(m, node->labels[i].value);
    }
    for (size_t i = 0; i < node->n_taints; i++) {
        measure_text(m, node->taints[i].key);
        measure_text(m, node->taints[i].value);
    }
}

// Sorted, one entry a name, those that are gone left out. Returns how many are left.
static size_t settle(struct entry *entries, size_t n)
{
    size_t left = 0;
    qsort(entries, n, sizeof(*entries), by_name_and_part);
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n || strcmp(entries[i].node->name, entries[i + 1].node->name) != 0;
        if (last && !entries[i].node->gone) {
            entries[left++] = entries[i];
        }
    }
    return left;
}

static int fill_merged(const struct entry *entries, size_t n, struct ct_nodes *nodes,
                       struct ct_err *err)
{
    struct interner in = {0};
    struct measure m = {0};
    for (size_t i = 0; i < n; i++) {
        measure_copy(entries[i].node, &m);
    }
    int r = allocate(&m, nodes, &in, err);
    struct ct_label *labels = nodes->labels;
    struct ct_taint *taints = nodes->taints;
    for (size_t i = 0; i < n && r == 0; i++) {
        copy_node(entries[i].node, &in, &labels, &taints, &nodes->nodes[nodes->n++]);
    }
    free(in.slots);
    return r == 0 && in.failed ? ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", n) : r;
}

int ct_nodes_merge(const struct ct_nodes *const *parts, size_t n_parts, struct ct_nodes **ret,
                   struct ct_err *err)
{
    CT_AUTO(ct_nodes) *nodes = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        n += ct_nodes_count(parts[i]);
    }
    struct entry *entries = calloc(n + 1, sizeof(*entries));
    if (entries == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for %zu nodes", n);
    }
    n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        for (size_t k = 0; k < ct_nodes_count(parts[i]); k++) {
            entries[n++] = (struct entry){.node = &parts[i]->nodes[k], .part = i};
        }
    }
    n = settle(entries, n);
    int r = n > MAX_NODES
                ? ct_err_set(err, CT_ETOOBIG, "there are %zu nodes, %zu are allowed", n, MAX_NODES)
                : make(&nodes, err);
    r = r == 0 ? fill_merged(entries, n, nodes, err) : r;
    free(entries);
    if (r == 0) {
        *ret = ct_steal(&nodes);
    }
    return r;
}

void ct_nodes_mark_gone(struct ct_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        nodes->nodes[i].gone = true;
    }
}

bool ct_node_equal(const struct ct_node *a, const struct ct_node *b)
{
    bool equal = strcmp(a->name, b->name) == 0 && strcmp(a->kernel, b->kernel) == 0 &&
                 a->n_labels == b->n_labels && a->n_taints == b->n_taints &&
                 a->unschedulable == b->unschedulable && a->gone == b->gone;
    for (size_t i = 0; equal && i < a->n_labels; i++) {
        equal = strcmp(a->labels[i].key, b->labels[i].key) == 0 &&
                strcmp(a->labels[i].value, b->labels[i].value) == 0;
    }
    for (size_t i = 0; equal && i < a->n_taints; i++) {
        equal = a->taints[i].effect == b->taints[i].effect &&
                strcmp(a->taints[i].key, b->taints[i].key) == 0 &&
                strcmp(a->taints[i].value, b->taints[i].value) == 0;
    }
    return equal;
}

// ---- a document ----

static int check_list(const json_t *list, const json_t **ret_items, struct ct_err *err)
{
    const char *version = or_empty(ct_json_str(list, "apiVersion"));
    const char *kind = or_empty(ct_json_str(list, "kind"));
    const json_t *items = json_object_get(list, "items");
    if (strcmp(version, "v1") != 0 ||
        (strcmp(kind, "List") != 0 && strcmp(kind, "NodeList") != 0) || !json_is_array(items)) {
        return ct_err_set(err, CT_EINVAL,
                          "the node list is no v1 List or NodeList with items (apiVersion \"%s\", "
                          "kind \"%s\"): give what `kubectl get nodes -o json` prints",
                          version, kind);
    }
    if (json_array_size(items) > MAX_NODES) {
        return ct_err_set(err, CT_ETOOBIG, "the node list has %zu nodes, %zu are allowed",
                          json_array_size(items), MAX_NODES);
    }
    *ret_items = items;
    return 0;
}

int ct_nodes_parse(const char *data, size_t len, struct ct_nodes **ret, struct ct_err *err)
{
    CT_AUTO_JSON list = NULL;
    const json_t *items = NULL;
    ct_scratch_forget_failure();
    int r = ct_json_parse(data, len, "the node list", &list, err);
    if (ct_scratch_failure() != 0) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading the node list");
    }
    if (r == 0) {
        r = check_list(list, &items, err);
    }
    return r == 0 ? ct_nodes_of_items(items, ret, err) : r;
}

struct ct_nodes *ct_nodes_ref(struct ct_nodes *nodes)
{
    if (nodes != NULL) {
        atomic_fetch_add_explicit(&nodes->references, 1, memory_order_relaxed);
    }
    return nodes;
}

void ct_nodes_free(struct ct_nodes *nodes)
{
    if (nodes == NULL ||
        atomic_fetch_sub_explicit(&nodes->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    free(nodes->block);
    free(nodes->labels);
    free(nodes->taints);
    free(nodes->nodes);
    free(nodes);
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
