// SPDX-License-Identifier: Apache-2.0
#include "httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "httpd_conn.h"
#include "httpd_listen.h"
#include "httpd_tls.h"

#define DEFAULT_TIMEOUT_S 15
#define DEFAULT_CONNECTIONS 1024
#define MAX_THREADS 64
#define MAX_REPLY (64u * 1024 * 1024)
#define THREAD_STACK (2u * 1024 * 1024) // of address space: only what is touched costs memory
#define CONNECTION_MEMORY (32u * 1024)  // headers, and a body's part at a time
#define UNCOUNTED_BODY (64u * 1024)     // bodies up to here are free of the server-wide bound
#define MAX_SENTENCE 1023u              // of an error
#define BODIES_IN_FLIGHT 16             // that bound, in bodies of the largest size
#define HANDSHAKE_MS 20                 // TCP's, within a cluster
#define DRAIN_IDLE_MS 1000
#define DRAIN_MAX_MS 10000

struct ct_httpd {
    struct MHD_Daemon *daemon;
    struct ct_httpd_tls *tls; // NULL: plain HTTP
    struct ct_httpd_conns conns;
    const struct ct_httpd_route *routes;
    size_t n_routes;
    void *cls;
    size_t max_body;
    unsigned port;
    atomic_bool draining;
    atomic_size_t held; // bytes of all large bodies together
};

void ct_httpd_error(struct ct_httpd_reply *reply, unsigned status, const char *fmt, ...)
{
    char sentence[MAX_SENTENCE + 4];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len > MAX_SENTENCE) {
        len = MAX_SENTENCE;
        while (len > 0 && ((unsigned char)sentence[len] & 0xc0) == 0x80) {
            len--; // never half a character
        }
    }
    reply->status = status;
    reply->content_type = "application/json";
    ct_buf_reset(&reply->body);
    ct_buf_add_str(&reply->body, "{\"error\":");
    ct_buf_add_json(&reply->body, sentence, len);
    ct_buf_add_str(&reply->body, "}\n");
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
static const struct ct_httpd_route *find_route(const struct ct_httpd *server, const char *method,
                                               const char *path, unsigned *status)
{
    *status = MHD_HTTP_NOT_FOUND;
    for (size_t i = 0; i < server->n_routes; i++) {
        const struct ct_httpd_route *route = &server->routes[i];
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

static void allowed_methods(const struct ct_httpd *server, const char *path, char *ret, size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < server->n_routes && used < size; i++) {
        const struct ct_httpd_route *route = &server->routes[i];
        if (path_matches(route->path, path)) {
            bool get = strcmp(route->method, "GET") == 0;
            int n = snprintf(ret + used, size - used, "%s%s%s", used > 0 ? ", " : "", route->method,
                             get ? ", HEAD" : "");
            used += n > 0 ? (size_t)n : 0;
        }
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

// ---- one request ----

static const char *header(struct MHD_Connection *mhd, const char *name)
{
    const char *value = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
    return value != NULL ? value : "";
}

static const char *token_of(struct MHD_Connection *mhd)
{
    static const char bearer[] = "Bearer ";
    const char *value = header(mhd, "X-Vault-Token");
    if (*value != '\0') {
        return value;
    }
    value = header(mhd, MHD_HTTP_HEADER_AUTHORIZATION);
    bool is_bearer = strncasecmp(value, bearer, sizeof(bearer) - 1) == 0;
    return is_bearer ? value + sizeof(bearer) - 1 : "";
}

static void refuse(const struct ct_httpd *server, const struct ct_httpd_conn *conn,
                   const char *method, const char *path, struct ct_httpd_reply *reply)
{
    switch (conn->refusal) {
    case MHD_HTTP_NOT_FOUND:
        ct_httpd_error(reply, conn->refusal, "there is nothing at %s", path);
        break;
    case MHD_HTTP_METHOD_NOT_ALLOWED: {
        char methods[128];
        allowed_methods(server, path, methods, sizeof(methods));
        ct_httpd_error(reply, conn->refusal, "%s is not allowed at %s: use %s", method, path,
                       methods);
        break;
    }
    case MHD_HTTP_UNSUPPORTED_MEDIA_TYPE:
        ct_httpd_error(reply, conn->refusal, "%s takes Content-Type application/json only", path);
        break;
    case MHD_HTTP_CONTENT_TOO_LARGE:
        ct_httpd_error(reply, conn->refusal, "the body is larger than %zu bytes", server->max_body);
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

// Lends the slot's buffer to libmicrohttpd: it stays as it is until the request is completed.
static enum MHD_Result send_reply(struct ct_httpd *server, struct ct_httpd_conn *conn,
                                  struct MHD_Connection *mhd, const char *path,
                                  const struct ct_httpd_reply *reply)
{
    struct ct_buf *out = &conn->slot->out;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(out->len, out->data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    enum MHD_Result r =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        char methods[128];
        allowed_methods(server, path, methods, sizeof(methods));
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, methods);
    }
    if (atomic_load_explicit(&server->draining, memory_order_relaxed)) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    if (r == MHD_YES) {
        r = MHD_queue_response(mhd, reply->status, response);
    }
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result answer(struct ct_httpd *server, struct ct_httpd_conn *conn,
                              struct MHD_Connection *mhd, const char *method, const char *path)
{
    struct ct_httpd_slot *slot = conn->slot;
    struct ct_httpd_reply reply = {.status = MHD_HTTP_OK, .content_type = "application/json"};
    slot->out.max = MAX_REPLY;
    reply.body = slot->out;
    if (conn->refusal != 0) {
        refuse(server, conn, method, path, &reply);
    } else {
        const struct ct_httpd_request request = {
            .method = method,
            .path = path,
            .query = conn->query,
            .content_type = header(mhd, MHD_HTTP_HEADER_CONTENT_TYPE),
            .token = token_of(mhd),
            .body = slot->in.data != NULL ? slot->in.data : "",
            .body_len = slot->in.len,
        };
        atomic_store_explicit(&conn->inside, true, memory_order_relaxed);
        conn->route->handle(server->cls, &request, &reply);
        atomic_store_explicit(&conn->inside, false, memory_order_relaxed);
    }
    if (reply.body.failed) {
        ct_httpd_error(&reply, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory for the answer");
    }
    slot->out = reply.body;
    return send_reply(server, conn, mhd, path, &reply);
}

// What can be decided before the body. Returns true when it must not even be read.
static bool check_head(const struct ct_httpd *server, struct ct_httpd_conn *conn,
                       struct MHD_Connection *mhd, const char *method, const char *path)
{
    const char *length = header(mhd, MHD_HTTP_HEADER_CONTENT_LENGTH);
    conn->route = find_route(server, method, path, &conn->refusal);
    if (conn->refusal == 0 && conn->query_too_long) {
        conn->refusal = MHD_HTTP_URI_TOO_LONG;
    }
    if (conn->refusal == 0 && conn->route->json &&
        !is_json(header(mhd, MHD_HTTP_HEADER_CONTENT_TYPE))) {
        conn->refusal = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    }
    // libmicrohttpd has checked that it is a number; one that overflows becomes the largest.
    if (*length != '\0' && strtoull(length, NULL, 10) > server->max_body) {
        conn->refusal = conn->refusal != 0 ? conn->refusal : MHD_HTTP_CONTENT_TOO_LARGE;
        return true;
    }
    // A refused body within the bound is read and dropped, so that the connection stays in use; but
    // whoever waits for "100 Continue" shall not send it at all.
    return conn->refusal != 0 && *header(mhd, MHD_HTTP_HEADER_EXPECT) != '\0';
}

static void release(struct ct_httpd *server, struct ct_httpd_conn *conn)
{
    if (conn->held > 0) {
        atomic_fetch_sub_explicit(&server->held, conn->held, memory_order_relaxed);
        conn->held = 0;
    }
}

// Counts what a large body takes; false when the server holds too much already.
static bool hold(struct ct_httpd *server, struct ct_httpd_conn *conn, size_t len)
{
    size_t want = conn->slot->in.len + len;
    if (want <= UNCOUNTED_BODY) {
        return true;
    }
    size_t more = want - conn->held;
    size_t before = atomic_fetch_add_explicit(&server->held, more, memory_order_relaxed);
    conn->held += more;
    return before + more <= server->max_body * BODIES_IN_FLIGHT;
}

static enum MHD_Result take_body(struct ct_httpd *server, struct ct_httpd_conn *conn,
                                 const char *data, size_t len)
{
    struct ct_buf *in = &conn->slot->in;
    if (conn->refusal != 0) {
        // Dropped: the answer can only be sent after the body. A chunked one gets the bound once
        // more before its connection is closed.
        conn->dropped += len;
        return conn->dropped <= server->max_body + UNCOUNTED_BODY ? MHD_YES : MHD_NO;
    }
    in->max = server->max_body;
    if (len > server->max_body - in->len) {
        conn->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
    } else if (!hold(server, conn, len)) {
        conn->refusal = MHD_HTTP_SERVICE_UNAVAILABLE;
    } else {
        ct_buf_add(in, data, len);
        if (in->failed) {
            conn->refusal = MHD_HTTP_SERVICE_UNAVAILABLE;
        }
    }
    if (conn->refusal != 0) {
        ct_buf_done(in);
        release(server, conn);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **con_cls)
{
    struct ct_httpd *server = cls;
    struct ct_httpd_conn *conn = *con_cls;
    (void)version;
    if (conn == NULL) {
        return MHD_NO; // out of memory when the connection began
    }
    if (!conn->begun) {
        conn->begun = true;
        conn->slot = ct_httpd_slot_take();
        if (conn->slot == NULL) {
            return MHD_NO;
        }
        return check_head(server, conn, mhd, method, path) ? answer(server, conn, mhd, method, path)
                                                           : MHD_YES;
    }
    if (*len > 0) {
        enum MHD_Result r = take_body(server, conn, data, *len);
        *len = 0;
        return r;
    }
    return answer(server, conn, mhd, method, path);
}

// ---- what libmicrohttpd tells about connections and requests ----

// Runs once the request line has come; what it returns is on_request()'s *con_cls.
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    (void)cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct ct_httpd_conn *conn = info != NULL ? info->socket_context : NULL;
    if (conn == NULL) {
        return NULL;
    }
    atomic_store_explicit(&conn->since, ct_httpd_now_ms(), memory_order_relaxed);
    atomic_store_explicit(&conn->busy, true, memory_order_relaxed);
    const char *query = strchr(uri, '?');
    size_t len = query != NULL ? strlen(query + 1) : 0;
    conn->query_too_long = len >= sizeof(conn->query);
    conn->query[0] = '\0';
    if (query != NULL && !conn->query_too_long) {
        memcpy(conn->query, query + 1, len + 1);
    }
    return conn;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct ct_httpd *server = cls;
    struct ct_httpd_conn *conn = *con_cls;
    (void)mhd;
    (void)code;
    if (conn == NULL) {
        return;
    }
    release(server, conn);
    ct_httpd_slot_give(ct_steal(&conn->slot));
    conn->begun = false;
    conn->route = NULL;
    conn->refusal = 0;
    conn->dropped = 0;
    atomic_store_explicit(&conn->since, ct_httpd_now_ms(), memory_order_relaxed);
    atomic_store_explicit(&conn->busy, false, memory_order_relaxed);
}

static void connection_started(struct ct_httpd *server, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    struct ct_httpd_conn *conn = calloc(1, sizeof(*conn));
    *context = conn;
    if (conn == NULL || fd == NULL) {
        return; // its requests will be refused: nothing is served unwatched
    }
    conn->fd = fd->connect_fd;
    atomic_init(&conn->since, ct_httpd_now_ms());
    if (server->tls != NULL && tls != NULL) {
        conn->pair = ct_httpd_tls_attach(server->tls, tls->tls_session);
    }
    ct_httpd_conns_add(&server->conns, conn);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct ct_httpd *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_started(server, mhd, context);
        return;
    }
    struct ct_httpd_conn *conn = *context;
    if (conn == NULL) {
        return;
    }
    // The session is gone, the descriptor is still open: see MHD_cleanup_connections().
    ct_httpd_conns_remove(&server->conns, conn);
    ct_httpd_pair_unref(conn->pair);
    ct_httpd_slot_give(conn->slot);
    free(conn);
    *context = NULL;
}

// ---- start and stop ----

static unsigned thread_count(unsigned wanted)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = wanted != 0 ? wanted : online < 1 ? 1 : online > 8 ? 8 : (unsigned)online;
    return n > MAX_THREADS ? MAX_THREADS : n;
}

CT_CHECKED static int start_daemon(struct ct_httpd *server, const struct ct_httpd_options *options,
                                   int fd, struct ct_err *err)
{
    unsigned threads = thread_count(options->threads);
    unsigned timeout = options->timeout_s != 0 ? options->timeout_s : DEFAULT_TIMEOUT_S;
    unsigned limit = options->max_connections != 0 ? options->max_connections : DEFAULT_CONNECTIONS;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)ct_httpd_tls_callback},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)ct_httpd_tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    if (server->tls != NULL) {
        flags |= MHD_USE_TLS;
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, //
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_TIMEOUT, timeout,
        MHD_OPTION_CONNECTION_LIMIT, limit < threads ? threads : limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK, //
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, server,                                //
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, //
        MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (server->daemon == NULL) {
        return ct_err_errno(err, "cannot start the server on %s", options->listen);
    }
    return 0;
}

static void httpd_free(struct ct_httpd *server)
{
    if (server == NULL) {
        return;
    }
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
    }
    ct_httpd_conns_done(&server->conns);
    ct_httpd_tls_free(server->tls);
    free(server);
}
CT_DEFINE_AUTO(ct_httpd, httpd_free);

CT_CHECKED static int start_tls(struct ct_httpd *server, const struct ct_httpd_options *options,
                                struct ct_err *err)
{
    if (options->tls_cert == NULL && options->tls_key == NULL) {
        return 0;
    }
    if (options->tls_cert == NULL || options->tls_key == NULL) {
        return ct_err_set(err, CT_EINVAL, "a certificate needs its private key and the reverse");
    }
    return ct_httpd_tls_new(options->tls_cert, options->tls_key, &server->tls, err);
}

int ct_httpd_start(const struct ct_httpd_options *options, struct ct_httpd **ret,
                   struct ct_err *err)
{
    CT_AUTO(ct_httpd) *server = calloc(1, sizeof(*server));
    CT_AUTO_FD fd = -1;
    if (server == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the server");
    }
    unsigned timeout = options->timeout_s != 0 ? options->timeout_s : DEFAULT_TIMEOUT_S;
    server->routes = options->routes;
    server->n_routes = options->n_routes;
    server->cls = options->cls;
    server->max_body = options->max_body;
    int r = start_tls(server, options, err);
    if (r == 0) {
        r = ct_httpd_listen(options->listen, &fd, err);
    }
    if (r == 0) {
        server->port = ct_httpd_listen_port(fd);
        r = ct_httpd_conns_init(&server->conns, 2 * timeout * 1000, err);
    }
    if (r == 0) {
        *ret = server; // handlers may run, and look for it, before this function returns
        r = start_daemon(server, options, fd, err);
    }
    if (r < 0) {
        *ret = NULL;
        return r;
    }
    (void)ct_steal_fd(&fd); // libmicrohttpd's now
    (void)ct_steal(&server);
    return 0;
}

unsigned ct_httpd_port(const struct ct_httpd *server)
{
    return server->port;
}

int ct_httpd_reload_certificate(struct ct_httpd *server, struct ct_err *err)
{
    return server->tls != NULL ? ct_httpd_tls_reload(server->tls, err) : 0;
}

long long ct_httpd_certificate_expiry(const struct ct_httpd *server)
{
    return server->tls != NULL ? ct_httpd_tls_expiry(server->tls) : 0;
}

// Whoever the kernel has accepted for us already must not meet a reset: closing a listening socket
// resets its queue. So the door is shut, and the queue emptied into the daemon.
static void close_listener(struct ct_httpd *server)
{
    const struct timespec handshake = {.tv_nsec = HANDSHAKE_MS * 1000000L};
    CT_AUTO_FD fd = MHD_quiesce_daemon(server->daemon);
    if (fd < 0) {
        return;
    }
    ct_httpd_listen_shut(fd);
    (void)nanosleep(&handshake, NULL);
    for (;;) {
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);
        int client = accept4(fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0 && (errno == EINTR || errno == ECONNABORTED)) {
            continue;
        }
        if (client < 0) {
            return;
        }
        // On failure (no room) libmicrohttpd closes the descriptor itself.
        ct_httpd_conns_expect(&server->conns, client);
        (void)MHD_add_connection(server->daemon, client, (struct sockaddr *)&address, len);
    }
}

void ct_httpd_stop(struct ct_httpd *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->draining, true);
    close_listener(server);
    ct_httpd_conns_drain(&server->conns, DRAIN_IDLE_MS, DRAIN_MAX_MS);
    httpd_free(server);
}
