// SPDX-License-Identifier: Apache-2.0
#include "handshake.h"

#include "clock.h"
#include "log.h"

#define EVERY_MS 5000
#define PATIENCE 3

void ct_handshake_init(struct ct_handshake *h)
{
    (void)pthread_mutex_init(&h->lock, NULL);
    h->failures = PATIENCE; // as long as there was none
    (void)snprintf(h->trouble, sizeof(h->trouble), "the server has not been asked yet");
}

void ct_handshake_done(struct ct_handshake *h)
{
    (void)pthread_mutex_destroy(&h->lock);
}

static void set_trouble(struct ct_handshake *h, const char *sentence)
{
    (void)pthread_mutex_lock(&h->lock);
    (void)snprintf(h->trouble, sizeof(h->trouble), "%s", sentence);
    (void)pthread_mutex_unlock(&h->lock);
}

static void fail(struct ct_handshake *h, int r, const struct ct_err *err)
{
    bool before = h->failures >= PATIENCE;
    h->failures = r == -CT_EDENIED ? PATIENCE : h->failures + 1;
    if (h->failures >= PATIENCE) {
        set_trouble(h, err->msg);
        if (!before) {
            ct_log(CT_LOG_ERROR, "not ready: %s", err->msg);
        }
    }
}

void ct_handshake_check(struct ct_handshake *h, struct ct_httpd *httpd, const char *authorities,
                        const char *name)
{
    struct ct_err err = {0};
    bool due = atomic_exchange(&h->due, false);
    if (!due && h->failures == 0 && ct_clock_ms() < h->next_ms) {
        return;
    }
    int r = ct_httpd_probe(httpd, authorities, name, &err);
    h->next_ms = ct_clock_ms() + EVERY_MS;
    if (r < 0) {
        fail(h, r, &err);
        return;
    }
    h->failures = 0;
    set_trouble(h, "");
}

bool ct_handshake_good(struct ct_handshake *h, char *trouble, size_t size)
{
    (void)pthread_mutex_lock(&h->lock);
    bool good = h->trouble[0] == '\0';
    if (!good) {
        (void)snprintf(trouble, size, "%s", h->trouble);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return good;
}
