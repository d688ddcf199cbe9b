// SPDX-License-Identifier: Apache-2.0
//
// The processes of a launcher, traced from exec to exec. One that only replaces itself is traced
// alone; one that may also fork is traced with its children, until the first of them execs. What
// is not on the way to the next exec is let go at once.
#ifndef CT_CHAIN_H
#define CT_CHAIN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "inject.h"

#define CT_CHAIN_MAX 128 // processes and threads that are traced at a time

// Whose exec counts.
enum ct_chain_rule {
    CT_CHAIN_OWN,   // the launcher's own; its children are not traced at all
    CT_CHAIN_FIRST, // the first of it and its children
};

struct ct_chain {
    pid_t child;    // the wrapper's own child: signals are forwarded to it
    bool ended;     // it did, with …
    int exit_code;  // … this, or 128+n
    bool drop_cont; // a SIGCONT to it is this code's own
    pid_t task[CT_CHAIN_MAX];
    size_t n;
    // Told once when nobody's exec has counted for that long. Set after ct_chain_begin(); NULL: not told.
    void (*late)(void *cls);
    void *cls;
    unsigned late_ms;
};

// Takes over a child that is stopped at the exit of its execve, traced by PTRACE_TRACEME, all signals
// blocked: such a trace knows no PTRACE_INTERRUPT and no PTRACE_LISTEN. It is stopped, let go and
// seized, and does not run meanwhile. It goes on with `mask` blocked; `stop`: and with a SIGSTOP.
CT_CHECKED int ct_chain_begin(struct ct_chain *c, pid_t child, enum ct_chain_rule rule,
                              const sigset_t *mask, bool stop, struct ct_err *err);

// Waits for an exec that counts; forwards signals, passes stops on and reaps orphans meanwhile, for as
// long as it takes. *ret_pid is stopped there (PTRACE_EVENT_EXEC) and the only one that is still
// traced, or 0: the child ended, or nobody is left whose exec would count. CT_ETOOBIG for more than
// CT_CHAIN_MAX.
CT_CHECKED int ct_chain_wait(struct ct_chain *c, pid_t *ret_pid, struct ct_err *err);

// Blocks all signals of a process that is stopped at its exec. *ret_mask is what was blocked.
CT_CHECKED int ct_chain_hold(pid_t pid, uint64_t *ret_mask, struct ct_err *err);

// And gives it its own mask back, while it stays stopped.
CT_CHECKED int ct_chain_unhold(pid_t pid, uint64_t mask, struct ct_err *err);

// What was done with the process found has failed: was that because it was killed meanwhile? Then it
// is reaped, and the chain goes on without it (ct_chain_wait()).
CT_CHECKED bool ct_chain_lost(struct ct_chain *c, const struct ct_inject *in);

// Lets the process found go on as a launcher of its own kind.
CT_CHECKED int ct_chain_go(pid_t pid, enum ct_chain_rule rule, uint64_t mask, bool stop,
                           struct ct_err *err);

// Kills the child, its descendants and whatever is traced, and reaps them.
void ct_chain_kill(struct ct_chain *c);

#endif
