// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <errno.h>

static void sets_code_and_sentence(void **state)
{
    (void)state;
    struct ct_err err = {.code = CT_ENOMEM, .errno_value = 7, .msg = "old"};
    int rc = ct_err_set(&err, CT_EINVAL, "%s is %d", "x", 5);
    expect_error(rc, &err, CT_EINVAL, "x is 5");
    assert_int_equal(err.errno_value, 0);
    assert_int_equal(ct_err_set(NULL, CT_EDENIED, "x"), -CT_EDENIED);
}

static void names_errno(void **state)
{
    (void)state;
    struct ct_err err = {0};
    errno = EACCES;
    int rc = ct_err_errno(&err, "cannot open %s", "/x");
    assert_int_equal(errno, EACCES);
    assert_int_equal(rc, -CT_ESYSTEM);
    assert_int_equal(err.errno_value, EACCES);
    assert_string_equal(err.msg, "cannot open /x: Permission denied (EACCES)");
    errno = ENOMEM;
    expect_error(ct_err_errno(&err, "cannot fork"), &err, CT_ENOMEM, "(ENOMEM)");
    errno = 4711;
    expect_error(ct_err_errno(&err, "odd"), &err, CT_ESYSTEM, "(errno 4711)");
    errno = EPERM;
    assert_int_equal(ct_err_errno(NULL, "x"), -CT_ESYSTEM);
}

static void wraps_with_context(void **state)
{
    (void)state;
    struct ct_err err = {0};
    assert_int_equal(ct_err_set(&err, CT_ENOTFOUND, "inner"), -CT_ENOTFOUND);
    assert_int_equal(ct_err_wrap(&err, "outer %d", 1), -CT_ENOTFOUND);
    assert_string_equal(err.msg, "outer 1: inner");
    // A failure must not turn into a success because nobody set an error.
    struct ct_err none = {0};
    assert_int_equal(ct_err_wrap(&none, "outer"), -CT_ESYSTEM);
    assert_int_equal(ct_err_wrap(NULL, "outer"), -CT_ESYSTEM);
}

static void adds_problems(void **state)
{
    (void)state;
    struct ct_err err = {0};
    assert_int_equal(ct_err_add(&err, "; ", CT_EINVAL, "a"), -CT_EINVAL);
    assert_int_equal(ct_err_add(&err, "; ", CT_ETOOBIG, "b %d", 2), -CT_EINVAL);
    assert_string_equal(err.msg, "a; b 2");
    assert_int_equal(ct_err_add(NULL, "; ", CT_ETOOBIG, "b"), -CT_ETOOBIG);
}

static void cuts_long_sentences(void **state)
{
    (void)state;
    struct ct_err err = {0};
    char text[600];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(ct_err_set(&err, CT_EINVAL, "%s", text), -CT_EINVAL);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_string_equal(err.msg + sizeof(err.msg) - 1 - strlen("…"), "…");
    // Wrapped and added to, it stays cut and terminated.
    assert_int_equal(ct_err_wrap(&err, "y"), -CT_EINVAL);
    assert_int_equal(ct_err_add(&err, "; ", CT_EINVAL, "z"), -CT_EINVAL);
    assert_memory_equal(err.msg, "y: xxx", 6);
    assert_true(strlen(err.msg) < sizeof(err.msg));
}

// Wherever the cut falls, no UTF-8 sequence is left in halves.
static void cuts_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        struct ct_err err = {0};
        char text[640] = "";
        memset(text, 'x', shift);
        for (size_t i = 0; i < 150; i++) {
            memcpy(text + shift + i * 4, "\xf0\x9f\x94\x92", 5);
        }
        assert_int_equal(ct_err_set(&err, CT_EINVAL, "%s", text), -CT_EINVAL);
        size_t len = strlen(err.msg) - strlen("…");
        assert_string_equal(err.msg + len, "…");
        assert_int_equal((len - shift) % 4, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_code_and_sentence), cmocka_unit_test(names_errno),
        cmocka_unit_test(wraps_with_context),     cmocka_unit_test(adds_problems),
        cmocka_unit_test(cuts_long_sentences),    cmocka_unit_test(cuts_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
