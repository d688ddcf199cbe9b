// SPDX-License-Identifier: Apache-2.0
#include <stdbool.h>
#include <stdio.h>

#include "expect.h"
#include "image.h"
#include "launch.h"

static char *const *vector(const char *const *strings)
{
    return (char *const *)(uintptr_t)strings;
}

static void test_image(void **state)
{
    (void)state;
    static const struct {
        const char *text; // of a secret: up to its placeholder
        uint32_t secret;
    } expected[] = {
        {"KEPT=as it is", 0}, {"SECRET=", 1},        {"SECRETS=other", 0},
        {"SECRET=", 1},       {"no equals sign", 0}, {"NEW=", 2},
    };
    const char *environment[] = {"KEPT=as it is",
                                 "SECRET=vault:x#y",
                                 "SECRETS=other",
                                 "SECRET=again",
                                 "CLOUDTASER_CONFIG={}",
                                 "no equals sign",
                                 NULL};
    const char *argv[] = {"app", "", "last", NULL};
    char new_name[] = "NEW";
    char name[] = "SECRET";
    char value[] = "v";
    struct ct_secret_variable item[2] = {{.name = name, .value = value, .value_len = 1},
                                         {.name = new_name, .value = value, .value_len = 1}};
    const struct ct_secrets secrets = {item, 2};
    struct ct_err err = {0};
    struct ct_image image;
    expect_ok(ct_image_make(vector(argv), vector(environment), &secrets, &image, &err), &err);
    assert_int_equal(image.env_count, CT_ARRAY_LEN(expected));
    for (size_t i = 0; i < CT_ARRAY_LEN(expected); i++) {
        char text[128];
        bool secret = expected[i].secret != 0;
        (void)snprintf(text, sizeof(text), "%s%s", expected[i].text,
                       secret ? image.placeholder : "");
        assert_string_equal(image.envp[i], text);
        assert_int_equal(image.secret[i], expected[i].secret);
    }
    assert_null(image.envp[image.env_count]);
    assert_string_equal(image.argv[1], "");
    assert_string_equal(image.argv[2], "last");
    assert_null(image.argv[3]);
    assert_string_equal(ct_image_variable(&image, "SECRETS"), "other");
    assert_null(ct_image_variable(&image, "CLOUDTASER_CONFIG"));
    ct_image_done(&image);
}

// Who knows one placeholder knows no other.
static void test_placeholders_differ(void **state)
{
    (void)state;
    static const char begin[] = CT_LAUNCH_PLACEHOLDER ":";
    const char *none[] = {NULL};
    const struct ct_secrets secrets = {NULL, 0};
    struct ct_err err = {0};
    struct ct_image image[2];
    for (size_t i = 0; i < CT_ARRAY_LEN(image); i++) {
        expect_ok(ct_image_make(vector(none), vector(none), &secrets, &image[i], &err), &err);
        assert_memory_equal(image[i].placeholder, begin, sizeof(begin) - 1);
        const char *random = image[i].placeholder + sizeof(begin) - 1;
        assert_int_equal(strlen(random), 24);
        assert_int_equal(strspn(random, "0123456789abcdef"), 24);
    }
    assert_string_not_equal(image[0].placeholder, image[1].placeholder);
    ct_image_done(&image[0]);
    ct_image_done(&image[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_placeholders_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
