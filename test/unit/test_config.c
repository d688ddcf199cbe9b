// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "chaos.h"
#include "config.h"

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define BASE "\"version\":1,\"address\":\"https://v\",\"role\":\"r\",\"token-file\":\"/t\""

static void reads_defaults(void **state)
{
    (void)state;
    struct ct_config c;
    struct ct_err err = {0};
    expect_ok(ct_config_parse("{" BASE "}", &c, &err), &err);
    assert_string_equal(c.vault_address, "https://v");
    assert_int_equal(c.auth, CT_AUTH_KUBERNETES);
    assert_string_equal(c.auth_path, "kubernetes");
    assert_string_equal(c.role, "r");
    assert_string_equal(c.vault_namespace, "");
    assert_string_equal(c.ca_file, "");
    assert_false(c.skip_verify);
    assert_string_equal(c.token_file, "/t");
    assert_false(c.plain_environment);
    assert_int_equal(c.launcher, CT_LAUNCHER_AUTO);
    assert_int_equal(c.min_score, 0);
    assert_int_equal(c.require, 0);
    assert_int_equal(c.connect_timeout_ms, 5000);
    assert_int_equal(c.timeout_ms, 10000);
    assert_int_equal(c.retry_budget_ms, 60000);
    assert_false(c.json_log);
}

static void fill(struct ct_config *c)
{
    ct_config_init(c);
    (void)snprintf(c->vault_address, sizeof(c->vault_address), "http://[::1]:8200");
    (void)snprintf(c->auth_path, sizeof(c->auth_path), "k8s/one");
    (void)snprintf(c->role, sizeof(c->role), "app");
    (void)snprintf(c->vault_namespace, sizeof(c->vault_namespace), "team/a");
    (void)snprintf(c->ca_file, sizeof(c->ca_file), "/c \"a\"");
    c->skip_verify = true;
    (void)snprintf(c->token_file, sizeof(c->token_file), "/t");
    (void)snprintf(c->paths, sizeof(c->paths), "m/data/a,m/b");
    c->plain_environment = true;
    c->launcher = CT_LAUNCHER_DELIVER;
    c->min_score = 70;
    c->require = 1U << CT_CHECK_MEMFD_SECRET | 1U << CT_CHECK_KPROBES_ACTIVE;
    c->connect_timeout_ms = 1;
    c->timeout_ms = 2;
    c->retry_budget_ms = 0;
    c->json_log = true;
    c->metrics_port = 9102;
    (void)snprintf(c->identity_file, sizeof(c->identity_file), "/i");
    c->refresh_ms = 60000;
    (void)snprintf(c->on_change, sizeof(c->on_change), "signal:SIGHUP");
}

// Every field, in the fixed order, and back again.
static void writes_what_it_reads(void **state)
{
    (void)state;
    struct ct_config c;
    struct ct_config back;
    struct ct_err err = {0};
    CT_AUTO_BUF out = {.max = CT_CONFIG_MAX};
    CT_AUTO_BUF again = {.max = CT_CONFIG_MAX};
    fill(&c);
    ct_config_write(&c, &out);
    assert_string_equal(
        out.data,
        "{\"version\":1,\"address\":\"http://[::1]:8200\",\"auth-path\":\"k8s/one\","
        "\"role\":\"app\",\"namespace\":\"team/a\",\"ca-file\":\"/c \\\"a\\\"\","
        "\"skip-verify\":true,\"token-file\":\"/t\",\"paths\":\"m/data/a,m/b\","
        "\"plain-environment\":true,\"launcher\":\"deliver\","
        "\"min-score\":70,\"require\":[\"memfd_secret\",\"kprobes_active\"],"
        "\"connect-timeout-ms\":1,\"timeout-ms\":2,\"retry-budget-ms\":0,\"json-log\":true,"
        "\"metrics-port\":9102,\"identity-file\":\"/i\","
        "\"refresh-interval-ms\":60000,\"on-change\":\"signal:SIGHUP\"}");
    expect_ok(ct_config_parse(out.data, &back, &err), &err);
    assert_string_equal(back.vault_namespace, "team/a");
    assert_string_equal(back.paths, "m/data/a,m/b");
    assert_int_equal(back.launcher, CT_LAUNCHER_DELIVER);
    assert_int_equal(back.require, c.require);
    assert_int_equal(back.retry_budget_ms, 0);
    ct_config_write(&back, &again);
    assert_string_equal(again.data, out.data);
}

static void leaves_defaults_out(void **state)
{
    (void)state;
    struct ct_config c;
    CT_AUTO_BUF out = {.max = CT_CONFIG_MAX};
    ct_config_init(&c);
    ct_config_write(&c, &out);
    assert_string_equal(out.data, "{\"version\":1}");
    ct_buf_reset(&out);
    c.auth = CT_AUTH_TOKEN;
    ct_config_write(&c, &out);
    assert_string_equal(out.data, "{\"version\":1,\"auth\":\"token\"}");
}

static void reads_token_login(void **state)
{
    (void)state;
    struct ct_config c;
    struct ct_err err = {0};
    expect_ok(ct_config_parse("{\"version\":1,\"address\":\"http://v\",\"auth\":\"token\","
                              "\"token-file\":\"/t\"}",
                              &c, &err),
              &err);
    assert_int_equal(c.auth, CT_AUTH_TOKEN);
    assert_string_equal(c.auth_path, "token");
}

// The mount's default follows the method, written and read.
static void knows_each_methods_mount(void **state)
{
    (void)state;
    static const enum ct_auth methods[] = {CT_AUTH_KUBERNETES, CT_AUTH_JWT, CT_AUTH_APPROLE};
    for (size_t i = 0; i < CT_ARRAY_LEN(methods); i++) {
        static const char *const mounts[] = {"kubernetes", "jwt", "approle", "x/y"};
        for (size_t k = 0; k < CT_ARRAY_LEN(mounts); k++) {
            struct ct_config c;
            struct ct_config back;
            struct ct_err err = {0};
            CT_AUTO_BUF out = {.max = CT_CONFIG_MAX};
            fill(&c);
            c.auth = methods[i];
            c.secret_id_wrapped = k == 0;
            (void)snprintf(c.auth_path, sizeof(c.auth_path), "%s", mounts[k]);
            ct_config_write(&c, &out);
            expect_ok(ct_config_parse(out.data, &back, &err), &err);
            assert_int_equal(back.auth, methods[i]);
            assert_string_equal(back.auth_path, mounts[k]);
            assert_int_equal(back.secret_id_wrapped, k == 0);
        }
    }
}

static void takes_a_descriptor(void **state)
{
    (void)state;
    const char *text =
        "{\"version\":1,\"address\":\"https://v\",\"auth\":\"token\",\"token-fd\":7}";
    struct ct_config c;
    struct ct_err err = {0};
    CT_AUTO_BUF out = {.max = CT_CONFIG_MAX};
    expect_ok(ct_config_parse(text, &c, &err), &err);
    assert_int_equal(c.token_fd, 7);
    assert_string_equal(c.token_file, "");
    ct_config_write(&c, &out);
    assert_string_equal(out.data, text);
}

static void refuses_documents(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int code;
        const char *part;
    } cases[] = {
        {"", CT_EINVAL, "CLOUDTASER_CONFIG is empty"},
        {"{", CT_EINVAL, "CLOUDTASER_CONFIG is not valid JSON"},
        {"[]", CT_EINVAL, "must be a JSON object"},
        {"{}", CT_EINVAL, "version must be 1"},
        {"{\"version\":2}", CT_EINVAL, "version must be 1"},
        {"{\"version\":\"1\"}", CT_EINVAL, "version must be 1"},
        {"{\"version\":1}", CT_EINVAL,
         "address is missing; token-file is missing; role is missing"},
        {"{" BASE ",\"token-fd\":3}", CT_EINVAL,
         "token-fd is for the method token alone, instead of token-file"},
        {"{\"version\":1,\"address\":\"https://v\",\"auth\":\"token\",\"token-fd\":2}", CT_EINVAL,
         "token-fd must be a whole number from 3 to 1048576"},
        {"{" BASE ",\"min-score\":55,\"min-score\":0}", CT_EINVAL,
         "the key \"min-score\" stands twice in one object"},
        {"{" BASE ",\"min_score\":1}", CT_EINVAL, "unknown key \"min_score\""},
        {"{" BASE ",\"min-score\":76}", CT_EINVAL, "min-score must be a whole number from 0 to 75"},
        {"{" BASE ",\"min-score\":-1}", CT_EINVAL, "from 0 to 75"},
        {"{" BASE ",\"min-score\":\"70\"}", CT_EINVAL, "from 0 to 75"},
        {"{" BASE ",\"min-score\":70.5}", CT_EINVAL, "from 0 to 75"},
        {"{" BASE ",\"min-score\":99999999999999999999}", CT_EINVAL, "from 0 to 75"},
        {"{" BASE ",\"timeout-ms\":0}", CT_EINVAL, "timeout-ms must be a whole number from 1"},
        {"{" BASE ",\"retry-budget-ms\":3600001}", CT_EINVAL, "from 0 to 3600000"},
        {"{" BASE ",\"skip-verify\":\"true\"}", CT_EINVAL, "skip-verify must be true or false"},
        {"{" BASE ",\"auth\":\"ldap\"}", CT_EINVAL,
         "auth must be one of kubernetes, jwt, approle, token"},
        {"{" BASE ",\"auth\":\"token\\u0000\"}", CT_EINVAL, "auth must be"},
        {"{" BASE ",\"auth-path\":\"../x\"}", CT_EINVAL, "auth-path \"../x\": letters, digits"},
        {"{" BASE ",\"namespace\":\"a\\r\\nX-Evil: 1\"}", CT_EINVAL, "namespace \"a??X-Evil: 1\""},
        {"{" BASE ",\"ca-file\":\"ca.crt\"}", CT_EINVAL, "must be an absolute path"},
        {"{" BASE ",\"ca-file\":\"/a\\n\"}", CT_EINVAL, "must be an absolute path"},
        {"{" BASE ",\"ca-file\":\"\"}", CT_EINVAL, "ca-file is empty"},
        {"{" BASE ",\"pod\":\"a\"}", CT_EINVAL, "unknown key \"pod\""},
        {"{" BASE ",\"namespace\":1}", CT_EINVAL, "namespace must be a string"},
        {"{" BASE ",\"namespace\":\"a\\u0000b\"}", CT_EINVAL, "namespace must be a string"},
        {"{" BASE ",\"require\":\"mlock\"}", CT_EINVAL, "require must be an array"},
        {"{" BASE ",\"require\":[\"mlock\",\"x\"]}", CT_EINVAL, "\"x\" is no check's name"},
        {"{" BASE ",\"require\":[1]}", CT_EINVAL, "is no check's name"},
        {"{\"version\":1,\"address\":\"https://v\",\"token-file\":\"/t\",\"role\":\"a b\"}",
         CT_EINVAL, "role \"a b\""},
        {"{" BASE ",\"auth-path\":\"" HUNDRED HUNDRED "\"}", CT_ETOOBIG,
         "is longer than 127 bytes"},
        {"{\"version\":1,\"role\":\"r\",\"token-file\":\"/t\",\"address\":\"ftp://"
         "x\",\"min-score\":99}",
         CT_EINVAL, "without path, user or query; min-score must be"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_config c;
        struct ct_err err = {0};
        int rc = ct_config_parse(cases[i].text, &c, &err);
        expect_error(rc, &err, cases[i].code, cases[i].part);
    }
}

static void bounds_its_document(void **state)
{
    (void)state;
    static char text[CT_CONFIG_MAX + 2];
    struct ct_config c;
    struct ct_err err = {0};
    memset(text, ' ', sizeof(text) - 1);
    memcpy(text, "{" BASE "}", strlen("{" BASE "}"));
    expect_error(ct_config_parse(text, &c, &err), &err, CT_ETOOBIG, "is longer than 16384 bytes");
    text[CT_CONFIG_MAX] = '\0';
    expect_ok(ct_config_parse(text, &c, &err), &err);
}

static void judges_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://vault",         "http://127.0.0.1:8200", "https://vault.example.com:443",
        "https://[2001:db8::1]", "http://[::1]:1",        "https://A-b.c:65535",
    };
    static const char *const bad[] = {
        "",
        "vault:8200",
        "ftp://vault",
        "HTTPS://vault",
        "https://",
        "https://:8200",
        "https://vault/",
        "https://vault/v1",
        "https://vault:0",
        "https://vault:65536",
        "https://vault:",
        "https://vault:80:80",
        "https://vault:80a",
        "https://vault:080",
        "https://vault?x",
        "https://vault#x",
        "https://va ult",
        "https://vault\r\n",
        "https://-vault",
        "https://vault-",
        "https://va..ult",
        "https://vault.",
        "https://[::1",
        "https://[::g]",
        "https://[]",
        "https://[::1]x",
        "https://[::1%25eth0]",
        "https://va_ult",
        "https://v\xc3\xa4",
    };
    struct ct_err err = {0};
    for (size_t i = 0; i < CT_ARRAY_LEN(good); i++) {
        expect_ok(ct_config_check_address(good[i], &err), &err);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        expect_error(ct_config_check_address(bad[i], &err), &err, CT_EINVAL,
                     "https://HOST[:PORT] or http://HOST[:PORT] is allowed");
    }
    expect_error(ct_config_check_address("https://user:hunter2@vault", &err), &err, CT_EINVAL,
                 "is refused");
    assert_null(strstr(err.msg, "hunter2"));
    char text[600];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    expect_error(ct_config_check_address(text, &err), &err, CT_ETOOBIG, "longer than 511 bytes");
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    bool struck = true;
    for (size_t nth = 1; struck; nth++) {
        struct ct_config c;
        struct ct_err err = {0};
        chaos_start(nth);
        int rc = ct_config_parse("{" BASE ",\"require\":[\"mlock\"]}", &c, &err);
        struck = chaos_stop();
        assert_int_equal(rc < 0, struck);
    }
}

int main(void)
{
    chaos_join_jansson();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_defaults),           cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(leaves_defaults_out),      cmocka_unit_test(reads_token_login),
        cmocka_unit_test(knows_each_methods_mount), cmocka_unit_test(refuses_documents),
        cmocka_unit_test(takes_a_descriptor),       cmocka_unit_test(bounds_its_document),
        cmocka_unit_test(judges_addresses),         cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
