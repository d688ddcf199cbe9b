// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "annotation.h"
#include "chaos.h"
#include "json.h"

#define P CT_ANNOTATION_PREFIX

// Parses `{"cloudtaser.io/KEY":"VALUE"}` written as JSON members.
static int parse(const char *members, struct ct_annotations *ret, struct ct_err *err)
{
    char text[4096];
    CT_AUTO_JSON doc = NULL;
    (void)snprintf(text, sizeof(text), "{%s}", members);
    int rc = ct_json_parse(text, strlen(text), "the case", &doc, err);
    assert_int_equal(rc, 0);
    return ct_annotations_parse(doc, ret, err);
}

static void reads_all_of_them(void **state)
{
    (void)state;
    struct ct_annotations a;
    struct ct_err err = {0};
    expect_ok(parse("\"" P "inject\":\"true\",\"" P "vault-address\":\"https://v:8200\","
                    "\"" P "vault-role\":\"app\",\"" P "vault-auth-method\":\"token\","
                    "\"" P "vault-auth-path\":\"k8s/one\",\"" P "vault-namespace\":\"team/a\","
                    "\"" P "vault-audience\":\"https://vault.example\","
                    "\"" P "vault-ca-configmap\":\"my.ca\",\"" P "vault-token-secret\":\"tok\","
                    "\"" P "vault-skip-verify\":\"true\",\"" P "plain-environment\":\"true\","
                    "\"" P "launcher\":\"follow\","
                    "\"" P "min-protection-score\":\"55\",\"" P "require\":\"mlock, memfd_secret\","
                    "\"" P "containers\":\"app, worker,app\",\"" P "status\":\"injected\","
                    "\"" P "secret-paths\":\"secret/data/db\","
                    "\"" P "env-map\":\"password=PGPASSWORD, user=n=PG_USER\","
                    "\"" P "env.API_KEY\":\"secret/data/api#key#4\","
                    "\"other.io/inject\":\"maybe\",\"CLOUDTASER_MIN_PROTECTION_SCORE\":\"40\"",
                    &a, &err),
              &err);
    assert_true(a.inject && a.has_auth && a.vault_skip_verify && a.plain_environment);
    assert_int_equal(a.launcher, CT_LAUNCHER_FOLLOW);
    assert_int_equal(a.auth, CT_AUTH_TOKEN);
    assert_string_equal(a.vault_address, "https://v:8200");
    assert_string_equal(a.vault_role, "app");
    assert_string_equal(a.vault_auth_path, "k8s/one");
    assert_string_equal(a.vault_namespace, "team/a");
    assert_string_equal(a.vault_audience, "https://vault.example");
    assert_string_equal(a.vault_ca_configmap, "my.ca");
    assert_string_equal(a.vault_token_secret, "tok");
    assert_int_equal(a.min_score, 55);
    assert_int_equal(a.require, 1U << CT_CHECK_MLOCK | 1U << CT_CHECK_MEMFD_SECRET);
    assert_int_equal(a.n_containers, 2);
    assert_string_equal(a.containers[0], "app");
    assert_string_equal(a.containers[1], "worker");
    assert_int_equal(a.n_variables, 3);
    assert_string_equal(a.variables[0].name, "API_KEY");
    assert_int_equal(a.variables[0].ref.version, 4);
    assert_string_equal(a.variables[1].name, "PGPASSWORD");
    assert_string_equal(a.variables[1].ref.path, "secret/data/db");
    assert_string_equal(a.variables[1].ref.key, "password");
    assert_string_equal(a.variables[2].name, "PG_USER");
    assert_string_equal(a.variables[2].ref.key, "user=n");
    ct_annotations_done(&a);
    assert_null(a.variables);
}

static void reads_none(void **state)
{
    (void)state;
    struct ct_annotations a;
    struct ct_err err = {0};
    expect_ok(ct_annotations_parse(NULL, &a, &err), &err);
    assert_false(a.inject || a.has_auth);
    assert_null(a.containers);
    ct_annotations_done(&a);
    expect_ok(parse("", &a, &err), &err);
    ct_annotations_done(&a);
    CT_AUTO_JSON array = json_array();
    expect_error(ct_annotations_parse(array, &a, &err), &err, CT_EINVAL, "must be an object");
    ct_annotations_done(&a);
}

static void takes_the_highest_minimum(void **state)
{
    (void)state;
    struct ct_annotations a;
    struct ct_err err = {0};
    expect_ok(parse("\"" P "min-protection-score\":\"10\","
                    "\"" CT_MIN_SCORE_VARIABLE "\":\"75\"",
                    &a, &err),
              &err);
    assert_int_equal(a.min_score, 75);
    ct_annotations_done(&a);
}

static void maps_paths_and_keys(void **state)
{
    (void)state;
    struct ct_annotations a;
    struct ct_err err = {0};
    expect_ok(parse("\"" P "secret-paths\":\"secret/data/a,kv/data/b=c\","
                    "\"" P "env-map\":\"secret/data/a#x=X,kv/data/b=c#y#2=Y\"",
                    &a, &err),
              &err);
    assert_int_equal(a.n_variables, 2);
    assert_string_equal(a.variables[0].ref.path, "secret/data/a");
    assert_string_equal(a.variables[1].ref.path, "kv/data/b=c");
    assert_string_equal(a.variables[1].ref.key, "y");
    assert_int_equal(a.variables[1].ref.version, 2);
    ct_annotations_done(&a);
}

static void takes_paths_whole(void **state)
{
    (void)state;
    static const struct {
        const char *map;
        const char *paths;
        size_t variables;
    } cases[] = {
        {"*", "a,b/c", 0},   {"*,a#k=K", "a,b/c", 1},
        {"b/c#*", "b/c", 0}, {"b/c#*, *, a#*", "b/c,a", 0},
        {"a#*=K", NULL, 1}, // a key of that name
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_annotations a;
        struct ct_err err = {0};
        char members[160];
        (void)snprintf(members, sizeof(members),
                       "\"" P "secret-paths\":\"a,b/c,a\",\"" P "env-map\":\"%s\"", cases[i].map);
        expect_ok(parse(members, &a, &err), &err);
        assert_int_equal(a.n_variables, cases[i].variables);
        if (cases[i].paths == NULL) {
            assert_null(a.paths);
        } else {
            assert_string_equal(a.paths, cases[i].paths);
        }
        ct_annotations_done(&a);
    }
}

struct refusal {
    const char *members;
    const char *part;
};

static const struct refusal refusals[] = {
    {"\"" P "inject\":\"yes\"", P "inject \"yes\": \"true\" or \"false\" is allowed"},
    {"\"" P "inject\":true", P "inject must be a string: in YAML put its value between quotes"},
    {"\"" P "inject\":\"true\\u0000\"", P "inject holds a NUL"},
    {"\"" P "min-score\":\"70\"", "unknown annotation " P "min-score; allowed behind"},
    {"\"" P "vault-rol\":\"x\"",
     "unknown annotation " P "vault-rol (did you mean " P "vault-role?); allowed behind"},
    {"\"" P "\":\"\"", "unknown annotation " P},
    {"\"" P "Inject\":\"true\"", "unknown annotation"},
    {"\"" P "vault-address\":\"http://a@b\"", P "vault-address: address"},
    {"\"" P "vault-address\":\"\"", "https://HOST[:PORT]"},
    {"\"" P "vault-role\":\"a b\"", P "vault-role \"a b\": letters, digits"},
    {"\"" P "vault-role\":\"\"", P "vault-role \"\""},
    {"\"" P "vault-auth-method\":\"approle\"",
     P "vault-auth-method \"approle\" needs " P "vault-secret-id-secret, the name of a Secret"},
    {"\"" P "vault-secret-id-secret\":\"s\"",
     P "vault-secret-id-secret \"s\" needs " P "vault-auth-method \"approle\""},
    {"\"" P "vault-secret-id-wrapped\":\"true\"",
     P "vault-secret-id-wrapped needs " P "vault-secret-id-secret"},
    {"\"" P "vault-secret-id-wrapped\":\"yes\"", "\"true\" or \"false\" is allowed"},
    {"\"" P "vault-auth-method\":\"ldap\"",
     "unknown method; allowed: kubernetes, jwt, approle, token"},
    {"\"" P "vault-auth-path\":\"../sys\"", P "vault-auth-path \"../sys\": letters"},
    {"\"" P "vault-namespace\":\"a\\nb\"", P "vault-namespace \"a?b\""},
    {"\"" P "vault-audience\":\"a b\"", P "vault-audience \"a b\""},
    {"\"" P "vault-audience\":\"\"", "1 to 253"},
    {"\"" P "vault-ca-configmap\":\"My_CA\"", P "vault-ca-configmap \"My_CA\""},
    {"\"" P "vault-ca-configmap\":\"a/b\"", "the name of an object"},
    {"\"" P "vault-auth-method\":\"token\"", "needs " P "vault-token-secret"},
    {"\"" P "vault-token-secret\":\"t\"", "needs " P "vault-auth-method"},
    {"\"" P "vault-skip-verify\":\"1\"", P "vault-skip-verify \"1\": \"true\" or \"false\""},
    {"\"" P "plain-environment\":\"TRUE\"", "\"true\" or \"false\""},
    {"\"" P "launcher\":\"never\"", "\"never\": allowed: auto, follow, deliver"},
    {"\"" P "min-protection-score\":\"76\"", "a whole number from 0 to 75"},
    {"\"" P "min-protection-score\":\"-1\"", "\"-1\": a whole number"},
    {"\"" P "min-protection-score\":\" 70\"", "a whole number"},
    {"\"" P "min-protection-score\":\"\"", "a whole number"},
    {"\"" CT_MIN_SCORE_VARIABLE "\":\"x\"", CT_MIN_SCORE_VARIABLE " \"x\": a whole number"},
    {"\"" P "require\":\"mlock,magic\"", "\"magic\" is no check; allowed: memfd_secret, mlock"},
    {"\"" P "require\":\"\"", "\"\" is no check"},
    {"\"" P "require\":\"mlock,\"", "\"\" is no check"},
    {"\"" P "containers\":\"App\"", "\"App\" is no container's name"},
    {"\"" P "containers\":\"\"", "\"\" is no container's name"},
    {"\"" P "env.A\":\"secret/data/a\"", P "env.A: reference \"secret/data/a\" lacks its key"},
    {"\"" P "env.A\":\"a#b#x\"", "the version must be"},
    {"\"" P "env.A\":\"vault:a#b\"",
     P "env.A: reference \"vault:a#b\": write the path without vault: in front"},
    {"\"" P "env.A\":\"/v1/a#b\"", "write the path without /v1/ in front"},
    {"\"" P "secret-paths\":\"v1/a\",\"" P "env-map\":\"k=K\"", "without v1/ in front"},
    {"\"" P "env.\":\"a#b\"", "variable \"\": letters"},
    {"\"" P "env.1A\":\"a#b\"", "variable \"1A\": letters"},
    {"\"" P "env.LD_PRELOAD\":\"a#b\"", "names that start with LD_ are reserved"},
    {"\"" P "env.CLOUDTASER_CONFIG\":\"a#b\"", "names that start with CLOUDTASER_ are reserved"},
    {"\"" P "env.A\":\"a#b\",\"" P "secret-paths\":\"a\",\"" P "env-map\":\"b=A\"",
     "variable A is asked for twice"},
    {"\"" P "secret-paths\":\"a\"",
     P "secret-paths needs " P "env-map beside it: key=NAME for each variable, or * "},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"b#*\"", "the path of \"b#*\" must stand in"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"k*\"", "\"k*\" must be key=NAME"},
    {"\"" P "env-map\":\"a=A\"", P "env-map needs " P "secret-paths"},
    {"\"" P "secret-paths\":\"a,/b\",\"" P "env-map\":\"k=K\"", "\"/b\" is no path"},
    {"\"" P "secret-paths\":\"\",\"" P "env-map\":\"k=K\"", "\"\" is no path"},
    {"\"" P "secret-paths\":\"a,b\",\"" P "env-map\":\"k=K\"", "\"k\" does not say of which path"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"b#k=K\"", "the path of \"b#k\" must stand in"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"K\"", "\"K\" must be key=NAME"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"=K\"", "\"=K\" must be key=NAME"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"k=\"", "variable \"\""},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"\"", "\"\" must be key=NAME"},
    {"\"" P "secret-paths\":\"a\",\"" P "env-map\":\"k=LD_X,q=9\"",
     "LD_ are reserved; " P "env-map: variable \"9\""},
    {"\"" P "inject\":\"x\",\"" P "vault-role\":\" \"", "is allowed; " P "vault-role"},
};

static void refuses_with_key_and_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(refusals); i++) {
        struct ct_annotations a;
        struct ct_err err = {0};
        int rc = parse(refusals[i].members, &a, &err);
        expect_error(rc, &err, CT_EINVAL, refusals[i].part);
        ct_annotations_done(&a);
    }
}

// One annotation whose value is `n` times `prefix`, a number and `suffix`.
static int parse_repeated(const char *key, const char *prefix, const char *suffix, size_t n,
                          struct ct_annotations *a, struct ct_err *err)
{
    CT_AUTO_BUF value = {.max = 1 << 20};
    for (size_t i = 0; i < n; i++) {
        ct_buf_addf(&value, "%s%zu%s", prefix, i, suffix);
    }
    CT_AUTO_JSON doc = json_object();
    assert_int_equal(json_object_set_new(doc, key, json_string(value.data)), 0);
    if (strcmp(key, P "env-map") == 0) {
        assert_int_equal(json_object_set_new(doc, P "secret-paths", json_string("a")), 0);
    }
    return ct_annotations_parse(doc, a, err);
}

static void bounds_counts_and_lengths(void **state)
{
    (void)state;
    const struct {
        const char *key, *prefix, *suffix;
        size_t n;
        const char *part;
    } cases[] = {
        {P "env-map", "k=V", ",", 300, "at most 256 variables"},
        {P "containers", "c", ",", 65, "more than 64 containers"},
        {P "vault-role", "", ",", 16384, "is longer than 16384 bytes"},
        {P "vault-role", "", "", 128, "is longer than 127 bytes"},
        {P "vault-auth-path", "", "", 128, "is longer than 127 bytes"},
        {P "vault-address", "", "", 512, "is longer than 511 bytes"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_annotations a;
        struct ct_err err = {0};
        int rc =
            parse_repeated(cases[i].key, cases[i].prefix, cases[i].suffix, cases[i].n, &a, &err);
        expect_error(rc, &err, CT_ETOOBIG, cases[i].part);
        ct_annotations_done(&a);
    }
}

static void sees_opted_in_pods(void **state)
{
    (void)state;
    struct ct_err err = {0};
    CT_AUTO_JSON doc = json_object();
    assert_int_equal(ct_annotations_opted_in(NULL, &err), 0);
    assert_int_equal(ct_annotations_opted_in(doc, &err), 0);
    assert_int_equal(json_object_set_new(doc, CT_ANNOTATION_INJECT, json_string("true")), 0);
    assert_int_equal(ct_annotations_opted_in(doc, &err), 1);
    assert_int_equal(json_object_set_new(doc, CT_ANNOTATION_INJECT, json_string("false")), 0);
    assert_int_equal(ct_annotations_opted_in(doc, &err), 0);
    assert_int_equal(json_object_set_new(doc, CT_ANNOTATION_INJECT, json_string("True")), 0);
    expect_error(ct_annotations_opted_in(doc, &err), &err, CT_EINVAL, "\"True\": \"true\" or");
    assert_int_equal(json_object_set_new(doc, CT_ANNOTATION_INJECT, json_true()), 0);
    expect_error(ct_annotations_opted_in(doc, &err), &err, CT_EINVAL, "must be a string");
}

static void checks_variables(void **state)
{
    (void)state;
    struct ct_err err = {0};
    static const char *const good[] = {"A", "_", "a.b-c_9", "LDAP", "CLOUDTASER"};
    static const char *const bad[] = {"", "9A", ".a", "-a", "A B", "A=B", "\xc3\xa4"};
    for (size_t i = 0; i < CT_ARRAY_LEN(good); i++) {
        expect_ok(ct_annotation_check_variable(good[i], &err), &err);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        expect_error(ct_annotation_check_variable(bad[i], &err), &err, CT_EINVAL, "are allowed");
    }
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    CT_AUTO_JSON doc =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", P "vault-role", "r", P "containers", "a,b", P "env.A",
                  "a#b", P "secret-paths", "p", P "env-map", "k=B,l=C,m=D,n=E,o=F,p=G,q=H,r=I");
    assert_non_null(doc);
    bool struck = true;
    size_t nth = 0;
    while (struck) {
        struct ct_annotations a;
        struct ct_err err = {0};
        chaos_start(++nth);
        int rc = ct_annotations_parse(doc, &a, &err);
        struck = chaos_stop();
        if (struck) {
            expect_error(rc, &err, CT_ENOMEM, "out of memory");
        } else {
            expect_ok(rc, &err);
        }
        ct_annotations_done(&a);
    }
    assert_true(nth > 10);
}

static void describes_each(void **state)
{
    (void)state;
    struct ct_annotation_info info;
    struct ct_annotations a;
    size_t n = 0;
    for (; ct_annotation_describe(n, &info); n++) {
        char members[256];
        struct ct_err err = {0};
        assert_true(info.name[0] != '\0' && info.value[0] != '\0' && info.help[0] != '\0');
        // Known to the parser: whatever it says of the value, it is not that.
        (void)snprintf(members, sizeof(members), "\"%s%s\":\"\"",
                       strcmp(info.name, CT_MIN_SCORE_VARIABLE) == 0 ? "" : P, info.name);
        (void)!parse(members, &a, &err);
        ct_annotations_done(&a);
        assert_null(strstr(err.msg, "unknown annotation"));
    }
    assert_true(n > 20);
    assert_string_equal(info.name, CT_MIN_SCORE_VARIABLE);
    assert_false(ct_annotation_describe(n + 1, &info));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_of_them),
        cmocka_unit_test(describes_each),
        cmocka_unit_test(reads_none),
        cmocka_unit_test(takes_the_highest_minimum),
        cmocka_unit_test(maps_paths_and_keys),
        cmocka_unit_test(takes_paths_whole),
        cmocka_unit_test(refuses_with_key_and_value),
        cmocka_unit_test(bounds_counts_and_lengths),
        cmocka_unit_test(sees_opted_in_pods),
        cmocka_unit_test(checks_variables),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
