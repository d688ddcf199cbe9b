// SPDX-License-Identifier: Apache-2.0
#include "aside.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define REAP_MS 50 // for one that was killed
#define STEP_NS 200000L

bool ct_aside_reap(pid_t child, int patience_ms)
{
    const struct timespec step = {.tv_nsec = STEP_NS};
    uint64_t end = ct_clock_ms() + (uint64_t)patience_ms;
    while (waitpid(child, NULL, WNOHANG) == 0) {
        if (ct_clock_ms() >= end) {
            return false;
        }
        (void)nanosleep(&step, NULL);
    }
    return true;
}

static pid_t *slot(struct ct_aside *aside)
{
    pid_t *empty = NULL;
    for (size_t i = 0; i < CT_ASIDE_MAX; i++) {
        pid_t *at = &aside->hanging[i];
        *at = *at != 0 && ct_aside_reap(*at, 0) ? 0 : *at;
        empty = *at == 0 ? at : empty;
    }
    return empty;
}

unsigned ct_aside_hanging(struct ct_aside *aside)
{
    unsigned n = 0;
    (void)slot(aside);
    for (size_t i = 0; i < CT_ASIDE_MAX; i++) {
        n += aside->hanging[i] != 0;
    }
    return n;
}

// close_range(2) is there from Linux 5.9 on.
void ct_aside_close_others(const int *keep, size_t n)
{
    unsigned first = 0;
    for (;;) {
        unsigned next = UINT_MAX;
        for (size_t i = 0; i < n; i++) {
            next = keep[i] >= 0 && (unsigned)keep[i] >= first && (unsigned)keep[i] < next
                       ? (unsigned)keep[i]
                       : next;
        }
        if (next > first) {
            (void)syscall(SYS_close_range, first, next == UINT_MAX ? next : next - 1, 0U);
        }
        if (next == UINT_MAX) {
            return;
        }
        first = next + 1;
    }
}

static _Noreturn void work(int answer, int keep, ct_aside_act act, const void *cls, void *ret,
                           size_t size)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Above all the lock on the pins: as long as somebody has that open, no other agent can begin.
    ct_aside_close_others((const int[]){answer, keep}, 2);
    act(cls, ret);
    _exit(write(answer, ret, size) == (ssize_t)size ? 0 : 1);
}

bool ct_aside_run(struct ct_aside *aside, int keep, int patience_ms, ct_aside_act act,
                  const void *cls, void *ret, size_t size)
{
    int ends[2];
    pid_t *place = slot(aside);
    memset(ret, 0, size);
    if (place == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        work(ends[1], keep, act, cls, ret, size);
    }
    (void)close(ends[1]);
    struct pollfd ready = {.fd = ends[0], .events = POLLIN};
    bool came =
        child > 0 && poll(&ready, 1, patience_ms) > 0 && read(ends[0], ret, size) == (ssize_t)size;
    (void)close(ends[0]);
    if (child > 0) {
        (void)kill(child, SIGKILL);
        *place = ct_aside_reap(child, REAP_MS) ? 0 : child;
    }
    if (!came) {
        memset(ret, 0, size);
    }
    return came;
}
