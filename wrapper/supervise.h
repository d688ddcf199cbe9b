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

// Was a signal that asks to end (SIGTERM, SIGINT, SIGQUIT) forwarded to the app, or does one wait?
// Thread-safe.
bool ct_supervise_asked_to_end(void);
// The app has ended: ends what it left running, and reaps it. As PID 1 that is all there is; else all that
// descends from this process, where /proc tells of it.
void ct_supervise_end_rest(void);
// What ct_supervise() is made of, for the time before it, while a launcher is followed (chain.h).
// Passes a signal that was taken from this process's queue on to the app, unless it has it already or
// it was for the wrapper alone.
void ct_supervise_forward(siginfo_t *info, pid_t app);
// A stop of the app is passed on to whoever does job control on the wrapper: by stopping as well,
// until that one continues the group.
void ct_supervise_stop(void);

// Forwards signals, reaps orphans, passes stops on, until `app` ended. Returns its exit code, or
// 128+n when signal n ended it.
int ct_supervise(pid_t app);

#endif
