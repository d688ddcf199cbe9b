// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "ct_version.h"
#include "namespace.h"

// Upper bounds: most requests take some ten microseconds, the API server gives up after seconds.
static const struct {
    uint64_t ns;
    const char *le;
} buckets[CT_METRICS_BUCKETS] = {
    {25000, "0.000025"}, {50000, "0.00005"}, {100000, "0.0001"},  {250000, "0.00025"},
    {500000, "0.0005"},  {1000000, "0.001"}, {2500000, "0.0025"}, {5000000, "0.005"},
    {10000000, "0.01"},  {50000000, "0.05"}, {250000000, "0.25"}, {1000000000, "1"},
};

static const char *const error_names[CT_REQUEST_ERROR_COUNT] = {
    [CT_REQUEST_MALFORMED] = "malformed",   [CT_REQUEST_TOO_LARGE] = "too_large",
    [CT_REQUEST_INTERNAL] = "internal",     [CT_REQUEST_NOT_READY] = "not_ready",
    [CT_REQUEST_NOT_SERVED] = "not_served",
};

static const char *const file_names[CT_RELOAD_FILE_COUNT] = {
    [CT_RELOAD_CERTIFICATE] = "certificate",
    [CT_RELOAD_NODES] = "nodes",
    [CT_RELOAD_NAMESPACES] = "namespaces",
};

const char *ct_request_error_name(enum ct_request_error error)
{
    return error_names[error];
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void took(struct ct_metrics *m, uint64_t ns)
{
    size_t i = 0;
    while (i < CT_METRICS_BUCKETS && ns > buckets[i].ns) {
        i++;
    }
    add(&m->buckets[i], 1);
    add(&m->nanoseconds, ns);
}

void ct_metrics_decided(struct ct_metrics *m, const struct ct_decision *decision, uint64_t ns)
{
    add(&m->requests[ct_decision_disposition(decision)][decision->reason], 1);
    took(m, ns);
}

void ct_metrics_failed(struct ct_metrics *m, enum ct_request_error error, uint64_t ns)
{
    add(&m->errors[error], 1);
    took(m, ns);
}

void ct_metrics_refused(struct ct_metrics *m, enum ct_request_error error)
{
    add(&m->errors[error], 1);
}

void ct_metrics_reloaded(struct ct_metrics *m, enum ct_reload_file file, bool taken)
{
    add(&m->reloads[file][taken], 1);
}

enum family {
    BUILD_INFO,
    REQUESTS,
    DURATION,
    IN_FLIGHT,
    EXPIRY,
    NODES,
    AGENTS,
    NAMESPACES,
    AGE,
    EVENTS,
    RELOADS,
    FAMILY_COUNT,
};

#define PREFIX "cloudtaser_webhook_"

// In the order in which they are told, which is that of the document too.
static const struct {
    const char *name;
    const char *type;
    const char *labels; // for the document
    const char *help;
} families[FAMILY_COUNT] = {
    [BUILD_INFO] = {PREFIX "build_info", "gauge", "`version`",
                    "Always 1; the label tells the program's version."},
    [REQUESTS] = {PREFIX "requests_total", "counter", "`decision`, `reason`",
                  "Admission requests by decision and reason."},
    [DURATION] = {PREFIX "request_duration_seconds", "histogram", "`le`",
                  "Time to decide on a request, its transfer left out."},
    [IN_FLIGHT] = {PREFIX "requests_in_flight", "gauge", "", "Requests being decided on."},
    [EXPIRY] = {PREFIX "certificate_expiry_timestamp_seconds", "gauge", "",
                "When the served certificate ends, in seconds since the epoch."},
    [NODES] = {PREFIX "nodes", "gauge", "`points`", "Nodes by the points that they give a pod."},
    [AGENTS] = {PREFIX "nodes_with_agent", "gauge", "", "Nodes that carry an agent's labels."},
    [NAMESPACES] = {PREFIX "namespaces", "gauge", "`label`",
                    "Namespaces by their label cloudtaser.io/min-protection-score: none, good, or "
                    "bad, which gets pods refused. Not there where labels do not count."},
    [AGE] = {PREFIX "snapshot_age_seconds", "gauge", "`resource`",
             "Time since the API server was last heard; 0 while the watch is open, missing until "
             "something is known, and for files."},
    [EVENTS] = {PREFIX "watch_events_total", "counter", "`resource`, `event`",
                "What the watch of nodes or namespaces met: lists, watches, changes, failures."},
    [RELOADS] = {PREFIX "reloads_total", "counter", "`file`, `result`",
                 "Changed files, and certificates, that were taken up or refused."},
};

static const char *head(struct ct_buf *out, enum family family)
{
    const char *name = families[family].name;
    ct_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, families[family].help, name,
                families[family].type);
    return name;
}

// A series shows once it has counted something; the everyday ones are there from the start, so that
// a rate over them is right from the first request on.
static void render_requests(struct ct_metrics *m, struct ct_buf *out)
{
    const char *name = head(out, REQUESTS);
    for (int disposition = 0; disposition < CT_DISPOSITION_COUNT; disposition++) {
        for (int reason = 0; reason < CT_REASON_COUNT; reason++) {
            uint64_t n = get(&m->requests[disposition][reason]);
            bool everyday = reason == CT_REASON_NONE && disposition <= CT_DISPOSITION_ADMITTED;
            if (n > 0 || everyday) {
                ct_buf_addf(out, "%s{decision=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name,
                            ct_disposition_name((enum ct_disposition)disposition),
                            ct_reason_name((enum ct_reason)reason), n);
            }
        }
    }
    for (int error = 0; error < CT_REQUEST_ERROR_COUNT; error++) {
        ct_buf_addf(out, "%s{decision=\"error\",reason=\"%s\"} %" PRIu64 "\n", name,
                    error_names[error], get(&m->errors[error]));
    }
}

static void render_duration(struct ct_metrics *m, struct ct_buf *out)
{
    const char *name = head(out, DURATION);
    uint64_t count = 0;
    uint64_t ns = get(&m->nanoseconds);
    for (size_t i = 0; i <= CT_METRICS_BUCKETS; i++) {
        count += get(&m->buckets[i]);
        ct_buf_addf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name,
                    i < CT_METRICS_BUCKETS ? buckets[i].le : "+Inf", count);
    }
    ct_buf_addf(out, "%s_sum %" PRIu64 ".%09" PRIu64 "\n%s_count %" PRIu64 "\n", name,
                ns / 1000000000, ns % 1000000000, name, count);
}

static void render_nodes(const struct ct_nodes *nodes, struct ct_buf *out)
{
    struct ct_nodes_stats stats;
    ct_nodes_stats(nodes, &stats);
    const char *name = head(out, NODES);
    for (int points = 0; points <= CT_NODE_MAX_POINTS; points++) {
        if (stats.by_points[points] > 0 || points == 0) {
            ct_buf_addf(out, "%s{points=\"%d\"} %zu\n", name, points, stats.by_points[points]);
        }
    }
    ct_buf_addf(out, "%s %zu\n", head(out, AGENTS), stats.agents);
}

static void render_namespaces(const struct ct_nodes *namespaces, struct ct_buf *out)
{
    struct ct_namespace_stats stats;
    if (namespaces == NULL) {
        return;
    }
    ct_namespace_stats(namespaces, &stats);
    const char *name = head(out, NAMESPACES);
    ct_buf_addf(out, "%s{label=\"none\"} %zu\n%s{label=\"good\"} %zu\n%s{label=\"bad\"} %zu\n",
                name, stats.unlabelled, name, stats.labelled, name, stats.bad);
}

static void render_age(const struct ct_metrics_view *view, struct ct_buf *out)
{
    const char *name = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(view->clusters); i++) {
        int64_t age = view->clusters[i] != NULL ? ct_cluster_age(view->clusters[i]) : -1;
        if (age >= 0) {
            name = name != NULL ? name : head(out, AGE);
            ct_buf_addf(out, "%s{resource=\"%s\"} %" PRId64 ".%03" PRId64 "\n", name,
                        ct_cluster_resource(view->clusters[i]), age / 1000, age % 1000);
        }
    }
}

static void render_events(const struct ct_metrics_view *view, struct ct_buf *out)
{
    const char *name = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(view->clusters); i++) {
        struct ct_cluster *cluster = view->clusters[i];
        for (int event = 0; cluster != NULL && event < CT_CLUSTER_EVENT_COUNT; event++) {
            name = name != NULL ? name : head(out, EVENTS);
            ct_buf_addf(out, "%s{resource=\"%s\",event=\"%s\"} %" PRIu64 "\n", name,
                        ct_cluster_resource(cluster),
                        ct_cluster_event_name((enum ct_cluster_event)event),
                        ct_cluster_count(cluster, (enum ct_cluster_event)event));
        }
    }
}

static void render_reloads(struct ct_metrics *m, struct ct_buf *out)
{
    const char *name = head(out, RELOADS);
    for (int file = 0; file < CT_RELOAD_FILE_COUNT; file++) {
        for (int taken = 0; taken < 2; taken++) {
            ct_buf_addf(out, "%s{file=\"%s\",result=\"%s\"} %" PRIu64 "\n", name, file_names[file],
                        taken ? "taken" : "refused", get(&m->reloads[file][taken]));
        }
    }
}

void ct_metrics_render(struct ct_metrics *m, const struct ct_metrics_view *view, struct ct_buf *out)
{
    ct_buf_addf(out, "%s{version=\"" CT_VERSION "\"} 1\n", head(out, BUILD_INFO));
    render_requests(m, out);
    render_duration(m, out);
    ct_buf_addf(out, "%s %u\n", head(out, IN_FLIGHT),
                atomic_load_explicit(&m->in_flight, memory_order_relaxed));
    ct_buf_addf(out, "%s %lld\n", head(out, EXPIRY), view->certificate_expiry);
    render_nodes(view->nodes, out);
    render_namespaces(view->namespaces, out);
    render_age(view, out);
    render_events(view, out);
    render_reloads(m, out);
}

void ct_metrics_markdown(FILE *out)
{
    (void)fputs("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        (void)fprintf(out, "| `%s` | %s | %s | %s |\n", families[i].name, families[i].type,
                      families[i].labels, families[i].help);
    }
}

// A row of the values that a label may have.
static void list_values(FILE *out, const char *label, const char *(*name)(int), int n)
{
    (void)fprintf(out, "| %s | ", label);
    for (int i = 0; i < n; i++) {
        (void)fprintf(out, "%s`%s`", i > 0 ? ", " : "", name(i));
    }
    (void)fputs(" |\n", out);
}

static const char *decision_at(int i)
{
    return i < CT_DISPOSITION_COUNT ? ct_disposition_name((enum ct_disposition)i) : "error";
}

static const char *reason_at(int i)
{
    return ct_reason_name((enum ct_reason)i);
}

static const char *error_at(int i)
{
    return error_names[i];
}

static const char *event_at(int i)
{
    return ct_cluster_event_name((enum ct_cluster_event)i);
}

static const char *file_at(int i)
{
    return file_names[i];
}

void ct_metrics_markdown_labels(FILE *out)
{
    (void)fputs("| Label | Values |\n|---|---|\n", out);
    list_values(out, "`decision`", decision_at, CT_DISPOSITION_COUNT + 1);
    list_values(out, "`reason`", reason_at, CT_REASON_COUNT);
    list_values(out, "`reason` of `error`", error_at, CT_REQUEST_ERROR_COUNT);
    list_values(out, "`event`", event_at, CT_CLUSTER_EVENT_COUNT);
    list_values(out, "`file`", file_at, CT_RELOAD_FILE_COUNT);
}
