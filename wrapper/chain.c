// SPDX-License-Identifier: Apache-2.0
#include "chain.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assume.h"
#include "clock.h"
#include "exit_code.h"
#include "spawn.h"
#include "supervise.h"

#ifndef PTRACE_GETSIGMASK
#define PTRACE_GETSIGMASK 0x420a
#define PTRACE_SETSIGMASK 0x420b
#endif
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#define ALL_SIGNALS (~UINT64_C(0))
#define LET_GO_MS 5000 // for those not on the way any more to stop once
#define POLL_NS 200000
#define KILL_TRIES 5000

static long options_of(enum ct_chain_rule rule)
{
    const long always = PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    const long forks = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    return rule == CT_CHAIN_FIRST ? always | forks : always;
}

static bool is_task(const struct ct_chain *c, pid_t pid)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->task[i] == pid) {
            return true;
        }
    }
    return false;
}

static int add_task(struct ct_chain *c, pid_t pid, struct ct_err *err)
{
    if (is_task(c, pid)) {
        return 0;
    }
    if (c->n == CT_CHAIN_MAX) {
        return ct_err_set(err, CT_ETOOBIG,
                          "it started more than %d processes and threads before one of them became "
                          "a program; start the program by exec, or set the annotation "
                          "cloudtaser.io/launcher to \"deliver\"",
                          CT_CHAIN_MAX);
    }
    c->task[c->n++] = pid;
    return 0;
}

static void remove_task(struct ct_chain *c, pid_t pid)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->task[i] == pid) {
            c->task[i] = c->task[--c->n];
            return;
        }
    }
}

// A process or thread is gone.
static void note_end(struct ct_chain *c, pid_t pid, int status)
{
    remove_task(c, pid);
    if (pid == c->child) {
        c->ended = true;
        c->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : CT_EXIT_SIGNAL + WTERMSIG(status);
    }
}

static int event_of(int status)
{
    return status >> 16;
}

static bool is_fork(int event)
{
    return event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE;
}

static bool is_stop_signal(int signal)
{
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

// The process that a fork, vfork or clone made is traced from its beginning.
static int note_fork(struct ct_chain *c, pid_t pid, struct ct_err *err)
{
    unsigned long made = 0;
    if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &made) != 0) {
        return 0; // killed meanwhile; what it made shows by its first stop
    }
    return add_task(c, (pid_t)made, err);
}

// Any stop but that of an exec: the tracee goes on as it would without a tracer.
static int go_on(struct ct_chain *c, pid_t pid, int status, struct ct_err *err)
{
    int event = event_of(status);
    int signal = WSTOPSIG(status);
    int rc = 0;
    long deliver = 0;
    // Requests to one that was killed meanwhile fail; it tells so by its end.
    if (event == PTRACE_EVENT_STOP && is_stop_signal(signal)) {
        (void)ptrace(PTRACE_LISTEN, pid, NULL, NULL); // stays stopped, until a SIGCONT
        if (pid == c->child) {
            ct_supervise_stop();
        }
        return 0;
    }
    if (is_fork(event)) {
        rc = note_fork(c, pid, err);
    } else if (event == 0) {
        bool own = pid == c->child && signal == SIGCONT && c->drop_cont;
        c->drop_cont = c->drop_cont && !own;
        deliver = own ? 0 : signal;
    }
    (void)ptrace(PTRACE_CONT, pid, NULL, deliver);
    return rc;
}

// ---- letting go

// A stop of somebody who is not on the way any more.
static void detach(struct ct_chain *c, pid_t pid, int status)
{
    int event = event_of(status);
    if (is_fork(event)) {
        (void)note_fork(c, pid, NULL);
    }
    long deliver = event == 0 ? WSTOPSIG(status) : 0;
    (void)ptrace(PTRACE_DETACH, pid, NULL, deliver);
    remove_task(c, pid);
}

// One look at everyone but `keep`. True when nobody is left.
static bool try_let_go(struct ct_chain *c, pid_t keep)
{
    bool left = false;
    for (size_t i = c->n; i-- > 0;) {
        pid_t pid = c->task[i];
        int status = 0;
        if (pid == keep) {
            continue;
        }
        pid_t got = waitpid(pid, &status, WNOHANG | __WALL);
        if (got == pid && WIFSTOPPED(status)) {
            detach(c, pid, status);
        } else if (got == pid) {
            note_end(c, pid, status);
        } else if (got < 0 && errno == ECHILD) {
            remove_task(c, pid);
        } else {
            left = true;
            (void)ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
        }
    }
    return !left && c->n <= (keep != 0 ? 1u : 0u);
}

static int let_others_go(struct ct_chain *c, pid_t keep, struct ct_err *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    for (long waited = 0; !try_let_go(c, keep); waited += POLL_NS / 1000) {
        if (waited > LET_GO_MS * 1000L) {
            return ct_err_set(err, CT_ESYSTEM, "a process of the launcher's cannot be let go");
        }
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

// ---- waiting

// What one wait told. *ret_found is set for an exec.
static int take_status(struct ct_chain *c, pid_t pid, int status, pid_t *ret_found,
                       struct ct_err *err)
{
    if (!WIFSTOPPED(status)) {
        note_end(c, pid, status);
        return 0;
    }
    int event = event_of(status);
    if (event == PTRACE_EVENT_EXEC) {
        // A thread that execs takes the process's number over; its own is gone without a word.
        unsigned long former = 0;
        if (ptrace(PTRACE_GETEVENTMSG, pid, NULL, &former) == 0 && (pid_t)former != pid) {
            remove_task(c, (pid_t)former);
        }
        *ret_found = pid;
        return add_task(c, pid, err);
    }
    if (!is_task(c, pid)) {
        if (event == 0) { // not traced: an orphan's stop, or the child's once it was let go
            if (pid == c->child) {
                ct_supervise_stop();
            }
            return 0;
        }
        int rc = add_task(c, pid, err);
        if (rc < 0) {
            return rc;
        }
    }
    return go_on(c, pid, status, err);
}

// Takes all that is there to be told, up to an exec.
static int drain(struct ct_chain *c, pid_t *ret_found, struct ct_err *err)
{
    while (*ret_found == 0 && !c->ended) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL);
        if (pid < 0 && errno == ECHILD) {
            c->ended = true; // somebody else reaped it
            c->exit_code = CT_EXIT_OTHER;
        }
        if (pid <= 0) {
            return 0;
        }
        int rc = take_status(c, pid, status, ret_found, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

// Waits for a signal, and for no longer than until it is time to tell that this takes long.
static void take_signal(struct ct_chain *c, uint64_t late_at_ms)
{
    const uint64_t all = ALL_SIGNALS;
    uint64_t now = ct_clock_ms();
    uint64_t left = late_at_ms > now ? late_at_ms - now : 0;
    const struct timespec patience = {.tv_sec = (time_t)(left / 1000),
                                      .tv_nsec = (long)(left % 1000) * 1000000};
    siginfo_t info = {0};
    if (syscall(SYS_rt_sigtimedwait, &all, &info, c->late != NULL ? &patience : NULL, sizeof(all)) >
        0) {
        ct_supervise_forward(&info, c->child);
    } else if (c->late != NULL && ct_clock_ms() >= late_at_ms) {
        c->late(c->cls);
        c->late = NULL;
    }
}

static int wait_for_exec(struct ct_chain *c, pid_t *ret_found, struct ct_err *err)
{
    const uint64_t late_at_ms = ct_clock_ms() + c->late_ms;
    for (;;) {
        int rc = drain(c, ret_found, err);
        if (rc < 0) {
            return rc;
        }
        if (*ret_found != 0) {
            return let_others_go(c, *ret_found, err);
        }
        if (c->ended || c->n == 0) {
            return let_others_go(c, 0, err);
        }
        take_signal(c, late_at_ms);
    }
}

int ct_chain_wait(struct ct_chain *c, pid_t *ret_pid, struct ct_err *err)
{
    // Already so in the wrapper. SIGCHLD would be lost elsewhere.
    const uint64_t all = ALL_SIGNALS;
    uint64_t before = 0;
    *ret_pid = 0;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
    int rc = wait_for_exec(c, ret_pid, err);
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
    return rc;
}

// ---- at the exec

static int set_mask(pid_t pid, const void *mask, struct ct_err *err)
{
    if (ptrace(PTRACE_SETSIGMASK, pid, sizeof(uint64_t), mask) != 0) {
        return ct_err_errno(err, "its signal mask cannot be set (PTRACE_SETSIGMASK)");
    }
    return 0;
}

int ct_chain_hold(pid_t pid, uint64_t *ret_mask, struct ct_err *err)
{
    const uint64_t all = ALL_SIGNALS;
    if (ptrace(PTRACE_GETSIGMASK, pid, sizeof(*ret_mask), ret_mask) != 0) {
        return ct_err_errno(err, "its signal mask cannot be read (PTRACE_GETSIGMASK)");
    }
    return set_mask(pid, &all, err);
}

int ct_chain_unhold(pid_t pid, uint64_t mask, struct ct_err *err)
{
    return set_mask(pid, &mask, err);
}

// Only SIGKILL takes a process out of a stop; it ends then, if not at once.
bool ct_chain_lost(struct ct_chain *c, const struct ct_inject *in)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    unsigned long unused = 0;
    if (in->ended) {
        note_end(c, in->pid, in->end_status);
        return true;
    }
    for (long waited = 0; waited < LET_GO_MS * 1000L; waited += POLL_NS / 1000) {
        int status = 0;
        pid_t got = waitpid(in->pid, &status, WNOHANG | __WALL);
        if (got == in->pid && !WIFSTOPPED(status)) {
            note_end(c, in->pid, status);
            return true;
        }
        if (got < 0 || ptrace(PTRACE_GETEVENTMSG, in->pid, NULL, &unused) == 0) {
            return false; // it is there, stopped
        }
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

static int resume(pid_t pid, enum ct_chain_rule rule, const void *mask, bool stop,
                  struct ct_err *err)
{
    int rc = set_mask(pid, mask, err);
    if (rc == 0 && stop) {
        (void)kill(pid, SIGSTOP); // held back until now
    }
    if (rc == 0 && (ptrace(PTRACE_SETOPTIONS, pid, NULL, options_of(rule)) != 0 ||
                    ptrace(PTRACE_CONT, pid, NULL, NULL) != 0)) {
        rc = ct_err_errno(err, "it cannot be traced any further");
    }
    return rc;
}

int ct_chain_go(pid_t pid, enum ct_chain_rule rule, uint64_t mask, bool stop, struct ct_err *err)
{
    return resume(pid, rule, &mask, stop, err);
}

static bool wait_stopped(pid_t pid, int options, int *ret_status)
{
    pid_t got;
    do {
        got = waitpid(pid, ret_status, options | __WALL);
    } while (got < 0 && errno == EINTR);
    return got == pid && WIFSTOPPED(*ret_status);
}

// From PTRACE_TRACEME to PTRACE_SEIZE. A SIGSTOP cannot be blocked: it takes effect before the process
// gets back to its own instructions.
static int seize(pid_t pid, struct ct_err *err)
{
    int status = 0;
    if (kill(pid, SIGSTOP) != 0 || ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0) {
        return ct_err_errno(err, "it cannot be let go for a moment (PTRACE_DETACH)");
    }
    if (!wait_stopped(pid, WUNTRACED, &status)) {
        return ct_err_set(err, CT_ESYSTEM, "it was killed before it was started");
    }
    if (ptrace(PTRACE_SEIZE, pid, NULL, options_of(CT_CHAIN_OWN)) != 0) {
        return ct_err_errno(err, "it cannot be followed (PTRACE_SEIZE)");
    }
    (void)ptrace(PTRACE_INTERRUPT, pid, NULL, NULL); // or nothing would tell of one that runs
    if (!wait_stopped(pid, 0, &status)) {
        return ct_err_set(err, CT_ESYSTEM, "it was killed before it was started");
    }
    if (event_of(status) != PTRACE_EVENT_STOP || WSTOPSIG(status) != SIGSTOP) {
        return ct_err_set(err, CT_EDENIED, "somebody let it run before it could be followed");
    }
    (void)kill(pid, SIGCONT); // or it would be stopped again once it is let go
    return 0;
}

int ct_chain_begin(struct ct_chain *c, pid_t child, enum ct_chain_rule rule, const sigset_t *mask,
                   bool stop, struct ct_err *err)
{
    *c = (struct ct_chain){.child = child, .task = {child}, .n = 1, .drop_cont = true};
    int rc = seize(child, err);
    return rc < 0 ? rc : resume(child, rule, mask, stop, err);
}

// ---- the end of all

// Bounded: one that may not be killed by this user goes with this process (PTRACE_O_EXITKILL).
void ct_chain_kill(struct ct_chain *c)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    if (!c->ended && c->child > 0) {
        ct_spawn_kill_tree(c->child);
        (void)add_task(c, c->child, NULL);
    }
    for (size_t i = 0; i < c->n; i++) {
        (void)ct_assume_kill(c->task[i], SIGKILL);
        (void)ptrace(PTRACE_KILL, c->task[i], NULL, NULL);
    }
    for (int i = 0; c->n > 0 && i < KILL_TRIES; i++) {
        for (size_t t = c->n; t-- > 0;) {
            int status = 0;
            pid_t pid = c->task[t];
            pid_t got = waitpid(pid, &status, WNOHANG | __WALL);
            if (got < 0 || (got == pid && !WIFSTOPPED(status))) {
                note_end(c, pid, status);
            }
        }
        (void)nanosleep(&pause, NULL);
    }
    *c = (struct ct_chain){0};
}
