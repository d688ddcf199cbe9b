// SPDX-License-Identifier: Apache-2.0
#include "metrics_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "scrape.h"
#include "supervise.h"

#define STACK_SIZE ((size_t)64 << 10)

static struct {
    pthread_mutex_t lock; // of `values`
    struct ct_metrics_values values;
    struct ct_pod_identity id;
    int listener;
    struct ct_scrape scrape; // the thread's alone
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .listener = -1};

// Not the heap's, which is secret memory and dear.
static char memory[CT_SCRAPE_CONNECTIONS * CT_METRICS_ANSWER_MAX];

static size_t fill(void *cls, int status, char *out, size_t size)
{
    struct ct_metrics_values values;
    (void)cls;
    (void)pthread_mutex_lock(&server.lock);
    values = server.values;
    (void)pthread_mutex_unlock(&server.lock);
    values.log_dropped = ct_log_dropped();
    return ct_metrics_write(status, &values, &server.id, out, size);
}

static void *run(void *unused)
{
    struct pollfd fds[CT_SCRAPE_FDS];
    (void)unused;
    ct_supervise_shield();
    for (;;) {
        int timeout_ms = -1;
        ct_scrape_wait(&server.scrape, fds, &timeout_ms);
        if (poll(fds, CT_SCRAPE_FDS, timeout_ms) > 0) {
            ct_scrape_turn(&server.scrape, fds);
        }
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
        bind(fd, address, len) != 0 || listen(fd, CT_SCRAPE_CONNECTIONS) != 0) {
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
    int rc = listen_at(port, err);
    if (rc < 0) {
        return rc;
    }
    ct_scrape_init(&server.scrape, server.listener, memory, sizeof(memory), fill, NULL);
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
