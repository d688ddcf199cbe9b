// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "dev_vault_call.h"
#include "json.h"
#include "log.h"
#include "text.h"

#define MAX_WRAP_TTL 86400

// ---- tokens

static json_int_t ttl_of(const struct ct_dev_token *token)
{
    return token->expiry == 0 ? 0 : (json_int_t)(token->expiry - time(NULL));
}

static json_t *auth_of(const struct ct_dev_token *token)
{
    return json_pack("{s:{s:s,s:[s],s:[s],s:I,s:b,s:s,s:{s:s}}}", "auth", "client_token",
                     token->text, "policies", token->role, "token_policies", token->role,
                     "lease_duration", ttl_of(token), "renewable", token->expiry != 0, "token_type",
                     "service", "metadata", "role", token->role);
}

void ct_dev_lookup_self(struct ct_dev_call *call)
{
    const struct ct_dev_token *token = call->token;
    ct_dev_answer(call,
                  json_pack("{s:{s:s,s:[s],s:I,s:b,s:s,s:s}}", "data", "id", token->text,
                            "policies", token->role, "ttl", ttl_of(token), "renewable",
                            token->expiry != 0, "display_name", token->role, "type", "service"));
}

void ct_dev_renew_self(struct ct_dev_call *call)
{
    if (call->token->expiry == 0) {
        ct_dev_fail(call, 400, "lease is not renewable");
        return;
    }
    call->token->expiry = time(NULL) + CT_DEV_VAULT_TTL;
    ct_dev_answer(call, auth_of(call->token));
}

void ct_dev_revoke_self(struct ct_dev_call *call)
{
    if (call->token == &call->store->tokens[0]) {
        ct_dev_fail(call, 400, "the root token of a development server is not revoked");
        return;
    }
    ct_dev_store_revoke(call->token);
    call->reply->status = 204;
}

// ---- logins

// The object that was sent; NULL when it was answered already that there is none.
static json_t *body_of(struct ct_dev_call *call)
{
    const struct ct_httpd_request *request = call->request;
    json_t *doc = NULL;
    if (ct_json_parse(request->body, request->body_len, "body", &doc, NULL) < 0) {
        ct_dev_fail(call, 400, "failed to parse JSON input");
    }
    return doc;
}

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

static void let_in(struct ct_dev_call *call, const char *role, const char *how)
{
    struct ct_dev_token *token =
        ct_dev_store_issue(call->store, role, CT_DEV_TOKEN, CT_DEV_VAULT_TTL);
    if (token == NULL) {
        ct_dev_fail(call, 500, "no room for another token");
        return;
    }
    ct_log(CT_LOG_INFO, "login as role %s: let in, %s", role, how);
    ct_dev_answer(call, auth_of(token));
}

void ct_dev_login_jwt(struct ct_dev_call *call)
{
    CT_AUTO_JSON doc = body_of(call);
    char error[256];
    if (doc == NULL) {
        return;
    }
    const char *role = ct_json_str(doc, "role");
    if (!is_given(role) || !is_given(ct_json_str(doc, "jwt"))) {
        ct_dev_fail(call, 400, is_given(role) ? "missing jwt" : "missing role");
        return;
    }
    if (json_object_get(call->store->roles, role) == NULL) {
        (void)snprintf(error, sizeof(error), "invalid role name \"%.200s\"", role);
        ct_dev_fail(call, 400, error);
        return;
    }
    let_in(call, role, "its JWT was not verified");
}

void ct_dev_login_approle(struct ct_dev_call *call)
{
    CT_AUTO_JSON doc = body_of(call);
    if (doc == NULL) {
        return;
    }
    const char *role = ct_json_str(doc, "role_id");
    const char *id = ct_json_str(doc, "secret_id");
    if (!is_given(role) || !is_given(id)) {
        ct_dev_fail(call, 400, is_given(role) ? "missing secret_id" : "missing role_id");
        return;
    }
    const struct ct_dev_token *found = ct_dev_store_find(call->store, id, CT_DEV_SECRET_ID);
    if (json_object_get(call->store->roles, role) == NULL || found == NULL ||
        strcmp(found->role, role) != 0) {
        ct_dev_fail(call, 400, "invalid role or secret ID");
        return;
    }
    let_in(call, role, "by its secret id");
}

// ---- role ids and secret ids

// The role of auth/approle/role/NAME/WHAT; NULL when it was answered already that there is none.
static const char *role_of(struct ct_dev_call *call, const char *what, char name[64])
{
    size_t len = strcspn(call->rest, "/");
    if (len > 0 && len < 64 && call->rest[len] == '/' && strcmp(call->rest + len + 1, what) == 0) {
        memcpy(name, call->rest, len);
        name[len] = '\0';
        if (json_object_get(call->store->roles, name) != NULL) {
            return name;
        }
    }
    ct_dev_fail(call, 404, NULL);
    return NULL;
}

// A role's id is its name.
void ct_dev_role_id(struct ct_dev_call *call)
{
    char name[64];
    if (role_of(call, "role-id", name) != NULL) {
        ct_dev_answer(call, json_pack("{s:{s:s}}", "data", "role_id", name));
    }
}

// "60", "60s", "5m", "1h" as Vault takes it; 0 for none. False when it is none of these.
static bool read_ttl(const char *text, unsigned long *ret)
{
    static const struct {
        const char *unit;
        unsigned long seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
    size_t digits = strspn(text, "0123456789");
    *ret = 0;
    if (*text == '\0') {
        return true;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0 &&
            ct_text_number(text, digits, MAX_WRAP_TTL / units[i].seconds, ret)) {
            *ret *= units[i].seconds;
            return *ret > 0;
        }
    }
    return false;
}

// Takes the reference: the answer is kept, and a token for it given instead.
static void wrap(struct ct_dev_call *call, json_t *doc, unsigned long ttl, const char *role)
{
    struct ct_dev_token *token =
        ct_dev_store_issue(call->store, role, CT_DEV_WRAPPING, (time_t)ttl);
    if (token == NULL) {
        json_decref(doc);
        ct_dev_fail(call, 500, "no room for another token");
        return;
    }
    token->wrapped = doc;
    (void)snprintf(token->made_by, sizeof(token->made_by), "%s",
                   call->request->path + strlen("/v1/"));
    ct_dev_answer(call, json_pack("{s:{s:s,s:I,s:s}}", "wrap_info", "token", token->text, "ttl",
                                  (json_int_t)ttl, "creation_path", token->made_by));
}

void ct_dev_secret_id(struct ct_dev_call *call)
{
    char name[64];
    unsigned long wrap_ttl = 0;
    if (role_of(call, "secret-id", name) == NULL) {
        return;
    }
    if (!read_ttl(ct_httpd_request_header(call->request, "X-Vault-Wrap-TTL"), &wrap_ttl)) {
        ct_dev_fail(call, 400, "X-Vault-Wrap-TTL is no duration of at most 24h");
        return;
    }
    const struct ct_dev_token *id =
        ct_dev_store_issue(call->store, name, CT_DEV_SECRET_ID, CT_DEV_VAULT_TTL);
    if (id == NULL) {
        ct_dev_fail(call, 500, "no room for another token");
        return;
    }
    json_t *doc = json_pack("{s:{s:s,s:I,s:i}}", "data", "secret_id", id->text, "secret_id_ttl",
                            ttl_of(id), "secret_id_num_uses", 0);
    if (wrap_ttl > 0) {
        wrap(call, doc, wrap_ttl, name);
    } else {
        ct_dev_answer(call, doc);
    }
}

// ---- wrapped answers

// By the body's token, or else the caller's own. NULL when it was answered already.
static struct ct_dev_token *wrapping_token(struct ct_dev_call *call)
{
    CT_AUTO_JSON doc = NULL;
    const struct ct_httpd_request *request = call->request;
    const char *text = request->token;
    if (ct_json_parse(request->body, request->body_len, "body", &doc, NULL) == 0 &&
        is_given(ct_json_str(doc, "token"))) {
        text = ct_json_str(doc, "token");
    }
    struct ct_dev_token *token = ct_dev_store_find(call->store, text, CT_DEV_WRAPPING);
    if (token == NULL) {
        ct_dev_fail(call, 400, "wrapping token is not valid or does not exist");
    }
    return token;
}

void ct_dev_wrapping_lookup(struct ct_dev_call *call)
{
    const struct ct_dev_token *token = wrapping_token(call);
    if (token != NULL) {
        ct_dev_answer(call, json_pack("{s:{s:s,s:I}}", "data", "creation_path", token->made_by,
                                      "creation_ttl", ttl_of(token)));
    }
}

void ct_dev_unwrap(struct ct_dev_call *call)
{
    struct ct_dev_token *token = wrapping_token(call);
    if (token != NULL) {
        ct_dev_answer(call, ct_steal(&token->wrapped));
        ct_dev_store_revoke(token);
    }
}
