// SPDX-License-Identifier: Apache-2.0
//
// What the wrapper makes of each answer. The guard itself is tested in virtual machines, by test/agent.
#include "expect.h"

#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "fake_guard.h"
#include "guard_client.h"

static bool never(void *cls)
{
    (void)cls;
    return false;
}

static bool at_once(void *cls)
{
    (void)cls;
    return true;
}

static const char *expected; // the beginning of the reason

// The state, or 50 when the reason is another.
static int enter(bool executed, bool (*stop)(void *cls))
{
    struct ct_guard_standing standing;
    ct_guard_enter(executed, stop, NULL, &standing);
    return strncmp(standing.reason, expected, strlen(expected)) == 0 ? (int)standing.state : 50;
}

static int enter_first(void)
{
    return enter(false, never);
}

static int enter_executed(void)
{
    return enter(true, never);
}

static int enter_stopped(void)
{
    return enter(false, at_once);
}

static void test_each_answer(void **state)
{
    (void)state;
    static const struct {
        struct fake_guard guard;
        int (*step)(void);
        enum ct_guard_state state;
        const char *reason;
    } cases[] = {
        {{EINVAL, EINVAL, EINVAL, EINVAL, 0},
         enter_first,
         CT_GUARD_ABSENT,
         "no agent on this node"},
        {{EPERM, EISCONN, 1, 1, 0}, enter_first, CT_GUARD_PROTECTED, ""},
        {{EPERM, EALREADY, 1, 1, 0}, enter_first, CT_GUARD_EXECUTE, ""},
        {{EALREADY, ENOTCONN, 1, 1, 0}, enter_first, CT_GUARD_EXECUTE, ""},
        {{EPERM, EALREADY, 1, 1, 0}, enter_executed, CT_GUARD_WITHOUT, "the guard did not see"},
        {{EISCONN, ESTALE, 1, 1, 0}, enter_executed, CT_GUARD_PROTECTED, ""},
        {{EISCONN, ESTALE, 1, 1, 0}, enter_first, CT_GUARD_PROTECTED, ""},
        {{ECONNREFUSED, ENOTCONN, 1, 1, 0},
         enter_first,
         CT_GUARD_WITHOUT,
         "the node's agent refused"},
        {{EHOSTDOWN, ENOTCONN, 1, 1, 0},
         enter_first,
         CT_GUARD_WITHOUT,
         "the node's agent takes no registrations"},
        {{EPERM, ENOTCONN, 1, 1, 0}, enter_first, CT_GUARD_WITHOUT, "the guard does not let"},
        {{EINVAL, ENOTCONN, 1, 1, 0}, enter_first, CT_GUARD_WITHOUT, "the guard's answers"},
        {{EXDEV, ENOTCONN, 1, 1, 0}, enter_first, CT_GUARD_WITHOUT, "the guard's answers"},
        {{EINPROGRESS, ENOTCONN, 1, 1, 0},
         enter_first,
         CT_GUARD_WITHOUT,
         "the node's agent does not see"},
        {{EINPROGRESS, EINPROGRESS, 1, 1, 0}, enter_stopped, CT_GUARD_STOPPED, ""},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        expected = cases[i].reason;
        int got = fake_guard_run(&cases[i].guard, cases[i].step);
        if (got != (int)cases[i].state) {
            fail_msg("case %zu: expected %d, got %d", i, (int)cases[i].state, got);
        }
    }
}

// Longer than a registration may take; an agent that does not answer must not hold the app up for good.
static void test_it_does_not_wait_for_ever(void **state)
{
    (void)state;
    const struct fake_guard guard = {EINPROGRESS, EINPROGRESS, EPERM, EPERM, 0};
    expected = "the node's agent did not answer";
    assert_int_equal(fake_guard_run(&guard, enter_first), CT_GUARD_WITHOUT);
}

static void send(int number, int code, int value)
{
    siginfo_t info = {.si_signo = number, .si_code = code};
    info.si_value.sival_int = value;
    assert_int_equal(syscall(SYS_rt_sigqueueinfo, getpid(), number, &info), 0);
}

// The tier that cannot change what prctl returns answers by a signal of the kernel's, which nobody can
// send but the process itself. Those of others are for the app.
static void test_answers_by_signal(void **state)
{
    (void)state;
    const uint64_t all = ~UINT64_C(0);
    uint64_t before = 0;
    siginfo_t info = {0};
    const struct timespec now = {0};
    assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof(all)), 0);
#define X(place, name, value, meaning)                                                             \
    send(CT_GUARD_SIGNAL + (place), 0x80, 0);                                                      \
    assert_int_equal(ct_guard_ask(CT_GUARD_QUERY, 0), name);
    CT_GUARD_ANSWERS(X)
#undef X
    send(CT_GUARD_SIGNAL + 1, SI_QUEUE, 17);
    assert_int_equal(ct_guard_ask(CT_GUARD_QUERY, 0), EINVAL);
    send(CT_GUARD_SIGNAL + 5, 0x80, 0);
    assert_int_equal(ct_guard_ask(CT_GUARD_QUERY, 0), EISCONN);
    assert_int_equal(syscall(SYS_rt_sigtimedwait, &all, &info, &now, sizeof(all)),
                     CT_GUARD_SIGNAL + 1);
    assert_int_equal(info.si_code, SI_QUEUE);
    assert_int_equal(info.si_value.sival_int, 17);
    assert_int_equal(syscall(SYS_rt_sigtimedwait, &all, &info, &now, sizeof(all)), -1);
    assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(all)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_answer),
        cmocka_unit_test(test_it_does_not_wait_for_ever),
        cmocka_unit_test(test_answers_by_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
