// SPDX-License-Identifier: Apache-2.0
//
// A snapshot in use and where it comes from: a file, the cluster, or nowhere.
#ifndef CT_WEBHOOK_SOURCE_H
#define CT_WEBHOOK_SOURCE_H

#include <pthread.h>

#include "cluster.h"
#include "kube_config.h"
#include "watch.h"

struct ct_source {
    struct ct_watch watch;
    struct ct_cluster *cluster; // NULL: from the file watch.path, or from nowhere when that is NULL
    pthread_mutex_t lock;       // guards `trouble`
    char trouble[512];          // of the file
};

// Before anything else; `kind` is what there is to know.
void ct_source_init(struct ct_source *source, const struct ct_kind *kind);
// No reader may be left.
void ct_source_done(struct ct_source *source);

// From a file, which the next tick reads. `path` must outlive it.
void ct_source_open_file(struct ct_source *source, const char *path);
// From the cluster: `config` is moved and left empty.
CT_CHECKED int ct_source_open_cluster(struct ct_source *source, struct ct_kube_config *config,
                                      unsigned max_age_ms, struct ct_err *err);

// Is there anything that it comes from?
bool ct_source_used(const struct ct_source *source);
// Looks at the file, logs what has changed. 1: taken; 0: nothing new; negative: refused.
int ct_source_tick(struct ct_source *source);

// May requests be decided by it? Why not is written to `trouble`, a sentence. One that comes from nowhere
// always may. Any thread.
bool ct_source_ready(struct ct_source *source, char *trouble, size_t size);
// Seconds since the API server was last heard; 0 for files, and while it is there. Any thread.
unsigned ct_source_age_s(const struct ct_source *source);

#endif
