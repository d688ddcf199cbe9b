// SPDX-License-Identifier: Apache-2.0
#include "httpd_head.h"

#include <string.h>
#include <strings.h>

const char *ct_httpd_header(struct MHD_Connection *mhd, const char *name)
{
    const char *value = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
    return value != NULL ? value : "";
}

// ---- routes ----

static bool path_matches(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*') {
        return strncmp(pattern, path, len - 1) == 0;
    }
    return strcmp(pattern, path) == 0;
}

static bool method_matches(const char *wanted, const char *method)
{
    return strcmp(wanted, "*") == 0 || strcmp(wanted, method) == 0 ||
           (strcmp(wanted, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

// The route, or NULL with the status that says why.
static const struct ct_httpd_route *find_route(const struct ct_httpd_rules *rules,
                                               const char *method, const char *path,
                                               unsigned *status)
{
    *status = MHD_HTTP_NOT_FOUND;
    for (size_t i = 0; i < rules->n_routes; i++) {
        const struct ct_httpd_route *route = &rules->routes[i];
        if (path_matches(route->path, path)) {
            if (method_matches(route->method, method)) {
                *status = 0;
                return route;
            }
            *status = MHD_HTTP_METHOD_NOT_ALLOWED;
        }
    }
    return NULL;
}

void ct_httpd_head_methods(const struct ct_httpd_rules *rules, const char *path, char *ret,
                           size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < rules->n_routes && used < size; i++) {
        const struct ct_httpd_route *route = &rules->routes[i];
        if (path_matches(route->path, path)) {
            bool get = strcmp(route->method, "GET") == 0;
            int n = snprintf(ret + used, size - used, "%s%s%s", used > 0 ? ", " : "", route->method,
                             get ? ", HEAD" : "");
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

// ---- the head ----

void ct_httpd_head_line(struct ct_httpd_conn *conn, const char *uri)
{
    const char *query = strchr(uri, '?');
    size_t len = query != NULL ? strlen(query + 1) : 0;
    const char *nul = strstr(uri, "%00");
    // Decoded, it would end the path early: /healthz%00x is not /healthz.
    conn->path_holds_nul = nul != NULL && (query == NULL || nul < query);
    conn->query_too_long = len >= sizeof(conn->query);
    conn->query[0] = '\0';
    if (query != NULL && !conn->query_too_long) {
        memcpy(conn->query, query + 1, len + 1);
    }
}

// "application/json", with parameters or without.
static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    if (strncasecmp(content_type, json, sizeof(json) - 1) != 0) {
        return false;
    }
    char next = content_type[sizeof(json) - 1];
    return next == '\0' || next == ';' || next == ' ' || next == '\t';
}

// The headers that say where a body ends.
struct framing {
    unsigned lengths;
    unsigned encodings;
    const char *length;
    const char *encoding;
};

static enum MHD_Result note_framing(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct framing *framing = cls;
    (void)kind;
    if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        framing->lengths++;
        framing->length = value;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        framing->encodings++;
        framing->encoding = value;
    }
    return MHD_YES;
}

// Why it is not certain where the body ends: two programs that read such a request differently see
// different requests behind it (RFC 9112, 6.1 and 6.3). 0: it is certain.
static unsigned framing_refusal(const struct framing *framing)
{
    if (framing->lengths + framing->encodings > 1) {
        return MHD_HTTP_BAD_REQUEST;
    }
    bool other = framing->encodings > 0 &&
                 (framing->encoding == NULL || strcasecmp(framing->encoding, "chunked") != 0);
    return other ? MHD_HTTP_NOT_IMPLEMENTED : 0;
}

static unsigned head_refusal(const struct ct_httpd_rules *rules, struct ct_httpd_conn *conn,
                             struct MHD_Connection *mhd, const char *method, const char *path)
{
    unsigned refusal = 0;
    if (conn->path_holds_nul) {
        return MHD_HTTP_NOT_FOUND;
    }
    conn->route = find_route(rules, method, path, &refusal);
    if (refusal != 0) {
        return refusal;
    }
    if (conn->query_too_long) {
        return MHD_HTTP_URI_TOO_LONG;
    }
    bool typed = !conn->route->json || is_json(ct_httpd_header(mhd, MHD_HTTP_HEADER_CONTENT_TYPE));
    return typed ? 0 : MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
}

bool ct_httpd_head_check(const struct ct_httpd_rules *rules, struct ct_httpd_conn *conn,
                         struct MHD_Connection *mhd, const char *method, const char *path)
{
    struct framing framing = {0};
    (void)MHD_get_connection_values(mhd, MHD_HEADER_KIND, note_framing, &framing);
    conn->refusal = framing_refusal(&framing);
    if (conn->refusal != 0) {
        return true; // and libmicrohttpd closes the connection
    }
    conn->refusal = head_refusal(rules, conn, mhd, method, path);
    // libmicrohttpd has checked that it is a number; one that overflows becomes the largest.
    unsigned long long length = framing.length != NULL ? strtoull(framing.length, NULL, 10) : 0;
    if (conn->refusal == 0 && length > rules->max_body) {
        conn->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
    }
    // A refused body is read and dropped, so that the answer is seen and the connection stays in use;
    // but not without a bound, and whoever waits for "100 Continue" shall not send it at all.
    return conn->refusal != 0 && (length / CT_HTTPD_DROP_FACTOR > rules->max_body ||
                                  *ct_httpd_header(mhd, MHD_HTTP_HEADER_EXPECT) != '\0');
}

void ct_httpd_head_refuse(const struct ct_httpd_rules *rules, const struct ct_httpd_conn *conn,
                          const char *method, const char *path, struct ct_httpd_reply *reply)
{
    switch (conn->refusal) {
    case MHD_HTTP_BAD_REQUEST:
        ct_httpd_error(reply, conn->refusal,
                       "a request takes Content-Length or Transfer-Encoding, and once only");
        break;
    case MHD_HTTP_NOT_IMPLEMENTED:
        ct_httpd_error(reply, conn->refusal, "the only Transfer-Encoding taken is chunked");
        break;
    case MHD_HTTP_NOT_FOUND:
        ct_httpd_error(reply, conn->refusal, "there is nothing at %s%s", path,
                       conn->path_holds_nul ? " with a NUL behind it" : "");
        break;
    case MHD_HTTP_METHOD_NOT_ALLOWED: {
        char methods[128];
        ct_httpd_head_methods(rules, path, methods, sizeof(methods));
        ct_httpd_error(reply, conn->refusal, "%s is not allowed at %s: use %s", method, path,
                       methods);
        break;
    }
    case MHD_HTTP_UNSUPPORTED_MEDIA_TYPE:
        ct_httpd_error(reply, conn->refusal, "%s takes Content-Type application/json only", path);
        break;
    case MHD_HTTP_CONTENT_TOO_LARGE:
        ct_httpd_error(reply, conn->refusal, "the body is larger than %zu bytes", rules->max_body);
        break;
    case MHD_HTTP_URI_TOO_LONG:
        ct_httpd_error(reply, conn->refusal, "the query is longer than %zu bytes",
                       sizeof(conn->query) - 1);
        break;
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        ct_httpd_error(reply, conn->refusal, "too many large requests at the same time: try again");
        break;
    default:
        ct_httpd_error(reply, conn->refusal, "the request cannot be answered");
        break;
    }
}
