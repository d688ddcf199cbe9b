// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <stdlib.h>

#include "chaos.h"
#include "json.h"
#include "vault_answer.h"

static const struct ct_vault_hidden hidden = {.token = "hvs.secret-token-1",
                                              .credential = "header.jwt-payload.signature"};

static void hides_credentials(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool shown;
    } cases[] = {
        {"", true},
        {"permission denied", true},
        {"a secret-t is too short to tell", false}, // eight shared characters
        {"a secret- is", true},                     // seven
        {"token hvs.secret-token-1 is bad", false},
        {"ends in token-1", true},
        {"jwt header.credential-payload.signature", false},
        {"part: payload.s", false},
        {"of another one: hvs.x", false},
        {"of another one: hvb.x", false},
        {"of another one: hvr.x", false},
        {"looks like a JWT: eyJhbGciOi", false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_vault_may_quote(cases[i].text, &hidden) != cases[i].shown) {
            fail_msg("\"%s\"", cases[i].text);
        }
    }
    const struct ct_vault_hidden brief = {.token = "root"};
    assert_false(ct_vault_may_quote("the token root is bad", &brief));
    assert_true(ct_vault_may_quote("the token is bad", &brief));
    const struct ct_vault_hidden none = {0};
    assert_true(ct_vault_may_quote("anything", &none));
}

static void checks_tokens(void **state)
{
    (void)state;
    char longest[CT_VAULT_TOKEN_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[CT_VAULT_TOKEN_MAX + 1] = '\0';
    assert_false(ct_vault_token_ok(longest));
    longest[CT_VAULT_TOKEN_MAX] = '\0';
    assert_true(ct_vault_token_ok(longest));
    static const char *const bad[] = {"", " ", "a b", "a\nb", "a\r\nX: y", "\x7f", "\xc3\xb6"};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        assert_false(ct_vault_token_ok(bad[i]));
    }
}

static void quotes_errors(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *quote;
    } cases[] = {
        {"", ""},
        {"no json", ""},
        {"{}", ""},
        {"{\"errors\":null}", ""},
        {"{\"errors\":[]}", ""},
        {"{\"errors\":[7,\"b\"]}", ": b"},
        {"{\"errors\":[\"a\",\"b\"]}", ": a; b"},
        {"{\"errors\":[\"a\\u001b[31m\\nb\"]}", ": a?[31m?b"},
        {"{\"errors\":[\"\\u00f6\"]}", ": ??"},
        {"{\"errors\":[\"bad hvs.secret-token-1\",\"b\"]}", ": b"},
        // Escaped on the wire, and whole before it is cut.
        {"{\"errors\":[\"\\u0068vs.secret-token-1\"]}", ""},
    };
    char quote[CT_VAULT_QUOTE_MAX + 8];
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        ct_vault_quote_errors(cases[i].body, strlen(cases[i].body), &hidden, quote, sizeof(quote));
        assert_string_equal(quote, cases[i].quote);
    }
    char body[600];
    (void)snprintf(body, sizeof(body), "{\"errors\":[\"%0400d\"]}", 1);
    ct_vault_quote_errors(body, strlen(body), &hidden, quote, sizeof(quote));
    assert_int_equal(strlen(quote), 2 + CT_VAULT_QUOTE_MAX);
    ct_vault_quote_errors(NULL, 0, &hidden, quote, sizeof(quote));
    assert_string_equal(quote, "");
}

static void knows_sealed(void **state)
{
    (void)state;
    static const char sealed[] = "{\"errors\":[\"Vault is sealed\"]}";
    static const char health[] = "{\"initialized\":true,\"sealed\":true}";
    assert_true(ct_vault_says_sealed(sealed, strlen(sealed)));
    assert_true(ct_vault_says_sealed(health, strlen(health)));
    assert_false(ct_vault_says_sealed(sealed, 10));
    assert_false(ct_vault_says_sealed(NULL, 0));
}

static void reads_logins(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *message;
    } bad[] = {
        {"", "Vault's answer to the login is empty"},
        {"{\"auth\":{\"client_token\":\"hvs.planted", "it ends too early"},
        {"[]", "holds no auth.client_token"},
        {"{}", "holds no auth.client_token"},
        {"{\"auth\":null}", "holds no auth.client_token"},
        {"{\"auth\":{\"client_token\":7}}", "holds no auth.client_token"},
        {"{\"auth\":{\"mfa_requirement\":{}}}", "second factor"},
        {"{\"auth\":{\"client_token\":\"\"}}", "empty, too long or not printable"},
        {"{\"auth\":{\"client_token\":\"planted\\r\\nX: y\"}}", "empty, too long or not printable"},
    };
    char *token = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct ct_err err = {0};
        expect_error(ct_vault_parse_login(bad[i].body, strlen(bad[i].body), &token, NULL, &err),
                     &err, CT_EPROTO, bad[i].message);
        assert_null(token);
        assert_null(strstr(err.msg, "planted"));
    }
    static const char good[] = "{\"auth\":{\"client_token\":\"hvs.x\",\"renewable\":true}}";
    struct ct_err err = {0};
    expect_ok(ct_vault_parse_login(good, strlen(good), &token, NULL, &err), &err);
    assert_string_equal(token, "hvs.x");
    free(token);
}

static void reads_leases(void **state)
{
    (void)state;
    static const struct {
        const char *auth;
        struct ct_vault_lease lease;
    } cases[] = {
        {"\"lease_duration\":60,\"renewable\":true", {true, true, 60}},
        {"\"lease_duration\":0,\"renewable\":false", {true, false, 0}},
        {"\"lease_duration\":9000000000000,\"renewable\":1", {true, false, CT_VAULT_LEASE_MAX}},
        {"\"lease_duration\":-1", {false, false, 0}},
        {"\"lease_duration\":\"60\"", {false, false, 0}},
        {"\"accessor\":\"a\"", {false, false, 0}},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char body[160];
        char *token = NULL;
        struct ct_vault_lease lease = {0};
        struct ct_err err = {0};
        (void)snprintf(body, sizeof(body), "{\"auth\":{\"client_token\":\"t\",%s}}", cases[i].auth);
        expect_ok(ct_vault_parse_login(body, strlen(body), &token, &lease, &err), &err);
        assert_int_equal(lease.known, cases[i].lease.known);
        assert_int_equal(lease.renewable, cases[i].lease.renewable);
        assert_int_equal(lease.seconds, cases[i].lease.seconds);
        free(token);
    }
    static const char looked_up[] = "{\"data\":{\"ttl\":7,\"renewable\":true}}";
    static const char *const bad[] = {"", "[]", "{\"data\":{}}",
                                      "{\"data\":{\"ttl\":\"planted\"}}"};
    struct ct_vault_lease lease = {0};
    struct ct_err err = {0};
    expect_ok(ct_vault_parse_lookup(looked_up, strlen(looked_up), &lease, &err), &err);
    assert_true(lease.known && lease.renewable && lease.seconds == 7);
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        lease = (struct ct_vault_lease){0};
        err = (struct ct_err){0};
        expect_error(ct_vault_parse_lookup(bad[i], strlen(bad[i]), &lease, &err), &err, CT_EPROTO,
                     "holds no data.ttl");
        assert_null(strstr(err.msg, "planted"));
    }
}

#define METADATA(version, time, destroyed)                                                         \
    "\"metadata\":{\"version\":" #version ",\"deletion_time\":\"" time                             \
    "\",\"destroyed\":" #destroyed "}"

static void reads_secrets(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned version;
        int code;
        const char *message;
    } cases[] = {
        {"{\"data\":{\"data\":{\"k\":\"v\"}," METADATA(3, "", false) "}}", 0, 0, ""},
        {"{\"data\":{\"data\":{\"k\":\"v\"}," METADATA(3, "", false) "}}", 3, 0, ""},
        {"{\"data\":{\"data\":{\"k\":\"v\"}," METADATA(3, "2099-01-01T00:00:00Z", false) "}}", 0, 0,
         ""}, // to be deleted one day
        {"{\"data\":{\"data\":{\"k\":\"planted\"}," METADATA(3, "", false) "}}", 2, CT_EPROTO,
         "secret m/data/n: version 2 was asked for, Vault gave version 3"},
        {"{\"data\":{\"data\":null," METADATA(4, "2026-01-01T00:00:00Z", false) "}}", 0,
         CT_ENOTFOUND, "version 4 of secret m/data/n is deleted"},
        {"{\"data\":{\"data\":null," METADATA(4, "", true) "}}", 0, CT_ENOTFOUND,
         "version 4 of secret m/data/n is destroyed"},
        {"{\"data\":{\"data\":null," METADATA(0, "", false) "}}", 0, CT_ENOTFOUND,
         "the newest version of secret m/data/n is deleted"},
        {"{\"lease_id\":\"\",\"data\":{\"k\":\"v\"}}", 0, 0, ""},
        {"{\"data\":{\"k\":\"planted\"}}", 2, CT_EINVAL,
         "version 2 was asked for, and KV version 1 keeps no versions: remove #2"},
        {"{\"lease_id\":\"database/creds/r/x\",\"data\":{\"k\":\"planted\"}}", 0, CT_EPROTO,
         "secret m/data/n is made for this reader and leased"},
        {"{\"data\":[]}", 0, CT_EPROTO, "not the answer of a KV engine"},
        {"{\"data\":null}", 0, CT_EPROTO, "MOUNT/NAME for version 1"},
        {"[\"planted\"]", 0, CT_EPROTO, "not the answer of a KV engine"},
        {"{\"data\":{\"data\":{\"k\":\"planted", 0, CT_EPROTO, "it ends too early"},
        {"", 0, CT_EPROTO, "is empty, and JSON is expected"},
        {"{\"data\":{\"k\":\"planted\",\"k\":\"v\"}}", 0, CT_EPROTO,
         "Vault's answer for secret m/data/n is not valid JSON (line 1, column 26): the key \"k\" "
         "stands twice"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const struct ct_vault_asked asked = {.path = "m/data/n", .version = cases[i].version};
        struct ct_err err = {0};
        json_t *keys = NULL;
        int rc = ct_vault_parse_secret(cases[i].body, strlen(cases[i].body), &asked, &keys, &err);
        if (cases[i].code == 0) {
            expect_ok(rc, &err);
            assert_string_equal(json_string_value(json_object_get(keys, "k")), "v");
        } else {
            expect_error(rc, &err, cases[i].code, cases[i].message);
            assert_null(strstr(err.msg, "planted"));
            assert_null(keys);
        }
        json_decref(keys);
    }
}

// What is one member away from version 2 is version 1, with the keys that it shows.
static void tells_versions_by_shape(void **state)
{
    (void)state;
#define VERSION "\"version\":3"
#define TIME "\"deletion_time\":\"\""
#define DESTROYED "\"destroyed\":false"
    static const char *const version_1[] = {
        "{\"data\":{\"data\":{\"k\":\"v\"}}}",
        "{\"data\":{\"data\":\"v\"}}",
        "{\"data\":{\"data\":null}}",
        "{\"data\":{\"data\":null,\"metadata\":{}}}",
        "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":\"text\"}}",
        "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":{" TIME "," DESTROYED "}}}",
        "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":{" VERSION "," DESTROYED "}}}",
        "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":{" VERSION "," TIME "}}}",
        "{\"data\":{\"data\":[],\"metadata\":{" VERSION "," TIME "," DESTROYED "}}}",
        "{\"data\":{\"data\":{},\"metadata\":{" VERSION "," TIME "," DESTROYED "},\"x\":\"y\"}}",
    };
    const struct ct_vault_asked asked = {.path = "m/n"};
    for (size_t i = 0; i < CT_ARRAY_LEN(version_1); i++) {
        struct ct_err err = {0};
        CT_AUTO_JSON keys = NULL;
        const char *body = version_1[i];
        expect_ok(ct_vault_parse_secret(body, strlen(body), &asked, &keys, &err), &err);
        assert_non_null(json_object_get(keys, "data"));
        assert_null(json_object_get(keys, "k"));
    }
#undef VERSION
#undef TIME
#undef DESTROYED
}

static void explains_404(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        unsigned version;
        const char *body;
        const char *message;
    } cases[] = {
        {"m/data/n", 0, "{\"errors\":[]}", "Vault has no secret m/data/n"},
        {"m/data/n", 7, "{\"errors\":[]}", "Vault has no version 7 of secret m/data/n"},
        {"m/n", 0, "", "no secret m/n (KV version 2: the path must be MOUNT/data/NAME)"},
        {"m/data/n", 0, "{\"data\":{\"data\":null," METADATA(2, "2026-01-01T00:00:00Z", false) "}}",
         "version 2 of secret m/data/n is deleted"},
        {"m/data/n", 2, "{\"data\":{\"data\":null," METADATA(2, "", true) "}}",
         "version 2 of secret m/data/n is destroyed"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const struct ct_vault_asked asked = {.path = cases[i].path, .version = cases[i].version};
        struct ct_err err = {0};
        expect_error(ct_vault_parse_missing(cases[i].body, strlen(cases[i].body), &asked, &err),
                     &err, CT_ENOTFOUND, cases[i].message);
    }
}

// Whichever allocation fails: an ordinary error, nothing lost, nothing read that is not there.
static void survives_want_of_memory(void **state)
{
    (void)state;
    static const char login[] = "{\"auth\":{\"client_token\":\"hvs.x\",\"policies\":[\"a\"]}}";
    bool struck = true;
    for (size_t nth = 1; struck; nth++) {
        char *token = NULL;
        struct ct_err err = {0};
        chaos_start(nth);
        int rc = ct_vault_parse_login(login, strlen(login), &token, NULL, &err);
        struck = chaos_stop();
        assert_true(rc == 0 || err.code != 0);
        assert_true(struck || rc == 0);
        free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hides_credentials), cmocka_unit_test(checks_tokens),
        cmocka_unit_test(quotes_errors),     cmocka_unit_test(knows_sealed),
        cmocka_unit_test(reads_logins),      cmocka_unit_test(reads_leases),
        cmocka_unit_test(reads_secrets),     cmocka_unit_test(tells_versions_by_shape),
        cmocka_unit_test(explains_404),      cmocka_unit_test(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
