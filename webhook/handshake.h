// SPDX-License-Identifier: Apache-2.0
//
// Does the server really show what it should? It is asked, by a handshake of its own, over and over.
#ifndef CT_WEBHOOK_HANDSHAKE_H
#define CT_WEBHOOK_HANDSHAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "httpd.h"

struct ct_handshake {
    atomic_bool due;      // the certificate has changed: look at once
    pthread_mutex_t lock; // guards `trouble`
    char trouble[512];    // "": all is well
    // Of the thread that checks.
    unsigned failures; // in a row
    uint64_t next_ms;
};

// Not ready until a check has succeeded.
void ct_handshake_init(struct ct_handshake *h);
void ct_handshake_done(struct ct_handshake *h);

// Checks, if it is time for it, and logs what has changed. A certificate that is not the right one counts
// at once; a handshake that does not come about, as under a great load, only after three in a row.
// `authorities` and `name` as for ct_httpd_probe(). One thread.
void ct_handshake_check(struct ct_handshake *h, struct ct_httpd *httpd, const char *authorities,
                        const char *name);

// Was all well? Why not is written to `trouble`, a sentence. Any thread.
bool ct_handshake_good(struct ct_handshake *h, char *trouble, size_t size);

#endif
