// SPDX-License-Identifier: Apache-2.0
//
// The agent's metrics in Prometheus' text format.
#ifndef CT_AGENT_METRICS_H
#define CT_AGENT_METRICS_H

#include "buf.h"
#include "report.h"

struct ct_agent_metrics {
    const struct ct_guard *guard;
    const struct ct_report *report;
    double selftest_seconds;     // that the last one took
    double selftest_cpu_seconds; // that all of them took
    uint64_t selftest_failures;
    bool proven; // the last one came to an end
};

// Appends them. A failed append shows in `out`.
void ct_agent_metrics_write(const struct ct_agent_metrics *metrics, struct ct_buf *out);

// Whether this node's agent waits to try again, since nothing can be enforced; all that it answers while it does.
void ct_agent_metrics_standby(bool standby, struct ct_buf *out);

// Processes that should be protected and are not: for want of room, or beyond a limit.
uint64_t ct_agent_metrics_unmarked(const struct ct_guard *guard);

#endif
