// SPDX-License-Identifier: Apache-2.0
//
// PID 1's duties once the app runs. Nothing but the app's end ends it.
#ifndef CT_SUPERVISE_H
#define CT_SUPERVISE_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

// Blocks all signals that can be blocked and becomes a child subreaper when not PID 1. Call before
// the app is forked; *ret_app_mask is the mask that the app must be started with (as it was).
CT_CHECKED int ct_supervise_prepare(sigset_t *ret_app_mask, struct ct_err *err);

// Blocks all signals on the calling thread. A C library unblocks some for purposes of its own on each
// thread that it makes, and, making the first one, on the thread that asks for it; they too are to
// reach the thread that supervises. Call first on every other thread, and after making one.
void ct_supervise_shield(void);

// Sets the calling thread's mask to what ct_supervise_prepare() found: this process is to become another
// program.
void ct_supervise_restore(const sigset_t *app_mask);

// Call right before the app is forked: what is pending now came when there was no app, so that it is
// forwarded whoever sent it. (Later a terminal's signals reach the app by themselves.)
void ct_supervise_fork_follows(void);

// Ends whatever the app left running, PID 1 all others that it can see, and reaps it. False: something is
// still there after some seconds.
CT_CHECKED bool ct_supervise_end_rest(void);

// Was a signal that asks to end (SIGTERM, SIGINT, SIGQUIT) forwarded to the app, or does one wait?
// Thread-safe.
bool ct_supervise_asked_to_end(void);
// What ct_supervise() is made of, for the time before it, while a launcher is followed (chain.h).
// Passes a signal that was taken from this process's queue on to the app, unless it has it already or
// it was for the wrapper alone.
void ct_supervise_forward(siginfo_t *info, pid_t app);
// A stop of the app is passed on to whoever does job control on the wrapper: by stopping as well,
// until that one continues the group.
void ct_supervise_stop(void);

// Something small to be done between the signals, which wait meanwhile; it may fork, which the thread beside (its
// stack is not inherited) may not.
struct ct_supervise_chore {
    int (*due_in)(void *cls); // milliseconds; NULL: there is nothing to be done
    void (*run)(void *cls);   // once it is due
    // A child that is not the app has ended; NULL: nobody wants to know.
    void (*ended)(void *cls, pid_t pid, int status);
    void *cls;
};

// Forwards signals, reaps orphans, passes stops on, until `app` ended. Returns its exit code, or
// 128+n when signal n ended it. `chore` may be NULL.
int ct_supervise(pid_t app, const struct ct_supervise_chore *chore);

#endif
