// SPDX-License-Identifier: Apache-2.0
//
// A request's head, "METHOD TARGET" and a header a line: it goes to a route that takes it, or is refused with a
// sentence. libmicrohttpd's two questions about headers are answered here.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "httpd_head.h"
#include "json.h"

#define HEADERS_MAX 64
#define MAX_BODY 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct header {
    const char *name;
    const char *value;
} headers[HEADERS_MAX];
static size_t n_headers;

static const struct ct_httpd_route routes[] = {
    {.method = "GET", .path = "/healthz"}, {.method = "POST", .path = "/mutate", .json = true},
    {.method = "*", .path = "/v1/*"},      {.method = "GET", .path = "/both"},
    {.method = "PUT", .path = "/both"},
};
static const struct ct_httpd_rules rules = {
    .routes = routes, .n_routes = CT_ARRAY_LEN(routes), .max_body = MAX_BODY};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// ---- in the place of libmicrohttpd's own ----

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                                        const char *key)
{
    (void)connection;
    must(kind == MHD_HEADER_KIND);
    for (size_t i = 0; i < n_headers; i++) {
        if (strcasecmp(headers[i].name, key) == 0) {
            return headers[i].value;
        }
    }
    return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                              MHD_KeyValueIterator iterator, void *cls)
{
    (void)connection;
    for (size_t i = 0; i < n_headers; i++) {
        if (iterator(cls, kind, headers[i].name, headers[i].value) == MHD_NO) {
            return (int)i + 1;
        }
    }
    return (int)n_headers;
}

// ---- what comes of it ----

static size_t count(const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < n_headers; i++) {
        n += strcasecmp(headers[i].name, name) == 0;
    }
    return n;
}

static void check_taken(const struct ct_httpd_conn *conn, const char *method, const char *path)
{
    const char *pattern = conn->route->path;
    size_t len = strcspn(pattern, "*");
    const char *length = ct_httpd_header(NULL, "Content-Length");
    bool head = strcmp(method, "HEAD") == 0 && strcmp(conn->route->method, "GET") == 0;
    must(strncmp(path, pattern, len) == 0 && (pattern[len] == '*' || path[len] == '\0'));
    must(head || strcmp(conn->route->method, "*") == 0 || strcmp(conn->route->method, method) == 0);
    must(count("Content-Length") + count("Transfer-Encoding") <= 1);
    must(strtoull(length, NULL, 10) <= MAX_BODY);
    must(strlen(conn->query) < sizeof(conn->query) && !conn->path_holds_nul);
    must(!conn->route->json ||
         strncasecmp(ct_httpd_header(NULL, "Content-Type"), "application/json", 16) == 0);
}

static void check_refused(const struct ct_httpd_conn *conn, const char *method, const char *path)
{
    struct ct_httpd_reply reply = {.body = {.max = 1 << 16}};
    ct_httpd_head_refuse(&rules, conn, method, path, &reply);
    must(reply.status == conn->refusal && reply.status >= 400 && !reply.body.failed);
    CT_AUTO_JSON answer = json_loadb(reply.body.data, reply.body.len, 0, NULL);
    must(json_string_length(json_object_get(answer, "error")) > 0);
    ct_buf_done(&reply.body);
}

static void check(const char *method, char *target)
{
    static struct ct_httpd_conn conn;
    memset(&conn, 0, sizeof(conn));
    ct_httpd_head_line(&conn, target);
    target[strcspn(target, "?")] = '\0';
    (void)MHD_http_unescape(target);
    bool now = ct_httpd_head_check(&rules, &conn, NULL, method, target);
    must(conn.refusal != 0 || (conn.route != NULL && !now));
    if (conn.refusal == 0) {
        check_taken(&conn, method, target);
    } else {
        check_refused(&conn, method, target);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CT_AUTO_STR text = strndup((const char *)data, size);
    char *lines = text;
    must(text != NULL);
    char *line = strsep(&lines, "\n");
    char *method = strsep(&line, " ");
    n_headers = 0;
    for (char *value = strsep(&lines, "\n"); value != NULL && n_headers < HEADERS_MAX;
         value = strsep(&lines, "\n")) {
        char *name = strsep(&value, ":");
        value = value != NULL ? value + strspn(value, " \t") : value;
        headers[n_headers++] = (struct header){name, value};
    }
    if (line != NULL) {
        check(method, line);
    }
    return 0;
}
