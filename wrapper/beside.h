// SPDX-License-Identifier: Apache-2.0
//
// What the wrapper does beside the running app, on a thread of its own: the thread that supervises
// waits for nothing but signals. That thread's stack is secret memory, as the heap is.
#ifndef CT_BESIDE_H
#define CT_BESIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "err.h"
#include "on_change.h"
#include "refresh.h"
#include "renewal.h"
#include "secmem.h"
#include "vault.h"

struct ct_beside {
    struct ct_renewal renewal;
    struct ct_refresh *refresh; // NULL: secrets are not read again
    struct ct_on_change on_change;
    unsigned interval_ms;
    uint64_t look_ms; // when they are read next, CLOCK_MONOTONIC
    bool told_unreadable;
    pid_t app;
    int app_fd;          // its pidfd, where it is not this process's own child; else -1
    pid_t child;         // what gets all other signals: a launcher that stays, or the app
    atomic_bool restart; // the app is being ended, to be started again
    struct ct_secmem_area stack;
    pthread_t thread;
    pthread_mutex_t busy; // held while something is done
    int wake;             // eventfd: begin
};

// Makes the thread, which waits for ct_beside_released(). Call before ct_supervise_prepare(): a C library
// that makes its first thread unblocks signals of its own for a moment, and until this process
// blocks them all any signal may end it anyway.
CT_CHECKED int ct_beside_start(struct ct_beside *b, struct ct_err *err);
// Has the secrets read again, from ct_beside_released() on. Takes `refresh` over.
void ct_beside_watch(struct ct_beside *b, struct ct_refresh *refresh,
                     const struct ct_on_change *on_change, unsigned interval_ms);
// The app runs, below `child` or as it: begin. `vault` has logged in; it and the others are borrowed until the process
// ends, and the thread's alone from now on. ct_tally_begin() was called.
void ct_beside_released(struct ct_beside *b, struct ct_vault *vault, const struct ct_config *config,
                        pid_t app, pid_t child);
// The app has ended: because it is to be started again?
bool ct_beside_wants_restart(const struct ct_beside *b);
// The app has ended. True: nothing is being done any more and nothing will be, so that `vault` may be
// freed. False: the thread is in the middle of something; only _exit(2) is safe now.
bool ct_beside_end(struct ct_beside *b);

#endif
