// SPDX-License-Identifier: Apache-2.0
//
// Answers scrapes of metrics by hand: one path, one method, no body; bounded in connections, bytes and time.
// It makes no thread and never waits: whoever has a loop polls for it.
#ifndef CT_SCRAPE_H
#define CT_SCRAPE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CT_SCRAPE_HEAD_MAX 2048
#define CT_SCRAPE_CONNECTIONS 8
#define CT_SCRAPE_FDS (CT_SCRAPE_CONNECTIONS + 1)

// What the bytes of a request that are there say: CT_SCRAPE_MORE, or the status of the answer: 200
// for GET /metrics, 404, 405, 400, 431 for a head beyond CT_SCRAPE_HEAD_MAX. Pure.
#define CT_SCRAPE_MORE 0
int ct_scrape_read(const char *data, size_t len);

// The complete answer; `body` counts for 200 alone. Returns its length, below size. Pure.
size_t ct_scrape_answer(int status, const char *body, char *out, size_t size);

struct ct_scrape_connection {
    int fd; // -1: free
    int64_t end_ms;
    size_t len;  // of what was read, or is to be sent
    size_t sent; // of `data`
    bool answering;
    char *data;
};

struct ct_scrape {
    int listener; // the caller's
    // Writes the complete answer of this status, as ct_scrape_answer() does; returns its length, below size.
    size_t (*fill)(void *cls, int status, char *out, size_t size);
    void *cls;
    size_t size; // of a connection's data
    int64_t blind_until_ms;
    struct ct_scrape_connection connection[CT_SCRAPE_CONNECTIONS];
};

// `memory` is the connections' own, in equal parts, each larger than CT_SCRAPE_HEAD_MAX and the largest answer.
void ct_scrape_init(struct ct_scrape *scrape, int listener, char *memory, size_t size,
                    size_t (*fill)(void *cls, int status, char *out, size_t size), void *cls);
// Ends all connections; the listener stays the caller's.
void ct_scrape_done(struct ct_scrape *scrape);

// What is to be polled for, and until when: *timeout_ms is lowered, -1 means for good.
void ct_scrape_wait(struct ct_scrape *scrape, struct pollfd fds[CT_SCRAPE_FDS], int *timeout_ms);
// Goes on with what has come.
void ct_scrape_turn(struct ct_scrape *scrape, const struct pollfd fds[CT_SCRAPE_FDS]);

#endif
