// SPDX-License-Identifier: Apache-2.0
//
// `cloudtaser-agent run`: the daemon. One thread, one loop: it reads the kernel's events and requests, has
// the self-test repeated, and gives each of its parts a turn. Whatever a part has to wait for belongs into
// a process of its own.
#ifndef CT_RUN_H
#define CT_RUN_H

#include <stdint.h>

#include "buf.h"
#include "event.h"
#include "guard.h"

#define CT_RUN_PARTS 8

// A part of the daemon. Every function may be NULL.
struct ct_run_part {
    void *cls;
    // To be waited for: readable calls `turn`. -1 or NULL: nothing but time does.
    int (*fd)(void *cls);
    // Called when its descriptor is readable, and at least once a second.
    void (*turn)(void *cls);
    // Each refusal that was told of one by one.
    void (*attacked)(void *cls, const struct ct_event *event);
    // After each self-test: ct_guard_result() has news.
    void (*proven)(void *cls, const struct ct_guard *guard);
    // Appends what it has to say in Prometheus' text format.
    void (*metrics)(void *cls, struct ct_buf *out);
};

struct ct_run_options {
    struct ct_guard_options guard;
    const char *node;           // its name, for the lines; NULL: the host's
    const char *metrics_listen; // "127.0.0.1:9090", ":9090"; NULL: nowhere
    unsigned prove_ms;          // between two self-tests
    // After which the node is told of a loss: a daemon whose self-test hangs does not end before.
    unsigned hold_ms;
};

struct ct_run;

// Takes over the pins or makes them, proves them, and drops what the rest does not need of the process's
// rights. Enforcement holds from then on, whatever becomes of the process. Errors: see ct_guard_new().
CT_CHECKED int ct_run_new(const struct ct_run_options *options, struct ct_run **ret,
                          struct ct_err *err);
// Takes NULL. What is pinned goes on enforcing.
void ct_run_free(struct ct_run *run);
CT_DEFINE_AUTO(ct_run, ct_run_free);

// Borrowed, for the parts; it lives as long as the daemon.
struct ct_guard *ct_run_guard(struct ct_run *run);
struct ct_lines *ct_run_lines(struct ct_run *run);

// Copies `part`. CT_ETOOBIG beyond CT_RUN_PARTS.
CT_CHECKED int ct_run_add(struct ct_run *run, const struct ct_run_part *part, struct ct_err *err);

// The signals that a daemon is told by (SIGTERM, SIGINT, SIGUSR1) are blocked and come by this descriptor instead, for
// signalfd(2); SIGPIPE is ignored. The caller closes it. -1 with errno.
CT_CHECKED int ct_run_signals(void);

// Until SIGTERM or SIGINT. SIGUSR1 asks for a self-test. Errors: -CT_ESYSTEM, when it cannot go on.
CT_CHECKED int ct_run_loop(struct ct_run *run, struct ct_err *err);

#endif
