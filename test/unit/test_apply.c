// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "apply.h"
#include "chaos.h"
#include "json.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;
    struct ct_err err = {0};
    expect_ok(ct_json_parse(text, strlen(text), "the case", &value, &err), &err);
    return value;
}

static void changes(void **state)
{
    (void)state;
    const struct {
        const char *before, *patch, *after;
    } cases[] = {
        {"{\"a\":1}", "[]", "{\"a\":1}"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]", "{\"a\":1,\"b\":2}"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":{}}]", "{\"a\":{}}"},
        {"{\"l\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":3}]", "{\"l\":[1,2,3]}"},
        {"{\"l\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/l/2\",\"value\":3}]", "{\"l\":[1,2,3]}"},
        {"{\"l\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/l/0\",\"value\":3}]", "{\"l\":[3,1,2]}"},
        {"{\"l\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/l/1\",\"value\":3}]", "{\"l\":[1,3]}"},
        {"{\"l\":[1,2,3]}", "[{\"op\":\"move\",\"from\":\"/l/2\",\"path\":\"/l/0\"}]",
         "{\"l\":[3,1,2]}"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"}]",
         "{\"a\":{},\"c\":1}"},
        {"{\"a/b\":{\"c~d\":1}}", "[{\"op\":\"replace\",\"path\":\"/a~1b/c~0d\",\"value\":2}]",
         "{\"a/b\":{\"c~d\":2}}"},
        {"{\"\":{\"x\":1}}", "[{\"op\":\"replace\",\"path\":\"//x\",\"value\":2}]",
         "{\"\":{\"x\":2}}"},
        {"{\"l\":[{\"e\":[]}]}", "[{\"op\":\"add\",\"path\":\"/l/0/e/0\",\"value\":null}]",
         "{\"l\":[{\"e\":[null]}]}"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_JSON document = parse(cases[i].before);
        CT_AUTO_JSON patch = parse(cases[i].patch);
        CT_AUTO_JSON after = parse(cases[i].after);
        struct ct_err err = {0};
        expect_ok(ct_apply_patch(document, patch, &err), &err);
        assert_true(json_equal(document, after));
    }
}

static void refuses(void **state)
{
    (void)state;
    const struct {
        const char *operation, *part;
    } cases[] = {
        {"{\"op\":\"remove\",\"path\":\"/a\"}", "not understood"},
        {"{\"op\":\"test\",\"path\":\"/a\",\"value\":1}", "not understood"},
        {"{\"op\":\"add\",\"path\":\"/a\"}", "not understood"},
        {"{\"path\":\"/a\"}", "has no op or no path"},
        {"{\"op\":\"add\",\"value\":1}", "has no op or no path"},
        {"{\"op\":\"add\",\"path\":\"a\",\"value\":1}", "names \"a\""},
        {"{\"op\":\"add\",\"path\":\"\",\"value\":1}", "names \"\""},
        {"{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}", "names \"/x/y\""},
        {"{\"op\":\"add\",\"path\":\"/a/y\",\"value\":1}", "names \"/a/y\""},
        {"{\"op\":\"replace\",\"path\":\"/x\",\"value\":1}", "names \"/x\""},
        {"{\"op\":\"replace\",\"path\":\"/l/-\",\"value\":1}", "names \"/l/-\""},
        {"{\"op\":\"replace\",\"path\":\"/l/2\",\"value\":1}", "names \"/l/2\""},
        {"{\"op\":\"add\",\"path\":\"/l/3\",\"value\":1}", "names \"/l/3\""},
        {"{\"op\":\"add\",\"path\":\"/l/01\",\"value\":1}", "names \"/l/01\""},
        {"{\"op\":\"add\",\"path\":\"/l/x\",\"value\":1}", "names \"/l/x\""},
        {"{\"op\":\"move\",\"from\":\"/x\",\"path\":\"/y\"}", "names \"/x\""},
        {"{\"op\":\"move\",\"path\":\"/y\"}", "not understood"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_JSON document = parse("{\"a\":1,\"l\":[1,2]}");
        CT_AUTO_JSON operation = parse(cases[i].operation);
        CT_AUTO_JSON patch = json_pack("[O]", operation);
        struct ct_err err = {0};
        expect_error(ct_apply_patch(document, patch, &err), &err, CT_EPROTO, cases[i].part);
    }
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    bool struck = true;
    for (size_t nth = 1; struck; nth++) {
        CT_AUTO_JSON document = parse("{\"l\":[1]}");
        CT_AUTO_JSON patch = parse("[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":{\"a\":[1]}},"
                                   "{\"op\":\"add\",\"path\":\"/b\",\"value\":\"x\"}]");
        struct ct_err err = {0};
        chaos_start(nth);
        int rc = ct_apply_patch(document, patch, &err);
        struck = chaos_stop();
        if (struck) {
            expect_error(rc, &err, CT_ENOMEM, "out of memory for the patch");
        } else {
            expect_ok(rc, &err);
            assert_true(nth > 4);
        }
    }
}

int main(void)
{
    chaos_join_jansson();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes),
        cmocka_unit_test(refuses),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
