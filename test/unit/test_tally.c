// SPDX-License-Identifier: Apache-2.0
//
// What is told when the score changes while the app runs.
#include "expect.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"
#include "tally.h"

#define BOTH (UINT32_C(1) << CT_CHECK_EBPF_CONNECTED | UINT32_C(1) << CT_CHECK_KPROBES_ACTIVE)

static char told[8192];

// Runs the replacement and keeps what it logs.
static void replace(const struct ct_facts *news)
{
    int ends[2];
    int before = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    ct_tally_replace(BOTH, news, "it is lost", "it is back");
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(ends[1]);
    ssize_t n = read(ends[0], told, sizeof(told) - 1);
    told[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
}

static void set(struct ct_facts *facts, bool enforced)
{
    static const enum ct_check both[] = {CT_CHECK_EBPF_CONNECTED, CT_CHECK_KPROBES_ACTIVE};
    for (size_t i = 0; i < CT_ARRAY_LEN(both); i++) {
        facts->fact[both[i]][CT_HOLDER_WRAPPER] = (struct ct_fact){.state = CT_FACT_UNTRIED};
        if (enforced) {
            ct_fact_proven(facts, both[i], CT_HOLDER_WRAPPER);
        } else {
            ct_fact_failed(facts, both[i], CT_HOLDER_WRAPPER, "it was read");
        }
    }
}

static void expect_told(const char *part, bool is)
{
    if ((strstr(told, part) != NULL) != is) {
        fail_msg("%s \"%s\" in:\n%s", is ? "no" : "there is", part, told);
    }
}

static void test_loss_and_return(void **state)
{
    (void)state;
    static struct ct_facts facts;
    struct ct_facts news;
    ct_log_init("cloudtaser-wrapper", CT_LOG_TEXT);
    for (int c = 0; c < CT_CHECK_COUNT; c++) {
        ct_fact_proven(&facts, (enum ct_check)c, CT_HOLDER_WRAPPER);
        ct_fact_proven(&facts, (enum ct_check)c, CT_HOLDER_APP);
    }
    ct_tally_begin(&facts, 70, 0);
    ct_tally_read(&news);
    set(&news, false);
    // What another thread has learned meanwhile of other checks is not undone.
    news.fact[CT_CHECK_MLOCK][CT_HOLDER_WRAPPER] = (struct ct_fact){.state = CT_FACT_FAILED};
    replace(&news);
    expect_told("warning: it is lost\n", true);
    expect_told("Protection score: 55/75\n", true);
    expect_told("ebpf_connected: FAIL (+0) it was read\n", true);
    expect_told("mlock: OK (+10)\n", true);
    expect_told("below what the app needed to start (minimum 70", true);
    replace(&news);
    assert_string_equal(told, "");
    set(&news, true);
    replace(&news);
    expect_told("it is back\n", true);
    expect_told("warning", false);
    expect_told("Protection score: 75/75\n", true);
}

// No minimum is missed: nothing is said of one.
static void test_above_the_minimum(void **state)
{
    (void)state;
    static struct ct_facts facts;
    struct ct_facts news;
    for (int c = 0; c < CT_CHECK_COUNT; c++) {
        ct_fact_proven(&facts, (enum ct_check)c, CT_HOLDER_WRAPPER);
        ct_fact_proven(&facts, (enum ct_check)c, CT_HOLDER_APP);
    }
    ct_tally_begin(&facts, 55, 0);
    ct_tally_read(&news);
    set(&news, false);
    replace(&news);
    expect_told("warning: it is lost\n", true);
    expect_told("minimum", false);
    set(&news, true);
    replace(&news);
    ct_tally_begin(&facts, 0, UINT32_C(1) << CT_CHECK_KPROBES_ACTIVE);
    set(&news, false);
    replace(&news);
    expect_told("or a required check", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_and_return),
        cmocka_unit_test(test_above_the_minimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
