// SPDX-License-Identifier: Apache-2.0
//
// The client's decisions, with the HTTP layer replaced: what is sent, what each answer means, what
// is tried again.
#include "expect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vault_net.h"

static void logs_in(void **state)
{
    (void)state;
    const struct reply ok = {.status = 200, .body = LOGIN_OK};
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    serve(&ok, 1);
    write_token("  " JWT "\n\n");
    (void)snprintf(config.role, sizeof(config.role), "a@b");
    (void)snprintf(config.auth_path, sizeof(config.auth_path), "k8s/one");
    (void)snprintf(config.vault_namespace, sizeof(config.vault_namespace), "team/a");
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    assert_null(ct_vault_token(v));
    expect_ok(ct_vault_login(v, &err), &err);
    assert_string_equal(ct_vault_token(v), TOKEN);
    assert_string_equal(net.url, "https://v:8200/v1/auth/k8s/one/login");
    assert_string_equal(net.headers, "X-Vault-Request: true|X-Vault-Namespace: team/a|");
    assert_string_equal(net.body, "{\"role\":\"a@b\",\"jwt\":\"" JWT "\"}");
    ct_vault_disconnect(v);
    assert_int_equal(net.closed, 1);
    assert_string_equal(ct_vault_token(v), TOKEN);
}

static void reads(void **state)
{
    (void)state;
    const struct reply replies[] = {{.status = 200, .body = LOGIN_OK},
                                    {.status = 200, .body = SECRET_OK}};
    static const struct {
        const char *path;
        unsigned version;
        const char *url;
    } cases[] = {
        {"secret/data/db", 0, "https://v:8200/v1/secret/data/db"},
        {"secret/data/db", 1, "https://v:8200/v1/secret/data/db?version=1"},
        {"m-_.~@:=+/x", 0, "https://v:8200/v1/m-_.~@:=+/x"},
        {"a b?c#d%e\xc3\xb6", 0, "https://v:8200/v1/a%20b%3Fc%23d%25e%C3%B6"},
    };
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    serve(replies, 2);
    write_token(JWT);
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        json_t *keys = NULL;
        expect_ok(ct_vault_read(v, cases[i].path, cases[i].version, &keys, &err), &err);
        assert_string_equal(net.url, cases[i].url);
        assert_string_equal(net.headers, "X-Vault-Request: true|X-Vault-Token: " TOKEN "|");
        assert_string_equal(net.body, "");
        json_decref(keys);
    }
    assert_int_equal(net.connected, 1);
    assert_int_equal(ct_vault_exit_code(v), CT_EXIT_OTHER);
    char path[5000];
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    json_t *keys = NULL;
    expect_error(ct_vault_read(v, path, 0, &keys, &err), &err, CT_ETOOBIG, "too long for a URL");
    assert_int_equal(ct_vault_exit_code(v), CT_EXIT_CONFIGURATION);
}

// One try each: code, exit code and words, at the login and at a read.
static const struct {
    struct reply reply;
    int login_code;
    enum ct_exit_code login_exit;
    int read_code;
    enum ct_exit_code read_exit;
    const char *words;
} failures[] = {
    {{.status = 400, .body = "{\"errors\":[\"invalid role\"]}"},
     CT_EDENIED,
     101,
     CT_EDENIED,
     102,
     "answered 400 (refused): invalid role"},
    {{.status = 403, .body = "{\"errors\":[\"permission denied\"]}"},
     CT_EDENIED,
     101,
     CT_EDENIED,
     102,
     "answered 403 (refused): permission denied"},
    {{.status = 403, .body = "{\"errors\":[\"" TOKEN "\",\"" JWT "\"]}"},
     CT_EDENIED,
     101,
     CT_EDENIED,
     102,
     "answered 403 (refused)"},
    {{.status = 418}, CT_EDENIED, 101, CT_EDENIED, 102, "answered 418"},
    {{.status = 204}, CT_EPROTO, 101, CT_EPROTO, 102, "204, which makes no sense here"},
    {{.status = 301, .location = "https://o:1"},
     CT_EPROTO,
     103,
     CT_EPROTO,
     103,
     "301, a redirect to https://o:1, which is not followed"},
    {{.status = 307}, CT_EPROTO, 103, CT_EPROTO, 103, "307, a redirect, which is not followed"},
    {{.status = 307, .location = "https://" TOKEN},
     CT_EPROTO,
     103,
     CT_EPROTO,
     103,
     "307, a redirect, which"},
    {{.status = 412}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "412: this replica lags behind"},
    {{.status = 429}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "429: too many requests"},
    {{.status = 472}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "472: a recovery replica"},
    {{.status = 473}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "473: a standby"},
    {{.status = 500}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "500: a server's error"},
    {{.status = 501}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "501: not initialised"},
    {{.status = 503}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "503: not available"},
    {{.status = 503, .body = "{\"errors\":[\"Vault is sealed\"]}"},
     CT_EUNAVAIL,
     103,
     CT_EUNAVAIL,
     103,
     "503: Vault is sealed"},
    {{.status = 599}, CT_EUNAVAIL, 103, CT_EUNAVAIL, 103, "599: a server's error"},
    {{.code = CT_EUNAVAIL, .sentence = "U: no route"},
     CT_EUNAVAIL,
     103,
     CT_EUNAVAIL,
     103,
     "U: no route"},
    {{.code = CT_EDENIED, .sentence = "U: wrong CA"},
     CT_EDENIED,
     103,
     CT_EDENIED,
     103,
     "U: wrong CA"},
    {{.code = CT_ETOOBIG, .sentence = "U: large"}, CT_ETOOBIG, 101, CT_ETOOBIG, 102, "U: large"},
    {{.code = CT_ENOMEM, .sentence = "U: memory"}, CT_ENOMEM, 125, CT_ENOMEM, 125, "U: memory"},
    {{.code = CT_EPROTO, .sentence = "U: it said " JWT},
     CT_EPROTO,
     103,
     CT_EPROTO,
     103,
     "the exchange with Vault at https://v:8200 failed"},
    {{.status = 200, .body = "no json"}, CT_EPROTO, 101, CT_EPROTO, 102, "not valid JSON"},
};

static void expect_hidden(const struct ct_err *err)
{
    assert_null(strstr(err->msg, "planted"));
    assert_null(strstr(err->msg, "0123456"));
}

static void tells_failures_apart(void **state)
{
    (void)state;
    write_token(JWT);
    for (size_t i = 0; i < CT_ARRAY_LEN(failures); i++) {
        struct ct_err err = {0};
        json_t *keys = NULL;
        CT_AUTO(ct_vault) *v = NULL;
        serve(&failures[i].reply, 1);
        expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
        expect_error(ct_vault_login(v, &err), &err, failures[i].login_code, failures[i].words);
        assert_non_null(strstr(err.msg, "login at auth/kubernetes as role web"));
        assert_int_equal(ct_vault_exit_code(v), failures[i].login_exit);
        expect_hidden(&err);
        assert_null(ct_vault_token(v));

        const struct reply replies[] = {{.status = 200, .body = LOGIN_OK}, failures[i].reply};
        serve(replies, 2);
        expect_ok(ct_vault_login(v, &err), &err);
        err = (struct ct_err){0};
        expect_error(ct_vault_read(v, "m/data/n", 0, &keys, &err), &err, failures[i].read_code,
                     failures[i].words);
        assert_non_null(strstr(err.msg, "secret m/data/n"));
        assert_int_equal(ct_vault_exit_code(v), failures[i].read_exit);
        expect_hidden(&err);
        assert_int_equal(net.served, 2);
    }
}

struct told {
    size_t retries;
    unsigned delays[64];
    size_t stop_after; // retries; 0: never
};

static void note_retry(void *cls, const struct ct_err *why, unsigned delay_ms)
{
    struct told *told = cls;
    assert_int_equal(why->code, CT_EUNAVAIL);
    assert_true(told->retries < CT_ARRAY_LEN(told->delays));
    told->delays[told->retries++] = delay_ms;
}

static bool ask_stop(void *cls)
{
    const struct told *told = cls;
    return told->stop_after != 0 && told->retries >= told->stop_after;
}

static void retries_within_the_budget(void **state)
{
    (void)state;
    const struct reply replies[] = {
        {.status = 503}, {.status = 500}, {.status = 200, .body = LOGIN_OK}};
    struct told told = {0};
    const struct ct_vault_hooks hooks = {.retry = note_retry, .stop = ask_stop, .cls = &told};
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    write_token(JWT);
    config.retry_budget_ms = 5000;
    expect_ok(ct_vault_new(&config, &hooks, &v, &err), &err);
    serve(replies, 3);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_int_equal(told.retries, 2);
    assert_in_range(told.delays[0], 50, 100);
    assert_in_range(told.delays[1], 100, 200);
    assert_true(net.timeout <= 5000);

    config.retry_budget_ms = 300;
    told = (struct told){0};
    serve(replies, 1);
    expect_error(ct_vault_login(v, &err), &err, CT_EUNAVAIL, "given up after");
    assert_true(told.retries >= 1 && told.retries <= 4);
    assert_int_equal(net.served, told.retries + 1);
    assert_int_equal(net.timeout, 1000); // what is left is less than the floor

    told = (struct told){.stop_after = 1};
    config.retry_budget_ms = 60000;
    serve(replies, 1);
    expect_error(ct_vault_login(v, &err), &err, CT_EUNAVAIL, "503");
    assert_int_equal(net.served, 1);
}

static void checks_token_files(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "\n \t", "a b", "a\nb", "\x01", "\xc3\xb6"};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct ct_err err = {0};
        CT_AUTO(ct_vault) *v = NULL;
        write_token(bad[i]);
        serve(NULL, 0);
        expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
        expect_error(ct_vault_login(v, &err), &err, CT_EINVAL, token_file);
        assert_int_equal(ct_vault_exit_code(v), CT_EXIT_CONFIGURATION);
        assert_int_equal(net.served, 0);
    }
}

static void takes_a_token_as_it_is(void **state)
{
    (void)state;
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    serve(NULL, 0);
    config.auth = CT_AUTH_TOKEN;
    write_token(TOKEN "\r\n");
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_string_equal(ct_vault_token(v), TOKEN);
    assert_int_equal(net.served, 0);
}

// A pipe with `text` in it and nobody to write more; its reading end.
static unsigned pipe_with(const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
    assert_int_equal(close(ends[1]), 0);
    return (unsigned)ends[0];
}

static void takes_a_token_from_a_descriptor(void **state)
{
    (void)state;
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    serve(NULL, 0);
    config.auth = CT_AUTH_TOKEN;
    config.token_file[0] = '\0';
    config.token_fd = pipe_with(TOKEN "\n");
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_string_equal(ct_vault_token(v), TOKEN);
    assert_int_equal(fcntl((int)config.token_fd, F_GETFD), -1); // closed
    // Once more: there is no other.
    expect_ok(ct_vault_login(v, &err), &err);
    assert_string_equal(ct_vault_token(v), TOKEN);
    assert_int_equal(net.served, 0);
}

static void checks_descriptors(void **state)
{
    (void)state;
    const struct {
        unsigned fd;
        int code;
        const char *part;
    } cases[] = {
        {pipe_with(""), CT_EINVAL, "what was handed over holds no token"},
        {pipe_with("a b"), CT_EINVAL, "what was handed over holds no token"},
        {1000, CT_ESYSTEM, "the token cannot be taken over: descriptor 1000 cannot be read"},
    };
    config.auth = CT_AUTH_TOKEN;
    config.token_file[0] = '\0';
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        CT_AUTO(ct_vault) *v = NULL;
        serve(NULL, 0);
        config.token_fd = cases[i].fd;
        expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
        expect_error(ct_vault_login(v, &err), &err, cases[i].code, cases[i].part);
        assert_int_equal(ct_vault_exit_code(v), CT_EXIT_CONFIGURATION);
    }
}

#define LOOKED_UP "{\"data\":{\"creation_path\":\"auth/approle/role/web/secret-id\"}}"
#define UNWRAPPED "{\"data\":{\"secret_id\":\"planted-secret-id\"}}"

static void logs_in_with_a_jwt(void **state)
{
    (void)state;
    const struct reply ok = {.status = 200, .body = LOGIN_OK};
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    config.auth = CT_AUTH_JWT;
    (void)snprintf(config.auth_path, sizeof(config.auth_path), "jwt");
    serve(&ok, 1);
    write_token(JWT);
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_string_equal(net.url, "https://v:8200/v1/auth/jwt/login");
    assert_string_equal(net.body, "{\"role\":\"web\",\"jwt\":\"" JWT "\"}");
}

// The wrapping token is used once; a later login sends what it held.
static void unwraps_a_secret_id_once(void **state)
{
    (void)state;
    const struct reply replies[] = {{.status = 200, .body = LOOKED_UP},
                                    {.status = 200, .body = UNWRAPPED},
                                    {.status = 200, .body = LOGIN_OK}};
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    config.auth = CT_AUTH_APPROLE;
    config.secret_id_wrapped = true;
    (void)snprintf(config.auth_path, sizeof(config.auth_path), "approle");
    (void)snprintf(config.vault_namespace, sizeof(config.vault_namespace), "team");
    serve(replies, 3);
    write_token("hvs.wrapping");
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_int_equal(net.served, 3);
    assert_string_equal(net.body, "{\"role_id\":\"web\",\"secret_id\":\"planted-secret-id\"}");
    serve(&replies[2], 1);
    expect_ok(ct_vault_login(v, &err), &err);
    assert_int_equal(net.served, 1);
    assert_string_equal(net.body, "{\"role_id\":\"web\",\"secret_id\":\"planted-secret-id\"}");
    // Another wrapping token came: it is used.
    serve(replies, 3);
    write_token("hvs.another");
    expect_ok(ct_vault_login(v, &err), &err);
    assert_int_equal(net.served, 3);
}

static void knows_where_secret_ids_are_made(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool good;
    } cases[] = {
        {"auth/approle/role/web/secret-id", true},
        {"auth/approle/role/web/custom-secret-id", true},
        {"team/auth/approle/role/web/secret-id", true},
        {"tea/auth/approle/role/web/secret-id", false},
        {"auth/approle/role/web/secret-id/lookup", false},
        {"auth/approle/role/secret-id", false},
        {"auth/other/role/web/secret-id", false},
        {"sys/wrapping/wrap", false},
        {"", false},
    };
    config.auth = CT_AUTH_APPROLE;
    config.secret_id_wrapped = true;
    (void)snprintf(config.auth_path, sizeof(config.auth_path), "approle");
    (void)snprintf(config.vault_namespace, sizeof(config.vault_namespace), "team");
    write_token("hvs.wrapping");
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char looked_up[160];
        const struct reply replies[] = {{.status = 200, .body = looked_up},
                                        {.status = 200, .body = UNWRAPPED},
                                        {.status = 200, .body = LOGIN_OK}};
        struct ct_err err = {0};
        CT_AUTO(ct_vault) *v = NULL;
        (void)snprintf(looked_up, sizeof(looked_up), "{\"data\":{\"creation_path\":\"%s\"}}",
                       cases[i].path);
        serve(replies, 3);
        expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
        if (cases[i].good) {
            expect_ok(ct_vault_login(v, &err), &err);
        } else {
            expect_error(ct_vault_login(v, &err), &err, CT_EDENIED, "may have been intercepted");
            assert_int_equal(ct_vault_exit_code(v), CT_EXIT_LOGIN);
            assert_int_equal(net.served, 1);
        }
    }
}

static void renews_and_looks_up(void **state)
{
    (void)state;
    const struct reply granted = {
        .status = 200, .body = "{\"auth\":{\"client_token\":\"" TOKEN "\",\"lease_duration\":9}}"};
    const struct reply looked_up = {.status = 200, .body = "{\"data\":{\"ttl\":4}}"};
    const struct reply refused = {.status = 403};
    const struct reply endless = {.status = 200, .body = LOGIN_OK};
    const struct ct_vault_hooks none = {0};
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    serve(&granted, 1);
    write_token(JWT);
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_ok(ct_vault_login(v, &err), &err);
    ct_vault_go_on(v, &none);
    assert_int_equal(net.closed, 1);
    expect_ok(ct_vault_renew(v, &err), &err);
    assert_string_equal(net.url, "https://v:8200/v1/auth/token/renew-self");
    assert_string_equal(net.body, "{}");
    assert_string_equal(net.headers, "X-Vault-Request: true|X-Vault-Token: " TOKEN "|");
    assert_int_equal(ct_vault_lease(v)->seconds, 9);
    serve(&looked_up, 1);
    expect_ok(ct_vault_look_up(v, &err), &err);
    assert_string_equal(net.url, "https://v:8200/v1/auth/token/lookup-self");
    assert_string_equal(net.body, "");
    assert_int_equal(ct_vault_lease(v)->seconds, 4);
    serve(&endless, 1);
    expect_error(ct_vault_renew(v, &err), &err, CT_EPROTO, "no auth.lease_duration");
    serve(&refused, 1);
    err = (struct ct_err){0};
    expect_error(ct_vault_renew(v, &err), &err, CT_EDENIED, "renewing the token");
    assert_int_equal(ct_vault_exit_code(v), CT_EXIT_LOGIN);
    // A login that fails leaves the token that there was.
    err = (struct ct_err){0};
    expect_error(ct_vault_login(v, &err), &err, CT_EDENIED, "login at");
    assert_string_equal(ct_vault_token(v), TOKEN);
}

static void names_a_missing_ca_file(void **state)
{
    (void)state;
    struct ct_err err = {0};
    CT_AUTO(ct_vault) *v = NULL;
    write_token(JWT);
    (void)snprintf(config.ca_file, sizeof(config.ca_file), "/missing");
    expect_ok(ct_vault_new(&config, NULL, &v, &err), &err);
    expect_error(ct_vault_login(v, &err), &err, CT_ENOTFOUND, "/missing");
    assert_int_equal(ct_vault_exit_code(v), CT_EXIT_CONFIGURATION);
}

int main(void)
{
    int fd = mkstemp(token_file);
    if (fd < 0) {
        return 1;
    }
    (void)close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(logs_in, reset),
        cmocka_unit_test_setup(reads, reset),
        cmocka_unit_test_setup(tells_failures_apart, reset),
        cmocka_unit_test_setup(retries_within_the_budget, reset),
        cmocka_unit_test_setup(checks_token_files, reset),
        cmocka_unit_test_setup(takes_a_token_from_a_descriptor, reset),
        cmocka_unit_test_setup(checks_descriptors, reset),
        cmocka_unit_test_setup(takes_a_token_as_it_is, reset),
        cmocka_unit_test_setup(names_a_missing_ca_file, reset),
        cmocka_unit_test_setup(renews_and_looks_up, reset),
        cmocka_unit_test_setup(logs_in_with_a_jwt, reset),
        cmocka_unit_test_setup(unwraps_a_secret_id_once, reset),
        cmocka_unit_test_setup(knows_where_secret_ids_are_made, reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(token_file);
    return failed;
}
