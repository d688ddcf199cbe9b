// SPDX-License-Identifier: Apache-2.0
//
// What the webhook counts, in Prometheus' text format. Counting is a few relaxed atomic additions;
// all the work is done when somebody asks.
#ifndef CT_WEBHOOK_METRICS_H
#define CT_WEBHOOK_METRICS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"
#include "cluster.h"
#include "mutate.h"

#define CT_METRICS_BUCKETS 12 // finite ones

// Requests that got no decision.
enum ct_request_error {
    CT_REQUEST_MALFORMED,  // 400
    CT_REQUEST_TOO_LARGE,  // 413
    CT_REQUEST_INTERNAL,   // 500
    CT_REQUEST_NOT_READY,  // 503
    CT_REQUEST_NOT_SERVED, // what no route takes: 404, 405, 415, …
    CT_REQUEST_ERROR_COUNT,
};

enum ct_reload_file {
    CT_RELOAD_CERTIFICATE,
    CT_RELOAD_NODES,
    CT_RELOAD_NAMESPACES,
    CT_RELOAD_FILE_COUNT,
};

// "too_large"
const char *ct_request_error_name(enum ct_request_error error);

// Zero-initialised. Threads may count while others read.
struct ct_metrics {
    _Atomic uint64_t requests[CT_DISPOSITION_COUNT][CT_REASON_COUNT];
    _Atomic uint64_t errors[CT_REQUEST_ERROR_COUNT];
    _Atomic uint64_t buckets[CT_METRICS_BUCKETS + 1]; // not cumulative; the last one is +Inf
    _Atomic uint64_t nanoseconds;
    atomic_uint in_flight;
    _Atomic uint64_t reloads[CT_RELOAD_FILE_COUNT][2]; // [file][0: refused, 1: taken]
};

// One request that was decided, or not, in so many nanoseconds.
void ct_metrics_decided(struct ct_metrics *m, const struct ct_decision *decision, uint64_t ns);
void ct_metrics_failed(struct ct_metrics *m, enum ct_request_error error, uint64_t ns);
// One that was refused before anybody looked at it; takes no part in the durations.
void ct_metrics_refused(struct ct_metrics *m, enum ct_request_error error);
void ct_metrics_reloaded(struct ct_metrics *m, enum ct_reload_file file, bool taken);

// What is told beside what was counted. Members may be NULL.
struct ct_metrics_view {
    const struct ct_nodes *nodes;
    const struct ct_nodes *namespaces; // NULL: none are known, or they do not count
    struct ct_cluster *clusters[2];
    long long certificate_expiry; // seconds since the epoch
};

// Appends all metrics.
void ct_metrics_render(struct ct_metrics *m, const struct ct_metrics_view *view,
                       struct ct_buf *out);

// The tables of a document: every metric, and the values of the labels that are not plain.
void ct_metrics_markdown(FILE *out);
void ct_metrics_markdown_labels(FILE *out);

#endif
