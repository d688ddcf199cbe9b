// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <time.h>

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
        {"$(A)$(B$(C", "<A>"},
        {"$(A$$(B)$(C", "<A$$(B>"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char all[256] = "";
        bool stopped = ct_variables_each_expansion(cases[i].text, collect, all);
        assert_int_equal(stopped, strstr(cases[i].found, "STOP") != NULL);
        assert_string_equal(all, cases[i].found);
    }
}

// Millions of "$(" without a ')' take one walk, not one each: less than a second of millions.
static void reads_a_text_once(void **state)
{
    (void)state;
    static const char *const heads[] = {"", "$(A)", "$$"};
    size_t len = (size_t)4 << 20;
    char *text = malloc(len + 1);
    assert_non_null(text);
    for (size_t h = 0; h < CT_ARRAY_LEN(heads); h++) {
        for (size_t i = 0; i < len; i++) {
            text[i] = "$("[i % 2];
        }
        text[len] = '\0';
        memcpy(text, heads[h], strlen(heads[h]));
        char all[256] = "";
        clock_t start = clock();
        assert_false(ct_variables_each_expansion(text, collect, all));
        assert_true(clock() - start < CLOCKS_PER_SEC);
        assert_string_equal(all, h == 1 ? "<A>" : "");
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_kubelet_expands),
        cmocka_unit_test(reads_a_text_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
