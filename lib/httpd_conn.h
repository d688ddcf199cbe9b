// SPDX-License-Identifier: Apache-2.0
//
// The connections of a server: who is there since when, so that slow ones can be cut off and a stop
// can wait for what is still running. Internal to ct_httpd.
#ifndef CT_HTTPD_CONN_H
#define CT_HTTPD_CONN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "httpd.h"
#include "httpd_tls.h"

// Buffers of one request, reused by the thread that served it: a request costs no allocation.
struct ct_httpd_slot {
    struct ct_buf in;
    struct ct_buf out;
    struct ct_httpd_slot *next;
};

// From the calling thread's store, which is freed when the thread ends. NULL when out of memory.
struct ct_httpd_slot *ct_httpd_slot_take(void);
// Back into it; large buffers are freed. NULL is fine.
void ct_httpd_slot_give(struct ct_httpd_slot *slot);

// One connection. The fields of a request are written by the thread that serves the connection alone.
struct ct_httpd_conn {
    struct ct_httpd_conn *prev, *next; // under the list's lock
    int fd;
    struct ct_httpd_pair *pair;
    atomic_llong since; // ms, monotonic: start of the connection, of its request or end of its last
    atomic_bool busy;   // a request line has come, its reply has not been sent in full
    atomic_bool inside; // the handler runs: not the peer's slowness
    // The request.
    bool begun;
    const struct ct_httpd_route *route;
    unsigned refusal; // HTTP status decided before the body; 0: none
    size_t held;      // bytes counted against the server's bound
    size_t dropped;   // bytes of a refused body
    char query[512];
    bool query_too_long;
    struct ct_httpd_slot *slot;
};

#define CT_HTTPD_BACKLOG 1024

struct ct_httpd_conns {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ct_httpd_conn *first;
    // Accepted, handed to libmicrohttpd, and not added here yet.
    int handed[CT_HTTPD_BACKLOG];
    unsigned n_handed;
    unsigned limit_ms; // for one request, from its start to the last byte of its reply
    bool ending;
    bool has_guard;
    pthread_t guard;
};

// Milliseconds of the monotonic clock, to a scheduler tick. Cheap.
long long ct_httpd_now_ms(void);

// Starts the guard thread, which cuts off whoever needs longer than limit_ms for a request.
CT_CHECKED int ct_httpd_conns_init(struct ct_httpd_conns *conns, unsigned limit_ms,
                                   struct ct_err *err);
// Ends the guard; no connection may be left.
void ct_httpd_conns_done(struct ct_httpd_conns *conns);

void ct_httpd_conns_add(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);
// Must come before the descriptor is closed: the guard uses those on the list only.
void ct_httpd_conns_remove(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);

// A descriptor that will be added soon, by another thread: ct_httpd_conns_drain() waits for that.
void ct_httpd_conns_expect(struct ct_httpd_conns *conns, int fd);

// Waits until no connection is left, or every one has been idle for idle_ms; at most max_ms.
void ct_httpd_conns_drain(struct ct_httpd_conns *conns, unsigned idle_ms, unsigned max_ms);

#endif
