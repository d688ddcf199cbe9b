// SPDX-License-Identifier: Apache-2.0
//
// What the launcher and the app of the tests of chains do: this program again, started as "launcher DUTY"
// and as "app DUTY".
#ifndef CT_TEST_CHAIN_DUTIES_H
#define CT_TEST_CHAIN_DUTIES_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"
#include "launch.h"

#define APP_OK 42
#define LAUNCHER_EXIT 7
#define MANY 300
#define SLOW_MS 2000

static char own_path[4096];
static char folder[] = "/tmp/ct-chain-XXXXXX";

// ---- the app's side

static unsigned checksum(const char *s)
{
    unsigned sum = 0;
    for (; *s != '\0'; s++) {
        sum = sum * 31 + (unsigned char)*s;
    }
    return sum % 10000;
}

static int app_value(void)
{
    const char *sum = getenv("SUM");
    const char *value = getenv("SECRET");
    if (value == NULL || sum == NULL || checksum(value) != (unsigned)atoi(sum)) {
        return 1;
    }
    return prctl(PR_GET_DUMPABLE) == 0 ? APP_OK : 3;
}

// Its signal mask is its launcher's, too. (Some shells empty it.)
static int app_getenv(void)
{
    sigset_t mask;
    if (sigprocmask(SIG_BLOCK, NULL, &mask) != 0 || sigismember(&mask, SIGUSR2) != 1 ||
        sigismember(&mask, SIGTERM) != 0) {
        return 2;
    }
    return app_value();
}

static int app_changed(void)
{
    const char *value = getenv("SECRET");
    return value != NULL && strcmp(value, "the launcher's own") == 0 ? APP_OK : 1;
}

static int app_without(void)
{
    return getenv("SECRET") == NULL ? APP_OK : 1;
}

// ---- the launcher's side

_Noreturn static void become(const char *duty)
{
    (void)execl(own_path, "app", "app", duty, NULL);
    _exit(98);
}

static int wait_for_code(pid_t pid)
{
    int status = 0;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

// What a launcher and its helpers must see of the secret: its placeholder, and no descriptor.
static bool is_clean(void)
{
    const char *value = getenv("SECRET");
    return value != NULL &&
           strncmp(value, CT_LAUNCH_PLACEHOLDER ":", sizeof(CT_LAUNCH_PLACEHOLDER)) == 0 &&
           ct_attack_descriptors(getpid()) == 0;
}

static int launcher_exec(void)
{
    if (is_clean()) {
        become("getenv");
    }
    return 96;
}

static int launcher_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        become("getenv");
    }
    return wait_for_code(pid);
}

static int launcher_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        become("getenv");
    }
    return wait_for_code(pid);
}

// Its helpers fork and end; only then it becomes the app.
static int launcher_helpers(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(is_clean() ? 0 : 1);
        }
        if (wait_for_code(pid) != 0) {
            return 95;
        }
    }
    become("getenv");
}

static int launcher_slow(void)
{
    for (int i = 0; i < SLOW_MS / 10; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            (void)usleep(10000);
            _exit(0);
        }
        (void)wait_for_code(pid);
    }
    become("getenv");
}

static void *thread_execs(void *unused)
{
    (void)unused;
    become("getenv");
}

static void *thread_pauses(void *unused)
{
    for (;;) {
        (void)pause();
    }
    return unused;
}

static int launcher_thread(void)
{
    pthread_t thread;
    for (int i = 0; i < 8; i++) {
        if (pthread_create(&thread, NULL, thread_pauses, NULL) != 0) {
            return 94;
        }
    }
    return pthread_create(&thread, NULL, thread_execs, NULL) != 0 ? 94 : (pause(), 94);
}

// The threads of one that forks stay, and are let go with it.
static int launcher_threads_fork(void)
{
    pthread_t thread;
    for (int i = 0; i < 8; i++) {
        if (pthread_create(&thread, NULL, thread_pauses, NULL) != 0) {
            return 94;
        }
    }
    return launcher_fork();
}

static int launcher_many(void)
{
    for (int i = 0; i < MANY; i++) {
        if (fork() == 0) {
            (void)pause();
            _exit(0);
        }
    }
    return wait_for_code(-1);
}

static int launcher_exit(void)
{
    return is_clean() ? LAUNCHER_EXIT : 1;
}

static int launcher_die(void)
{
    (void)raise(SIGTERM);
    return 1;
}

static int launcher_change(void)
{
    (void)setenv("SECRET", "the launcher's own", 1);
    become("changed");
}

static int launcher_clean(void)
{
    (void)clearenv();
    become("without");
}

// Its first child ends without an exec, its second one is the app.
static int launcher_second(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return wait_for_code(pid) == 0 ? launcher_fork() : 93;
}

// Kills its child once that has become a program: while it is held and judged, or just after.
static int launcher_kill(void)
{
    char link[64];
    char exe[sizeof(own_path)];
    pid_t pid = fork();
    if (pid == 0) {
        become("value");
    }
    (void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
    siginfo_t ended = {0}; // on a busy machine the app is through before it is seen
    do {
        ssize_t n = readlink(link, exe, sizeof(exe) - 1);
        exe[n > 0 ? n : 0] = '\0';
        (void)waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
    } while (strcmp(exe, own_path) != 0 && ended.si_pid == 0);
    (void)kill(pid, SIGKILL);
    int status = 0;
    bool over = waitpid(pid, &status, 0) == pid;
    bool through = WIFEXITED(status) && WEXITSTATUS(status) == APP_OK;
    return over && (WIFSIGNALED(status) || through) ? LAUNCHER_EXIT : 91;
}

// What it execs is set-uid, of somebody else.
static int launcher_set_uid(void)
{
    char path[sizeof(folder) + 16];
    (void)snprintf(path, sizeof(path), "%s/set-uid", folder);
    (void)execl(path, path, "app", "without", NULL);
    return 92;
}

struct duty {
    const char *name;
    int (*run)(void);
};

static const struct duty app_duties[] = {
    {"value", app_value},
    {"getenv", app_getenv},
    {"changed", app_changed},
    {"without", app_without},
};

static const struct duty launcher_duties[] = {
    {"exec", launcher_exec},       {"fork", launcher_fork},
    {"vfork", launcher_vfork},     {"helpers", launcher_helpers},
    {"thread", launcher_thread},   {"threads-fork", launcher_threads_fork},
    {"many", launcher_many},       {"exit", launcher_exit},
    {"die", launcher_die},         {"change", launcher_change},
    {"clean", launcher_clean},     {"second", launcher_second},
    {"set-uid", launcher_set_uid}, {"kill", launcher_kill},
    {"slow", launcher_slow},
};

static int do_duty(const struct duty *duties, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(duties[i].name, name) == 0) {
            return duties[i].run();
        }
    }
    return 99;
}

#endif
