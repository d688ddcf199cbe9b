// SPDX-License-Identifier: Apache-2.0
#include "nodes_build.h"

#include <stdint.h>
#include <string.h>

// Where the text is, or belongs.
static size_t slot_of(const struct ct_interner *in, const char *text, size_t len)
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

static void grow(struct ct_interner *in)
{
    struct ct_interner larger = {.n_slots = in->n_slots * 2};
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

const char *ct_intern(struct ct_interner *in, const char *text)
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
void ct_measure_text(struct ct_measure *m, const char *text)
{
    m->bytes += (text != NULL ? strlen(text) : 0) + 1;
}
// One element more than needed everywhere: an empty list is no special case.
int ct_nodes_allocate(const struct ct_measure *m, struct ct_nodes *nodes, struct ct_interner *in,
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
int ct_nodes_make(struct ct_nodes **ret, struct ct_err *err)
{
    struct ct_nodes *nodes = calloc(1, sizeof(*nodes));
    if (nodes == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the node list");
    }
    atomic_init(&nodes->references, 1);
    *ret = nodes;
    return 0;
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
