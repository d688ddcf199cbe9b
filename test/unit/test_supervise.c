// SPDX-License-Identifier: Apache-2.0
//
// The supervisor in a process of its own, with an app that tells what it gets. The whole table of
// signals, terminals and namespaces is tested with the built wrapper, in test/wrapper.
#include "expect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervise.h"

// What an app tells about each signal.
struct report {
    int signal;
    int code;
    int value;
};

// Starts `app` under a supervisor, both in a forked process; returns the supervisor's pid.
static pid_t supervise(void (*app)(const sigset_t *mask, int out), int out,
                       void (*before_fork)(void))
{
    pid_t supervisor = fork();
    assert_true(supervisor >= 0);
    if (supervisor > 0) {
        return supervisor;
    }
    sigset_t mask;
    if (ct_supervise_prepare(&mask, NULL) != 0) {
        _exit(99);
    }
    if (before_fork != NULL) {
        before_fork();
    }
    ct_supervise_fork_follows();
    pid_t pid = fork();
    if (pid == 0) {
        app(&mask, out);
        _exit(98);
    }
    _exit(ct_supervise(pid, NULL));
}

static int exit_code_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void exits_17(const sigset_t *mask, int out)
{
    (void)mask;
    (void)out;
    _exit(17);
}

static void dies(const sigset_t *mask, int out)
{
    (void)out;
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    (void)raise(SIGTERM);
}

static void passes_the_end_on(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(supervise(exits_17, -1, NULL)), 17);
    assert_int_equal(exit_code_of(supervise(dies, -1, NULL)), 128 + SIGTERM);
}

// All signals stay blocked; each is told, and SIGTERM ends it.
static void tells(const sigset_t *mask, int out)
{
    (void)mask;
    sigset_t all;
    (void)sigfillset(&all);
    struct report ready = {0};
    (void)!write(out, &ready, sizeof(ready));
    for (;;) {
        siginfo_t info;
        if (sigwaitinfo(&all, &info) < 0) {
            continue;
        }
        struct report r = {info.si_signo, info.si_code, info.si_value.sival_int};
        (void)!write(out, &r, sizeof(r));
        if (info.si_signo == SIGTERM) {
            _exit(0);
        }
    }
}

static struct report next(int fd)
{
    struct report r = {-1, 0, 0};
    assert_int_equal(read(fd, &r, sizeof(r)), sizeof(r));
    return r;
}

static void keeps_values(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t supervisor = supervise(tells, pipes[1], NULL);
    assert_int_equal(next(pipes[0]).signal, 0);
    for (int i = 0; i < 3; i++) {
        const union sigval value = {.sival_int = 1000 + i};
        assert_int_equal(sigqueue(supervisor, SIGRTMIN + 3, value), 0);
    }
    for (int i = 0; i < 3; i++) {
        struct report r = next(pipes[0]);
        assert_int_equal(r.signal, SIGRTMIN + 3);
        assert_int_equal(r.code, SI_QUEUE);
        assert_int_equal(r.value, 1000 + i);
    }
    assert_int_equal(kill(supervisor, SIGTERM), 0);
    assert_int_equal(next(pipes[0]).signal, SIGTERM);
    assert_int_equal(exit_code_of(supervisor), 0);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

// A write of the supervisor's own that failed, and signals that came before there was an app.
static void early_events(void)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        _exit(97);
    }
    (void)close(pipes[0]);
    (void)!write(pipes[1], "x", 1);
    (void)kill(getpid(), SIGUSR1);
    (void)kill(getpid(), SIGUSR2);
}

static void forwards_early_signals_but_not_its_own(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t supervisor = supervise(tells, pipes[1], early_events);
    assert_int_equal(next(pipes[0]).signal, 0);
    assert_int_equal(next(pipes[0]).signal, SIGUSR1);
    assert_int_equal(next(pipes[0]).signal, SIGUSR2);
    // Sent by somebody else it is forwarded: the control of the one that was not.
    assert_int_equal(kill(supervisor, SIGPIPE), 0);
    assert_int_equal(next(pipes[0]).signal, SIGPIPE);
    assert_int_equal(kill(supervisor, SIGTERM), 0);
    assert_int_equal(next(pipes[0]).signal, SIGTERM);
    assert_int_equal(exit_code_of(supervisor), 0);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

// A process that was traced from its beginning and whose parent was killed before it could be told of.
static int stray[2][2];

static void leave_a_stray(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        char byte = 0;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(read(stray[0][0], &byte, 1) == 1 && write(stray[1][1], &byte, 1) == 1 ? 0 : 1);
    }
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0) {
        _exit(96);
    }
}

static void asks_the_stray(const sigset_t *mask, int out)
{
    (void)mask;
    (void)out;
    struct pollfd answer = {.fd = stray[1][0], .events = POLLIN};
    (void)usleep(50000); // it has stopped by now
    (void)!write(stray[0][1], "x", 1);
    _exit(poll(&answer, 1, 5000) == 1 ? 17 : 1);
}

static void lets_strays_go(void **state)
{
    (void)state;
    assert_int_equal(pipe2(stray[0], O_CLOEXEC), 0);
    assert_int_equal(pipe2(stray[1], O_CLOEXEC), 0);
    assert_int_equal(exit_code_of(supervise(asks_the_stray, -1, leave_a_stray)), 17);
    for (int i = 0; i < 4; i++) {
        (void)close(stray[i / 2][i % 2]);
    }
}

// Whoever its parent is by now.
static void ends_the_rest(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t mask;
        char byte = 0;
        (void)close(pipes[0]);
        if (ct_supervise_prepare(&mask, NULL) != 0) {
            _exit(99);
        }
        if (fork() == 0) { // it will be gone; its children have others
            for (int i = 0; i < 20; i++) {
                if (fork() == 0) {
                    (void)fork();
                    (void)!write(pipes[1], &byte, 1);
                    for (;;) {
                        (void)pause();
                    }
                }
            }
            _exit(0);
        }
        _exit(ct_supervise_end_rest() ? 0 : 1);
    }
    (void)close(pipes[1]);
    assert_int_equal(exit_code_of(pid), 0);
    // Nobody has the other end any more.
    char text[64];
    ssize_t n;
    do {
        n = read(pipes[0], text, sizeof(text));
    } while (n > 0);
    assert_int_equal(n, 0);
    (void)close(pipes[0]);
}

static void prepares(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sigset_t mine;
        sigset_t theirs;
        sigset_t now;
        int subreaper = 0;
        (void)sigemptyset(&mine);
        (void)sigaddset(&mine, SIGUSR2);
        (void)sigprocmask(SIG_SETMASK, &mine, NULL);
        (void)signal(SIGCHLD, SIG_IGN);
        int rc = ct_supervise_prepare(&theirs, NULL);
        (void)sigprocmask(SIG_SETMASK, NULL, &now);
        (void)prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
        bool ok = rc == 0 && subreaper == 1 && sigismember(&theirs, SIGUSR2) == 1 &&
                  sigismember(&theirs, SIGTERM) == 0 && sigismember(&now, SIGTERM) == 1 &&
                  sigismember(&now, SIGSEGV) == 1 && signal(SIGCHLD, SIG_DFL) == SIG_DFL;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(exit_code_of(pid), 0);
}

// A chore that forks: at each turn one child, of which it is told.
struct turns {
    pid_t child;
    int taken, ended;
};

static int in_20_ms(void *cls)
{
    const struct turns *t = cls;
    return t->child == 0 && t->taken == t->ended ? 0 : 20;
}

static void take_turn(void *cls)
{
    struct turns *t = cls;
    t->taken++;
    t->child = fork();
    if (t->child == 0) {
        _exit(7);
    }
}

static void note_end(void *cls, pid_t pid, int status)
{
    struct turns *t = cls;
    if (pid == t->child && WIFEXITED(status) && WEXITSTATUS(status) == 7) {
        t->child = 0;
        t->ended++;
    }
}

static void has_time_for_a_chore(void **state)
{
    (void)state;
    pid_t supervisor = fork();
    assert_true(supervisor >= 0);
    if (supervisor == 0) {
        struct turns turns = {0};
        const struct ct_supervise_chore chore = {
            .due_in = in_20_ms, .run = take_turn, .ended = note_end, .cls = &turns};
        sigset_t mask;
        int rc = ct_supervise_prepare(&mask, NULL);
        pid_t app = fork();
        if (app == 0) {
            (void)usleep(300000);
            _exit(17);
        }
        int code = ct_supervise(app, &chore);
        _exit(rc == 0 && turns.ended >= 2 && turns.taken - turns.ended <= 1 ? code : 1);
    }
    assert_int_equal(exit_code_of(supervisor), 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_the_end_on),
        cmocka_unit_test(keeps_values),
        cmocka_unit_test(forwards_early_signals_but_not_its_own),
        cmocka_unit_test(lets_strays_go),
        cmocka_unit_test(ends_the_rest),
        cmocka_unit_test(prepares),
        cmocka_unit_test(has_time_for_a_chore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
