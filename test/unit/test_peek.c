// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "peek.h"

#define REVIEW(request)                                                                            \
    "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{" request   \
    "}}"
#define OBJECT(text) "\"uid\":\"u-1\",\"object\":{" text "}"
#define SPEC(value) REVIEW(OBJECT("\"spec\":" value))

static void passes_over_only_what_is_plain(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool skippable;
    } cases[] = {
        {REVIEW(OBJECT("")), true},
        {" " REVIEW(OBJECT("")) "\n", true},
        {REVIEW("\"namespace\":\"a\",\"dryRun\":true," OBJECT("\"metadata\":{\"name\":\"n\"}")),
         true},
        {SPEC("{\"a\":[1,-2.5,0,true,false,null,\"x\\n\\\"\\u003c\"],\"b\":{}}"), true},
        {SPEC("[ ]"), true},
        // Not ours to pass over.
        {REVIEW(OBJECT("\"metadata\":{\"annotations\":{\"cloudtaser.io/inject\":\"false\"}}")),
         false},
        {REVIEW(OBJECT("\"metadata\":{\"annotations\":{\"cloudtaser.io\\/inject\":\"true\"}}")),
         false},
        {REVIEW(OBJECT("\"metadata\":{\"annotations\":{\"\\u0063loudtaser.io/inject\":\"true\"}}")),
         false},
        // Changes of an injected pod.
        {SPEC("{\"volumes\":[{\"name\":\"cloudtaser\"}]}"), false},
        {REVIEW(OBJECT("\"metadata\":{\"annotations\":{\"cloudtaser.io/status\":\"x\"}}")), false},
        {REVIEW("\"subResource\":\"ephemeralcontainers\"," OBJECT("")), false},
        {REVIEW("\"uid\":\"u-1\",\"object\":null"), false},
        {REVIEW("\"uid\":\"u-1\""), false},
        {REVIEW("\"object\":{}"), false},
        {REVIEW("\"uid\":\"\",\"object\":{}"), false},
        {REVIEW("\"uid\":7,\"object\":{}"), false},
        {REVIEW("\"uid\":\"a\\nb\",\"object\":{}"), false},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":[]}",
         false},
        {"{\"apiVersion\":\"admission.k8s.io/v1beta1\",\"kind\":\"AdmissionReview\",\"request\":{"
         "\"uid\":\"u\",\"object\":{}}}",
         false},
        // What stands twice: which one counts?
        {REVIEW(OBJECT("") ",\"uid\":\"u-2\""), false},
        {REVIEW(OBJECT("") ",\"object\":{}"), false},
        {REVIEW(OBJECT("\"metadata\":{},\"metadata\":{}")), false},
        // Malformed, or unusual.
        {"", false},
        {"{", false},
        {"[]", false},
        {REVIEW(OBJECT("")) "x", false},
        {REVIEW(OBJECT("\"a\":1,")), false},
        {REVIEW(OBJECT("\"a\"")), false},
        {REVIEW(OBJECT("a:1")), false},
        {SPEC("[1,]"), false},
        {SPEC("[1 2]"), false},
        {SPEC("[}"), false},
        {SPEC("tru"), false},
        {SPEC("nul"), false},
        {SPEC("truex"), false},
        {SPEC("01"), false},
        {SPEC("-"), false},
        {SPEC("1."), false},
        {SPEC(".5"), false},
        {SPEC("+1"), false},
        {SPEC("1e3"), false},
        {SPEC("123456789012345678901234567890"), false},
        {SPEC("\"\\x\""), false},
        {SPEC("\"\\u00e4\""), false},
        {SPEC("\"\xc3\xa4\""), false},
        {SPEC("\"\t\""), false},
        {SPEC("\"open"), false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_peek peek;
        if (ct_peek_skippable(cases[i].body, strlen(cases[i].body), &peek) != cases[i].skippable) {
            fail_msg("%s: expected %d", cases[i].body, cases[i].skippable);
        }
    }
}

// No prefix of a good body is a good body, and none is read beyond its end.
static void reads_no_further_than_told(void **state)
{
    (void)state;
    static const char body[] = SPEC("{\"a\":[1,true,\"x\\n\"]}");
    for (size_t len = 0; len < strlen(body); len++) {
        char *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, body, len);
        struct ct_peek peek;
        assert_false(ct_peek_skippable(copy, len, &peek));
        free(copy);
    }
}

static void bounds_depth(void **state)
{
    (void)state;
    for (size_t depth = 1; depth < 3000; depth *= 2) {
        char body[8000] = "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\","
                          "\"request\":{\"uid\":\"u\",\"object\":{\"a\":";
        size_t used = strlen(body);
        memset(body + used, '[', depth);
        memset(body + used + depth, ']', depth);
        memcpy(body + used + 2 * depth, "}}}", 4);
        struct ct_peek peek;
        assert_int_equal(ct_peek_skippable(body, strlen(body), &peek), depth <= 32);
    }
}

static void finds_what_the_answer_needs(void **state)
{
    (void)state;
    static const char body[] =
        REVIEW("\"dryRun\":true,\"namespace\":\"shop\",\"kind\":{\"kind\":\"Pod\"}," OBJECT(
            "\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"web-\",\"labels\":{\"name\":\"x\"}"
            "}"));
    struct ct_peek peek;
    assert_true(ct_peek_skippable(body, strlen(body), &peek));
    assert_memory_equal(peek.uid.text, "u-1", peek.uid.len);
    assert_memory_equal(peek.namespace.text, "shop", peek.namespace.len);
    assert_memory_equal(peek.generate_name.text, "web-", peek.generate_name.len);
    assert_null(peek.name.text);
    assert_true(peek.dry_run);
}

static void finds_the_uid_in_what_is_no_json(void **state)
{
    (void)state;
    static const struct {
        const char *body, *uid; // NULL: none
    } cases[] = {
        {REVIEW(OBJECT("\"a\\u0000b\":1")), "u-1"},
        {REVIEW("\"kind\":{\"uid\":\"x\"},\"a\":[\"uid\",{\"uid\":\"y\"}]," OBJECT("}}}")), "u-1"},
        {"{ \"uid\" : \"x\" , \"request\" : { \"uid\" :\n\"u-1\" , \xff", "u-1"},
        {"{\"a\":{\"uid\":\"x\"},\"request\":{\"a\":\"\\\"uid\\\":\",\"uid\":\"u-1\"", "u-1"},
        {"{\"request\":{},\"a\":{\"uid\":\"x\"}}", NULL},
        {REVIEW("\"object\":{\"uid\":\"x\"}"), NULL},
        {REVIEW("\"uid\":7,\"kind\":\"x\""), NULL},
        {REVIEW("\"uid\":[\"x\"]"), NULL},
        {REVIEW("\"uid\":\"\""), NULL},
        {REVIEW("\"uid\":\"a\\nb\""), NULL},
        {REVIEW("\"uid\":\"\xc3\xa4\""), NULL},
        {"{\"request\":{\"uid\":\"open", NULL},
        {"{\"request\":{\"uid\":\"open\\", NULL},
        {"[\"request\",{\"uid\":\"x\"}]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].body);
        char *copy = malloc(len > 0 ? len : 1); // without a NUL behind it
        assert_non_null(copy);
        memcpy(copy, cases[i].body, len);
        struct ct_slice uid;
        bool found = ct_peek_uid(copy, len, &uid);
        if (found != (cases[i].uid != NULL) ||
            (found &&
             (uid.len != strlen(cases[i].uid) || memcmp(uid.text, cases[i].uid, uid.len) != 0))) {
            fail_msg("%s: %d", cases[i].body, found);
        }
        free(copy);
    }
}

static void tells_who_asks_for_what(void **state)
{
    (void)state;
    static const char body[] =
        REVIEW("\"operation\":\"CREATE\",\"userInfo\":{\"username\":\"system:admin\",\"uid\":\"7\","
               "\"groups\":[\"a\"],\"extra\":{\"username\":[\"x\"]}}," OBJECT(""));
    struct ct_peek peek;
    assert_true(ct_peek_skippable(body, strlen(body), &peek));
    assert_int_equal(peek.operation.len, 6);
    assert_memory_equal(peek.operation.text, "CREATE", 6);
    assert_int_equal(peek.user.len, 12);
    assert_memory_equal(peek.user.text, "system:admin", 12);
    assert_memory_equal(peek.uid.text, "u-1", 3);
    static const char *const odd[] = {
        REVIEW("\"userInfo\":{\"username\":7}," OBJECT("")),
        REVIEW("\"userInfo\":{\"username\":\"a\",\"username\":\"b\"}," OBJECT("")),
        REVIEW("\"userInfo\":{},\"userInfo\":{}," OBJECT("")),
        REVIEW("\"userInfo\":[]," OBJECT("")),
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(odd); i++) {
        assert_false(ct_peek_skippable(odd[i], strlen(odd[i]), &peek));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_who_asks_for_what),
        cmocka_unit_test(finds_the_uid_in_what_is_no_json),
        cmocka_unit_test(passes_over_only_what_is_plain),
        cmocka_unit_test(reads_no_further_than_told),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(finds_what_the_answer_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
