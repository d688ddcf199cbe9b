// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <signal.h>

#include "on_change.h"

static void reads_reactions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ct_reaction reaction;
        int signal;
    } good[] = {
        {"keep", CT_REACTION_KEEP, 0},
        {"restart", CT_REACTION_RESTART, 0},
        {"signal:SIGHUP", CT_REACTION_SIGNAL, SIGHUP},
        {"signal:USR2", CT_REACTION_SIGNAL, SIGUSR2},
        {"signal:SIGTERM", CT_REACTION_SIGNAL, SIGTERM},
    };
    static const char *const bad[] = {"",         "Keep",           "signal",           "signal:",
                                      "signal:1", "signal:SIGKILL", "signal:SIGSIGHUP", "restart "};
    struct ct_on_change change;
    for (size_t i = 0; i < CT_ARRAY_LEN(good); i++) {
        struct ct_err err = {0};
        expect_ok(ct_on_change_parse("x", good[i].text, &change, &err), &err);
        assert_int_equal(change.reaction, good[i].reaction);
        assert_int_equal(change.signal, good[i].signal);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct ct_err err = {0};
        expect_error(ct_on_change_parse("x", bad[i], &change, &err), &err, CT_EINVAL,
                     "\"keep\", \"restart\" or \"signal:NAME\" is allowed");
    }
}

static void reads_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned long seconds; // 0: refused
    } cases[] = {
        {"30s", 30},
        {"5m", 300},
        {"2h", 7200},
        {"168h", 604800},
        {"604800s", 604800},
        {"29s", 0},
        {"0m", 0},
        {"169h", 0},
        {"604801s", 0},
        {"", 0},
        {"s", 0},
        {"5", 0},
        {"5 m", 0},
        {"-5m", 0},
        {"05m", 0},
        {"1d", 0},
        {"1h30m", 0},
        {"99999999999999999999s", 0},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        unsigned long seconds = 0;
        struct ct_err err = {0};
        int rc = ct_refresh_parse("x", cases[i].text, &seconds, &err);
        if (cases[i].seconds != 0) {
            expect_ok(rc, &err);
            assert_int_equal(seconds, cases[i].seconds);
        } else {
            expect_error(rc, &err, CT_EINVAL, "from 30s to 168h");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_reactions),
        cmocka_unit_test(reads_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
