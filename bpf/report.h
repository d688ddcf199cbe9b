// SPDX-License-Identifier: Apache-2.0
//
// Attacks as the daemon tells them: each counted once, the first ones as lines of their own, and what a burst has more
// than that as one line a second for each vector. The numbers of all lines together are exact.
#ifndef CT_REPORT_H
#define CT_REPORT_H

#include "event.h"
#include "guard.h"

struct ct_report;

// `node` and `out` are borrowed. NULL: out of memory.
struct ct_report *ct_report_new(const struct ct_guard *guard, const char *node,
                                struct ct_lines *out);
void ct_report_free(struct ct_report *report); // takes NULL
CT_DEFINE_AUTO(ct_report, ct_report_free);

// Takes an attack from ct_guard_poll(). True: it was told as a line of its own. now_ms: CLOCK_MONOTONIC.
bool ct_report_event(struct ct_report *report, const struct ct_event *event, int64_t now_ms);

// Tells what was gathered; at least once a second, and once at the end.
void ct_report_turn(struct ct_report *report, int64_t now_ms);

// Attacks since the maps were made, and those of them that found no room as events.
void ct_report_counts(const struct ct_report *report, enum ct_vector vector, struct ct_count *ret);
// Lines that nobody took, whoever wrote them.
uint64_t ct_report_dropped(const struct ct_report *report);

#endif
