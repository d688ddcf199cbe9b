// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "text.h"

struct predicate_case {
    bool (*is)(const char *, size_t);
    const char *text;
    bool yes;
};

static void judges(void **state)
{
    (void)state;
    const struct predicate_case cases[] = {
        {ct_text_is_path, "secret/data/db", true},
        {ct_text_is_path, "a", true},
        {ct_text_is_path, "a.b/c_d~e@f+g=h:i", true},
        {ct_text_is_path, "a/...", true},
        {ct_text_is_path, "", false},
        {ct_text_is_path, "/a", false},
        {ct_text_is_path, "a/", false},
        {ct_text_is_path, "a//b", false},
        {ct_text_is_path, "a/./b", false},
        {ct_text_is_path, "..", false},
        {ct_text_is_path, "a/..", false},
        {ct_text_is_path, "a b", false},
        {ct_text_is_path, "a?b", false},
        {ct_text_is_path, "a%2fb", false},
        {ct_text_is_path, "\xc3\xa4", false},
        {ct_text_is_label, "a-1", true},
        {ct_text_is_label, "", false},
        {ct_text_is_label, "-a", false},
        {ct_text_is_label, "a-", false},
        {ct_text_is_label, "A", false},
        {ct_text_is_label, "a.b", false},
        {ct_text_is_subdomain, "a.b-c.d", true},
        {ct_text_is_subdomain, "a..b", false},
        {ct_text_is_subdomain, ".a", false},
        {ct_text_is_subdomain, "a.", false},
        {ct_text_is_subdomain, "a_b", false},
        {ct_text_is_printable, "a ~", true},
        {ct_text_is_printable, "a\x7f", false},
        {ct_text_is_printable, "\n", false},
        {ct_text_is_printable, "\xff", false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (cases[i].is(cases[i].text, strlen(cases[i].text)) != cases[i].yes) {
            fail_msg("case %zu, \"%s\"", i, cases[i].text);
        }
    }
    char label[65];
    memset(label, 'a', sizeof(label));
    assert_true(ct_text_is_label(label, 63));
    assert_false(ct_text_is_label(label, 64));
    assert_false(ct_text_is_path("a\0b", 3));
}

static void reads_numbers(void **state)
{
    (void)state;
    const struct {
        const char *text;
        unsigned long max, value;
        bool ok;
    } cases[] = {
        {"0", 0, 0, true},
        {"75", 75, 75, true},
        {"76", 75, 0, false},
        {"", 9, 0, false},
        {"01", 9, 0, false},
        {"-1", 9, 0, false},
        {"+1", 9, 0, false},
        {"1 ", 99, 0, false},
        {"0x1", 99, 0, false},
        {"5", 3, 0, false},
        {"18446744073709551615", ~0UL, ~0UL, true},
        {"18446744073709551616", ~0UL, 0, false},
        {"99999999999999999999999", ~0UL, 0, false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        unsigned long value = 0;
        bool ok = ct_text_number(cases[i].text, strlen(cases[i].text), cases[i].max, &value);
        if (ok != cases[i].ok || value != cases[i].value) {
            fail_msg("\"%s\" up to %lu", cases[i].text, cases[i].max);
        }
    }
}

static void shows_harmlessly(void **state)
{
    (void)state;
    struct ct_shown shown;
    assert_string_equal(ct_text_show(&shown, "a\n\x1b[1m\xff\0b", 9), "a??[1m??b");
    char text[200];
    memset(text, 'x', sizeof(text));
    const char *cut = ct_text_show(&shown, text, sizeof(text));
    assert_int_equal(strlen(cut), sizeof(shown.text) - 1);
    assert_string_equal(cut + strlen(cut) - strlen("…"), "…");
}

static void mends_what_is_no_utf8(void **state)
{
    (void)state;
    const struct {
        const char *text;
        const char *mended;
    } cases[] = {
        {"", ""},
        {"/a\x7f", "/a\x7f"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xa9", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x92\xa9"},
        {"\xff/\x80", "?/?"},
        {"\xc3(", "?("},
        {"\xc3", "?"},
        {"\xe2\x82", "??"},
        {"\xe2\x82)x", "??"
                       ")x"},
        {"\xc0\xaf\xe0\x80\xaf", "?????"},           // overlong
        {"\xed\xa0\x80\xf4\x90\x80\x80", "???????"}, // a surrogate; beyond Unicode
        {"\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf"}, // the last before these
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char text[16];
        size_t len = strlen(cases[i].text);
        memcpy(text, cases[i].text, len + 1);
        ct_text_mend_utf8(text, len);
        assert_string_equal(text, cases[i].mended);
    }
}

static void steps_through_lists(void **state)
{
    (void)state;
    const char *rest = " a b ,c,, d";
    const char *const expected[] = {"a b", "c", "", "d"};
    const char *entry;
    size_t len;
    size_t n = 0;
    while (ct_text_next(&rest, &entry, &len)) {
        assert_true(n < CT_ARRAY_LEN(expected));
        assert_int_equal(len, strlen(expected[n]));
        assert_memory_equal(entry, expected[n], len);
        n++;
    }
    assert_int_equal(n, CT_ARRAY_LEN(expected));
}

static const char *word_of(const void *cls, size_t i)
{
    return ((const char *const *)cls)[i];
}

static void finds_the_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {
        "inject", NULL, "run", "a-name-of-more-than-forty-eight-characters-as-it-is", "ran"};
    const struct {
        const char *text, *nearest;
    } cases[] = {
        {"inejct", "inject"}, {"injec", "inject"},
        {"inj", NULL},        {"rum", "run"},
        {"rin", "run"},       {"rann", "ran"},
        {"", NULL},           {"xyz", NULL},
        {"run", "run"},       {"a-name-of-more-than-forty-eight-characters-as-it-i", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const char *nearest = ct_text_nearest(cases[i].text, strlen(cases[i].text), word_of, words,
                                              CT_ARRAY_LEN(words));
        assert_string_equal(nearest != NULL ? nearest : "(none)",
                            cases[i].nearest != NULL ? cases[i].nearest : "(none)");
    }
    assert_string_equal(ct_text_nearest("injectall", 6, word_of, words, 1), "inject");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(shows_harmlessly),
        cmocka_unit_test(mends_what_is_no_utf8),
        cmocka_unit_test(steps_through_lists),
        cmocka_unit_test(finds_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
