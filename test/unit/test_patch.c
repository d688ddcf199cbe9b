// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <jansson.h>

#include "patch.h"
#include "review.h"

static void writes_operations(void **state)
{
    (void)state;
    CT_AUTO_PATCH p = {.text = {.max = 4096}};
    ct_patch_add(&p, "\"x\"", "/a/%d/%s", 3, "b");
    ct_patch_begin(&p, "replace", "/c");
    ct_buf_add_str(&p.text, "[1]");
    ct_patch_end(&p);
    ct_patch_move(&p, "/d/1", "/d/0");
    ct_patch_finish(&p);
    assert_false(p.text.failed);
    assert_string_equal(p.text.data, "[{\"op\":\"add\",\"path\":\"/a/3/b\",\"value\":\"x\"},"
                                     "{\"op\":\"replace\",\"path\":\"/c\",\"value\":[1]},"
                                     "{\"op\":\"move\",\"path\":\"/d/0\",\"from\":\"/d/1\"}]");
}

static void stays_empty_without_operations(void **state)
{
    (void)state;
    CT_AUTO_PATCH p = {.text = {.max = 4096}};
    ct_patch_finish(&p);
    assert_int_equal(p.text.len, 0);
}

static void shows_that_it_is_too_long(void **state)
{
    (void)state;
    CT_AUTO_PATCH p = {.text = {.max = 16}};
    ct_patch_add(&p, "\"x\"", "/a/very/long/path");
    ct_patch_finish(&p);
    assert_true(p.text.failed);
}

// Warnings: at most 256 bytes each, cut between words or characters, UTF-8 whatever comes.
static void cuts_warnings(void **state)
{
    (void)state;
    static const char *const units[] = {"word ", "ä", "\xff",        "\xe2\x82",
                                        "🙂",  "x", "\xed\xa0\x80"};
    for (size_t u = 0; u < CT_ARRAY_LEN(units); u++) {
        char text[1024] = "";
        size_t unit = strlen(units[u]);
        for (size_t used = 0; used + unit < 900; used += unit) {
            memcpy(text + used, units[u], unit + 1);
        }
        struct ct_warnings w = {.text = {.max = 8192}};
        ct_warnings_add(&w, "%s", text);
        CT_AUTO_BUF out = {.max = 8192};
        ct_review_allow("uid", NULL, &w, &out);
        json_t *answer = json_loadb(out.data, out.len, 0, NULL);
        json_t *list = json_object_get(json_object_get(answer, "response"), "warnings");
        assert_int_equal(json_array_size(list), w.n);
        size_t total = 0;
        size_t i;
        json_t *each;
        json_array_foreach(list, i, each)
        {
            assert_in_range(json_string_length(each), 1, 256);
            total += json_string_length(each);
        }
        size_t marks = strlen("…") + strlen("… "); // around each cut
        assert_int_equal(total, strlen(text) + marks * (w.n - 1));
        json_decref(answer);
        ct_buf_done(&w.text);
    }
}

static void bounds_the_number_of_warnings(void **state)
{
    (void)state;
    struct ct_warnings w = {.text = {.max = 8192}};
    for (int i = 0; i < 100; i++) {
        ct_warnings_add(&w, "warning %d", i);
    }
    assert_int_equal(w.n, CT_WARNINGS_MAX);
    assert_false(w.text.failed);
    ct_buf_done(&w.text);
}

static void escapes_the_sentence(void **state)
{
    (void)state;
    struct ct_warnings none = {.text = {.max = 1}};
    CT_AUTO_BUF out = {.max = 8192};
    ct_review_deny("u\"1", "no \"x\"\n\xff", 0, &none, &out);
    json_t *answer = json_loadb(out.data, out.len, 0, NULL);
    assert_non_null(answer);
    json_t *response = json_object_get(answer, "response");
    json_t *status = json_object_get(response, "status");
    assert_string_equal(json_string_value(json_object_get(response, "uid")), "u\"1");
    assert_true(json_is_false(json_object_get(response, "allowed")));
    assert_int_equal(json_integer_value(json_object_get(status, "code")), 403);
    assert_string_equal(json_string_value(json_object_get(status, "reason")), "Forbidden");
    assert_string_equal(json_string_value(json_object_get(status, "message")), "no \"x\"\n?");
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_operations),
        cmocka_unit_test(stays_empty_without_operations),
        cmocka_unit_test(shows_that_it_is_too_long),
        cmocka_unit_test(cuts_warnings),
        cmocka_unit_test(bounds_the_number_of_warnings),
        cmocka_unit_test(escapes_the_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
