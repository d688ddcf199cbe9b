// SPDX-License-Identifier: Apache-2.0
//
// The canary against what only claims to be a guard: it earns nothing. That a real one is believed is tested in virtual
// machines, by test/agent.
#include "expect.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "canary.h"
#include "fake_guard.h"

// 10 * verdict, 1 when it names the attack that was expected.
static const char *expected = "";

static int try_out(void)
{
    const struct ct_canary_victim own = {.pid = 0};
    const struct ct_canary_outcome outcome = ct_canary_run(&own);
    return 10 * (int)outcome.verdict + (strcmp(outcome.attack, expected) == 0);
}

static int try_out_without_proc(void)
{
    return chroot("/dev/shm") == 0 && chdir("/") == 0 ? try_out() : 100;
}

static const struct fake_guard obliging = {EISCONN, EISCONN, EISCONN, ENOTCONN, 0};

static void test_a_guard_that_only_answers_is_found_out(void **state)
{
    (void)state;
    expected = "process_vm_readv";
    assert_int_equal(fake_guard_run(&obliging, try_out), 10 * CT_CANARY_READ + 1);
}

static void test_by_what_the_container_allows(void **state)
{
    (void)state;
    struct fake_guard narrow = obliging;
    narrow.forbids = 1;
    expected = "/proc/PID/mem";
    assert_int_equal(fake_guard_run(&narrow, try_out), 10 * CT_CANARY_READ + 1);
}

// A refusal by somebody else is no refusal by the guard.
static void test_where_nothing_is_allowed_nothing_is_proven(void **state)
{
    (void)state;
    struct fake_guard narrow = obliging;
    narrow.forbids = 1;
    expected = "process_vm_readv";
    if (geteuid() != 0) {
        skip_for("root's rights");
    }
    assert_int_equal(fake_guard_run(&narrow, try_out_without_proc), 10 * CT_CANARY_UNPROVEN + 1);
}

static void test_who_does_not_let_the_attacker_go_is_no_guard(void **state)
{
    (void)state;
    static const struct {
        unsigned char answer;
        enum ct_canary_verdict verdict;
    } cases[] = {{EISCONN, CT_CANARY_MUTE}, {EPERM, CT_CANARY_FORBIDDEN}, {EINVAL, CT_CANARY_MUTE}};
    expected = "process_vm_readv";
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct fake_guard constant = obliging;
        constant.to_leave = cases[i].answer;
        assert_int_equal(fake_guard_run(&constant, try_out), 10 * (int)cases[i].verdict + 1);
    }
}

// A process that was started by somebody else, in the app's place.
static int attack_other(void)
{
    static volatile long word = 5;
    struct ct_canary_victim victim = {.address = (uintptr_t)&word,
                                      .standing = {.uid = geteuid(), .gid = getegid()}};
    victim.pid = fork();
    if (victim.pid == 0) {
        (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        for (;;) {
            (void)pause();
        }
    }
    const struct ct_canary_outcome outcome = ct_canary_run(&victim);
    (void)kill(victim.pid, SIGKILL);
    (void)waitpid(victim.pid, NULL, 0);
    return 10 * (int)outcome.verdict;
}

static void test_the_app_is_attacked_itself(void **state)
{
    (void)state;
    assert_int_equal(fake_guard_run(&obliging, attack_other), 10 * CT_CANARY_READ);
}

static void test_it_leaves_nobody_behind(void **state)
{
    (void)state;
    const struct ct_canary_victim own = {.pid = 0};
    (void)ct_canary_run(&own);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    // One that is killed half-way has told nothing.
    int status = 0;
    pid_t pid = ct_canary_fork(&own);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    assert_int_equal(ct_canary_outcome(status).verdict, CT_CANARY_BROKEN);
}

// What each verdict is worth.
static void test_facts(void **state)
{
    (void)state;
    static const struct {
        enum ct_canary_verdict verdict;
        bool connected, active;
        const char *reason;
    } cases[] = {
        {CT_CANARY_DENIED, true, true, ""},
        {CT_CANARY_KILLED, true, false, "attacks by pidfd_getfd are killed, not refused"},
        {CT_CANARY_READ, false, false,
         "the guard answers, and a protected process is attacked by pidfd_getfd all the same"},
        {CT_CANARY_UNPROVEN, false, false,
         "unproven: no attack succeeds on an unprotected process either"},
        {CT_CANARY_MUTE, false, false, "the guard does not answer"},
        {CT_CANARY_FORBIDDEN, false, false,
         "the node's agent exempts somebody (--exempt), or something forbids the guard's call: no "
         "attack would prove that others are refused"},
        {CT_CANARY_BROKEN, false, false, "unproven: the canary came to no end"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_facts facts = {0};
        const struct ct_canary_outcome outcome = {cases[i].verdict, "pidfd_getfd"};
        ct_canary_record(&facts, CT_HOLDER_APP, &outcome);
        const struct ct_fact *connected = &facts.fact[CT_CHECK_EBPF_CONNECTED][CT_HOLDER_APP];
        const struct ct_fact *active = &facts.fact[CT_CHECK_KPROBES_ACTIVE][CT_HOLDER_APP];
        assert_int_equal(connected->state == CT_FACT_PROVEN, cases[i].connected);
        assert_int_equal(active->state == CT_FACT_PROVEN, cases[i].active);
        assert_string_equal(active->reason, cases[i].reason);
        assert_string_equal(connected->reason, cases[i].connected ? "" : cases[i].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_guard_that_only_answers_is_found_out),
        cmocka_unit_test(test_by_what_the_container_allows),
        cmocka_unit_test(test_where_nothing_is_allowed_nothing_is_proven),
        cmocka_unit_test(test_who_does_not_let_the_attacker_go_is_no_guard),
        cmocka_unit_test(test_the_app_is_attacked_itself),
        cmocka_unit_test(test_it_leaves_nobody_behind),
        cmocka_unit_test(test_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
