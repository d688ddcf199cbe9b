// SPDX-License-Identifier: Apache-2.0
//
// The nodes (or namespaces) that requests are decided by: read from a file when it changes, or handed over by who
// watches the cluster, and replaced under load without a lock on the side of the readers.
#ifndef CT_WEBHOOK_WATCH_H
#define CT_WEBHOOK_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"
#include "nodes.h"
#include "stamp.h"

// Zero-initialised but for `kind`, and with `path` set for ct_watch_nodes(). One thread changes the nodes, any number of them enter and
// leave.
struct ct_watch {
    const struct ct_kind *kind;
    const char *path;
    struct ct_stamp stamp;
    bool tried;
    struct ct_nodes *_Atomic nodes;
    // Readers are counted in the half that the epoch's lowest bit names, so that the writer, having
    // moved the epoch on, can wait for the other half to run empty whatever newcomers there are.
    atomic_uint epoch;
    atomic_uint readers[2];
};

// What ct_watch_leave() needs back.
struct ct_watch_reader {
    const struct ct_nodes *nodes; // NULL until some are known
    unsigned half;
};

// The nodes stay valid until ct_watch_leave(). Two atomic operations, no waiting, any thread.
struct ct_watch_reader ct_watch_enter(struct ct_watch *watch);
void ct_watch_leave(struct ct_watch *watch, const struct ct_watch_reader *reader);

// Reads the file when it has changed since the last attempt. 1: new nodes are in use; 0: no change;
// negative with a sentence: what the file holds now is refused, the nodes before it stay in use.
CT_CHECKED int ct_watch_nodes(struct ct_watch *watch, struct ct_err *err);

// Puts `fresh` (taken over) in the place of the nodes that are in use. The same thread as
// ct_watch_nodes().
void ct_watch_publish(struct ct_watch *watch, struct ct_nodes *fresh);

// No reader may be left.
void ct_watch_done(struct ct_watch *watch);

#endif
