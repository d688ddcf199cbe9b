// SPDX-License-Identifier: Apache-2.0
//
// What is decided from a request's head, before its body: where it goes, or why it is refused.
// Internal to ct_httpd.
#ifndef CT_HTTPD_HEAD_H
#define CT_HTTPD_HEAD_H

#include <microhttpd.h>

#include "httpd.h"
#include "httpd_conn.h"

// Refused bodies are read and dropped up to so many times the largest one that is taken: whoever is
// still sending when the connection closes sees a reset instead of the answer.
#define CT_HTTPD_DROP_FACTOR 4

struct ct_httpd_rules {
    const struct ct_httpd_route *routes;
    size_t n_routes;
    size_t max_body;
};

// A header's value, "" when it is missing. Lives as long as the request.
const char *ct_httpd_header(struct MHD_Connection *mhd, const char *name);

// Looks at the target as it was sent, before libmicrohttpd decodes it in place: keeps the query, and
// notes what cannot be seen later.
void ct_httpd_head_line(struct ct_httpd_conn *conn, const char *uri);

// Sets conn->route, or conn->refusal. Returns true when the answer must not wait for the body.
bool ct_httpd_head_check(const struct ct_httpd_rules *rules, struct ct_httpd_conn *conn,
                         struct MHD_Connection *mhd, const char *method, const char *path);

// The answer to a request with conn->refusal.
void ct_httpd_head_refuse(const struct ct_httpd_rules *rules, const struct ct_httpd_conn *conn,
                          const char *method, const char *path, struct ct_httpd_reply *reply);

// "POST, GET, HEAD": what Allow says of a path.
void ct_httpd_head_methods(const struct ct_httpd_rules *rules, const char *path, char *ret,
                           size_t size);

#endif
