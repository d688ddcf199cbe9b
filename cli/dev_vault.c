// SPDX-License-Identifier: Apache-2.0
#include "dev_vault.h"

#include <string.h>

#include "ct_version.h"
#include "dev_vault_call.h"
#include "json.h"
#include "text.h"

void ct_dev_fail(struct ct_dev_call *call, unsigned status, const char *error)
{
    call->reply->status = status;
    ct_buf_add_str(&call->reply->body, "{\"errors\":[");
    if (error != NULL) {
        ct_buf_add_json(&call->reply->body, error, strlen(error));
    }
    ct_buf_add_str(&call->reply->body, "]}\n");
}

void ct_dev_answer(struct ct_dev_call *call, json_t *doc)
{
    CT_AUTO_JSON owned = doc;
    CT_AUTO_STR text = json_dumps(owned, JSON_COMPACT);
    if (text == NULL) {
        ct_dev_fail(call, 500, "out of memory");
        return;
    }
    ct_buf_add_str(&call->reply->body, text);
    explicit_bzero(text, strlen(text));
}

static bool is_method(const struct ct_dev_call *call, const char *method)
{
    const char *got = call->request->method;
    return strcmp(got, method) == 0 || (strcmp(method, "POST") == 0 && strcmp(got, "PUT") == 0) ||
           (strcmp(method, "GET") == 0 && strcmp(got, "HEAD") == 0);
}

static void health(struct ct_dev_call *call)
{
    ct_dev_answer(call,
                  json_pack("{s:b,s:b,s:b,s:s,s:s,s:I}", "initialized", 1, "sealed", 0, "standby",
                            0, "version", CT_VERSION "+cloudtaser.dev", "cluster_name",
                            "development", "server_time_utc", (json_int_t)time(NULL)));
}

// So that `vault kv` knows the engine's version.
static void mount(struct ct_dev_call *call)
{
    static const struct {
        const char *path;
        const char *version;
    } mounts[] = {{"secret/", "2"}, {"kv/", "1"}};
    for (size_t i = 0; i < CT_ARRAY_LEN(mounts); i++) {
        size_t len = strlen(mounts[i].path);
        if (strncmp(call->rest, mounts[i].path, len) == 0 ||
            (strlen(call->rest) == len - 1 && strncmp(call->rest, mounts[i].path, len - 1) == 0)) {
            ct_dev_answer(call, json_pack("{s:{s:s,s:s,s:{s:s}}}", "data", "path", mounts[i].path,
                                          "type", "kv", "options", "version", mounts[i].version));
            return;
        }
    }
    ct_dev_fail(call, 403,
                "preflight capability check returned 403, please ensure client's policies grant "
                "access to path");
}

static json_t *metadata_of(const json_t *version, size_t n)
{
    bool deleted = json_is_null(json_object_get(version, "data"));
    const char *created = ct_json_str(version, "created_time");
    return json_pack("{s:s,s:n,s:s,s:b,s:I}", "created_time", created, "custom_metadata",
                     "deletion_time", deleted ? created : "", "destroyed", 0, "version",
                     (json_int_t)n);
}

static void read_secret(struct ct_dev_call *call)
{
    unsigned long wanted = 0;
    size_t n = 0;
    const char *query = strstr(call->request->query, "version=");
    if (query != NULL) {
        query += strlen("version=");
        if (!ct_text_number(query, strcspn(query, "&"), 1000000, &wanted)) {
            ct_dev_fail(call, 400, "version is no number");
            return;
        }
    }
    json_t *version = ct_dev_store_get(call->store, call->rest, wanted, &n);
    if (version == NULL) {
        ct_dev_fail(call, 404, NULL);
        return;
    }
    json_t *data = json_object_get(version, "data");
    call->reply->status = json_is_null(data) ? 404 : 200; // a deleted version: 404 with metadata
    ct_dev_answer(call, json_pack("{s:s,s:i,s:b,s:{s:O,s:o}}", "lease_id", "", "lease_duration", 0,
                                  "renewable", 0, "data", "data", data, "metadata",
                                  metadata_of(version, n)));
}

static void write_secret(struct ct_dev_call *call)
{
    CT_AUTO_JSON doc = NULL;
    size_t latest = 0;
    const struct ct_httpd_request *request = call->request;
    int r = ct_json_parse(request->body, request->body_len, "body", &doc, NULL);
    json_t *data = json_object_get(doc, "data");
    if (r < 0 || !json_is_object(data)) {
        ct_dev_fail(call, 400, "no data provided");
        return;
    }
    (void)ct_dev_store_get(call->store, call->rest, 0, &latest);
    json_t *cas = json_object_get(json_object_get(doc, "options"), "cas");
    if (json_is_integer(cas) && json_integer_value(cas) != (json_int_t)latest) {
        ct_dev_fail(call, 400, "check-and-set parameter did not match the current version");
        return;
    }
    size_t n = ct_dev_store_put(call->store, call->rest, data);
    if (n == 0) {
        ct_dev_fail(call, 500, "out of memory");
        return;
    }
    json_t *version = ct_dev_store_get(call->store, call->rest, n, &n);
    ct_dev_answer(call, json_pack("{s:o}", "data", metadata_of(version, n)));
}

static void delete_secret(struct ct_dev_call *call)
{
    size_t n = 0;
    if (ct_dev_store_get(call->store, call->rest, 0, &n) != NULL) {
        (void)ct_dev_store_put(call->store, call->rest, NULL);
    }
    call->reply->status = 204;
}

static void versions(struct ct_dev_call *call)
{
    json_t *all = json_object_get(call->store->secrets, call->rest);
    json_t *described = json_object();
    size_t i;
    json_t *version;
    if (all == NULL) {
        json_decref(described);
        ct_dev_fail(call, 404, NULL);
        return;
    }
    json_array_foreach(all, i, version)
    {
        char name[24];
        (void)snprintf(name, sizeof(name), "%zu", i + 1);
        (void)json_object_set_new(described, name, metadata_of(version, i + 1));
    }
    ct_dev_answer(call, json_pack("{s:{s:I,s:i,s:o}}", "data", "current_version",
                                  (json_int_t)json_array_size(all), "oldest_version", 1, "versions",
                                  described));
}

// ---- KV version 1, at kv/

static void read_plain(struct ct_dev_call *call)
{
    json_t *data = json_object_get(call->store->plain, call->rest);
    if (data == NULL) {
        ct_dev_fail(call, 404, NULL);
        return;
    }
    ct_dev_answer(call, json_pack("{s:s,s:i,s:b,s:O}", "lease_id", "", "lease_duration", 2764800,
                                  "renewable", 0, "data", data));
}

static void write_plain(struct ct_dev_call *call)
{
    CT_AUTO_JSON doc = NULL;
    const struct ct_httpd_request *request = call->request;
    int r = ct_json_parse(request->body, request->body_len, "body", &doc, NULL);
    if (r < 0 || json_object_size(doc) == 0) {
        ct_dev_fail(call, 400, "missing data fields");
        return;
    }
    if (json_object_set(call->store->plain, call->rest, doc) < 0) {
        ct_dev_fail(call, 500, "out of memory");
        return;
    }
    call->reply->status = 204;
}

static void delete_plain(struct ct_dev_call *call)
{
    (void)json_object_del(call->store->plain, call->rest);
    call->reply->status = 204;
}

// ---- what goes where

enum needs { NOTHING, TOKEN, READ, ROOT };

static const struct endpoint {
    const char *method; // POST is PUT too
    const char *path;   // with a trailing '/': a prefix, and the rest is what the handler works on
    enum needs needs;
    void (*handle)(struct ct_dev_call *call);
} endpoints[] = {
    {"GET", "/v1/sys/health", NOTHING, health},
    {"GET", "/v1/sys/internal/ui/mounts/", TOKEN, mount},
    {"POST", "/v1/auth/kubernetes/login", NOTHING, ct_dev_login_jwt},
    {"POST", "/v1/auth/jwt/login", NOTHING, ct_dev_login_jwt},
    {"POST", "/v1/auth/approle/login", NOTHING, ct_dev_login_approle},
    {"GET", "/v1/auth/approle/role/", ROOT, ct_dev_role_id},
    {"POST", "/v1/auth/approle/role/", ROOT, ct_dev_secret_id},
    {"POST", "/v1/sys/wrapping/lookup", NOTHING, ct_dev_wrapping_lookup},
    {"POST", "/v1/sys/wrapping/unwrap", NOTHING, ct_dev_unwrap},
    {"GET", "/v1/auth/token/lookup-self", TOKEN, ct_dev_lookup_self},
    {"POST", "/v1/auth/token/renew-self", TOKEN, ct_dev_renew_self},
    {"POST", "/v1/auth/token/revoke-self", TOKEN, ct_dev_revoke_self},
    {"GET", "/v1/secret/data/", READ, read_secret},
    {"POST", "/v1/secret/data/", ROOT, write_secret},
    {"DELETE", "/v1/secret/data/", ROOT, delete_secret},
    {"GET", "/v1/secret/metadata/", READ, versions},
    {"GET", "/v1/kv/", READ, read_plain},
    {"POST", "/v1/kv/", ROOT, write_plain},
    {"DELETE", "/v1/kv/", ROOT, delete_plain},
};

static bool allowed(struct ct_dev_call *call, enum needs needs)
{
    if (needs == NOTHING) {
        return true;
    }
    call->token = ct_dev_store_find(call->store, call->request->token, CT_DEV_TOKEN);
    if (call->token == NULL || needs == TOKEN) {
        return call->token != NULL;
    }
    return needs == ROOT ? call->token == &call->store->tokens[0]
                         : ct_dev_store_may_read(call->store, call->token, call->rest);
}

static void dispatch(struct ct_dev_call *call)
{
    bool known = false;
    const char *path = call->request->path;
    for (size_t i = 0; i < CT_ARRAY_LEN(endpoints); i++) {
        const struct endpoint *endpoint = &endpoints[i];
        size_t len = strlen(endpoint->path);
        bool prefix = endpoint->path[len - 1] == '/';
        if (prefix ? strncmp(path, endpoint->path, len) != 0 || path[len] == '\0'
                   : strcmp(path, endpoint->path) != 0) {
            continue;
        }
        known = true;
        if (is_method(call, endpoint->method)) {
            call->rest = path + len;
            if (allowed(call, endpoint->needs)) {
                endpoint->handle(call);
            } else {
                ct_dev_fail(call, 403, "permission denied");
            }
            return;
        }
    }
    ct_dev_fail(call, known ? 405 : 404, known ? "unsupported operation" : "no handler for route");
}

static void handle(void *cls, const struct ct_httpd_request *request, struct ct_httpd_reply *reply)
{
    struct ct_dev_vault *vault = cls;
    struct ct_dev_call call = {
        .store = &vault->store, .request = request, .reply = reply, .rest = ""};
    (void)pthread_mutex_lock(&vault->lock);
    dispatch(&call);
    (void)pthread_mutex_unlock(&vault->lock);
}

const struct ct_httpd_route ct_dev_vault_routes[] = {{"*", "/*", false, handle}};
const size_t ct_dev_vault_n_routes = CT_ARRAY_LEN(ct_dev_vault_routes);
