// SPDX-License-Identifier: Apache-2.0
//
// A client of the Kubernetes API over libcurl: requests and watches, bounded in size and time. It
// follows no redirect, uses no proxy and no environment variable; TLS 1.2 or later.
#ifndef CT_KUBE_H
#define CT_KUBE_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "kube_config.h"

struct ct_kube_options {
    unsigned connect_timeout_ms; // 0: 5 s
    unsigned timeout_ms;         // of one try; 0: 30 s
    unsigned retry_budget_ms;    // of all tries and the waits between them; 0: a single try
    // Asked every 100 ms or so while something is under way: true gives it up (CT_EUNAVAIL). May be
    // NULL.
    bool (*stop)(void *cls);
    void *stop_cls;
};

struct ct_kube; // one connection, kept alive; not thread-safe

// Process-wide set-up of libcurl; once, before threads.
CT_CHECKED int ct_kube_init(struct ct_err *err);

// On success `config` is moved into the client and left empty. Opens nothing yet. CT_ENOMEM.
CT_CHECKED int ct_kube_new(struct ct_kube_config *config, const struct ct_kube_options *options,
                           struct ct_kube **ret, struct ct_err *err);
void ct_kube_free(struct ct_kube *kube);
CT_DEFINE_AUTO(ct_kube, ct_kube_free);

// "https://10.96.0.1:443"; and the namespace of the configuration, NULL when it says none.
const char *ct_kube_server(const struct ct_kube *kube);
const char *ct_kube_namespace(const struct ct_kube *kube);

struct ct_kube_request {
    const char *method; // "GET", "POST", "PUT", "PATCH", "DELETE"
    const char *path;   // "/api/v1/nodes?limit=500"
    const char *type;   // of the body; NULL: application/json
    const char *body;   // may be NULL
    size_t body_len;
};

struct ct_kube_answer {
    long status;               // 0: there was no complete answer
    unsigned long retry_after; // seconds, 0 when the server did not say
    struct ct_buf body;        // the caller sets max (0: 64 KiB for a sentence alone) and frees it
};

// One request with its retries: what may pass by itself (no connection, time-out, cut short, 429, 5xx)
// is tried again within the budget, after Retry-After or a jittered, doubling wait. A repeated POST
// may so meet what its first try has created (409). A 401 makes it read the token file again and try
// once more.
// 0 for 2xx. Else negative with a sentence from the server's Status; answer->status tells more:
// CT_EINVAL 400, 422 and the like; CT_EDENIED 401, 403, and TLS verification; CT_ENOTFOUND 404; CT_EUNAVAIL
// no connection, 409, 410, 429, 5xx; CT_ETOOBIG; CT_EPROTO.
CT_CHECKED int ct_kube_send(struct ct_kube *kube, const struct ct_kube_request *request,
                            struct ct_kube_answer *answer, struct ct_err *err);

// A watch: an answer of lines that ends when the server wants.
struct ct_kube_stream {
    const char *path; // "/api/v1/nodes?watch=1&…"
    size_t max_line;
    unsigned timeout_ms; // of the whole
    unsigned silence_ms; // without a byte: the other side is taken to be gone
    // Once the server has agreed (2xx); may be NULL.
    void (*opened)(void *cls);
    // Each line without its end, NUL-terminated; and about every 100 ms. Negative (with `err` set) ends
    // the watch as this error, positive ends it well.
    int (*line)(void *cls, const char *line, size_t len, struct ct_err *err);
    int (*idle)(void *cls, struct ct_err *err);
    void *cls;
};

// 0 when the stream came to its proper end, or a callback ended it well. Errors as ct_kube_send();
// nothing is retried but a 401. A stream that breaks off is CT_EUNAVAIL. `answer` is for its status and,
// when that is not 2xx, its body.
CT_CHECKED int ct_kube_watch(struct ct_kube *kube, const struct ct_kube_stream *stream,
                             struct ct_kube_answer *answer, struct ct_err *err);

// How long to wait before try number `attempt` (1: the second one): doubling from 200 ms to 15 s, half of
// it by chance, and at least retry_after (a minute at most). Milliseconds.
unsigned ct_kube_backoff(unsigned attempt, unsigned long retry_after);
// Sleeps in steps. True when `stop` said so.
bool ct_kube_sleep(struct ct_kube *kube, unsigned ms);

#endif
