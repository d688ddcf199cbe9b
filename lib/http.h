// SPDX-License-Identifier: Apache-2.0
//
// A thin HTTP client over libcurl: one request at a time, bounded answers, no redirects followed
// (a redirect would carry the token elsewhere), no proxy and no environment variable honoured
// unless asked for, TLS 1.2 or later.
#ifndef CT_HTTP_H
#define CT_HTTP_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"

// Certificate authorities, read once: whatever becomes of the file afterwards changes nothing.
struct ct_http_trust;

struct ct_http_options {
    const char *ca_file;               // PEM; NULL or "": the system's
    const struct ct_http_trust *trust; // in place of ca_file, borrowed; NULL: ca_file is read
    bool skip_verify;
    unsigned connect_timeout_ms;
    unsigned timeout_ms;
    size_t max_answer; // bytes of body accepted
    // Asked about once a second while a request is under way: true gives it up (CT_EUNAVAIL). May be
    // NULL.
    bool (*stop)(void *cls);
    void *stop_cls;
    // "HOST:PORT:ADDRESS[,ADDRESS…]": where that host is, so that its name is not looked up; NULL or ""
    // for none.
    const char *resolved;
};

struct ct_http; // a connection that is kept alive between requests; not thread-safe

// Process-wide set-up of libcurl with the given allocation functions (all NULL: malloc's). Call once,
// before anything else of this header, before threads.
struct ct_http_memory {
    void *(*alloc)(size_t);
    void (*free)(void *);
    void *(*realloc)(void *, size_t);
    char *(*strdup)(const char *);
    void *(*calloc)(size_t, size_t);
};
CT_CHECKED int ct_http_init(const struct ct_http_memory *memory, struct ct_err *err);

// Reads the certificate authorities of a PEM file of at most 1 MiB, or of the system's (NULL or ""; none
// is found in some images, and a request over TLS then says so). A file that is named and cannot be
// read is refused: CT_ENOTFOUND, CT_ESYSTEM, CT_EINVAL, CT_ETOOBIG, CT_ENOMEM. Whether it holds PEM
// shows when it is used. Read-only afterwards: may be shared by threads.
CT_CHECKED int ct_http_trust_new(const char *ca_file, struct ct_http_trust **ret,
                                 struct ct_err *err);
void ct_http_trust_free(struct ct_http_trust *trust);
CT_DEFINE_AUTO(ct_http_trust, ct_http_trust_free);

// The strings of `options` are copied. A CA file that is named and cannot be opened is refused here:
// CT_ENOTFOUND or CT_ESYSTEM.
CT_CHECKED int ct_http_new(const struct ct_http_options *options, struct ct_http **ret,
                           struct ct_err *err);
void ct_http_free(struct ct_http *http);
CT_DEFINE_AUTO(ct_http, ct_http_free);

// Bounds the requests that follow to this time each (0: no bound), in place of the options' one.
void ct_http_set_timeout(struct ct_http *http, unsigned timeout_ms);

struct ct_http_answer {
    long status;
    struct ct_buf body; // wiped by ct_http_answer_done()
    char content_type[128];
    char location[512]; // of a redirect: scheme, host and port only
};
void ct_http_answer_done(struct ct_http_answer *a);

// One request. `headers` is a NULL-terminated array of "Name: value" (may be NULL), copied into the
// client's memory and wiped afterwards. `body` NULL: GET, else POST as application/json.
// 0 for every complete HTTP answer, whatever its status. CT_EUNAVAIL for what a retry may mend (DNS,
// connect, time-out, cut short), CT_EDENIED for TLS verification failures (with file and cause),
// CT_ETOOBIG, CT_EPROTO. The sentence names the URL without its query.
CT_CHECKED int ct_http_request(struct ct_http *http, const char *url, const char *const *headers,
                               const char *body, size_t body_len, struct ct_http_answer *ret,
                               struct ct_err *err);

#endif
