// SPDX-License-Identifier: Apache-2.0
//
// Signals are blocked for good and taken one by one with rt_sigtimedwait(2): no handler, no race
// between a look and a sleep, and a signal that comes while the app is still being prepared simply
// waits its turn.
//
// The app stays in the wrapper's session and process group. Terminals and job control then work as
// if the wrapper were not there: the kernel sends Ctrl-C and the like to the whole foreground group,
// the app included. The price is that those must not be forwarded a second time; they are told from
// a kill(2) by si_code SI_KERNEL.
#include "supervise.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assume.h"
#include "exit_code.h"
#include "spawn.h"

// The kernel's own set of 64 signals. The C libraries keep two or three real-time signals for
// themselves and leave them out of every sigset; here those are forwarded like all others.
#define ALL_SIGNALS (~UINT64_C(0))
#define END_MS 5000

// Signals that came before the app was there to get them; bit n - 1 for signal n.
static uint64_t early;
static atomic_bool asked_to_end; // other threads ask

int ct_supervise_prepare(sigset_t *ret_app_mask, struct ct_err *err)
{
    const uint64_t all = ALL_SIGNALS;
    uint64_t before = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all)) != 0) {
        return ct_err_errno(err, "cannot block signals");
    }
    memset(ret_app_mask, 0, sizeof(*ret_app_mask));
    memcpy(ret_app_mask, &before, sizeof(before));
    // Inherited as ignored, it would make the kernel reap the app itself and lose its exit code.
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    if (sigaction(SIGCHLD, &standard, NULL) != 0) {
        return ct_err_errno(err, "cannot reset the action of SIGCHLD");
    }
    if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        return ct_err_errno(err, "cannot become a child subreaper");
    }
    return 0;
}

void ct_supervise_shield(void)
{
    const uint64_t all = ALL_SIGNALS;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(all));
}

void ct_supervise_restore(const sigset_t *app_mask)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, app_mask, NULL, sizeof(uint64_t));
}

void ct_supervise_fork_follows(void)
{
    if (syscall(SYS_rt_sigpending, &early, sizeof(early)) != 0) {
        early = 0;
    }
}

// PID 1 and the leader of a session have nobody above them who does job control; if they stopped,
// nothing might ever continue them.
void ct_supervise_stop(void)
{
    if (getpid() != 1 && getsid(0) != getpid()) {
        (void)kill(getpid(), SIGSTOP);
    }
}

static bool has_ended(int status)
{
    return WIFEXITED(status) || WIFSIGNALED(status);
}

// Reaps whoever ended. True when the app did, with its exit code.
static bool reap(pid_t app, const struct ct_supervise_chore *chore, int *ret_code)
{
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL);
        if (pid < 0 && errno == ECHILD) {
            *ret_code = CT_EXIT_OTHER; // somebody else reaped it: it is gone in any case
            return true;
        }
        if (pid <= 0) {
            return false;
        }
        if (pid != app) {
            // What a launcher forked in the moment that it was killed is traced, and nobody knew of it.
            if (WIFSTOPPED(status)) {
                (void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
            } else if (chore->ended != NULL && has_ended(status)) {
                chore->ended(chore->cls, pid, status);
            }
            continue;
        }
        if (WIFEXITED(status)) {
            *ret_code = WEXITSTATUS(status);
            return true;
        }
        if (WIFSIGNALED(status)) {
            *ret_code = CT_EXIT_SIGNAL + WTERMSIG(status);
            return true;
        }
        if (WIFSTOPPED(status)) {
            ct_supervise_stop();
        }
    }
}

// Did the kernel send this signal to the whole process group, and so to the app as well? Terminals
// do (SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH), and so does the kernel when a group is
// orphaned (SIGHUP, SIGCONT) - but the hang-up of a terminal reaches the leader of its session alone.
static bool app_has_it(const siginfo_t *info, pid_t app)
{
    uint64_t bit = UINT64_C(1) << (info->si_signo - 1);
    if ((early & bit) != 0) {
        early &= ~bit;
        return false;
    }
    if (info->si_code != SI_KERNEL || getpgid(app) != getpgrp()) {
        return false;
    }
    bool hang_up = info->si_signo == SIGHUP || info->si_signo == SIGCONT;
    return !(hang_up && getsid(0) == getpid());
}

static bool asks_to_end(int signal)
{
    return signal == SIGTERM || signal == SIGINT || signal == SIGQUIT;
}

bool ct_supervise_asked_to_end(void)
{
    uint64_t pending = 0;
    bool waits = syscall(SYS_rt_sigpending, &pending, sizeof(pending)) == 0 &&
                 (pending & (UINT64_C(1) << (SIGTERM - 1) | UINT64_C(1) << (SIGINT - 1) |
                             UINT64_C(1) << (SIGQUIT - 1))) != 0;
    return asked_to_end || waits;
}

void ct_supervise_forward(siginfo_t *info, pid_t app)
{
    if (asks_to_end(info->si_signo)) {
        asked_to_end = true;
    }
    // A child's end is the wrapper's business, a SIGCHLD that somebody sent is the app's. A SIGPIPE
    // that the kernel raised is the answer to a write of the wrapper's own.
    bool child = info->si_signo == SIGCHLD && info->si_code > 0;
    bool own_pipe =
        info->si_signo == SIGPIPE && info->si_code == SI_USER && info->si_pid == getpid();
    if (child || own_pipe || app_has_it(info, app)) {
        return;
    }
    // What sigqueue(3), a timer or a message queue sent keeps its value. The kernel lets nobody
    // claim SI_TKILL or a code of its own, and its queue has a limit: a plain kill(2) is the rest.
    if (info->si_code < 0 && info->si_code != SI_TKILL &&
        syscall(SYS_rt_sigqueueinfo, app, info->si_signo, info) == 0) {
        return;
    }
    (void)ct_assume_kill(app, info->si_signo);
}

bool ct_supervise_end_rest(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int ms = 0; ms < END_MS; ms++) {
        if (getpid() == 1) {
            (void)kill(-1,
                       SIGKILL); // not only its descendants: somebody may have come in from outside
        }
        ct_spawn_kill_descendants(getpid());
        pid_t pid;
        do {
            pid = waitpid(-1, NULL, WNOHANG | __WALL);
        } while (pid > 0);
        if (pid < 0) {
            return true;
        }
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

// Takes a signal that is there, or waits for one until the chore is due.
static long take_signal(const struct ct_supervise_chore *chore, siginfo_t *ret)
{
    const uint64_t all = ALL_SIGNALS;
    if (chore->due_in == NULL) {
        return syscall(SYS_rt_sigtimedwait, &all, ret, NULL, sizeof(all));
    }
    int ms = chore->due_in(chore->cls);
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    return syscall(SYS_rt_sigtimedwait, &all, ret, &wait, sizeof(all));
}

int ct_supervise(pid_t app, const struct ct_supervise_chore *chore)
{
    static const struct ct_supervise_chore none = {.cls = NULL};
    const struct ct_supervise_chore *c = chore != NULL ? chore : &none;
    int code = 0;
    while (!reap(app, c, &code)) {
        siginfo_t info = {0};
        if (take_signal(c, &info) > 0) {
            ct_supervise_forward(&info, app);
        } else if (c->due_in != NULL && c->due_in(c->cls) == 0) {
            c->run(c->cls);
        }
    }
    return code;
}
