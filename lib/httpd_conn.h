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
    atomic_llong deadline; // ms, monotonic: cut off then
    atomic_bool busy;      // a request line has come, its reply has not been sent in full
    atomic_bool inside;    // the handler runs: not the peer's slowness
    bool served;           // a whole head has come
    // The request.
    bool begun;
    const struct ct_httpd_route *route;
    unsigned refusal; // HTTP status decided before the body; 0: none
    size_t held;      // bytes counted against the server's bound
    size_t dropped;   // bytes of a refused body
    char query[512];
    bool query_too_long;
    bool path_holds_nul;
    struct ct_httpd_slot *slot;
};

#define CT_HTTPD_BACKLOG 1024

struct ct_httpd_limits {
    unsigned head_ms;    // for the handshake and the first request's head
    unsigned request_ms; // for a request, and again for its reply
    unsigned idle_ms;    // for the next request's line
    unsigned connections;
};

struct ct_httpd_conns {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ct_httpd_conn *first;
    unsigned n;
    // Accepted, handed to libmicrohttpd, and not added here yet.
    int handed[CT_HTTPD_BACKLOG];
    unsigned n_handed;
    struct ct_httpd_limits limits;
    bool ending;
    bool has_guard;
    pthread_t guard;
};

// Milliseconds of the monotonic clock, to a scheduler tick. Cheap.
long long ct_httpd_now_ms(void);

// Starts the guard thread, which cuts off whoever is past a limit.
CT_CHECKED int ct_httpd_conns_init(struct ct_httpd_conns *conns,
                                   const struct ct_httpd_limits *limits, struct ct_err *err);
// Ends the guard; no connection may be left.
void ct_httpd_conns_done(struct ct_httpd_conns *conns);

// Its clock starts.
void ct_httpd_conns_add(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);
// Must come before the descriptor is closed: the guard uses those on the list only.
void ct_httpd_conns_remove(struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);

// What happens to a connection, told by the thread that serves it: a request's line has come, its
// whole head, its handler is entered and left, its reply has been sent.
void ct_httpd_conn_line(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);
void ct_httpd_conn_head(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);
void ct_httpd_conn_enter(struct ct_httpd_conn *conn);
void ct_httpd_conn_leave(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);
void ct_httpd_conn_completed(const struct ct_httpd_conns *conns, struct ct_httpd_conn *conn);

// A descriptor that will be added soon, by another thread: ct_httpd_conns_drain() waits for that.
void ct_httpd_conns_expect(struct ct_httpd_conns *conns, int fd);

// Waits until no connection is left, or every one has been idle for idle_ms; at most max_ms, and no
// longer than `hurry` says false. It may be NULL.
void ct_httpd_conns_drain(struct ct_httpd_conns *conns, unsigned idle_ms, unsigned max_ms,
                          bool (*hurry)(void *cls), void *cls);

#endif
