// SPDX-License-Identifier: Apache-2.0
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assume.h"

#define TREE_DEPTH_MAX 64
#define KERNEL_SIGSET_SIZE sizeof(uint64_t) // the C libraries' sigset_t is longer
#ifndef PTRACE_SETSIGMASK
#define PTRACE_SETSIGMASK 0x420b
#endif

static void set_signal_mask(const void *mask, void *old)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET_SIZE);
}

_Noreturn static void give_up(int report_fd, enum ct_spawn_stage stage)
{
    struct ct_spawn_report report = {stage, errno};
    ssize_t n = write(report_fd, &report, sizeof(report));
    _exit(n < 0 ? 126 : 127);
}

// In the child: the stack and raw system calls only.
_Noreturn static void run_child(const struct ct_spawn *s, int go_fd, int report_fd)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (s->ignore_child) {
        (void)sigaction(SIGCHLD, &ignore, NULL);
    }
    if (s->traced) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            give_up(report_fd, CT_SPAWN_TRACE);
        }
        if (s->inherit_fd >= 0) {
            (void)fcntl(s->inherit_fd, F_SETFD, 0);
        }
        // The parent sets its options now: from then on the kernel kills this process with it.
        (void)syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
    } else {
        char go;
        if (read(go_fd, &go, 1) != 1) {
            _exit(127);
        }
        set_signal_mask(s->signal_mask, NULL);
    }
    (void)execve(s->path, s->argv, s->envp);
    give_up(report_fd, CT_SPAWN_EXEC);
}

int ct_spawn_fork(struct ct_spawn *s, struct ct_err *err)
{
    static const uint64_t all = ~UINT64_C(0);
    uint64_t before = 0;
    int go[2] = {-1, -1};
    int report[2] = {-1, -1};
    if (pipe2(report, O_CLOEXEC) != 0 || (!s->traced && pipe2(go, O_CLOEXEC) != 0)) {
        int status = ct_err_errno(err, "cannot make a pipe");
        ct_close_fd(&report[0]);
        ct_close_fd(&report[1]);
        return status;
    }
    set_signal_mask(&all, &before);
    s->pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (s->pid == 0) {
        ct_close_fd(&go[1]); // or the child would never see the end of it
        run_child(s, go[0], report[1]);
    }
    int failed = errno;
    set_signal_mask(&before, NULL);
    ct_close_fd(&report[1]);
    ct_close_fd(&go[0]);
    s->report_fd = report[0];
    s->go_fd = go[1];
    if (s->pid < 0) {
        ct_close_fd(&s->report_fd);
        ct_close_fd(&s->go_fd);
        s->report_fd = -1;
        s->go_fd = -1;
        errno = failed;
        return ct_err_errno(err, "cannot fork the app's process");
    }
    return 0;
}

static void take_report(int report_fd, struct ct_spawn_report *ret)
{
    ssize_t n;
    do {
        n = read(report_fd, ret, sizeof(*ret));
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(*ret)) {
        *ret = (struct ct_spawn_report){0};
    }
}

static void wait_for(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, __WALL) < 0 && errno == EINTR) {
    }
}

void ct_spawn_kill(pid_t pid)
{
    int status;
    (void)kill(pid, SIGKILL);
    do {
        status = 0;
        wait_for(pid, &status);
    } while (WIFSTOPPED(status));
}

// Its descendants first: once it is gone, they are somebody else's children.
static void kill_descendants(pid_t pid, int depth)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    char *at = text;
    for (;;) {
        char *end;
        long child = strtol(at, &end, 10);
        if (end == at || child <= 1) {
            return;
        }
        at = end;
        (void)ct_assume_kill((pid_t)child, SIGSTOP); // so that it makes no more of them
        if (depth < TREE_DEPTH_MAX) {
            kill_descendants((pid_t)child, depth + 1);
        }
        (void)ct_assume_kill((pid_t)child, SIGKILL);
    }
}

void ct_spawn_kill_descendants(pid_t pid)
{
    kill_descendants(pid, 0);
}

void ct_spawn_kill_tree(pid_t pid)
{
    (void)ct_assume_kill(pid, SIGSTOP);
    kill_descendants(pid, 0);
    (void)ct_assume_kill(pid, SIGKILL);
}

// The child ended before its exec: what did it say?
static int ended(const struct ct_spawn *s, int status, struct ct_spawn_report *ret,
                 struct ct_err *err)
{
    take_report(s->report_fd, ret);
    if (WIFSIGNALED(status)) {
        return ct_err_set(err, CT_ESYSTEM,
                          "the app's process was killed by signal %d before it "
                          "was started",
                          WTERMSIG(status));
    }
    return ct_err_set(err, CT_ESYSTEM, "the app's process ended before it was started");
}

int ct_spawn_run_to_exec(struct ct_spawn *s, struct ct_spawn_report *ret_report, struct ct_err *err)
{
    static const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    *ret_report = (struct ct_spawn_report){0};
    int status = 0;
    bool set = false;
    for (;;) {
        wait_for(s->pid, &status);
        if (!WIFSTOPPED(status)) {
            return ended(s, status, ret_report, err);
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            return 0;
        }
        // The child's own stop, or another SIGSTOP: all other signals are blocked.
        s->stop_seen = s->stop_seen || set;
        if ((!set && ptrace(PTRACE_SETOPTIONS, s->pid, NULL, options) != 0) ||
            ptrace(PTRACE_CONT, s->pid, NULL, NULL) != 0) {
            int failed = ct_err_errno(err, "the app's process cannot be traced");
            ct_spawn_kill(s->pid);
            return failed;
        }
        set = true;
    }
}

int ct_spawn_unblock(pid_t pid, const sigset_t *signal_mask, struct ct_err *err)
{
    if (ptrace(PTRACE_SETSIGMASK, pid, KERNEL_SIGSET_SIZE, signal_mask) != 0) {
        return ct_err_errno(err, "the app's signal mask cannot be set (PTRACE_SETSIGMASK)");
    }
    return 0;
}

int ct_spawn_go(pid_t pid, int go_fd, int report_fd, struct ct_spawn_report *ret_report,
                struct ct_err *err)
{
    *ret_report = (struct ct_spawn_report){0};
    if (write(go_fd, "", 1) != 1) {
        return ct_err_errno(err, "the app's process cannot be started");
    }
    take_report(report_fd, ret_report);
    if (ret_report->errno_value == 0) {
        return 0; // the pipe ended with the exec
    }
    int status = 0;
    wait_for(pid, &status);
    return ct_err_set(err, CT_ESYSTEM, "the app's process ended before it was started");
}
