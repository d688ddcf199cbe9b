// SPDX-License-Identifier: Apache-2.0
#include "prover.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "aside.h"

#define END_MS 2000

struct ct_prover {
    pid_t pid;
    int fd; // messages to it and from it
    bool busy;
    double cpu_seconds;
};

struct answer {
    int rc;
    double seconds;
    double cpu_seconds; // of all so far
    struct ct_err err;
    struct ct_result results[CT_V_COUNT];
};

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// With what it has forked and waited for.
static double cpu_seconds(void)
{
    struct timeval sum = {0};
    for (int i = 0; i < 2; i++) {
        struct rusage usage = {0};
        (void)getrusage(i == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &usage);
        timeradd(&sum, &usage.ru_utime, &sum);
        timeradd(&sum, &usage.ru_stime, &sum);
    }
    return (double)sum.tv_sec + (double)sum.tv_usec / 1e6;
}

static void serve(const struct ct_guard *guard, int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) == 1) {
        struct answer answer = {0};
        double begin = now();
        answer.rc = ct_guard_try(guard, answer.results, &answer.err);
        answer.seconds = now() - begin;
        answer.cpu_seconds = cpu_seconds();
        if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer)) {
            return;
        }
    }
}

static void prove_for(struct ct_guard *guard, pid_t parent, int fd)
{
    struct ct_err err;
    sigset_t none;
    (void)prctl(PR_SET_NAME, "ct-prover");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    // A group of its own, and deaf to the terminal: it ends with its parent.
    (void)setpgid(0, 0);
    if (getppid() == parent && ct_guard_claim(guard, CT_CLAIM_PART, &err) == 0) {
        ct_guard_lighten(guard);
        serve(guard, fd);
    }
}

int ct_prover_new(struct ct_guard *guard, struct ct_prover **ret, struct ct_err *err)
{
    int ends[2];
    struct ct_prover *prover = calloc(1, sizeof(*prover));
    if (prover == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(prover);
        return ct_err_errno(err, "cannot make a socket for the self-test");
    }
    pid_t parent = getpid();
    prover->pid = fork();
    if (prover->pid == 0) {
        (void)close(ends[0]);
        prove_for(guard, parent, ends[1]);
        _exit(0);
    }
    (void)close(ends[1]);
    prover->fd = ends[0];
    if (prover->pid < 0) {
        int rc = ct_err_errno(err, "cannot fork for the self-test");
        ct_prover_free(prover);
        return rc;
    }
    *ret = prover;
    return 0;
}

void ct_prover_free(struct ct_prover *prover)
{
    if (prover == NULL) {
        return;
    }
    (void)close(prover->fd);
    if (prover->pid > 0) {
        (void)kill(prover->pid, SIGKILL);
        (void)ct_aside_reap(prover->pid, END_MS); // one that hangs holds nobody up
    }
    free(prover);
}

int ct_prover_ask(struct ct_prover *prover, struct ct_err *err)
{
    if (!prover->busy && send(prover->fd, "", 1, MSG_NOSIGNAL) != 1) {
        return ct_err_errno(err, "the self-test's process cannot be asked");
    }
    prover->busy = true;
    return 0;
}

int ct_prover_fd(const struct ct_prover *prover)
{
    return prover->fd;
}

bool ct_prover_is_busy(const struct ct_prover *prover)
{
    return prover->busy;
}

int ct_prover_take(struct ct_prover *prover, struct ct_result ret[CT_V_COUNT], double *ret_seconds,
                   struct ct_err *err)
{
    struct answer answer;
    ssize_t n = recv(prover->fd, &answer, sizeof(answer), MSG_DONTWAIT);
    if (n != (ssize_t)sizeof(answer)) {
        return ct_err_set(err, CT_ESYSTEM,
                          "the self-test's process has ended: nothing is proven any more");
    }
    prover->busy = false;
    prover->cpu_seconds = answer.cpu_seconds;
    *ret_seconds = answer.seconds;
    if (answer.rc != 0) {
        *err = answer.err;
        return answer.rc;
    }
    memcpy(ret, answer.results, sizeof(answer.results));
    return 0;
}

double ct_prover_cpu_seconds(const struct ct_prover *prover)
{
    return prover->cpu_seconds;
}
