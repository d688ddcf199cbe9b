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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out_warnings_without_room),
        cmocka_unit_test(has_room_for_the_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
