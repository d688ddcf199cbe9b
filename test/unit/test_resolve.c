// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "resolve.h"

static struct {
    size_t reads;
    char last[600];
} source_log;

// Two secrets; every version of them has the same keys but "version".
static int read_fake(void *cls, const char *path, unsigned version, json_t **ret,
                     struct ct_err *err)
{
    (void)cls;
    source_log.reads++;
    (void)snprintf(source_log.last, sizeof(source_log.last), "%s#%u", path, version);
    if (strcmp(path, "m/data/gone") == 0) {
        return ct_err_set(err, CT_ENOTFOUND, "Vault has no secret m/data/gone");
    }
    char text[32];
    (void)snprintf(text, sizeof(text), "v%u", version);
    *ret = json_pack("{s:s, s:s, s:i, s:b, s:n, s:[s], s:{s:s}, s:s%, s:s}", "user", "web", "empty",
                     "", "number", 7, "flag", 1, "none", "list", "planted", "object", "a",
                     "planted", "nul", "planted\0x", (size_t)9, "version", text);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "memory");
}

static const struct ct_secret_source source = {.read = read_fake};

static int resolve(const char *const *environment, struct ct_secrets *ret, struct ct_err *err)
{
    CT_AUTO(ct_plan) *plan = NULL;
    *ret = (struct ct_secrets){0};
    int rc = ct_plan_make(environment, "", &plan, err);
    return rc < 0 ? rc : ct_plan_resolve(plan, &source, ret, err);
}

static void resolves(void **state)
{
    (void)state;
    const char *const environment[] = {
        "PATH=/bin",
        "A=vault:m/data/one#user",
        "odd",
        "HOST=vault:8200",
        "B=x-${vault:m/data/one#user}-${vault:m/data/one#version#2}-y",
        "CLOUDTASER_CONFIG=${vault:m/data/one#user}",
        "C=vault:m/data/one#empty",
        "EMPTY=",
        "D=${vault:m/data/two#version}${vault:m/data/one#version}",
        NULL,
    };
    static const struct {
        const char *name;
        const char *value;
    } expected[] = {{"A", "web"}, {"B", "x-web-v2-y"}, {"C", ""}, {"D", "v0v0"}};
    struct ct_secrets secrets;
    struct ct_err err = {0};
    source_log.reads = 0;
    expect_ok(resolve(environment, &secrets, &err), &err);
    assert_int_equal(secrets.n, CT_ARRAY_LEN(expected));
    for (size_t i = 0; i < secrets.n; i++) {
        assert_string_equal(secrets.item[i].name, expected[i].name);
        assert_string_equal(secrets.item[i].value, expected[i].value);
        assert_int_equal(secrets.item[i].value_len, strlen(expected[i].value));
    }
    assert_int_equal(source_log.reads, 3); // each (path, version) once
    ct_secrets_done(&secrets);
}

static void finds_nothing(void **state)
{
    (void)state;
    const char *const environment[] = {"PATH=/bin", "HOST=vault:8200/ui", NULL};
    struct ct_secrets secrets;
    struct ct_err err = {0};
    CT_AUTO(ct_plan) *plan = NULL;
    expect_ok(ct_plan_make(environment, "", &plan, &err), &err);
    assert_int_equal(ct_plan_count(plan), 0);
    expect_ok(resolve(environment, &secrets, &err), &err);
    assert_int_equal(secrets.n, 0);
    ct_secrets_done(&secrets);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        int code;
        const char *message;
    } cases[] = {
        {"S=vault:m/data/one", CT_EINVAL, "variable S: "},
        {"S=vault:m/../one#k", CT_EINVAL, "variable S: "},
        {"S=${vault:m/data/one#k", CT_EINVAL, "variable S: "},
        {"S=vault:m/data/one#nokey", CT_ENOTFOUND,
         "variable S: secret m/data/one has no key nokey"},
        {"S=vault:m/data/gone#k", CT_ENOTFOUND, "variable S: Vault has no secret m/data/gone"},
        {"S=a${vault:m/data/one#number}", CT_EINVAL,
         "variable S: secret m/data/one: the value of key number is a number"},
        {"S=vault:m/data/one#flag", CT_EINVAL, "key flag is a boolean"},
        {"S=vault:m/data/one#none", CT_EINVAL, "key none is null"},
        {"S=vault:m/data/one#list", CT_EINVAL, "key list is an array"},
        {"S=vault:m/data/one#object", CT_EINVAL, "key object is an object"},
        {"S=vault:m/data/one#nul", CT_EINVAL, "key nul holds a NUL"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char entry[64];
        (void)snprintf(entry, sizeof(entry), "%s", cases[i].entry);
        const char *const environment[] = {"A=vault:m/data/one#user", entry, NULL};
        struct ct_secrets secrets;
        struct ct_err err = {0};
        expect_error(resolve(environment, &secrets, &err), &err, cases[i].code, cases[i].message);
        assert_null(strstr(err.msg, "planted"));
        assert_int_equal(secrets.n, 0);
        assert_null(secrets.item);
    }
}

static int read_large(void *cls, const char *path, unsigned version, json_t **ret,
                      struct ct_err *err)
{
    (void)cls;
    (void)path;
    (void)version;
    static char text[200001];
    memset(text, 'x', sizeof(text) - 1);
    *ret = json_pack("{s:s}", "k", text);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "memory");
}

static void bounds_the_total(void **state)
{
    (void)state;
    const char *const fits[] = {"A=vault:m/data/x#k", "B=vault:m/data/x#k", NULL};
    const char *const too_much[] = {"A=vault:m/data/x#k", "B=vault:m/data/x#k",
                                    "C=vault:m/data/x#k", NULL};
    const struct ct_secret_source large = {.read = read_large};
    struct ct_secrets secrets;
    struct ct_err err = {0};
    CT_AUTO(ct_plan) *plan = NULL;
    CT_AUTO(ct_plan) *big = NULL;
    expect_ok(ct_plan_make(fits, "", &plan, &err), &err);
    expect_ok(ct_plan_resolve(plan, &large, &secrets, &err), &err);
    assert_int_equal(secrets.item[1].value_len, 200000);
    ct_secrets_done(&secrets);
    expect_ok(ct_plan_make(too_much, "", &big, &err), &err);
    expect_error(ct_plan_resolve(big, &large, &secrets, &err), &err, CT_ETOOBIG,
                 "variable C: the secrets of the environment together exceed 524288 bytes");
}

static int read_whole(void *cls, const char *path, unsigned version, json_t **ret,
                      struct ct_err *err)
{
    (void)cls;
    assert_int_equal(version, 0);
    static const struct {
        const char *path;
        const char *keys;
    } secrets[] = {
        {"m/one", "{\"user\":\"web\",\"PG.x-1\":\"\"}"},
        {"m/two", "{\"_b\":\"two\"}"},
        {"m/again", "{\"fine\":\"1\",\"user\":\"planted\"}"},
        {"m/none", "{}"},
        {"m/path", "{\"PATH\":\"planted\"}"},
        {"m/referred", "{\"R\":\"planted\"}"},
        {"m/ld", "{\"LD_PRELOAD\":\"planted\"}"},
        {"m/own", "{\"CLOUDTASER_CONFIG\":\"planted\"}"},
        {"m/digit", "{\"9a\":\"planted\"}"},
        {"m/odd", "{\"a=b\\n\":\"planted\"}"},
        {"m/empty", "{\"\":\"planted\"}"},
        {"m/number", "{\"n\":7}"},
        {"m/nul", "{\"n\":\"planted\\u0000\"}"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(secrets); i++) {
        if (strcmp(secrets[i].path, path) == 0) {
            *ret = json_loads(secrets[i].keys, JSON_ALLOW_NUL, NULL);
            assert_non_null(*ret);
            return 0;
        }
    }
    return ct_err_set(err, CT_ENOTFOUND, "Vault has no secret %s", path);
}

static void takes_secrets_whole(void **state)
{
    (void)state;
    static const char *const environment[] = {"PATH=/bin", "R=${vault:m/one#user}", "US=1", NULL};
    static const struct {
        const char *paths;
        int code; // 0: R, user, PG.x-1, _b
        const char *message;
    } cases[] = {
        {"m/one,m/two", 0, ""},
        {"m/one,m/again", CT_EINVAL,
         "secret m/again, taken whole: variable user comes from two secrets"},
        {"m/none", CT_ENOTFOUND, "secret m/none has no keys"},
        {"m/gone", CT_ENOTFOUND, "Vault has no secret m/gone"},
        {"m/path", CT_EINVAL, "variable PATH is in the environment already"},
        {"m/referred", CT_EINVAL, "variable R is in the environment already"},
        {"m/ld", CT_EINVAL, "names that start with LD_ are reserved"},
        {"m/own", CT_EINVAL, "names that start with CLOUDTASER_ are reserved"},
        {"m/digit", CT_EINVAL, "secret m/digit, taken whole: variable \"9a\": letters, digits"},
        {"m/odd", CT_EINVAL, "variable \"a=b?\": letters, digits"},
        {"m/empty", CT_EINVAL, "variable \"\": letters, digits"},
        {"m/number", CT_EINVAL, "secret m/number: the value of key n is a number"},
        {"m/nul", CT_EINVAL, "secret m/nul: the value of key n holds a NUL"},
    };
    static const char *const expected[][2] = {
        {"R", "web"}, {"user", "web"}, {"PG.x-1", ""}, {"_b", "two"}};
    const struct ct_secret_source whole = {.read = read_whole};
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_secrets secrets;
        struct ct_err err = {0};
        CT_AUTO(ct_plan) *plan = NULL;
        expect_ok(ct_plan_make(environment, cases[i].paths, &plan, &err), &err);
        int rc = ct_plan_resolve(plan, &whole, &secrets, &err);
        if (cases[i].code != 0) {
            expect_error(rc, &err, cases[i].code, cases[i].message);
            assert_null(strstr(err.msg, "planted"));
            assert_null(secrets.item);
            continue;
        }
        expect_ok(rc, &err);
        assert_int_equal(secrets.n, CT_ARRAY_LEN(expected));
        for (size_t k = 0; k < secrets.n; k++) {
            assert_string_equal(secrets.item[k].name, expected[k][0]);
            assert_string_equal(secrets.item[k].value, expected[k][1]);
        }
        ct_secrets_done(&secrets);
    }
}

static int read_many(void *cls, const char *path, unsigned version, json_t **ret,
                     struct ct_err *err)
{
    (void)path, (void)version, (void)err;
    const size_t *n = cls;
    *ret = json_object();
    for (size_t i = 0; i < *n; i++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "K%zu", i);
        assert_int_equal(json_object_set_new(*ret, key, json_string("v")), 0);
    }
    return 0;
}

static void bounds_the_keys(void **state)
{
    (void)state;
    static const char *const environment[] = {NULL};
    size_t n = CT_RESOLVE_MAX_WHOLE;
    const struct ct_secret_source many = {.read = read_many, .cls = &n};
    struct ct_secrets secrets;
    struct ct_err err = {0};
    CT_AUTO(ct_plan) *plan = NULL;
    expect_ok(ct_plan_make(environment, "m/x", &plan, &err), &err);
    expect_ok(ct_plan_resolve(plan, &many, &secrets, &err), &err);
    assert_int_equal(secrets.n, n);
    ct_secrets_done(&secrets);
    n++;
    expect_error(ct_plan_resolve(plan, &many, &secrets, &err), &err, CT_ETOOBIG,
                 "more than 256 keys");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolves),
        cmocka_unit_test(finds_nothing),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_the_total),
        cmocka_unit_test(takes_secrets_whole),
        cmocka_unit_test(bounds_the_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
