// SPDX-License-Identifier: Apache-2.0
//
// Attacks gathered into Kubernetes Events: the first one on a pod by a vector is told at once, what
// follows within a minute as one Event with a count. Bounded in memory and in Events a minute, whatever is
// tried: what finds no room is counted. Not thread-safe.
#ifndef CT_POD_EVENT_H
#define CT_POD_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "buf.h"
#include "shared.h"

#define CT_POD_EVENTS 256         // pods by vectors that are gathered at a time
#define CT_POD_EVENTS_A_MINUTE 60 // of a node
#define CT_POD_EVENT_WINDOW_S 60

// A victim's pod, as the registrar knows it.
struct ct_pod_ref {
    char namespace[64];
    char name[254];
    char uid[64];
    char container[64]; // "" when unknown
};

// One Event to be made. Plain data: it is sent from one process of the agent to another.
struct ct_pod_event {
    struct ct_pod_ref pod;
    struct ct_event last; // the latest attack of those counted
    uint64_t count;
    int64_t first_s; // seconds since 1970
    int64_t last_s;
};

struct ct_pod_gatherer;

struct ct_pod_gatherer *ct_pod_gatherer_new(void); // NULL: out of memory
void ct_pod_gatherer_free(struct ct_pod_gatherer *gatherer);
CT_DEFINE_AUTO(ct_pod_gatherer, ct_pod_gatherer_free);

// Takes an attack in. True when *ret is to be told now.
bool ct_pod_gatherer_add(struct ct_pod_gatherer *gatherer, const struct ct_pod_ref *pod,
                         const struct ct_event *event, int64_t now_s, struct ct_pod_event *ret);
// What was gathered long enough; true while there is more. `all`: whatever there is, for the end.
bool ct_pod_gatherer_due(struct ct_pod_gatherer *gatherer, int64_t now_s, bool all,
                         struct ct_pod_event *ret);
// Attacks that no Event tells of.
uint64_t ct_pod_gatherer_lost(const struct ct_pod_gatherer *gatherer);

// The v1 Event's JSON. `number` makes its name its own. A failed append shows in `out`.
void ct_pod_event_write(const struct ct_pod_event *event, const char *node, uint64_t number,
                        struct ct_buf *out);

#endif
