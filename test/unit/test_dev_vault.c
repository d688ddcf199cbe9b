// SPDX-License-Identifier: Apache-2.0
#include "dev_vault.h"

#include <stdlib.h>

#include "expect.h"
#include "json.h"

#define ROOT "root-for-tests"

struct fixture {
    struct ct_dev_vault vault;
    char token[128];   // of role "web"
    char limited[128]; // of role "limited": reads below team/ only
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct ct_err err = {0};
    (void)pthread_mutex_init(&f->vault.lock, NULL);
    expect_ok(ct_dev_store_init(&f->vault.store, ROOT, &err), &err);
    expect_ok(ct_dev_store_role(&f->vault.store, "web", &err), &err);
    expect_ok(ct_dev_store_role(&f->vault.store, "limited=team/,shared", &err), &err);
    const char *paths[] = {"db", "team/app", "shared"};
    for (size_t i = 0; i < CT_ARRAY_LEN(paths); i++) {
        CT_AUTO_JSON data = json_pack("{s:s}", "password", paths[i]);
        assert_int_equal(ct_dev_store_put(&f->vault.store, paths[i], data), 1);
    }
    (void)snprintf(f->token, sizeof(f->token), "%s",
                   ct_dev_store_issue(&f->vault.store, "web", CT_DEV_TOKEN, 60)->text);
    (void)snprintf(f->limited, sizeof(f->limited), "%s",
                   ct_dev_store_issue(&f->vault.store, "limited", CT_DEV_TOKEN, 60)->text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    ct_dev_store_done(&f->vault.store);
    (void)pthread_mutex_destroy(&f->vault.lock);
    free(f);
    return 0;
}

// Runs one request; the status is returned, the document (may be NULL) is the caller's.
static unsigned ask(struct fixture *f, const char *method, const char *path, const char *token,
                    const char *body, json_t **ret)
{
    struct ct_httpd_reply reply = {.status = 200, .body = {.max = 1 << 20}};
    char copy[256];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    char *query = strchr(copy, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    const struct ct_httpd_request request = {
        .method = method,
        .path = copy,
        .query = query != NULL ? query : "",
        .content_type = "",
        .token = token,
        .body = body,
        .body_len = strlen(body),
    };
    ct_dev_vault_routes[0].handle(&f->vault, &request, &reply);
    assert_false(reply.body.failed);
    json_decref(*ret);
    *ret = reply.body.data != NULL ? json_loads(reply.body.data, 0, NULL) : NULL;
    ct_buf_done(&reply.body);
    return reply.status;
}

// In `body` and `token`, "web" and "limited" stand for those roles' tokens.
static const struct {
    const char *method, *path, *token, *body;
    unsigned status;
    const char *error; // the first of "errors"; NULL: no such array, "": an empty one
} answers[] = {
    {"GET", "/v1/sys/health", "", "", 200, NULL},
    {"HEAD", "/v1/sys/health", "", "", 200, NULL},
    {"POST", "/v1/sys/health", "", "", 405, "unsupported operation"},
    {"GET", "/v1/nothing", ROOT, "", 404, "no handler for route"},
    {"GET", "/", ROOT, "", 404, "no handler for route"},
    {"GET", "/v1/secret/data/", ROOT, "", 404, "no handler for route"},
    {"GET", "/v1/secret/data/db", "web", "", 200, NULL},
    {"GET", "/v1/secret/data/db", ROOT, "", 200, NULL},
    {"GET", "/v1/secret/data/db", "", "", 403, "permission denied"},
    {"GET", "/v1/secret/data/db", "hvs.wrong", "", 403, "permission denied"},
    {"GET", "/v1/secret/data/db", ROOT "x", "", 403, "permission denied"},
    {"GET", "/v1/secret/data/db", "limited", "", 403, "permission denied"},
    {"GET", "/v1/secret/data/team/app", "limited", "", 200, NULL},
    {"GET", "/v1/secret/data/shared", "limited", "", 200, NULL},
    {"GET", "/v1/secret/data/none", "web", "", 404, ""},
    {"GET", "/v1/secret/data/db?version=1", "web", "", 200, NULL},
    {"GET", "/v1/secret/data/db?version=2", "web", "", 404, ""},
    {"GET", "/v1/secret/data/db?version=x", "web", "", 400, "version is no number"},
    {"GET", "/v1/secret/metadata/db", "web", "", 200, NULL},
    {"GET", "/v1/secret/metadata/none", "web", "", 404, ""},
    {"POST", "/v1/secret/data/db", "web", "{\"data\":{}}", 403, "permission denied"},
    {"POST", "/v1/secret/data/db", ROOT, "{}", 400, "no data provided"},
    {"POST", "/v1/secret/data/db", ROOT, "{\"data\":{\"a\":\"b\"},\"options\":{\"cas\":7}}", 400,
     "check-and-set parameter did not match the current version"},
    {"GET", "/v1/auth/token/lookup-self", "web", "", 200, NULL},
    {"GET", "/v1/auth/token/lookup-self", "", "", 403, "permission denied"},
    {"POST", "/v1/auth/token/renew-self", "web", "", 200, NULL},
    {"POST", "/v1/auth/token/renew-self", ROOT, "", 400, "lease is not renewable"},
    {"POST", "/v1/auth/kubernetes/login", "", "{", 400, "failed to parse JSON input"},
    {"POST", "/v1/auth/kubernetes/login", "", "{\"jwt\":\"x\"}", 400, "missing role"},
    {"POST", "/v1/auth/kubernetes/login", "", "{\"role\":\"web\"}", 400, "missing jwt"},
    {"POST", "/v1/auth/kubernetes/login", "", "{\"role\":\"web\",\"jwt\":\"\"}", 400,
     "missing jwt"},
    {"POST", "/v1/auth/kubernetes/login", "", "{\"role\":\"none\",\"jwt\":\"x\"}", 400,
     "invalid role name \"none\""},
    {"GET", "/v1/auth/kubernetes/login", "", "", 405, "unsupported operation"},
    {"POST", "/v1/auth/jwt/login", "", "{\"role\":\"web\",\"jwt\":\"x\"}", 200, NULL},
    {"POST", "/v1/auth/jwt/login", "", "{\"role\":\"none\",\"jwt\":\"x\"}", 400,
     "invalid role name \"none\""},
    {"POST", "/v1/auth/approle/login", "", "{\"role_id\":\"web\"}", 400, "missing secret_id"},
    {"POST", "/v1/auth/approle/login", "", "{\"secret_id\":\"x\"}", 400, "missing role_id"},
    {"POST", "/v1/auth/approle/login", "", "{\"role_id\":\"web\",\"secret_id\":\"x\"}", 400,
     "invalid role or secret ID"},
    {"GET", "/v1/auth/approle/role/web/role-id", ROOT, "", 200, NULL},
    {"GET", "/v1/auth/approle/role/web/role-id", "web", "", 403, "permission denied"},
    {"GET", "/v1/auth/approle/role/none/role-id", ROOT, "", 404, ""},
    {"GET", "/v1/auth/approle/role/web/secret-id", ROOT, "", 404, ""},
    {"POST", "/v1/auth/approle/role/web/secret-id", "web", "", 403, "permission denied"},
    {"POST", "/v1/sys/wrapping/unwrap", "hvs.none", "", 400,
     "wrapping token is not valid or does not exist"},
    {"POST", "/v1/sys/wrapping/lookup", "", "{\"token\":\"hvs.none\"}", 400,
     "wrapping token is not valid or does not exist"},
    {"POST", "/v1/auth/token/revoke-self", ROOT, "", 400,
     "the root token of a development server is not revoked"},
    {"POST", "/v1/kv/db", "web", "{\"a\":\"b\"}", 403, "permission denied"},
    {"POST", "/v1/kv/db", ROOT, "{}", 400, "missing data fields"},
    {"GET", "/v1/kv/none", "web", "", 404, ""},
    {"GET", "/v1/sys/internal/ui/mounts/secret/db", "web", "", 200, NULL},
    {"GET", "/v1/sys/internal/ui/mounts/kv/db", "web", "", 200, NULL},
    {"GET", "/v1/sys/internal/ui/mounts/secret", "web", "", 200, NULL},
    {"GET", "/v1/sys/internal/ui/mounts/other/db", "web", "", 403,
     "preflight capability check returned 403, please ensure client's policies grant access to "
     "path"},
};

static void test_answers(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_JSON doc = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(answers); i++) {
        const char *token = answers[i].token;
        token = strcmp(token, "web") == 0       ? f->token
                : strcmp(token, "limited") == 0 ? f->limited
                                                : token;
        unsigned status = ask(f, answers[i].method, answers[i].path, token, answers[i].body, &doc);
        json_t *errors = json_object_get(doc, "errors");
        const char *error = json_string_value(json_array_get(errors, 0));
        const char *expected = answers[i].error;
        bool same = expected == NULL ? errors == NULL
                                     : json_is_array(errors) &&
                                           strcmp(error != NULL ? error : "", expected) == 0;
        if (status != answers[i].status || !same) {
            fail_msg("%s %s: %u with \"%s\"", answers[i].method, answers[i].path, status,
                     error != NULL ? error : "");
        }
    }
}

static void test_login_then_read(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_JSON doc = NULL;
    char token[128];
    const char *login = "{\"role\":\"limited\",\"jwt\":\"anything\"}";
    assert_int_equal(ask(f, "PUT", "/v1/auth/kubernetes/login", "", login, &doc), 200);
    (void)snprintf(token, sizeof(token), "%s",
                   ct_json_str(ct_json_at(doc, "auth", NULL), "client_token"));
    assert_memory_equal(token, "hvs.", 4);
    assert_int_equal(strlen(token), 4 + CT_DEV_VAULT_TOKEN);
    assert_string_not_equal(token, f->limited);
    assert_int_equal(ask(f, "GET", "/v1/secret/data/team/app", token, "", &doc), 200);
    json_t *data = ct_json_at(doc, "data", "data", NULL);
    assert_string_equal(ct_json_str(data, "password"), "team/app");
    assert_int_equal(ask(f, "GET", "/v1/secret/data/db", token, "", &doc), 403);
}

static void test_approle(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_JSON doc = NULL;
    char body[256];
    char id[64];
    const char *make = "/v1/auth/approle/role/limited/secret-id";
    assert_int_equal(ask(f, "POST", make, ROOT, "", &doc), 200);
    (void)snprintf(id, sizeof(id), "%s", ct_json_str(json_object_get(doc, "data"), "secret_id"));
    assert_int_equal(strlen(id), 36);
    // No token, and of this role alone.
    assert_int_equal(ask(f, "GET", "/v1/auth/token/lookup-self", id, "", &doc), 403);
    (void)snprintf(body, sizeof(body), "{\"role_id\":\"web\",\"secret_id\":\"%s\"}", id);
    assert_int_equal(ask(f, "POST", "/v1/auth/approle/login", "", body, &doc), 400);
    (void)snprintf(body, sizeof(body), "{\"role_id\":\"limited\",\"secret_id\":\"%s\"}", id);
    assert_int_equal(ask(f, "POST", "/v1/auth/approle/login", "", body, &doc), 200);
    char token[128];
    (void)snprintf(token, sizeof(token), "%s",
                   ct_json_str(ct_json_at(doc, "auth", NULL), "client_token"));
    assert_int_equal(ask(f, "GET", "/v1/secret/data/team/app", token, "", &doc), 200);
    assert_int_equal(ask(f, "GET", "/v1/secret/data/db", token, "", &doc), 403);
    assert_int_equal(ask(f, "POST", "/v1/auth/token/revoke-self", token, "", &doc), 204);
    assert_int_equal(ask(f, "GET", "/v1/secret/data/team/app", token, "", &doc), 403);
}

static void test_version_1(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_JSON doc = NULL;
    assert_int_equal(ask(f, "PUT", "/v1/kv/team/x", ROOT, "{\"k\":\"one\"}", &doc), 204);
    assert_int_equal(ask(f, "PUT", "/v1/kv/team/x", ROOT, "{\"k\":\"two\"}", &doc), 204);
    assert_int_equal(ask(f, "GET", "/v1/kv/team/x", f->limited, "", &doc), 200);
    assert_string_equal(ct_json_str(ct_json_at(doc, "data", NULL), "k"), "two");
    assert_int_equal(ask(f, "DELETE", "/v1/kv/team/x", ROOT, "", &doc), 204);
    assert_int_equal(ask(f, "GET", "/v1/kv/team/x", f->limited, "", &doc), 404);
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_JSON doc = NULL;
    const char *path = "/v1/secret/data/db";
    const char *write = "{\"data\":{\"password\":\"two\"},\"options\":{\"cas\":1}}";
    assert_int_equal(ask(f, "POST", path, ROOT, write, &doc), 200);
    assert_int_equal(json_integer_value(ct_json_at(doc, "data", "version", NULL)), 2);
    assert_int_equal(ask(f, "DELETE", path, ROOT, "", &doc), 204);
    assert_int_equal(ask(f, "GET", path, f->token, "", &doc), 404);
    assert_true(json_is_null(ct_json_at(doc, "data", "data", NULL)));
    assert_int_equal(ask(f, "GET", "/v1/secret/data/db?version=2", f->token, "", &doc), 200);
    assert_string_equal(ct_json_str(ct_json_at(doc, "data", "data", NULL), "password"), "two");
    assert_int_equal(ask(f, "GET", "/v1/secret/metadata/db", f->token, "", &doc), 200);
    assert_int_equal(json_integer_value(ct_json_at(doc, "data", "current_version", NULL)), 3);
}

static void test_tokens_expire(void **state)
{
    struct fixture *f = *state;
    assert_non_null(ct_dev_store_find(&f->vault.store, f->token, CT_DEV_TOKEN));
    ct_dev_store_find(&f->vault.store, f->token, CT_DEV_TOKEN)->expiry = time(NULL) - 1;
    assert_null(ct_dev_store_find(&f->vault.store, f->token, CT_DEV_TOKEN));
    // Its place is used again.
    size_t n = f->vault.store.n_tokens;
    assert_non_null(ct_dev_store_issue(&f->vault.store, "web", CT_DEV_TOKEN, 60));
    assert_int_equal(f->vault.store.n_tokens, n);
    assert_null(ct_dev_store_find(&f->vault.store, f->token, CT_DEV_TOKEN));
}

static void test_tokens_are_bounded(void **state)
{
    struct fixture *f = *state;
    size_t n = f->vault.store.n_tokens;
    while (ct_dev_store_issue(&f->vault.store, "web", CT_DEV_TOKEN, 60) != NULL && n < 100000) {
        n++;
    }
    assert_int_equal(n, f->vault.store.n_tokens);
    assert_true(n < 100000);
    assert_non_null(ct_dev_store_find(&f->vault.store, ROOT, CT_DEV_TOKEN));
}

static void test_roles(void **state)
{
    struct fixture *f = *state;
    const char *bad[] = {"", "=x", "a b", "a/b=c",
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct ct_err err = {0};
        expect_error(ct_dev_store_role(&f->vault.store, bad[i], &err), &err, CT_EINVAL,
                     "use NAME or NAME=PREFIX");
    }
}

static void test_load(void **state)
{
    static const struct {
        const char *text;
        int code; // 0: fine
        const char *part;
    } cases[] = {
        {"{\"a/b\": {\"k\": \"v\"}, \"c\": [{\"k\": \"1\"}, {\"k\": \"2\"}]}", 0, NULL},
        {"{", CT_EINVAL, "ct-dev-vault-"},
        {"[]", CT_EINVAL, "must be an object of paths"},
        {"{\"a\": \"v\"}", CT_EINVAL, "'a' must be an object of keys and values"},
        {"{\"/a\": {}}", CT_EINVAL, "'/a' is no path"},
        {"{\"a\": []}", CT_EINVAL, "has no version"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char path[] = "/tmp/ct-dev-vault-XXXXXX";
        struct ct_err err = {0};
        int fd = mkstemp(path);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        (void)close(fd);
        int r = ct_dev_store_load(&f->vault.store, path, &err);
        (void)unlink(path);
        if (cases[i].code != 0) {
            expect_error(r, &err, cases[i].code, cases[i].part);
        } else {
            size_t n;
            expect_ok(r, &err);
            json_t *latest = ct_dev_store_get(&f->vault.store, "c", 0, &n);
            assert_int_equal(n, 2);
            assert_string_equal(ct_json_str(json_object_get(latest, "data"), "k"), "2");
        }
    }
    struct ct_err err = {0};
    expect_error(ct_dev_store_load(&f->vault.store, "/nowhere/kv", &err), &err, CT_ENOTFOUND,
                 "/nowhere/kv");
}

int main(void)
{
#define WITH_VAULT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_VAULT(test_answers),
        WITH_VAULT(test_login_then_read),
        WITH_VAULT(test_approle),
        WITH_VAULT(test_version_1),
        WITH_VAULT(test_versions),
        WITH_VAULT(test_tokens_expire),
        WITH_VAULT(test_tokens_are_bounded),
        WITH_VAULT(test_roles),
        WITH_VAULT(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
