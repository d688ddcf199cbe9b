// SPDX-License-Identifier: Apache-2.0
//
// A thin HTTPS/HTTP server over libmicrohttpd (epoll, a pool of threads): bounded bodies, a table of
// routes, time-outs for slow senders, certificates that are read again when their files change
// without a restart and without dropping a connection.
#ifndef CT_HTTPD_H
#define CT_HTTPD_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"

struct ct_httpd_request {
    const char *method;       // "GET", "POST", …
    const char *path;         // without the query
    const char *query;        // never NULL: "" for none. Only what a handler asks for is parsed.
    const char *content_type; // "" when missing
    const char *token;        // X-Vault-Token, or what follows "Bearer " in Authorization; ""
    const char *body;         // NUL-terminated
    size_t body_len;
    void *connection; // for ct_httpd_request_header()
};

// Another header's value; "" when there is none, or the request came by no connection. Borrowed from
// the request.
const char *ct_httpd_request_header(const struct ct_httpd_request *request, const char *name);

struct ct_httpd_reply {
    unsigned status;          // default 200
    const char *content_type; // default application/json; static storage
    struct ct_buf body;       // handed over to the server
};

struct ct_httpd_route {
    const char *method; // "GET" is HEAD too; "*" is every method
    const char *path;   // exact; a trailing "*" matches any rest
    bool json;          // the request must be application/json, else 415
    // Runs in one of the pool's threads; fills reply. `cls` is that of ct_httpd_options.
    void (*handle)(void *cls, const struct ct_httpd_request *request, struct ct_httpd_reply *reply);
};

struct ct_httpd_options {
    const char *listen;   // "127.0.0.1:8443", "[::1]:8443", ":8443"; port 0: any free one
    const char *tls_cert; // PEM files; both NULL: plain HTTP
    const char *tls_key;
    const char *tls_cert_text; // PEM texts in the place of files; not kept
    const char *tls_key_text;
    unsigned threads; // 0: one a processor, at most 8
    // Whoever needs longer is cut off, however busily the bytes drip.
    unsigned head_s;    // for the handshake and the first request's head; default 5
    unsigned timeout_s; // for a request, and again for its reply; default 15
    unsigned idle_s;    // between requests, and at most until the next one's line; default 120
    unsigned max_connections; // default 1024; three quarters full, idle ones have head_s only
    unsigned max_per_address; // of these, from one address; default half of them
    size_t max_body;          // larger: 413, once up to four times as much was read and dropped
    const struct ct_httpd_route
        *routes; // unknown path: 404; known path, other method: 405 with Allow
    size_t n_routes;
    // Told of each request that is answered without a handler: 400, 404, 405, 413, 414, 415, 501,
    // 503. Runs in one of the pool's threads; NULL: nobody is.
    void (*refused)(void *cls, unsigned status, const char *method, const char *path);
    void *cls;
};

struct ct_httpd;
// Listens and serves in threads of its own, with the caller's signal mask. `*ret` is set before the
// first handler can run. Options are copied but for `routes` and `cls`, which must outlive the
// server. CT_EINVAL, CT_ENOTFOUND (certificate), CT_ESYSTEM (address in use), CT_ENOMEM.
CT_CHECKED int ct_httpd_start(const struct ct_httpd_options *options, struct ct_httpd **ret,
                              struct ct_err *err);
unsigned ct_httpd_port(const struct ct_httpd *server);
// Reads the certificate files again when they changed (checked by inode, mtime and size; both must
// load and match, else the old pair is kept). Returns 1 when a new pair is in use, 0 when nothing
// changed, negative with a sentence when the new pair was refused. Call it from one thread, e.g. each second.
CT_CHECKED int ct_httpd_reload_certificate(struct ct_httpd *server, struct ct_err *err);
// Puts a pair of PEM texts in the place of the one that is served, for the handshakes to come: a
// connection keeps the pair that it began with. Any thread. CT_EINVAL, CT_ENOMEM: the old pair stays.
CT_CHECKED int ct_httpd_set_certificate(struct ct_httpd *server, const char *cert, const char *key,
                                        struct ct_err *err);
// Seconds since the epoch at which the served certificate ends; 0 without TLS.
long long ct_httpd_certificate_expiry(const struct ct_httpd *server);
// A handshake of the server with itself: what it shows is the pair in use, and verifies by
// `authorities` (PEM) for `name`; without authorities it must be within its time. Either may be NULL, and
// without TLS all is well. Takes up to two seconds; not from a handler. CT_EUNAVAIL or CT_ESYSTEM: no
// handshake came about; CT_EDENIED: another certificate, or one that does not verify.
CT_CHECKED int ct_httpd_probe(struct ct_httpd *server, const char *authorities, const char *name,
                              struct ct_err *err);

// From now on each answer asks its client to close the connection: whoever keeps one goes elsewhere with
// the next request, if told of another place by then. Any thread.
void ct_httpd_release(struct ct_httpd *server);

// Stops accepting, finishes running requests within ten seconds, frees. NULL is fine.
void ct_httpd_stop(struct ct_httpd *server);
// As ct_httpd_stop(), within max_ms, or until `hurry`, asked every few milliseconds, says true.
void ct_httpd_stop_within(struct ct_httpd *server, unsigned max_ms, bool (*hurry)(void *cls),
                          void *cls);

// {"error":"<sentence>"} with that status.
void ct_httpd_error(struct ct_httpd_reply *reply, unsigned status, const char *fmt, ...)
    CT_PRINTF(3, 4);

#endif
