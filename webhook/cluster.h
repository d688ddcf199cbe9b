// SPDX-License-Identifier: Apache-2.0
//
// The nodes, or the namespaces, as the API server tells of them: listed page by page, then watched, in a thread of their
// own that publishes each new state to a struct ct_watch.
#ifndef CT_WEBHOOK_CLUSTER_H
#define CT_WEBHOOK_CLUSTER_H

#include <stdint.h>

#include "err.h"
#include "kube_config.h"
#include "watch.h"

// What has happened so far, for metrics.
enum ct_cluster_event {
    CT_CLUSTER_LISTED,    // a list was read to its end
    CT_CLUSTER_RESUMED,   // a watch was opened
    CT_CLUSTER_CHANGED,   // a watch's line that changed something
    CT_CLUSTER_UNCHANGED, // one that changed nothing that matters here
    CT_CLUSTER_EXPIRED,   // 410: the version to resume at is gone
    CT_CLUSTER_FAILED,    // anything else that went wrong
    CT_CLUSTER_EVENT_COUNT,
};

// Names for a metric's label: "listed".
const char *ct_cluster_event_name(enum ct_cluster_event event);

struct ct_cluster;

// Starts the thread, which logs, for what `watch` is of. On success `config` is moved and left empty; `watch` must outlive it,
// and nobody else may publish to it. CT_ENOMEM, CT_ESYSTEM.
CT_CHECKED int ct_cluster_start(struct ct_kube_config *config, unsigned max_age_ms,
                                struct ct_watch *watch, struct ct_cluster **ret,
                                struct ct_err *err);
// Ends the thread and frees. NULL is fine.
void ct_cluster_stop(struct ct_cluster *cluster);
CT_DEFINE_AUTO(ct_cluster, ct_cluster_stop);

// The functions below may be called from any thread.

// How old what is known may be, in milliseconds: 0 while the watch is open, else the time since the
// API server was last heard. -1 as long as nothing is known.
int64_t ct_cluster_age(const struct ct_cluster *cluster);
// May requests be decided by it: is something known, and no older than the bound?
bool ct_cluster_usable(const struct ct_cluster *cluster);
// "nodes" or "namespaces".
const char *ct_cluster_resource(const struct ct_cluster *cluster);
uint64_t ct_cluster_count(struct ct_cluster *cluster, enum ct_cluster_event event);
// Why it is not usable, a sentence. "" when it is.
void ct_cluster_trouble(struct ct_cluster *cluster, char *out, size_t size);

#endif
