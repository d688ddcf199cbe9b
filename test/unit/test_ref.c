// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "chaos.h"
#include "ref.h"

static void sees_references(void **state)
{
    (void)state;
    const struct {
        const char *value;
        bool yes;
    } cases[] = {
        {"vault:secret/data/db#password", true},
        {"x${vault:a#b}y", true},
        {"vault:secret/data/db", true},
        {"vault:", true},
        {"${vault:", true},
        {"vault:8200", false},
        {"vault:8200/ui", false},
        {"vault:8200,vault2:8200", false},
        {"vault:8200x", true},
        {"vault:65536", true},
        {"vault:0123", true},
        {"vault:8200/data/db#password", true},
        {"vault:8200/${vault:a#b}", true},
        {"", false},
        {"Vault:a#b", false},
        {" vault:a#b", false},
        {"https://vault:8200/v1", false},
        {"$(vault:a#b)", false},
        {"${other:a#b}", false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_ref_present(cases[i].value) != cases[i].yes) {
            fail_msg("\"%s\"", cases[i].value);
        }
    }
}

static void parses_references(void **state)
{
    (void)state;
    const struct {
        const char *text, *path, *key;
        unsigned version;
    } cases[] = {
        {"secret/data/db#password", "secret/data/db", "password", 0},
        {"secret/data/db#password#3", "secret/data/db", "password", 3},
        {"a#b c=d/e\"f", "a", "b c=d/e\"f", 0},
        {"a#b#999999999", "a", "b", 999999999},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_ref ref;
        struct ct_err err = {0};
        expect_ok(ct_ref_parse(cases[i].text, strlen(cases[i].text), &ref, &err), &err);
        assert_string_equal(ref.path, cases[i].path);
        assert_string_equal(ref.key, cases[i].key);
        assert_int_equal(ref.version, cases[i].version);
    }
}

static void refuses_malformed_ones(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"", "lacks its path"},
        {"#key", "lacks its path"},
        {"a/b", "lacks its key; expected PATH#KEY"},
        {"a/b#", "lacks its key"},
        {"a/b##1", "lacks its key"},
        {"vault:a/b#k", "\"vault:a/b#k\": write the path without vault: in front"},
        {"v1/a#k", "\"v1/a#k\": write the path without v1/ in front"},
        {"/v1/a#k", "\"/v1/a#k\": write the path without /v1/ in front"},
        {"/a#k", "no '/' at its start or end"},
        {"a/#k", "no '/' at its start or end"},
        {"a//b#k", "the path may hold"},
        {"a/../b#k", "\"a/../b#k\": the path may hold"},
        {"a b#k", "the path may hold"},
        {"a?b#k", "the path may hold"},
        {"a%2e#k", "the path may hold"},
        {"a\n#k", "\"a?#k\""},
        {"a#k$", "the key may hold"},
        {"a#{k}", "the key may hold"},
        {"a#k\x01", "the key may hold"},
        {"a#k#", "the version must be a number from 1"},
        {"a#k#0", "the version must be"},
        {"a#k#01", "the version must be"},
        {"a#k#-1", "the version must be"},
        {"a#k#1000000000", "the version must be"},
        {"a#k#1#2", "the version must be"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_ref ref;
        struct ct_err err = {0};
        int rc = ct_ref_parse(cases[i].text, strlen(cases[i].text), &ref, &err);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
    }
}

static void bounds_lengths(void **state)
{
    (void)state;
    char text[CT_REF_PATH_MAX + CT_REF_KEY_MAX + 8];
    struct ct_ref ref;
    struct ct_err err = {0};
    memset(text, 'a', sizeof(text));
    text[CT_REF_PATH_MAX] = '#';
    size_t full = CT_REF_PATH_MAX + 1 + CT_REF_KEY_MAX;
    expect_ok(ct_ref_parse(text, full, &ref, &err), &err);
    assert_int_equal(strlen(ref.path), CT_REF_PATH_MAX);
    assert_int_equal(strlen(ref.key), CT_REF_KEY_MAX);
    expect_error(ct_ref_parse(text, full + 1, &ref, &err), &err, CT_ETOOBIG,
                 "the key is longer than 253 bytes");
    text[CT_REF_PATH_MAX] = 'a';
    text[CT_REF_PATH_MAX + 1] = '#';
    expect_error(ct_ref_parse(text, full, &ref, &err), &err, CT_ETOOBIG,
                 "the path is longer than 512 bytes");
}

// Parts written as text: literals in [], references as <path#key#version>.
static void expect_parts(const char *value, const char *expected)
{
    struct ct_ref_part *parts = NULL;
    size_t n = 0;
    struct ct_err err = {0};
    char text[512] = "";
    size_t len = 0;
    expect_ok(ct_ref_split(value, &parts, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const struct ct_ref_part *p = &parts[i];
        char *to = text + len;
        size_t room = sizeof(text) - len;
        len += (size_t)(p->is_ref ? snprintf(to, room, "<%s#%s#%u>", p->ref.path, p->ref.key,
                                             p->ref.version)
                                  : snprintf(to, room, "[%.*s]", (int)p->len, p->text));
    }
    free(parts);
    assert_string_equal(text, expected);
}

static void splits_values(void **state)
{
    (void)state;
    expect_parts("", "[]");
    expect_parts("plain $x ${y} }", "[plain $x ${y} }]");
    expect_parts("vault:8200/ui", "[vault:8200/ui]");
    expect_parts("vault:a/b#c#7", "<a/b#c#7>");
    expect_parts("${vault:a#b}", "<a#b#0>");
    expect_parts("x${vault:a#b}${vault:c#d#2}y", "[x]<a#b#0><c#d#2>[y]");
    expect_parts("$${vault:a#b}}", "[$]<a#b#0>[}]");
    expect_parts("vault:8200/${vault:a#b}", "[vault:8200/]<a#b#0>");
}

static void refuses_values(void **state)
{
    (void)state;
    const struct {
        const char *value, *part;
    } cases[] = {
        {"vault:", "lacks its path"},
        {"vault:secret/data/db", "lacks its key"},
        {"vault:82001/data", "lacks its key"},
        {"x${vault:a#b", "lacks its closing '}'"},
        {"x${vault:a#b}${vault:", "lacks its closing '}'"},
        {"${vault:}", "lacks its path"},
        {"${vault:a}", "lacks its key"},
        {"${vault:${vault:a#b}}", "the path may hold"},
        {"vault:a#${vault:a#b}", "the key may hold"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_ref_part *parts = (struct ct_ref_part *)&parts;
        size_t n = 9;
        struct ct_err err = {0};
        int rc = ct_ref_split(cases[i].value, &parts, &n, &err);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
        assert_null(parts);
        assert_int_equal(n, 0);
    }
}

static void bounds_their_number(void **state)
{
    (void)state;
    char value[(CT_REF_MAX_PER_VALUE + 1) * 12 + 1];
    for (size_t count = CT_REF_MAX_PER_VALUE; count <= CT_REF_MAX_PER_VALUE + 1; count++) {
        struct ct_ref_part *parts = NULL;
        size_t n = 0;
        struct ct_err err = {0};
        for (size_t i = 0; i < count; i++) {
            memcpy(value + i * 12, "${vault:a#b}", 13);
        }
        int rc = ct_ref_split(value, &parts, &n, &err);
        if (count > CT_REF_MAX_PER_VALUE) {
            expect_error(rc, &err, CT_ETOOBIG, "at most 64 references, and this one holds 65");
        } else {
            expect_ok(rc, &err);
            assert_int_equal(n, count);
        }
        free(parts);
    }
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    struct ct_ref_part *parts = NULL;
    size_t n = 0;
    struct ct_err err = {0};
    chaos_start(1);
    int rc = ct_ref_split("vault:a#b", &parts, &n, &err);
    assert_true(chaos_stop());
    expect_error(rc, &err, CT_ENOMEM, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_references),        cmocka_unit_test(parses_references),
        cmocka_unit_test(refuses_malformed_ones), cmocka_unit_test(bounds_lengths),
        cmocka_unit_test(splits_values),          cmocka_unit_test(refuses_values),
        cmocka_unit_test(bounds_their_number),    cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
