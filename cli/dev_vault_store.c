// SPDX-License-Identifier: Apache-2.0
#include "dev_vault_store.h"

#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/random.h>

#include "file.h"
#include "json.h"
#include "text.h"

#define MAX_TOKENS 4096
#define MAX_FILE (4u * 1024 * 1024)

int ct_dev_store_init(struct ct_dev_store *store, const char *root_token, struct ct_err *err)
{
    store->secrets = json_object();
    store->plain = json_object();
    store->roles = json_object();
    store->tokens = calloc(MAX_TOKENS, sizeof(*store->tokens));
    if (store->secrets == NULL || store->plain == NULL || store->roles == NULL ||
        store->tokens == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the store");
    }
    struct ct_dev_token *root = ct_dev_store_issue(store, "root", CT_DEV_TOKEN, 0);
    if (root == NULL) {
        return ct_err_set(err, CT_ESYSTEM, "no random numbers for a token");
    }
    root->expiry = 0;
    if (root_token != NULL && root_token[0] != '\0') {
        if (strlen(root_token) >= sizeof(root->text)) {
            return ct_err_set(err, CT_ETOOBIG, "the root token is longer than %zu characters",
                              sizeof(root->text) - 1);
        }
        memset(root->text, 0, sizeof(root->text));
        memcpy(root->text, root_token, strlen(root_token));
    }
    return 0;
}

void ct_dev_store_done(struct ct_dev_store *store)
{
    json_decref(store->secrets);
    json_decref(store->plain);
    json_decref(store->roles);
    for (size_t i = 0; i < store->n_tokens; i++) {
        json_decref(store->tokens[i].wrapped);
    }
    if (store->tokens != NULL) {
        explicit_bzero(store->tokens, MAX_TOKENS * sizeof(*store->tokens));
    }
    free(store->tokens);
    *store = (struct ct_dev_store){0};
}

int ct_dev_store_role(struct ct_dev_store *store, const char *text, struct ct_err *err)
{
    char name[sizeof(store->tokens->role)];
    const char *equals = strchrnul(text, '=');
    size_t len = (size_t)(equals - text);
    if (len == 0 || len >= sizeof(name) || !ct_text_consists(text, len, "-_.")) {
        return ct_err_set(
            err, CT_EINVAL,
            "role '%s': use NAME or NAME=PREFIX,PREFIX with a name of letters, digits, "
            "'-', '_' and '.'",
            text);
    }
    memcpy(name, text, len);
    name[len] = '\0';
    json_t *prefixes = json_array();
    const char *rest = *equals == '=' ? equals + 1 : "";
    const char *entry = NULL;
    while (ct_text_next(&rest, &entry, &len)) {
        (void)json_array_append_new(prefixes, json_stringn(entry, len));
    }
    return json_object_set_new(store->roles, name, prefixes) == 0
               ? 0
               : ct_err_set(err, CT_ENOMEM, "out of memory for roles");
}

CT_CHECKED static int load_path(struct ct_dev_store *store, const char *file, const char *path,
                                json_t *value, struct ct_err *err)
{
    CT_AUTO_JSON versions = json_is_array(value) ? json_incref(value) : json_pack("[O]", value);
    size_t i;
    json_t *data;
    if (!ct_text_is_path(path, strlen(path)) || json_array_size(versions) == 0) {
        return ct_err_set(err, CT_EINVAL, "%s: '%s' is no path, or has no version", file, path);
    }
    json_array_foreach(versions, i, data)
    {
        if (!json_is_object(data)) {
            return ct_err_set(err, CT_EINVAL,
                              "%s: '%s' must be an object of keys and values, or an array of such",
                              file, path);
        }
        if (ct_dev_store_put(store, path, data) == 0) {
            return ct_err_set(err, CT_ENOMEM, "out of memory for %s", file);
        }
    }
    return 0;
}

int ct_dev_store_load(struct ct_dev_store *store, const char *file, struct ct_err *err)
{
    CT_AUTO_SECRET_BUF text = {.max = MAX_FILE};
    CT_AUTO_JSON doc = NULL;
    const char *path;
    json_t *value;
    int r = ct_file_read(file, &text, err);
    if (r == 0) {
        r = ct_json_parse(text.data != NULL ? text.data : "", text.len, file, &doc, err);
    }
    if (r == 0 && !json_is_object(doc)) {
        r = ct_err_set(err, CT_EINVAL, "%s must be an object of paths", file);
    }
    json_object_foreach(doc, path, value)
    {
        r = r < 0 ? r : load_path(store, file, path, value, err);
    }
    return r;
}

static bool is_over(const struct ct_dev_token *token, time_t now)
{
    return token->expiry != 0 && token->expiry < now;
}

// "hvs." and characters of Base64url, or of a secret id the shape of a UUID.
static void write_text(struct ct_dev_token *token, const unsigned char random[CT_DEV_VAULT_TOKEN])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t n = 0;
    if (token->kind == CT_DEV_SECRET_ID) {
        for (size_t i = 0; shape[i] != '\0'; i++) {
            token->text[i] = shape[i] == 'x' ? "0123456789abcdef"[random[n++] % 16] : '-';
        }
        return;
    }
    memcpy(token->text, "hvs.", 4);
    for (; n < CT_DEV_VAULT_TOKEN; n++) {
        token->text[4 + n] = digits[random[n] % 64];
    }
}

struct ct_dev_token *ct_dev_store_issue(struct ct_dev_store *store, const char *role,
                                        enum ct_dev_kind kind, time_t ttl)
{
    unsigned char random[CT_DEV_VAULT_TOKEN];
    time_t now = time(NULL);
    struct ct_dev_token *token = NULL;
    for (size_t i = 0; i < MAX_TOKENS && token == NULL; i++) {
        bool free = i >= store->n_tokens || is_over(&store->tokens[i], now);
        token = free ? &store->tokens[i] : NULL;
    }
    if (token == NULL || getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return NULL;
    }
    if (token == &store->tokens[store->n_tokens]) {
        store->n_tokens++;
    }
    json_decref(token->wrapped);
    memset(token, 0, sizeof(*token));
    token->kind = kind;
    write_text(token, random);
    (void)snprintf(token->role, sizeof(token->role), "%s", role);
    token->expiry = ttl == 0 ? 0 : now + ttl;
    return token;
}

struct ct_dev_token *ct_dev_store_find(struct ct_dev_store *store, const char *text,
                                       enum ct_dev_kind kind)
{
    char padded[sizeof(store->tokens->text)] = {0};
    struct ct_dev_token *found = NULL;
    size_t len = strlen(text);
    if (len == 0 || len >= sizeof(padded)) {
        return NULL;
    }
    memcpy(padded, text, len);
    for (size_t i = 0; i < store->n_tokens; i++) {
        struct ct_dev_token *token = &store->tokens[i];
        // No early end: the time tells nothing about which one it was.
        if (gnutls_memcmp(padded, token->text, sizeof(padded)) == 0 && token->kind == kind) {
            found = token;
        }
    }
    return found != NULL && !is_over(found, time(NULL)) ? found : NULL;
}

void ct_dev_store_revoke(struct ct_dev_token *token)
{
    token->expiry = 1;
}

bool ct_dev_store_may_read(const struct ct_dev_store *store, const struct ct_dev_token *token,
                           const char *path)
{
    json_t *prefixes = json_object_get(store->roles, token->role);
    size_t i;
    json_t *prefix;
    if (token == &store->tokens[0] || json_array_size(prefixes) == 0) {
        return token == &store->tokens[0] || prefixes != NULL;
    }
    json_array_foreach(prefixes, i, prefix)
    {
        if (strncmp(path, json_string_value(prefix), json_string_length(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

size_t ct_dev_store_put(struct ct_dev_store *store, const char *path, json_t *data)
{
    char created[32];
    time_t now = time(NULL);
    struct tm utc;
    (void)strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *versions = json_object_get(store->secrets, path);
    if (versions == NULL) {
        versions = json_array();
        if (json_object_set_new(store->secrets, path, versions) < 0) {
            return 0;
        }
    }
    json_t *version = json_pack("{s:O?,s:s}", "data", data, "created_time", created);
    return json_array_append_new(versions, version) == 0 ? json_array_size(versions) : 0;
}

json_t *ct_dev_store_get(const struct ct_dev_store *store, const char *path, size_t n, size_t *ret)
{
    json_t *versions = json_object_get(store->secrets, path);
    *ret = n != 0 ? n : json_array_size(versions);
    return *ret == 0 ? NULL : json_array_get(versions, *ret - 1);
}
