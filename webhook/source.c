// SPDX-License-Identifier: Apache-2.0
#include "source.h"

#include "log.h"

void ct_source_init(struct ct_source *source, const struct ct_kind *kind)
{
    source->watch.kind = kind;
    (void)pthread_mutex_init(&source->lock, NULL);
}

void ct_source_done(struct ct_source *source)
{
    ct_cluster_stop(source->cluster);
    ct_watch_done(&source->watch);
    (void)pthread_mutex_destroy(&source->lock);
}

bool ct_source_used(const struct ct_source *source)
{
    return source->cluster != NULL || source->watch.path != NULL;
}

static void tell_read(struct ct_source *source)
{
    struct ct_watch_reader reader = ct_watch_enter(&source->watch);
    const struct ct_kind *kind = source->watch.kind;
    size_t n = ct_nodes_count(reader.nodes);
    ct_log(n > 0 ? CT_LOG_INFO : CT_LOG_WARN, "%zu %s read from %s%s", n, kind->plural,
           source->watch.path,
           n > 0                   ? ""
           : kind == &ct_kind_node ? "; pods whose minimum takes a node's help are refused until "
                                     "there are any"
                                   : "; pods are refused until theirs is among them");
    ct_watch_leave(&source->watch, &reader);
}

int ct_source_tick(struct ct_source *source)
{
    struct ct_err err = {0};
    bool had = atomic_load(&source->watch.nodes) != NULL;
    int r = source->watch.path != NULL ? ct_watch_nodes(&source->watch, &err) : 0;
    if (r > 0) {
        tell_read(source);
    } else if (r < 0) {
        (void)pthread_mutex_lock(&source->lock);
        (void)snprintf(source->trouble, sizeof(source->trouble), "%s", err.msg);
        (void)pthread_mutex_unlock(&source->lock);
        ct_log(CT_LOG_ERROR, "%s%s%s%s", err.msg, had ? "; the " : "",
               had ? source->watch.kind->plural : "", had ? " read before stay in use" : "");
    }
    return r;
}

void ct_source_open_file(struct ct_source *source, const char *path)
{
    source->watch.path = path;
}

int ct_source_open_cluster(struct ct_source *source, struct ct_kube_config *config,
                           unsigned max_age_ms, struct ct_err *err)
{
    return ct_cluster_start(config, max_age_ms, &source->watch, &source->cluster, err);
}

bool ct_source_ready(struct ct_source *source, char *trouble, size_t size)
{
    if (source->cluster != NULL) {
        ct_cluster_trouble(source->cluster, trouble, size);
        return trouble[0] == '\0';
    }
    if (!ct_source_used(source) || atomic_load(&source->watch.nodes) != NULL) {
        return true;
    }
    (void)pthread_mutex_lock(&source->lock);
    (void)snprintf(trouble, size, "%s", source->trouble);
    (void)pthread_mutex_unlock(&source->lock);
    return false;
}

unsigned ct_source_age_s(const struct ct_source *source)
{
    int64_t age = source->cluster != NULL ? ct_cluster_age(source->cluster) : 0;
    return age > 0 ? (unsigned)(age / 1000) : 0;
}
