// SPDX-License-Identifier: Apache-2.0
// An app that is hard to be the parent of: pid1_app MODE [NUMBER]. Signals are handled by raw system
// calls, so that those which C libraries keep for themselves are seen too.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct kernel_action { // of x86-64 and aarch64 alike, as far as it is filled here
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static void set_mask(uint64_t mask)
{
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

static void set_action(int number, void (*handler)(int))
{
    const struct kernel_action action = {.handler = handler};
    (void)syscall(SYS_rt_sigaction, number, &action, NULL, sizeof(uint64_t));
}

static void say(const char *text)
{
    (void)puts(text);
    (void)fflush(stdout);
}

_Noreturn static void wait_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

// Tells each signal as "NUMBER CODE VALUE"; ends by SIGKILL alone.
_Noreturn static void tell_for_ever(void)
{
    const uint64_t all = ~UINT64_C(0);
    set_mask(all);
    say("ready");
    for (;;) {
        siginfo_t info = {0};
        if (syscall(SYS_rt_sigtimedwait, &all, &info, NULL, sizeof(all)) > 0) {
            (void)printf("%d %d %d\n", info.si_signo, info.si_code,
                         info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
            (void)fflush(stdout);
        }
    }
}

static int listen_for(int unused)
{
    (void)unused;
    tell_for_ever();
}

static int leave(int code)
{
    return code;
}

static int die(int number)
{
    set_action(number, SIG_DFL);
    set_mask(0);
    (void)syscall(SYS_kill, getpid(), number);
    wait_for_ever();
}

static int fault(int unused)
{
    (void)unused;
    volatile int *volatile nowhere = NULL;
    return *nowhere;
}

// Each child leaves a child behind that leaves a child behind; the last says who adopted it.
static int nest(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (fork() != 0) {
                _exit(1);
            }
            if (fork() != 0) {
                _exit(2);
            }
            (void)usleep(100000);
            (void)dprintf(STDOUT_FILENO, "%d\n", (int)getppid());
            _exit(3);
        }
        (void)waitpid(child, NULL, 0);
    }
    wait_for_ever();
}

// Orphans as fast as they can be made; then says so and waits.
static int flood(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(fork() == 0 ? 3 : 2);
        }
        (void)waitpid(child, NULL, 0);
    }
    say("done");
    wait_for_ever();
}

// `count` children that live at the same time, each with a code of its own, all of which are waited for.
static int family(int count)
{
    int good = 0;
    int go[2];
    char c;
    if (pipe(go) != 0) {
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            (void)close(go[1]);
            _exit(read(go[0], &c, 1) == 0 ? i % 256 : 255);
        }
    }
    (void)close(go[1]);
    int sum = 0;
    for (int status; wait(&status) > 0; good++) {
        sum += WEXITSTATUS(status);
    }
    (void)printf("%d %d\n", good, sum);
    return 0;
}

// Its own zombie is its own: nobody else may take its code away.
static int own_zombie(int code)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(code);
    }
    (void)usleep(200000);
    return waitpid(child, &status, 0) == child ? WEXITSTATUS(status) : 255;
}

// Ends with `code` while an orphan that ended before it had another one.
static int mislead(int code)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(fork() == 0 ? 9 : 8);
    }
    (void)waitpid(child, NULL, 0);
    (void)usleep(200000);
    return code;
}

// As daemon(3) of old: two forks and a session; what was started ends with 0. The daemon says its pid.
static int become_daemon(int unused)
{
    (void)unused;
    if (fork() != 0) {
        return 0;
    }
    (void)setsid();
    if (fork() != 0) {
        _exit(0);
    }
    (void)usleep(50000);
    (void)dprintf(STDOUT_FILENO, "%d\n", (int)getpid());
    wait_for_ever();
}

// Leaves for a session of its own and tells signals from there.
static int own_session(int unused)
{
    (void)setsid();
    return listen_for(unused);
}

static int close_all(int code)
{
    for (int fd = 0; fd < 4096; fd++) {
        (void)close(fd);
    }
    (void)usleep(100000);
    return code;
}

// Every fork until there are no more; then says how many there were and ends with `code`.
static int bomb(int code)
{
    int n = 0;
    for (pid_t child; (child = fork()) >= 0; n++) {
        if (child == 0) {
            wait_for_ever();
        }
    }
    (void)printf("%d %s\n", n, errno == EAGAIN ? "EAGAIN" : "other");
    (void)fflush(stdout);
    return code;
}

static int ignore_children(int code)
{
    set_action(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 10; i++) {
        if (fork() == 0) {
            _exit(1);
        }
    }
    (void)usleep(100000);
    return wait(NULL) < 0 && errno == ECHILD ? code : 255;
}

// It adopts its own orphans: the wrapper gets none.
static int adopt(int unused)
{
    (void)unused;
    int status = 0;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            (void)usleep(50000);
            _exit(7);
        }
        _exit(0);
    }
    (void)waitpid(child, NULL, 0);
    return wait(&status) > 0 ? WEXITSTATUS(status) : 255;
}

// Sends its parent the signal and tells what it gets.
static int ring(int number)
{
    const uint64_t all = ~UINT64_C(0);
    siginfo_t info = {0};
    set_mask(all);
    (void)kill(getppid(), number);
    (void)syscall(SYS_rt_sigtimedwait, &all, &info, NULL, sizeof(all));
    return info.si_signo;
}

// Does nothing about signals but SIGKILL.
static int be_deaf(int unused)
{
    (void)unused;
    for (int number = 1; number <= 64; number++) {
        set_action(number, SIG_IGN);
    }
    say("ready");
    wait_for_ever();
}

// What it is given of a terminal, and of descriptors.
static int describe(int unused)
{
    (void)unused;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    (void)printf("tty=%d front=%d leader=%d fds=", tty >= 0,
                 tty >= 0 && tcgetpgrp(tty) == getpgrp(), getsid(0) == getpid());
    for (int fd = 0; fd < 4096; fd++) {
        if (fd != tty && fcntl(fd, F_GETFD) >= 0) {
            (void)printf("%d,", fd);
        }
    }
    say("");
    return 0;
}

// Signals by handlers, told on a terminal; ends by SIGTERM.
static void tell(int number)
{
    (void)dprintf(STDOUT_FILENO, "<%d>", number);
    if (number == SIGTERM) {
        _exit(0);
    }
}

static int tell_signals(int unused)
{
    static const int told[] = {SIGINT, SIGQUIT, SIGWINCH, SIGCONT, SIGHUP, SIGTERM};
    (void)unused;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        (void)signal(told[i], tell);
    }
    (void)dprintf(STDOUT_FILENO, "<ready>");
    wait_for_ever();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int);
    } modes[] = {
        {"listen", listen_for},
        {"exit", leave},
        {"die", die},
        {"fault", fault},
        {"nest", nest},
        {"flood", flood},
        {"family", family},
        {"own-zombie", own_zombie},
        {"mislead", mislead},
        {"daemon", become_daemon},
        {"session", own_session},
        {"close", close_all},
        {"bomb", bomb},
        {"ignore", ignore_children},
        {"adopt", adopt},
        {"ring", ring},
        {"deaf", be_deaf},
        {"describe", describe},
        {"tell", tell_signals},
    };
    int number = argc > 2 ? atoi(argv[2]) : 0;
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            return modes[i].run(number);
        }
    }
    return 255;
}
