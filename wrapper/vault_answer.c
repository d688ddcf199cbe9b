// SPDX-License-Identifier: Apache-2.0
#include "vault_answer.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "json.h"

#define SHARED_RUN 8

static bool shares_run(const char *text, const char *hidden)
{
    if (hidden == NULL || hidden[0] == '\0') {
        return false;
    }
    size_t len = strlen(hidden);
    if (len <= SHARED_RUN) {
        return strstr(text, hidden) != NULL;
    }
    size_t text_len = strlen(text);
    for (size_t i = 0; i + SHARED_RUN <= text_len; i++) {
        if (memmem(hidden, len, text + i, SHARED_RUN) != NULL) {
            return true;
        }
    }
    return false;
}

// Before a login the token is not known yet; what is built like one, or like a JWT, is not shown.
static bool looks_like_credential(const char *text)
{
    static const char *const marks[] = {"hvs.", "hvb.", "hvr.", "eyJ"};
    for (size_t i = 0; i < CT_ARRAY_LEN(marks); i++) {
        if (strstr(text, marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

bool ct_vault_may_quote(const char *text, const struct ct_vault_hidden *hidden)
{
    return !looks_like_credential(text) && !shares_run(text, hidden->token) &&
           !shares_run(text, hidden->credential);
}

bool ct_vault_token_ok(const char *s)
{
    size_t len = 0;
    for (; s[len] != '\0'; len++) {
        if (s[len] <= ' ' || s[len] > '~' || len >= CT_VAULT_TOKEN_MAX) {
            return false;
        }
    }
    return len > 0;
}

static void add_error(const char *message, char *out, size_t out_size)
{
    size_t used = strlen(out);
    (void)snprintf(out + used, out_size - used, "%s%s", used == 0 ? ": " : "; ", message);
}

void ct_vault_quote_errors(const char *body, size_t len, const struct ct_vault_hidden *hidden,
                           char *out, size_t out_size)
{
    char text[2 + CT_VAULT_QUOTE_MAX + 1] = "";
    CT_AUTO_JSON doc = NULL;
    out[0] = '\0';
    if (ct_json_parse(body, len, "Vault's answer", &doc, NULL) != 0) {
        return;
    }
    const json_t *errors = ct_json_at(doc, "errors", NULL);
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const char *message = json_string_value(json_array_get(errors, i));
        // Looked at whole: cutting first could leave less of a hidden string than is recognised.
        if (message == NULL || !ct_vault_may_quote(message, hidden)) {
            continue;
        }
        add_error(message, text, sizeof(text));
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') {
            *c = '?';
        }
    }
    (void)snprintf(out, out_size, "%s", text);
}

bool ct_vault_says_sealed(const char *body, size_t len)
{
    static const char *const words[] = {"Vault is sealed", "\"sealed\":true"};
    for (size_t i = 0; i < CT_ARRAY_LEN(words); i++) {
        if (body != NULL && memmem(body, len, words[i], strlen(words[i])) != NULL) {
            return true;
        }
    }
    return false;
}

// `what` names the answer.
CT_CHECKED static int parse(const char *body, size_t len, const char *what, json_t **ret,
                            struct ct_err *err)
{
    int rc = ct_json_parse(body, len, what, ret, err);
    if (rc == 0 || rc == -CT_ENOMEM) {
        return rc;
    }
    if (err != NULL) {
        err->code = CT_EPROTO; // nothing that a person wrote
    }
    return -CT_EPROTO;
}

static void take_lease(const json_t *object, const char *key, struct ct_vault_lease *ret)
{
    const json_t *seconds = json_object_get(object, key);
    json_int_t n = json_integer_value(seconds);
    *ret = (struct ct_vault_lease){
        .known = json_is_integer(seconds) && n >= 0,
        .renewable = json_is_true(json_object_get(object, "renewable")),
    };
    if (ret->known) {
        ret->seconds = n < (json_int_t)CT_VAULT_LEASE_MAX ? (unsigned long)n : CT_VAULT_LEASE_MAX;
    }
}

int ct_vault_parse_lookup(const char *body, size_t len, struct ct_vault_lease *ret,
                          struct ct_err *err)
{
    static const char what[] = "looking the token up";
    CT_AUTO_JSON doc = NULL;
    int rc = ct_json_parse(body, len, what, &doc, err);
    if (rc == -CT_ENOMEM) {
        return rc;
    }
    if (rc == 0) {
        take_lease(json_object_get(doc, "data"), "ttl", ret);
    }
    if (rc < 0 || !ret->known) {
        return ct_err_set(err, CT_EPROTO, "%s: Vault's answer holds no data.ttl", what);
    }
    return 0;
}

int ct_vault_parse_login(const char *body, size_t len, char **ret, struct ct_vault_lease *lease,
                         struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    int rc = parse(body, len, "Vault's answer to the login", &doc, err);
    if (rc < 0) {
        return rc;
    }
    const char *token = json_string_value(ct_json_at(doc, "auth", "client_token", NULL));
    if (token == NULL) {
        bool mfa = json_is_object(ct_json_at(doc, "auth", "mfa_requirement", NULL));
        return ct_err_set(
            err, CT_EPROTO, "Vault's answer to the login holds no auth.client_token%s",
            mfa ? ": the role asks for a second factor, which a program has not" : "");
    }
    if (!ct_vault_token_ok(token)) {
        return ct_err_set(
            err, CT_EPROTO,
            "Vault's answer to the login holds a token that is empty, too long or not "
            "printable");
    }
    if (lease != NULL) {
        take_lease(json_object_get(doc, "auth"), "lease_duration", lease);
    }
    *ret = strdup(token);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for the token");
}

int ct_vault_parse_text(const char *body, size_t len, const char *what, const char *key, char **ret,
                        struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    char answer[256];
    (void)snprintf(answer, sizeof(answer), "%s: Vault's answer", what);
    int rc = parse(body, len, answer, &doc, err);
    if (rc < 0) {
        return rc;
    }
    const char *text = ct_json_str(json_object_get(doc, "data"), key);
    if (text == NULL) {
        return ct_err_set(err, CT_EPROTO, "%s: Vault's answer holds no data.%s", what, key);
    }
    *ret = strdup(text);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "%s: out of memory", what);
}

static int say_deleted(const struct ct_vault_asked *asked, const json_t *metadata,
                       struct ct_err *err)
{
    json_int_t version = json_integer_value(json_object_get(metadata, "version"));
    bool destroyed = json_is_true(json_object_get(metadata, "destroyed"));
    const char *how = destroyed ? "destroyed" : "deleted";
    if (version <= 0) {
        version = (json_int_t)asked->version;
    }
    if (version <= 0) {
        return ct_err_set(err, CT_ENOTFOUND, "the newest version of secret %s is %s", asked->path,
                          how);
    }
    return ct_err_set(err, CT_ENOTFOUND, "version %lld of secret %s is %s", (long long)version,
                      asked->path, how);
}

static bool is_deleted(const json_t *metadata)
{
    const char *time = ct_json_str(metadata, "deletion_time");
    return json_is_true(json_object_get(metadata, "destroyed")) ||
           (time != NULL && time[0] != '\0');
}

// Is `data` what KV version 2 wraps a secret in? Then it holds two members and no others: data, an
// object or null, and metadata with the three members that every version has. What a version 1
// secret of that very shape would lose by being taken for one of version 2 are two keys that are no
// strings and could not have become variables.
static bool is_version_2(const json_t *data)
{
    const json_t *keys = json_object_get(data, "data");
    const json_t *metadata = json_object_get(data, "metadata");
    return json_object_size(data) == 2 && (json_is_object(keys) || json_is_null(keys)) &&
           json_is_integer(json_object_get(metadata, "version")) &&
           json_is_string(json_object_get(metadata, "deletion_time")) &&
           json_is_boolean(json_object_get(metadata, "destroyed"));
}

static int take_version_1(const json_t *doc, json_t *data, const struct ct_vault_asked *asked,
                          json_t **ret, struct ct_err *err)
{
    const char *lease = ct_json_str(doc, "lease_id");
    if (lease != NULL && lease[0] != '\0') {
        return ct_err_set(err, CT_EPROTO,
                          "secret %s is made for this reader and leased, not kept: only secrets of "
                          "a KV engine can be read",
                          asked->path);
    }
    if (asked->version != 0) {
        return ct_err_set(
            err, CT_EINVAL,
            "secret %s: version %u was asked for, and KV version 1 keeps no versions: "
            "remove #%u from the reference",
            asked->path, asked->version, asked->version);
    }
    *ret = json_incref(data);
    return 0;
}

// A version may carry a deletion time that lies in the future (delete_version_after): then its data
// is still there, so the data decides and the metadata only explains.
static int take_version_2(json_t *data, const struct ct_vault_asked *asked, json_t **ret,
                          struct ct_err *err)
{
    json_t *keys = json_object_get(data, "data");
    const json_t *metadata = json_object_get(data, "metadata");
    if (json_is_null(keys)) {
        return say_deleted(asked, metadata, err);
    }
    json_int_t version = json_integer_value(json_object_get(metadata, "version"));
    if (asked->version != 0 && version != (json_int_t)asked->version) {
        return ct_err_set(err, CT_EPROTO,
                          "secret %s: version %u was asked for, Vault gave version %lld",
                          asked->path, asked->version, (long long)version);
    }
    *ret = json_incref(keys);
    return 0;
}

int ct_vault_parse_secret(const char *body, size_t len, const struct ct_vault_asked *asked,
                          json_t **ret, struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    char answer[256];
    (void)snprintf(answer, sizeof(answer), "Vault's answer for secret %s", asked->path);
    int rc = parse(body, len, answer, &doc, err);
    if (rc < 0) {
        return rc;
    }
    json_t *data = json_object_get(doc, "data");
    if (!json_is_object(data)) {
        return ct_err_set(
            err, CT_EPROTO,
            "secret %s: not the answer of a KV engine: the path must be MOUNT/data/NAME "
            "for KV version 2, MOUNT/NAME for version 1",
            asked->path);
    }
    return is_version_2(data) ? take_version_2(data, asked, ret, err)
                              : take_version_1(doc, data, asked, ret, err);
}

int ct_vault_parse_missing(const char *body, size_t len, const struct ct_vault_asked *asked,
                           struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    if (ct_json_parse(body, len, "Vault's answer", &doc, NULL) == 0) {
        const json_t *metadata = ct_json_at(doc, "data", "metadata", NULL);
        if (is_deleted(metadata)) {
            return say_deleted(asked, metadata, err);
        }
    }
    bool v2_shaped = strstr(asked->path, "/data/") != NULL;
    const char *hint = v2_shaped ? "" : " (KV version 2: the path must be MOUNT/data/NAME)";
    if (asked->version != 0) {
        return ct_err_set(err, CT_ENOTFOUND, "Vault has no version %u of secret %s%s",
                          asked->version, asked->path, hint);
    }
    return ct_err_set(err, CT_ENOTFOUND, "Vault has no secret %s%s", asked->path, hint);
}
