// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "quantity.h"

static void compares_amounts(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"100m", "0.1", true},   {"1", "1000m", true},  {"32Mi", "33554432", true},
        {"1Gi", "1024Mi", true}, {"1e3", "1k", true},   {"5E-1", "500m", true},
        {"0", "0m", true},       {"0", "1n", false},    {"100m", "101m", false},
        {"32Mi", "32M", false},  {"1E", "1e18", true},  {"", "", false},
        {"x", "x", false},       {"-1", "-1", false},   {"1.2.3", "1.2.3", false},
        {"0x10", "16", false},   {"inf", "inf", false}, {".", ".", false},
        {"1e", "1e", false},     {"1mi", "1mi", false}, {"1e100", "1e100", false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_quantity_equal(cases[i].a, cases[i].b) != cases[i].equal) {
            fail_msg("%s %s: expected %d", cases[i].a, cases[i].b, cases[i].equal);
        }
    }
}

static void says_what_is_allowed(void **state)
{
    (void)state;
    struct ct_err err = {0};
    double value;
    expect_error(ct_quantity_parse("lots", &value, &err), &err, CT_EINVAL,
                 "\"lots\" is no quantity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_amounts),
        cmocka_unit_test(says_what_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
