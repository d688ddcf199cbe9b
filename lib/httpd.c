// SPDX-License-Identifier: Apache-2.0
#include "httpd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "httpd_conn.h"
#include "httpd_head.h"
#include "httpd_listen.h"
#include "httpd_probe.h"
#include "httpd_tls.h"
#include "text.h"

#define DEFAULT_HEAD_S 5
#define DEFAULT_TIMEOUT_S 15
#define DEFAULT_IDLE_S 120
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
    struct ct_httpd_rules rules;
    void (*refused)(void *cls, unsigned status, const char *method, const char *path);
    void *cls;
    struct sockaddr_storage address; // that it listens on
    socklen_t address_len;
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
    ct_text_mend_utf8(sentence, len); // a path or a method may hold any bytes
    reply->status = status;
    reply->content_type = "application/json";
    ct_buf_reset(&reply->body);
    ct_buf_add_str(&reply->body, "{\"error\":");
    ct_buf_add_json(&reply->body, sentence, len);
    ct_buf_add_str(&reply->body, "}\n");
}

// ---- one request ----

const char *ct_httpd_request_header(const struct ct_httpd_request *request, const char *name)
{
    return request->connection != NULL ? ct_httpd_header(request->connection, name) : "";
}

static const char *token_of(struct MHD_Connection *mhd)
{
    static const char bearer[] = "Bearer ";
    const char *value = ct_httpd_header(mhd, "X-Vault-Token");
    if (*value != '\0') {
        return value;
    }
    value = ct_httpd_header(mhd, MHD_HTTP_HEADER_AUTHORIZATION);
    bool is_bearer = strncasecmp(value, bearer, sizeof(bearer) - 1) == 0;
    return is_bearer ? value + sizeof(bearer) - 1 : "";
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
        ct_httpd_head_methods(&server->rules, path, methods, sizeof(methods));
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
        ct_httpd_head_refuse(&server->rules, conn, method, path, &reply);
        if (server->refused != NULL) {
            server->refused(server->cls, conn->refusal, method, path);
        }
    } else {
        const struct ct_httpd_request request = {
            .method = method,
            .path = path,
            .query = conn->query,
            .content_type = ct_httpd_header(mhd, MHD_HTTP_HEADER_CONTENT_TYPE),
            .token = token_of(mhd),
            .body = slot->in.data != NULL ? slot->in.data : "",
            .body_len = slot->in.len,
            .connection = mhd,
        };
        ct_httpd_conn_enter(conn);
        conn->route->handle(server->cls, &request, &reply);
        ct_httpd_conn_leave(&server->conns, conn);
    }
    if (reply.body.failed) {
        ct_httpd_error(&reply, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory for the answer");
    }
    slot->out = reply.body;
    return send_reply(server, conn, mhd, path, &reply);
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
    return before + more <= server->rules.max_body * BODIES_IN_FLIGHT;
}

static enum MHD_Result take_body(struct ct_httpd *server, struct ct_httpd_conn *conn,
                                 const char *data, size_t len)
{
    struct ct_buf *in = &conn->slot->in;
    if (conn->refusal != 0) {
        // Dropped: libmicrohttpd sends the answer after the body only. A chunked one that goes on and
        // on ends in a closed connection.
        conn->dropped += len;
        return conn->dropped / CT_HTTPD_DROP_FACTOR <= server->rules.max_body ? MHD_YES : MHD_NO;
    }
    in->max = server->rules.max_body;
    if (len > server->rules.max_body - in->len) {
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
        ct_httpd_conn_head(&server->conns, conn);
        conn->slot = ct_httpd_slot_take();
        if (conn->slot == NULL) {
            return MHD_NO;
        }
        bool now = ct_httpd_head_check(&server->rules, conn, mhd, method, path);
        return now ? answer(server, conn, mhd, method, path) : MHD_YES;
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
    struct ct_httpd *server = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct ct_httpd_conn *conn = info != NULL ? info->socket_context : NULL;
    if (conn == NULL) {
        return NULL;
    }
    ct_httpd_conn_line(&server->conns, conn);
    ct_httpd_head_line(conn, uri);
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
    ct_httpd_conn_completed(&server->conns, conn);
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

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value != 0 ? value : fallback;
}

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
    unsigned limit = or_default(options->max_connections, DEFAULT_CONNECTIONS);
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
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        // The guard knows what a connection waits for and is stricter; this is for one that it was
        // not told of, since there was no memory.
        MHD_OPTION_CONNECTION_TIMEOUT, or_default(options->idle_s, DEFAULT_IDLE_S),
        MHD_OPTION_CONNECTION_LIMIT, limit < threads ? threads : limit,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        or_default(options->max_per_address, limit / 2 + limit % 2), //
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
    if (options->tls_cert_text != NULL && options->tls_key_text != NULL) {
        return ct_httpd_tls_of_text(options->tls_cert_text, options->tls_key_text, &server->tls,
                                    err);
    }
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
    const struct ct_httpd_limits limits = {
        .head_ms = 1000 * or_default(options->head_s, DEFAULT_HEAD_S),
        .request_ms = 1000 * or_default(options->timeout_s, DEFAULT_TIMEOUT_S),
        .idle_ms = 1000 * or_default(options->idle_s, DEFAULT_IDLE_S),
        .connections = or_default(options->max_connections, DEFAULT_CONNECTIONS),
    };
    server->rules = (struct ct_httpd_rules){
        .routes = options->routes,
        .n_routes = options->n_routes,
        .max_body = options->max_body,
    };
    server->refused = options->refused;
    server->cls = options->cls;
    int r = start_tls(server, options, err);
    if (r == 0) {
        r = ct_httpd_listen(options->listen, &fd, err);
    }
    if (r == 0) {
        server->port = ct_httpd_listen_port(fd);
        server->address_len = sizeof(server->address);
        (void)getsockname(fd, (struct sockaddr *)&server->address, &server->address_len);
        r = ct_httpd_conns_init(&server->conns, &limits, err);
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

int ct_httpd_set_certificate(struct ct_httpd *server, const char *cert, const char *key,
                             struct ct_err *err)
{
    return server->tls != NULL
               ? ct_httpd_tls_replace(server->tls, cert, key, err)
               : ct_err_set(err, CT_EINVAL, "a server without TLS has no certificate");
}

long long ct_httpd_certificate_expiry(const struct ct_httpd *server)
{
    return server->tls != NULL ? ct_httpd_tls_expiry(server->tls) : 0;
}

// ---- shutting the door ----

// libmicrohttpd 0.9.75 takes the listening socket out of each busy worker's epoll set, and so does the worker
// once it sees that it is quiesced. Where both do it at once, the second finds nothing and MHD panics; then
// the worker has done what was asked, and the next try goes on with the others. No lock is held there.
static _Thread_local jmp_buf *quiescing;

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    if (quiescing != NULL && strstr(reason, "remove listen FD") != NULL) {
        longjmp(*quiescing, 1);
    }
    (void)fprintf(stderr, "libmicrohttpd: %s:%u: %s", file, line, reason);
    abort();
}

static int quiesce(struct ct_httpd *server)
{
    jmp_buf again;
    MHD_set_panic_func(on_panic, NULL);
    (void)setjmp(again); // each panic is another worker's last: it ends
    quiescing = &again;
    int fd = MHD_quiesce_daemon(server->daemon);
    quiescing = NULL;
    return fd;
}

// Whoever the kernel has accepted for us already must not meet a reset: closing a listening socket
// resets its queue. So the door is shut, and the queue emptied into the daemon.
static void close_listener(struct ct_httpd *server)
{
    const struct timespec handshake = {.tv_nsec = HANDSHAKE_MS * 1000000L};
    CT_AUTO_FD fd = quiesce(server);
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

int ct_httpd_probe(struct ct_httpd *server, const char *authorities, const char *name,
                   struct ct_err *err)
{
    int r = server->tls == NULL ? 0 : -1;
    // The pair may be replaced on the way.
    for (int i = 0; i < 2 && r < 0; i++) {
        r = ct_httpd_probe_at(&server->address, server->address_len, server->tls, authorities, name,
                              err);
    }
    return r;
}

void ct_httpd_release(struct ct_httpd *server)
{
    atomic_store(&server->draining, true);
}

void ct_httpd_stop(struct ct_httpd *server)
{
    ct_httpd_stop_within(server, DRAIN_MAX_MS, NULL, NULL);
}

void ct_httpd_stop_within(struct ct_httpd *server, unsigned max_ms, bool (*hurry)(void *cls),
                          void *cls)
{
    if (server == NULL) {
        return;
    }
    ct_httpd_release(server);
    close_listener(server);
    ct_httpd_conns_drain(&server->conns, DRAIN_IDLE_MS, max_ms, hurry, cls);
    httpd_free(server);
}
