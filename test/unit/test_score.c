// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "score.h"

static const char *line(const struct ct_facts *facts, size_t i)
{
    static char text[256];
    struct ct_score score;
    ct_score_compute(facts, &score);
    assert_true(ct_score_format(&score, i, text, sizeof(text)));
    return text;
}

static void prove_all(struct ct_facts *facts)
{
    for (int c = 0; c < CT_CHECK_COUNT; c++) {
        ct_fact_proven(facts, (enum ct_check)c, CT_HOLDER_WRAPPER);
        ct_fact_proven(facts, (enum ct_check)c, CT_HOLDER_APP);
    }
}

static void is_the_published_table(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int points;
        bool node, app;
    } table[] = {
        {"memfd_secret", 15, true, true},      {"mlock", 10, false, true},
        {"madv_dontdump", 10, false, true},    {"pr_set_dumpable", 10, false, true},
        {"token_protected", 10, false, false}, {"ebpf_connected", 10, true, true},
        {"kprobes_active", 10, true, true},
    };
    assert_int_equal(CT_CHECK_COUNT, CT_ARRAY_LEN(table));
    for (size_t i = 0; i < CT_ARRAY_LEN(table); i++) {
        const struct ct_check_info *info = ct_check_info((enum ct_check)i);
        assert_string_equal(info->name, table[i].name);
        assert_int_equal(info->points, table[i].points);
        assert_int_equal(info->node, table[i].node);
        assert_int_equal(info->app, table[i].app);
        assert_true(strlen(info->proves) > 20);
        assert_int_equal(ct_check_from_name(table[i].name, strlen(table[i].name)), i);
    }
    assert_int_equal(ct_check_from_name("mloc", 4), -1);
    assert_int_equal(ct_check_from_name("mlock ", 6), -1);
    assert_int_equal(ct_check_from_name("", 0), -1);
    assert_int_equal(ct_score_max(), 75);
    assert_int_equal(ct_score_pod_share(), 40);
}

static void starts_with_nothing(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    assert_string_equal(line(&facts, 0), "Protection score: 0/75");
    assert_string_equal(line(&facts, 1), "memfd_secret: FAIL (+0) not tried");
}

static void writes_the_published_lines(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    prove_all(&facts);
    const char *const full[] = {
        "Protection score: 75/75",  "memfd_secret: OK (+15)",    "mlock: OK (+10)",
        "madv_dontdump: OK (+10)",  "pr_set_dumpable: OK (+10)", "token_protected: OK (+10)",
        "ebpf_connected: OK (+10)", "kprobes_active: OK (+10)",
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(full); i++) {
        assert_string_equal(line(&facts, i), full[i]);
    }
    struct ct_score score;
    char text[8];
    ct_score_compute(&facts, &score);
    assert_false(ct_score_format(&score, CT_ARRAY_LEN(full), text, sizeof(text)));
    ct_fact_failed(&facts, CT_CHECK_MEMFD_SECRET, CT_HOLDER_WRAPPER, "kernel %s < %s", "5.10",
                   "5.14");
    ct_fact_failed(&facts, CT_CHECK_KPROBES_ACTIVE, CT_HOLDER_WRAPPER,
                   "CONFIG_BPF_KPROBE_OVERRIDE not set");
    assert_string_equal(line(&facts, 0), "Protection score: 50/75");
    assert_string_equal(line(&facts, 1), "memfd_secret: FAIL (+0) kernel 5.10 < 5.14");
    assert_string_equal(line(&facts, 7),
                        "kprobes_active: FAIL (+0) CONFIG_BPF_KPROBE_OVERRIDE not set");
}

// One proof of two earns nothing, whichever it is.
static void needs_both_holders(void **state)
{
    (void)state;
    for (int h = 0; h < CT_HOLDER_COUNT; h++) {
        struct ct_facts facts = {0};
        ct_fact_proven(&facts, CT_CHECK_MLOCK, (enum ct_holder)h);
        assert_string_equal(line(&facts, 0), "Protection score: 0/75");
        assert_string_equal(line(&facts, 2), "mlock: FAIL (+0) not tried");
        ct_fact_proven(&facts, CT_CHECK_MLOCK, (enum ct_holder)(1 - h));
        assert_string_equal(line(&facts, 2), "mlock: OK (+10)");
    }
    struct ct_facts facts = {0};
    ct_fact_proven(&facts, CT_CHECK_TOKEN_PROTECTED, CT_HOLDER_WRAPPER);
    assert_string_equal(line(&facts, 0), "Protection score: 10/75");
    struct ct_facts app = {0};
    ct_fact_proven(&app, CT_CHECK_TOKEN_PROTECTED, CT_HOLDER_APP);
    assert_string_equal(line(&app, 0), "Protection score: 0/75");
}

static void tells_the_first_failure(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    ct_fact_failed(&facts, CT_CHECK_MLOCK, CT_HOLDER_APP, "of the app");
    assert_string_equal(line(&facts, 2), "mlock: FAIL (+0) of the app");
    ct_fact_failed(&facts, CT_CHECK_MLOCK, CT_HOLDER_WRAPPER, "of the wrapper");
    assert_string_equal(line(&facts, 2), "mlock: FAIL (+0) of the wrapper");
}

static void never_forgets_a_failure(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    prove_all(&facts);
    ct_fact_failed(&facts, CT_CHECK_MLOCK, CT_HOLDER_APP, "first");
    ct_fact_failed(&facts, CT_CHECK_MLOCK, CT_HOLDER_APP, "second");
    ct_fact_proven(&facts, CT_CHECK_MLOCK, CT_HOLDER_APP);
    assert_string_equal(line(&facts, 0), "Protection score: 65/75");
    assert_string_equal(line(&facts, 2), "mlock: FAIL (+0) first");
    // Without a reason it is a failure all the same.
    ct_fact_failed(&facts, CT_CHECK_MADV_DONTDUMP, CT_HOLDER_APP, "%s", "");
    assert_string_equal(line(&facts, 3), "madv_dontdump: FAIL (+0) failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_published_table),     cmocka_unit_test(starts_with_nothing),
        cmocka_unit_test(writes_the_published_lines), cmocka_unit_test(needs_both_holders),
        cmocka_unit_test(tells_the_first_failure),    cmocka_unit_test(never_forgets_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
