// SPDX-License-Identifier: Apache-2.0
//
// What a scraper is told: a handful of numbers, and nothing of how it is asked (scrape.h).
// Pure: no socket, no clock.
#ifndef CT_METRICS_H
#define CT_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pod_identity.h"
#include "renewal.h"
#include "score.h"

#define CT_METRICS_ANSWER_MAX 12288

struct ct_metrics_values {
    int points;
    int max; // 0: there is no score yet
    bool passed[CT_CHECK_COUNT];
    struct ct_renewal_counts token;
    int64_t token_end; // seconds since 1970; 0: none is known
    unsigned long log_dropped;
};

// The complete answer; `values` and `id` count for 200 alone. Returns its length, within size.
size_t ct_metrics_write(int status, const struct ct_metrics_values *values,
                        const struct ct_pod_identity *id, char *out, size_t size);

#endif
