// SPDX-License-Identifier: Apache-2.0
#include "lookup.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>

#include "cleanup.h"
#include "supervise.h"

#define ADDRESSES_MAX 16
#define STACK_SIZE ((size_t)128 << 10)

static size_t add_address(const struct addrinfo *i, char *ret, size_t size, size_t used)
{
    char text[64];
    if (getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0 ||
        strchr(text, '%') != NULL) {
        return used; // an address with a scope is none that a service has
    }
    size_t len = strlen(text);
    if (used + 1 + len + 1 > size) {
        return used;
    }
    if (used > 0) {
        ret[used++] = ',';
    }
    memcpy(ret + used, text, len + 1);
    return used + len;
}

int ct_lookup(const char *host, char *ret, size_t size, struct ct_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int status = getaddrinfo(host, NULL, &hints, &list);
    if (status != 0) {
        return ct_err_set(err, CT_EUNAVAIL, "the name %s cannot be looked up: %s", host,
                          gai_strerror(status));
    }
    size_t used = 0;
    int n = 0;
    for (struct addrinfo *i = list; i != NULL && n < ADDRESSES_MAX; i = i->ai_next, n++) {
        used = add_address(i, ret, size, used);
    }
    freeaddrinfo(list);
    return used > 0 ? 0 : ct_err_set(err, CT_EUNAVAIL, "the name %s has no address", host);
}

// ---- on a thread of its own

// One at a time; `done` is written when the thread has nothing left to do but end.
static struct {
    bool running;
    int done;
    pthread_t thread;
    char host[256];
    char found[1024];
    int rc;
    struct ct_err err;
} job = {.done = -1};

static void *run(void *unused)
{
    (void)unused;
    ct_supervise_shield();
    job.rc = ct_lookup(job.host, job.found, sizeof(job.found), &job.err);
    (void)eventfd_write(job.done, 1);
    return NULL;
}

static int start(const char *host, struct ct_err *err)
{
    pthread_attr_t attributes;
    (void)snprintf(job.host, sizeof(job.host), "%s", host);
    job.err = (struct ct_err){0};
    if (job.done < 0) {
        job.done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (job.done < 0 || pthread_attr_init(&attributes) != 0) {
        return ct_err_set(err, CT_EUNAVAIL, "%s cannot be looked up: no descriptor", host);
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int status = pthread_create(&job.thread, &attributes, run, NULL);
    ct_supervise_shield();
    (void)pthread_attr_destroy(&attributes);
    job.running = status == 0;
    return status == 0 ? 0
                       : ct_err_set(err, CT_EUNAVAIL, "%s cannot be looked up: no thread: %s", host,
                                    strerror(status));
}

// Waits until the thread has ended. False when it goes on.
static bool finish(int patience_ms)
{
    struct pollfd done = {.fd = job.done, .events = POLLIN};
    eventfd_t count = 0;
    int n = 0;
    do {
        n = poll(&done, 1, patience_ms);
    } while (n < 0 && errno == EINTR);
    if (n != 1 || eventfd_read(job.done, &count) != 0) {
        return false;
    }
    (void)pthread_join(job.thread, NULL);
    job.running = false;
    return true;
}

int ct_lookup_patiently(const char *host, unsigned patience_ms, char *ret, size_t size,
                        struct ct_err *err)
{
    if (job.running && !finish(0)) {
        return ct_err_set(err, CT_EUNAVAIL, "%s cannot be looked up: the last try still hangs",
                          host);
    }
    int rc = start(host, err);
    if (rc < 0) {
        return rc;
    }
    if (!finish((int)patience_ms)) {
        return ct_err_set(err, CT_EUNAVAIL, "%s cannot be looked up within %u ms", host,
                          patience_ms);
    }
    if (job.rc < 0) {
        if (err != NULL) {
            *err = job.err;
        }
        return job.rc;
    }
    if (strlen(job.found) >= size) {
        char *last = memrchr(job.found, ',', size);
        *(last != NULL ? last : job.found) = '\0';
    }
    (void)snprintf(ret, size, "%s", job.found);
    return ret[0] != '\0' ? 0 : ct_err_set(err, CT_EUNAVAIL, "the name %s has no address", host);
}
