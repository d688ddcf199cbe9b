// SPDX-License-Identifier: Apache-2.0
#include "metrics_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "log.h"
#include "supervise.h"

#define CONNECTIONS_MAX 8
#define PATIENCE_MS 5000 // for a connection, from its first byte's chance to the last
#define PAUSE_MS 200     // when a connection cannot be taken: no descriptor is left
#define STACK_SIZE ((size_t)64 << 10)

struct connection {
    int fd; // -1: free
    int64_t end_ms;
    size_t len;  // of what was read, or is to be sent
    size_t sent; // of `data`
    bool answering;
    char data[CT_METRICS_ANSWER_MAX];
};

static struct {
    pthread_mutex_t lock; // of `values`
    struct ct_metrics_values values;
    struct ct_pod_identity id;
    int listener;
    struct connection connection[CONNECTIONS_MAX]; // the thread's alone, as what follows
    int64_t blind_until_ms;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .listener = -1};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void end(struct connection *c)
{
    (void)close(c->fd);
    c->fd = -1;
}

// The oldest one makes room: those who hold all of them do not keep others out.
static struct connection *make_room(void)
{
    struct connection *oldest = &server.connection[0];
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &server.connection[i];
        if (c->fd < 0) {
            return c;
        }
        oldest = c->end_ms < oldest->end_ms ? c : oldest;
    }
    end(oldest);
    return oldest;
}

static void take_connection(void)
{
    int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        bool none = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        server.blind_until_ms = none ? now_ms() + PAUSE_MS : 0;
        return;
    }
    struct connection *c = make_room();
    *c = (struct connection){.fd = fd, .end_ms = now_ms() + PATIENCE_MS};
}

static void answer(struct connection *c, int status)
{
    struct ct_metrics_values values;
    (void)pthread_mutex_lock(&server.lock);
    values = server.values;
    (void)pthread_mutex_unlock(&server.lock);
    values.log_dropped = ct_log_dropped();
    c->len = ct_metrics_write(status, &values, &server.id, c->data, sizeof(c->data));
    c->sent = 0;
    c->answering = true;
}

static void go_on(struct connection *c)
{
    if (!c->answering) {
        ssize_t n = recv(c->fd, c->data + c->len, CT_METRICS_HEAD_MAX + 1 - c->len, 0);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                end(c);
            }
            return;
        }
        c->len += (size_t)n;
        int status = ct_metrics_read(c->data, c->len);
        if (status == CT_METRICS_MORE) {
            return;
        }
        answer(c, status);
    }
    ssize_t n = send(c->fd, c->data + c->sent, c->len - c->sent, MSG_NOSIGNAL);
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent == c->len || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        end(c);
    }
}

// One turn of the loop. Index 0 is the listener, i + 1 connection number i.
static void turn(void)
{
    struct pollfd fds[CONNECTIONS_MAX + 1];
    int64_t now = now_ms();
    int64_t next = -1;
    bool blind = server.blind_until_ms > now;
    fds[0] = (struct pollfd){.fd = blind ? -1 : server.listener, .events = POLLIN};
    next = blind ? server.blind_until_ms : next;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &server.connection[i];
        if (c->fd >= 0 && c->end_ms <= now) {
            end(c);
        }
        fds[i + 1] = (struct pollfd){.fd = c->fd, .events = c->answering ? POLLOUT : POLLIN};
        next = c->fd >= 0 && (next < 0 || c->end_ms < next) ? c->end_ms : next;
    }
    if (poll(fds, CONNECTIONS_MAX + 1, next < 0 ? -1 : (int)(next - now)) <= 0) {
        return;
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0) {
            go_on(&server.connection[i]);
        }
    }
    if (fds[0].fd >= 0 && fds[0].revents != 0) {
        take_connection();
    }
}

static void *run(void *unused)
{
    (void)unused;
    ct_supervise_shield();
    for (;;) {
        turn();
    }
    return NULL;
}

// Both families at once where there is IPv6.
static int listen_at(unsigned port, struct ct_err *err)
{
    const int on = 1;
    const int off = 0;
    const struct sockaddr_in6 any6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    const struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct sockaddr *address = (const struct sockaddr *)&any6;
    socklen_t len = sizeof(any6);
    CT_AUTO_FD fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        address = (const struct sockaddr *)&any4;
        len = sizeof(any4);
    } else {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, address, len) != 0 || listen(fd, CONNECTIONS_MAX) != 0) {
        return ct_err_errno(err, "metrics-port %u cannot be listened at", port);
    }
    server.listener = ct_steal_fd(&fd);
    return 0;
}

int ct_metrics_serve(unsigned port, const struct ct_pod_identity *id, struct ct_err *err)
{
    pthread_attr_t attributes;
    pthread_t thread;
    server.id = *id;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        server.connection[i].fd = -1;
    }
    int rc = listen_at(port, err);
    if (rc < 0) {
        return rc;
    }
    int status = pthread_attr_init(&attributes);
    if (status == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
        status = pthread_create(&thread, &attributes, run, NULL);
        (void)pthread_attr_destroy(&attributes);
        ct_supervise_shield();
    }
    return status == 0 ? 0
                       : ct_err_set(err, CT_ESYSTEM, "no thread for metrics-port %u: %s", port,
                                    strerror(status));
}

void ct_metrics_set_score(const struct ct_score *score)
{
    (void)pthread_mutex_lock(&server.lock);
    server.values.points = score->points;
    server.values.max = score->max;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        server.values.passed[i] = score->line[i].ok;
    }
    (void)pthread_mutex_unlock(&server.lock);
}

void ct_metrics_set_token(const struct ct_renewal_counts *counts, int64_t token_end)
{
    (void)pthread_mutex_lock(&server.lock);
    server.values.token = *counts;
    server.values.token_end = token_end;
    (void)pthread_mutex_unlock(&server.lock);
}
