// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "buf.h"
#include "chaos.h"

static void grows_up_to_its_bound(void **state)
{
    (void)state;
    CT_AUTO_BUF b = {.max = 1000};
    assert_null(b.data);
    for (size_t i = 0; i < 100; i++) {
        ct_buf_add_str(&b, "0123456789");
    }
    assert_false(b.failed);
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[1000], '\0');
    assert_true(b.cap <= 1001);
    ct_buf_add(&b, "", 0);
    assert_false(b.failed);
    ct_buf_add_str(&b, "x");
    assert_true(b.failed);
    assert_int_equal(b.len, 1000);
    ct_buf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(b.data, "");
    ct_buf_addf(&b, "%d-%s", 7, "seven");
    assert_string_equal(b.data, "7-seven");
    ct_buf_done(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 1000);
}

static void refuses_what_overflows(void **state)
{
    (void)state;
    CT_AUTO_BUF b = {.max = SIZE_MAX - 1};
    ct_buf_add_str(&b, "abc");
    assert_null(ct_buf_reserve(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    assert_string_equal(b.data, "abc");
}

static void writes_json(void **state)
{
    (void)state;
    const struct {
        const char *text, *json;
        size_t len;
    } cases[] = {
        {"", "\"\"", 0},
        {"plain text that is longer than eight", "\"plain text that is longer than eight\"", 36},
        {"a\"b\\c/d", "\"a\\\"b\\\\c/d\"", 7},
        {"12345678\"", "\"12345678\\\"\"", 9},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"", 5},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"", 3},
        {"a\0b", "\"a\\u0000b\"", 3},
        {"\xc3\xa4\xf0\x9f\x94\x92 \xe2\x80\xa8", "\"\xc3\xa4\xf0\x9f\x94\x92 \xe2\x80\xa8\"", 10},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_BUF b = {.max = 1000};
        ct_buf_add_json(&b, cases[i].text, cases[i].len);
        assert_false(b.failed);
        assert_string_equal(b.data, cases[i].json);
    }
}

// Each byte at each place of a word: what jansson reads back is what was written.
static void writes_json_that_parses_back(void **state)
{
    (void)state;
    for (int c = 0; c < 128; c++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, 'y', sizeof(text));
            text[at] = (char)c;
            CT_AUTO_BUF b = {.max = 1000};
            ct_buf_add_json(&b, text, sizeof(text));
            json_t *back = json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(back);
            assert_int_equal(json_string_length(back), sizeof(text));
            assert_memory_equal(json_string_value(back), text, sizeof(text));
            json_decref(back);
        }
    }
}

static void writes_pointer_tokens(void **state)
{
    (void)state;
    CT_AUTO_BUF b = {.max = 1000};
    ct_buf_add_pointer(&b, "cloudtaser.io/inject");
    ct_buf_add_pointer(&b, "~/\"~1");
    ct_buf_add_pointer(&b, "");
    assert_string_equal(b.data, "cloudtaser.io~1inject~0~1\\\"~01");
}

static void writes_base64(void **state)
{
    (void)state;
    const struct {
        const char *text, *base64;
    } cases[] = {
        // RFC 4648, section 10
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_BUF b = {.max = 100};
        ct_buf_add_base64(&b, cases[i].text, strlen(cases[i].text));
        assert_string_equal(b.data, cases[i].base64);
        assert_int_equal(b.len, strlen(cases[i].base64));
    }
    CT_AUTO_BUF b = {.max = 7};
    ct_buf_add_base64(&b, "", 0);
    assert_false(b.failed);
    ct_buf_add_base64(&b, "foob", 4);
    assert_true(b.failed);
    assert_int_equal(b.len, 0);
}

// An append of several pieces that fails on the way leaves nothing of itself.
static void fails_whole(void **state)
{
    (void)state;
    CT_AUTO_BUF b = {.max = 10};
    ct_buf_add_str(&b, "1234");
    ct_buf_add_json(&b, "\n\n\n\n", 4);
    assert_true(b.failed);
    assert_string_equal(b.data, "1234");
    ct_buf_reset(&b);
    ct_buf_add_pointer(&b, "////////");
    assert_true(b.failed);
    assert_string_equal(b.data, "");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    for (int secret = 0; secret < 2; secret++) {
        CT_AUTO_BUF b = {.max = 1 << 20, .secret = secret != 0};
        ct_buf_add_str(&b, "kept");
        chaos_start(1);
        assert_null(ct_buf_reserve(&b, 100000));
        assert_true(chaos_stop());
        assert_true(b.failed);
        assert_string_equal(b.data, "kept");
        b.failed = false;
        assert_non_null(ct_buf_reserve(&b, 100000));
        assert_string_equal(b.data, "kept");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_up_to_its_bound), cmocka_unit_test(refuses_what_overflows),
        cmocka_unit_test(writes_json),           cmocka_unit_test(writes_json_that_parses_back),
        cmocka_unit_test(writes_pointer_tokens), cmocka_unit_test(writes_base64),
        cmocka_unit_test(fails_whole),           cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
