// SPDX-License-Identifier: Apache-2.0
#include "guard_client.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "guard_call.h"

#ifndef SI_KERNEL
#define SI_KERNEL 0x80
#endif

#define POLL_LEAST_MS 2
#define POLL_MOST_MS 50
#define PATIENCE_MS 5000
#define REGISTRATIONS_MAX 3 // a request that the agent did not get to see is made again

// The kernel's own set of 64 signals: the C libraries keep some of them out of theirs.
#define KERNEL_SET_SIZE sizeof(uint64_t)

static const int answers[CT_GUARD_N_ANSWERS] = {
#define X(place, name, value, meaning) [place] = (name),
    CT_GUARD_ANSWERS(X)
#undef X
};

#define X(place, name, value, meaning)                                                             \
    _Static_assert((name) == (value), "the guard counts errnos as Linux does: " meaning);
CT_GUARD_ANSWERS(X)
#undef X

static uint64_t set_of_answers(void)
{
    return ((UINT64_C(1) << CT_GUARD_N_ANSWERS) - 1) << (CT_GUARD_SIGNAL - 1);
}

static void set_mask(int how, const uint64_t *mask, uint64_t *old)
{
    (void)syscall(SYS_rt_sigprocmask, how, mask, old, KERNEL_SET_SIZE);
}

// The answer by signal, which is pending by now if there is one. All of the kernel's are taken, for two guards
// at once give two, and one left pending would end this process. Those that somebody else has sent are somebody
// else's: they go back to the end of the queue.
static int take_signal(void)
{
    const uint64_t set = set_of_answers();
    const struct timespec now = {0};
    siginfo_t others[16];
    size_t n = 0;
    int answer = EINVAL;
    while (n < CT_ARRAY_LEN(others)) {
        siginfo_t *info = &others[n];
        long number = syscall(SYS_rt_sigtimedwait, &set, info, &now, KERNEL_SET_SIZE);
        if (number <= 0) {
            break;
        }
        if (info->si_code != SI_KERNEL) {
            n++;
        } else if (answer == EINVAL) {
            answer = answers[number - CT_GUARD_SIGNAL];
        }
    }
    for (size_t i = 0; i < n; i++) {
        (void)syscall(SYS_rt_sigqueueinfo, getpid(), others[i].si_signo, &others[i]);
    }
    return answer;
}

int ct_guard_ask(unsigned operation, unsigned long argument)
{
    const uint64_t set = set_of_answers();
    uint64_t before = 0;
    set_mask(SIG_BLOCK, &set, &before); // an answer that is not blocked would end this process
    int saved = errno;
    int answer = prctl(CT_GUARD_MAGIC, operation, argument, 0UL, 0UL) == 0 ? 0 : errno;
    int told = take_signal();
    answer = answer == EINVAL ? told : answer;
    errno = saved;
    set_mask(SIG_SETMASK, &before, NULL);
    return answer;
}

// For the agent's audit alone.
static unsigned long make_nonce(void)
{
    unsigned long nonce = 0;
    if (syscall(SYS_getrandom, &nonce, sizeof(nonce), 0) != (long)sizeof(nonce)) {
        struct timespec now = {0};
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        nonce = (unsigned long)now.tv_nsec;
    }
    return nonce;
}

static struct ct_guard_standing without(const char *reason)
{
    return (struct ct_guard_standing){CT_GUARD_WITHOUT, reason};
}

// What an answer comes to that ends the asking.
static struct ct_guard_standing settle(int answer, bool asked, bool executed)
{
    static const struct {
        int answer;
        const char *reason;
    } refusals[] = {
        {ECONNREFUSED, "the node's agent refused to protect this container: its log says why"},
        {EHOSTDOWN, "the node's agent takes no registrations at the moment"},
        {EPERM, "the guard does not let this process register"},
        {EINPROGRESS, "the node's agent did not answer the registration within 5 s"},
        {ENOTCONN, "the node's agent does not see the registration"},
        {ESTALE, "the node's agent does not see the registration"},
    };
    if (answer == EISCONN) {
        return (struct ct_guard_standing){CT_GUARD_PROTECTED, ""};
    }
    if (answer == EALREADY && !executed) {
        return (struct ct_guard_standing){CT_GUARD_EXECUTE, ""};
    }
    if (answer == EALREADY) {
        return without("the guard did not see that the wrapper executed itself");
    }
    if (answer == EINVAL && !asked) {
        return (struct ct_guard_standing){CT_GUARD_ABSENT, "no agent on this node"};
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(refusals); i++) {
        if (answer == refusals[i].answer) {
            return without(refusals[i].reason);
        }
    }
    return without("the guard's answers to the registration make no sense");
}

static bool may_register(int answer)
{
    return answer == ENOTCONN || answer == ESTALE;
}

// guard_call.h says why it waits the longer, the longer it has waited.
static void pause_after(uint64_t waited_ms)
{
    uint64_t ms = waited_ms / 8;
    ms = ms < POLL_LEAST_MS ? POLL_LEAST_MS : ms;
    ms = ms > POLL_MOST_MS ? POLL_MOST_MS : ms;
    (void)nanosleep(&(const struct timespec){.tv_nsec = (long)ms * 1000000L}, NULL);
}

static void enter(bool executed, bool (*stop)(void *cls), void *cls, struct ct_guard_standing *ret)
{
    const uint64_t begin = ct_clock_ms();
    int registrations = 0;
    bool away = false;
    int answer = ct_guard_ask(CT_GUARD_QUERY, 0);
    while (ct_clock_ms() < begin + PATIENCE_MS) {
        if (may_register(answer) && registrations < REGISTRATIONS_MAX) {
            bool marked = answer == ESTALE;
            answer = ct_guard_ask(CT_GUARD_REGISTER, make_nonce());
            // Half-way, or protected before: an agent that is just being replaced is waited for.
            away = marked && answer == EHOSTDOWN;
            registrations += away ? 0 : 1;
        }
        if (answer != EINPROGRESS && !away) {
            break;
        }
        if (stop(cls)) {
            *ret = (struct ct_guard_standing){CT_GUARD_STOPPED, ""};
            return;
        }
        pause_after(ct_clock_ms() - begin);
        answer = ct_guard_ask(CT_GUARD_QUERY, 0);
    }
    *ret = settle(away ? EHOSTDOWN : answer, registrations > 0, executed);
    if (ret->state == CT_GUARD_WITHOUT) {
        // What is marked and not vetted may not deal with its own children.
        (void)ct_guard_ask(CT_GUARD_LEAVE, 0);
    }
}

void ct_guard_enter(bool executed, bool (*stop)(void *cls), void *cls,
                    struct ct_guard_standing *ret)
{
    const uint64_t all = ~UINT64_C(0);
    uint64_t before = 0;
    set_mask(SIG_SETMASK, &all, &before);
    enter(executed, stop, cls, ret);
    if (ret->state != CT_GUARD_STOPPED) {
        set_mask(SIG_SETMASK, &before, NULL);
    }
}
