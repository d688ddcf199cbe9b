// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "variables.h"

static bool collect(void *cls, const char *name, size_t len)
{
    char *all = cls;
    size_t used = strlen(all);
    (void)snprintf(all + used, 256 - used, "<%.*s>", (int)len, name);
    return len == 4 && memcmp(name, "STOP", 4) == 0;
}

static void finds_what_kubelet_expands(void **state)
{
    (void)state;
    static const struct {
        const char *text, *found;
    } cases[] = {
        {"", ""},
        {"plain", ""},
        {"$(A)", "<A>"},
        {"x$(A)y$(B)", "<A><B>"},
        {"$$(A)", ""},
        {"$$$(A)", "<A>"},
        {"$$$$(A)", ""},
        {"$(A", ""},
        {"$(A$(B)", "<A$(B>"},
        {"$", ""},
        {"$$", ""},
        {"a$", ""},
        {"$(", ""},
        {"$()", "<>"},
        {"$x(A)$(B)", "<B>"},
        {"${A}$(B)", "<B>"},
        {"$(STOP)$(B)", "<STOP>"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char all[256] = "";
        bool stopped = ct_variables_each_expansion(cases[i].text, collect, all);
        assert_int_equal(stopped, strstr(cases[i].found, "STOP") != NULL);
        assert_string_equal(all, cases[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_kubelet_expands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
