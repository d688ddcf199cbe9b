// SPDX-License-Identifier: Apache-2.0
// registrant's ways that need many processes, or measure one (registrant.h).
#include "registrant.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "lib/guard_call.h"

#define ENDS 3000
#define STACK 16384
#define FLOOD_A_SECOND 20 // CT_ASKS_PER_SECOND

// Threads that end at the same moment. What they run in is this process's memory, so that none of them has to give it back
// and comes later for that.
static atomic_int waiting;

static int end_together(void *cls)
{
    (void)cls;
    atomic_fetch_add(&waiting, 1);
    while (atomic_load(&waiting) < 2) {
    }
    syscall(SYS_exit, 0);
    return 0;
}

static int two_threads(void *cls)
{
    char *stack = cls;
    if (clone(end_together, stack + STACK,
              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
              NULL) < 0) {
        syscall(SYS_exit_group, 1);
    }
    return end_together(NULL);
}

int ends(char **argv)
{
    static char stacks[2][STACK] __attribute__((aligned(16)));
    if (!registers(argv)) {
        return 1;
    }
    for (int i = 0; i < ENDS; i++) {
        atomic_store(&waiting, 0);
        pid_t pid = clone(two_threads, stacks[0] + STACK, CLONE_VM | SIGCHLD, stacks[1]);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
            return 2;
        }
    }
    return run(argv + 2);
}

// ---- how much one container may have ----

#define MANY_MOST 2048
#define PATIENCE 1000
#define OFTEN 40
#define OFTEN_TRIES 10

static int query_of_child(pid_t parent)
{
    (void)parent;
    return ask(CT_GUARD_QUERY, 0);
}

// What a child that lives on says of itself.
static void answer_and_stay(int to)
{
    int answer = ask(CT_GUARD_QUERY, 0);
    if (write(to, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
        _exit(2);
    }
    (void)idle(NULL);
}

int many(char **argv)
{
    int ends[2];
    static pid_t children[MANY_MOST];
    int n = atoi(argv[2]);
    int kept = 0;
    int others = 0;
    char byte;
    if (n > MANY_MOST || !registers(argv) || pipe2(ends, O_CLOEXEC) != 0) {
        return 1;
    }
    for (int i = 0; i < n; i++) {
        int answer = 0;
        children[i] = fork();
        if (children[i] == 0) {
            answer_and_stay(ends[1]);
        }
        if (read(ends[0], &answer, sizeof(answer)) == (ssize_t)sizeof(answer)) {
            kept += answer == EISCONN ? 1 : 0;
            others += answer == ENOTCONN ? 1 : 0;
        }
    }
    printf("protected %d, not %d\n", kept, others);
    for (int i = 0; i < n; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    // Those that have ended count until the kernel has freed them. Who asks before that is one more that is not protected.
    int afterwards = ENOTCONN;
    int meanwhile = 0;
    for (int i = 0; i < PATIENCE && afterwards == ENOTCONN; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000L}, NULL);
        afterwards = by_child(query_of_child);
        meanwhile += afterwards == ENOTCONN ? 1 : 0;
    }
    say("afterwards", afterwards);
    printf("not meanwhile %d\n", meanwhile);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}

static int register_in_child(pid_t parent)
{
    (void)parent;
    return ask(CT_GUARD_REGISTER, 1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int often(char **argv)
{
    const struct timespec pause = {.tv_sec = 1, .tv_nsec = 200000000L};
    double took = 1;
    int answers[2] = {0};
    (void)argv;
    // On a busy machine a second may not be enough.
    for (int try = 0; try < OFTEN_TRIES && took >= 1; try++) {
        nanosleep(&pause, NULL);
        double began = seconds();
        memset(answers, 0, sizeof(answers));
        for (int i = 0; i < OFTEN; i++) {
            int answer = by_child(register_in_child);
            answers[0] += answer == EINPROGRESS ? 1 : 0;
            answers[1] += answer == ECONNREFUSED ? 1 : 0;
        }
        took = seconds() - began;
    }
    printf("heard %d, not %d\n", answers[0], answers[1]);
    nanosleep(&pause, NULL);
    say("later", by_child(register_in_child));
    return 0;
}

static int ask_alone(pid_t parent)
{
    (void)parent;
    return once();
}

int nag(char **argv)
{
    int answer = 0;
    for (int i = atoi(argv[2]); i > 0; i--) {
        answer = by_child(ask_alone);
    }
    say("answer", answer);
    return 0;
}

// One that asks, says by a byte when it was heard, and stays.
static void sleeper(int heard)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ask(CT_GUARD_REGISTER, (unsigned long)getpid()) == EINPROGRESS) {
        (void)!write(heard, "", 1);
    }
    (void)close(heard);
    idle(NULL);
}

int flood(char **argv)
{
    const struct timespec second = {.tv_sec = 1, .tv_nsec = 100000000L};
    int heard[2];
    char byte;
    if (pipe(heard) != 0) {
        return 2;
    }
    for (int i = 0; i < atoi(argv[2]); i++) {
        if (fork() == 0) {
            sleeper(heard[1]);
        }
        if (i % FLOOD_A_SECOND == FLOOD_A_SECOND - 1) {
            nanosleep(&second, NULL);
        }
    }
    (void)close(heard[1]);
    int n = 0;
    while (read(heard[0], &byte, 1) == 1) {
        n++;
    }
    printf("heard %d\n", n);
    fflush(stdout);
    idle(NULL);
    return 0;
}

int measured(char **argv)
{
    int status = 0;
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .sample_type = PERF_SAMPLE_STACK_USER,
                                   .sample_stack_user = 1024,
                                   .sample_period = 1000000,
                                   .inherit = 1};
    if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0) {
        say("measured", errno);
        return 1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        say("fork", errno);
        return 1;
    }
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return 0;
}
