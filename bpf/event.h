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
};

// A line's beginning, {"time":"…","kind":"…", of now.
void ct_line_begin(struct ct_buf *line, const char *kind, const char *node);
// The same with the time alone, {"time":"…", of `ns` since 1970.
void ct_line_begin_at(struct ct_buf *line, int64_t ns);
int64_t ct_line_now_ns(void);
// "key":"value", with bytes that are no ASCII shown as '?'.
void ct_line_add(struct ct_buf *line, const char *key, const char *value);
// The same of a text that ends with `size` bytes or before: 1024 at most.
void ct_line_add_upto(struct ct_buf *line, const char *key, const char *value, size_t size);
// Ends the line, in which the last comma is dropped.
void ct_line_end(struct ct_buf *line);
// Ends the line and writes it. False: it did not fit, or who reads
// has not taken it within a second.
bool ct_line_write(struct ct_buf *line, int fd);

// One line: {"time":…,"kind":"attack","vector":"process_vm_readv","action":"denied","tier":"lsm","attacker":{"pid":…,
// "uid":…,"comm":…,"exe":…,"cgroup":…,"parent":…},"victim":{"pid":…,"cgroup":…}}. `about` may be NULL.
bool ct_event_write(const struct ct_event *event, const struct ct_event_about *about, int fd);

#endif
