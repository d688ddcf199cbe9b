// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "ct_version.h"

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
};

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
    add(&m->requests[decision->outcome][decision->reason], 1);
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

static void head(struct ct_buf *out, const char *name, const char *type, const char *help)
{
    ct_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// A series shows once it has counted something; the everyday ones are there from the start, so that
// a rate over them is right from the first request on.
static void render_requests(struct ct_metrics *m, struct ct_buf *out)
{
    static const char name[] = "cloudtaser_webhook_requests_total";
    head(out, name, "counter", "Admission requests by decision and reason.");
    for (int outcome = 0; outcome < CT_OUTCOME_COUNT; outcome++) {
        for (int reason = 0; reason < CT_REASON_COUNT; reason++) {
            uint64_t n = get(&m->requests[outcome][reason]);
            bool everyday = reason == CT_REASON_NONE && outcome != CT_OUTCOME_DENIED &&
                            outcome != CT_OUTCOME_UNPROTECTED;
            if (n > 0 || everyday) {
                ct_buf_addf(out, "%s{decision=\"%s\",reason=\"%s\"} %" PRIu64 "\n", name,
                            ct_outcome_name(outcome), ct_reason_name(reason), n);
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
    static const char name[] = "cloudtaser_webhook_request_duration_seconds";
    uint64_t count = 0;
    uint64_t ns = get(&m->nanoseconds);
    head(out, name, "histogram", "Time to decide on a request, its transfer left out.");
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
    static const char name[] = "cloudtaser_webhook_nodes";
    struct ct_nodes_stats stats;
    ct_nodes_stats(nodes, &stats);
    head(out, name, "gauge", "Nodes by the points that they give a pod.");
    for (int points = 0; points <= CT_NODE_MAX_POINTS; points++) {
        if (stats.by_points[points] > 0 || points == 0) {
            ct_buf_addf(out, "%s{points=\"%d\"} %zu\n", name, points, stats.by_points[points]);
        }
    }
    head(out, "cloudtaser_webhook_nodes_with_agent", "gauge",
         "Nodes that carry an agent's labels.");
    ct_buf_addf(out, "cloudtaser_webhook_nodes_with_agent %zu\n", stats.agents);
}

static void render_reloads(struct ct_metrics *m, struct ct_buf *out)
{
    static const char name[] = "cloudtaser_webhook_reloads_total";
    head(out, name, "counter", "Changed files that were read again.");
    for (int file = 0; file < CT_RELOAD_FILE_COUNT; file++) {
        for (int taken = 0; taken < 2; taken++) {
            ct_buf_addf(out, "%s{file=\"%s\",result=\"%s\"} %" PRIu64 "\n", name, file_names[file],
                        taken ? "taken" : "refused", get(&m->reloads[file][taken]));
        }
    }
}

void ct_metrics_render(struct ct_metrics *m, const struct ct_nodes *nodes,
                       long long certificate_expiry, struct ct_buf *out)
{
    head(out, "cloudtaser_build_info", "gauge", "Always 1; the labels tell the program's version.");
    ct_buf_add_str(out, "cloudtaser_build_info{program=\"cloudtaser-webhook\",version=\"" CT_VERSION
                        "\"} 1\n");
    render_requests(m, out);
    render_duration(m, out);
    head(out, "cloudtaser_webhook_requests_in_flight", "gauge", "Requests being decided on.");
    ct_buf_addf(out, "cloudtaser_webhook_requests_in_flight %u\n",
                atomic_load_explicit(&m->in_flight, memory_order_relaxed));
    head(out, "cloudtaser_webhook_certificate_expiry_timestamp_seconds", "gauge",
         "When the served certificate ends, in seconds since the epoch.");
    ct_buf_addf(out, "cloudtaser_webhook_certificate_expiry_timestamp_seconds %lld\n",
                certificate_expiry);
    render_nodes(nodes, out);
    render_reloads(m, out);
}

void ct_metrics_render_cluster(struct ct_cluster *cluster, struct ct_buf *out)
{
    static const char events[] = "cloudtaser_webhook_node_watch_events_total";
    static const char age_name[] = "cloudtaser_webhook_nodes_age_seconds";
    int64_t age = ct_cluster_age(cluster);
    head(out, events, "counter", "What the watch of nodes met: lists, watches, changes, failures.");
    for (int event = 0; event < CT_CLUSTER_EVENT_COUNT; event++) {
        ct_buf_addf(out, "%s{event=\"%s\"} %" PRIu64 "\n", events,
                    ct_cluster_event_name((enum ct_cluster_event)event),
                    ct_cluster_count(cluster, (enum ct_cluster_event)event));
    }
    if (age >= 0) {
        head(out, age_name, "gauge",
             "Time since the API server was last heard; 0 while the watch is open.");
        ct_buf_addf(out, "%s %" PRId64 ".%03" PRId64 "\n", age_name, age / 1000, age % 1000);
    }
}
