// SPDX-License-Identifier: Apache-2.0
//
// What the agent tells the cluster: its node's labels, and Events on pods that were attacked. A child process
// of its own speaks with the API server, without any capability: whatever the API server, the network or a
// name server do, nothing waits for them here, and neither TLS nor JSON from the network is read where
// programs can be loaded into the kernel. Nothing here blocks. Not thread-safe.
#ifndef CT_ADVERTISE_H
#define CT_ADVERTISE_H

#include "err.h"
#include "label.h"
#include "pod_event.h"

struct ct_advertise;

struct ct_advertise_options {
    const char *node;    // the node's name; NULL or "": nothing is told
    unsigned hold_ms;    // for how long a loss must last until affinity is told of it
    const char *program; // what the child runs; NULL: this program itself
};

// Starts the child. *ret is NULL when there is nobody to tell: no node's name. All other functions take
// that. CT_EINVAL: no such name; CT_ENOMEM, CT_ESYSTEM. `options` is copied.
CT_CHECKED int ct_advertise_start(const struct ct_advertise_options *options,
                                  struct ct_advertise **ret, struct ct_err *err);
// Takes NULL. The child ends by itself, and the labels stay: enforcement does.
void ct_advertise_free(struct ct_advertise *advertise);
CT_DEFINE_AUTO(ct_advertise, ct_advertise_free);

// What the last self-test has shown; after each one.
void ct_advertise_facts(struct ct_advertise *advertise, const struct ct_node_facts *facts);
// An attack on a process of `pod`.
void ct_pod_event(struct ct_advertise *advertise, const struct ct_pod_ref *pod,
                  const struct ct_event *event);
// Once a second or so: hands on what was gathered, and starts the child again if it has ended.
void ct_advertise_tick(struct ct_advertise *advertise);
// Attacks that no Event tells of, for want of room.
uint64_t ct_advertise_lost(const struct ct_advertise *advertise);

// Takes the node's labels away, for an agent that leaves it for good. Waits for the API server, some seconds
// at most. CT_ENOTFOUND outside of a cluster; errors of ct_kube_send().
CT_CHECKED int ct_advertise_withdraw(const char *node, struct ct_err *err);

#endif
