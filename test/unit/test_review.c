// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "review.h"

// The warnings of an answer that is valid JSON; the caller's reference.
static json_t *answered(const struct ct_warnings *w)
{
    CT_AUTO_BUF out = {.max = 1 << 20};
    ct_review_allow("u-1", NULL, w, &out);
    assert_false(out.failed);
    CT_AUTO_JSON answer = json_loadb(out.data, out.len, 0, NULL);
    if (answer == NULL) {
        fail_msg("no JSON: %s", out.data);
    }
    return json_incref(ct_json_at(answer, "response", "warnings", NULL));
}

// Whatever the bound: what was taken is whole, and counted.
static void leaves_out_warnings_without_room(void **state)
{
    (void)state;
    for (size_t max = 1; max < 64; max++) {
        struct ct_warnings w = {.text = {.max = max}};
        for (int i = 0; i < 3; i++) {
            ct_warnings_add(&w, "a \"warning\" of %d", i);
        }
        CT_AUTO_JSON warnings = answered(&w);
        assert_int_equal(json_array_size(warnings), w.n);
        assert_int_equal(w.n, (max + 1) / 21); // 20 bytes each, and the commas
        ct_buf_done(&w.text);
    }
}

static void has_room_for_the_worst(void **state)
{
    (void)state;
    struct ct_warnings w = {.text = {.max = CT_WARNINGS_BYTES}};
    char text[CT_WARNING_BYTES + 1];
    memset(text, '\1', CT_WARNING_BYTES);
    text[CT_WARNING_BYTES] = '\0';
    for (int i = 0; i < CT_WARNINGS_MAX + 1; i++) {
        ct_warnings_add(&w, "%s", text);
    }
    assert_int_equal(w.n, CT_WARNINGS_MAX);
    CT_AUTO_JSON warnings = answered(&w);
    assert_int_equal(json_array_size(warnings), CT_WARNINGS_MAX);
    for (size_t i = 0; i < CT_WARNINGS_MAX; i++) {
        assert_string_equal(json_string_value(json_array_get(warnings, i)), text);
    }
    ct_buf_done(&w.text);
}

static void expect_pieces(const char *text, const char *const *pieces, size_t n)
{
    struct ct_warnings w = {.text = {.max = CT_WARNINGS_BYTES}};
    ct_warnings_add(&w, "%s", text);
    CT_AUTO_JSON warnings = answered(&w);
    assert_int_equal(json_array_size(warnings), n);
    for (size_t i = 0; i < n; i++) {
        const char *piece = json_string_value(json_array_get(warnings, i));
        assert_string_equal(piece, pieces[i]);
        assert_true(strlen(piece) <= CT_WARNING_BYTES);
    }
    ct_buf_done(&w.text);
}

// A sentence that is cut is seen to be one, and never between the bytes of a character.
static void marks_where_it_cuts(void **state)
{
    (void)state;
    char text[600];
    char first[300];
    char second[300];
    (void)snprintf(text, sizeof(text), "%0200d (%0200d)", 1, 2);
    (void)snprintf(first, sizeof(first), "%0200d …", 1);
    (void)snprintf(second, sizeof(second), "… (%0200d)", 2);
    expect_pieces(text, (const char *const[]){first, second}, 2);
    text[0] = '\0';
    for (size_t i = 0; i < 130; i++) {
        memcpy(text + 2 * i, "ä", 3);
    }
    (void)snprintf(first, sizeof(first), "%.252s…", text);
    (void)snprintf(second, sizeof(second), "… %.8s", text + 252);
    expect_pieces(text, (const char *const[]){first, second}, 2);
    memset(text, 'x', CT_WARNING_BYTES);
    text[CT_WARNING_BYTES] = '\0';
    expect_pieces(text, (const char *const[]){text}, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out_warnings_without_room),
        cmocka_unit_test(has_room_for_the_worst),
        cmocka_unit_test(marks_where_it_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
