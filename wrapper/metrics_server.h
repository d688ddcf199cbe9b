// SPDX-License-Identifier: Apache-2.0
//
// Serves the metrics, where the pod asks for it, from a thread of its own: bounded in connections, bytes
// and time, and without a hold on anything else. It knows no secret.
#ifndef CT_METRICS_SERVER_H
#define CT_METRICS_SERVER_H

#include "err.h"
#include "metrics.h"

// Listens at `port` of all addresses and makes the thread. `id` is copied. CT_ESYSTEM, as when
// somebody else listens there. Once in a process, before the app is released.
CT_CHECKED int ct_metrics_serve(unsigned port, const struct ct_pod_identity *id,
                                struct ct_err *err);
// What is served from now on; without a server nothing happens. Thread-safe.
void ct_metrics_set_score(const struct ct_score *score);
void ct_metrics_set_token(const struct ct_renewal_counts *counts, int64_t token_end);

#endif
