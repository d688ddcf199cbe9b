// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "command.h"

static void finds_the_nearest(void **state)
{
    (void)state;
    const struct {
        const char *name, *nearest;
    } cases[] = {
        {"inejct", "inject"},
        {"injec", "inject"},
        {"explian", "explain"},
        {"devvault", "dev-vault"},
        {"completoin", "completion"},
        {"Inject", "inject"},
        {"rnu", NULL}, // two letters of three
        {"", NULL},
        {"x", NULL},
        {"a-name-that-is-longer-than-any-command-would-be", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const char *nearest = ct_command_nearest(cases[i].name);
        assert_string_equal(nearest != NULL ? nearest : "(none)",
                            cases[i].nearest != NULL ? cases[i].nearest : "(none)");
    }
}

// Every command has what help and completion are made of, and nothing is said twice.
static void describes_every_option(void **state)
{
    (void)state;
    assert_true(ct_n_commands >= 4);
    for (size_t i = 0; i < ct_n_commands; i++) {
        const struct ct_option_table *table = ct_commands[i].table();
        assert_non_null(strstr(table->program, ct_commands[i].name));
        for (size_t k = 0; k < table->n; k++) {
            assert_non_null(table->options[k].help);
            for (size_t other = 0; other < k; other++) {
                assert_string_not_equal(table->options[k].name, table->options[other].name);
                assert_true(table->options[k].letter == '\0' ||
                            table->options[k].letter != table->options[other].letter);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_nearest),
        cmocka_unit_test(describes_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
