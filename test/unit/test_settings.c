// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "settings.h"

// The table's outcome for one more flag beside the required ones.
static int parse(char *flag, struct ct_err *err)
{
    static char program[] = "t", cert[] = "--tls-cert=c", key[] = "--tls-key=k";
    static char file[] = "--nodes-file=n";
    char *argv[] = {program, cert, key, file, flag, NULL};
    struct ct_webhook_settings settings = {0};
    *err = (struct ct_err){0};
    int r = ct_option_parse(&ct_webhook_options, 5, argv, &settings, err);
    if (r >= 0) {
        ct_option_free(&ct_webhook_options, &settings);
    }
    return r;
}

static void takes_what_makes_sense(void **state)
{
    (void)state;
    static char flags[][96] = {
        "--vault-role=web",
        "--vault-auth-path=kubernetes/eu",
        "--vault-namespace=team/a",
        "--injector-image=registry.example:5000/x/injector:1@sha256:0123",
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(flags); i++) {
        struct ct_err err;
        expect_ok(parse(flags[i], &err), &err);
    }
}

// At the start, and not with the first pod.
static void refuses_what_no_pod_could_use(void **state)
{
    (void)state;
    static struct {
        char flag[64];
        const char *option;
    } cases[] = {
        {"--vault-role=", "vault-role"},
        {"--vault-role=a b", "vault-role"},
        {"--vault-role=a/b", "vault-role"},
        {"--vault-role=a\nb", "vault-role"},
        {"--vault-auth-path=/kubernetes", "vault-auth-path"},
        {"--vault-auth-path=a/../sys", "vault-auth-path"},
        {"--vault-auth-path=", "vault-auth-path"},
        {"--vault-namespace=a//b", "vault-namespace"},
        {"--vault-namespace=a\r\nX: y", "vault-namespace"},
        {"--injector-image=", "injector-image"},
        {"--injector-image=a b", "injector-image"},
        {"--injector-image=a\tb", "injector-image"},
        {"--injector-cpu=much", "injector-cpu"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err;
        expect_error(parse(cases[i].flag, &err), &err, CT_EINVAL, cases[i].option);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_makes_sense),
        cmocka_unit_test(refuses_what_no_pod_could_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
