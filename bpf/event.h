// SPDX-License-Identifier: Apache-2.0
//
// What the agent tells, as lines for machines: one JSON object each, written whole or not at all.
#ifndef CT_EVENT_H
#define CT_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"
#include "place.h"
#include "shared.h"

// What is known of an attack beside what the kernel has told.
struct ct_event_about {
    const char *node; // NULL: not told
    const char
        *program; // path of the attacker's, as its mount namespace names it; NULL: it has ended
    struct ct_place attacker;
    struct ct_place victim;
    struct ct_pod_name victim_pod; // empty: of no pod that has registered
};

// A line's beginning, {"time":"…","kind":"…", of now.
void ct_line_begin(struct ct_buf *line, const char *kind, const char *node);
// The same with the time alone, {"time":"…", of `ns` since 1970.
void ct_line_begin_at(struct ct_buf *line, int64_t ns);
int64_t ct_line_now_ns(void);
// "key":"value", with bytes that are no ASCII, or are control characters, shown as '?'.
void ct_line_add(struct ct_buf *line, const char *key, const char *value);
// The same of a text that ends with `size` bytes or before: 1024 at most.
void ct_line_add_upto(struct ct_buf *line, const char *key, const char *value, size_t size);
// Ends the line, in which the last comma is dropped.
void ct_line_end(struct ct_buf *line);
// Where lines go. A reader that has not taken one in time is not waited for any more, until it takes one; and one that is
// slow is waited for a second, and for a tenth of the time from then on. Zeroed but for the descriptor at first.
struct ct_lines {
    int fd;
    bool stalled;
    int patience_ms;    // left
    uint64_t earned_ms; // when it was added to; 0: never
    uint64_t dropped;   // that did not fit, or that nobody took
};

// Ends the line and writes it. False: it is dropped.
bool ct_line_write(struct ct_buf *line, struct ct_lines *out);
// The same of one that has ended already, with its newline.
bool ct_lines_put(struct ct_lines *out, const char *line, size_t len);

// One line: {"time":…,"kind":"attack","vector":"process_vm_readv","action":"denied","tier":"lsm","attacker":{"pid":…,
// "uid":…,"comm":…,"exe":…,"cgroup":…,"parent":…},"victim":{"namespace":…,"pod":…,"pid":…,"cgroup":…}}. `about` may be NULL.
bool ct_event_write(const struct ct_event *event, const struct ct_event_about *about,
                    struct ct_lines *out);

#endif
