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
           !shares_run(text, hidden->jwt);
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

int ct_vault_parse_login(const char *body, size_t len, char **ret, struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    int rc = ct_json_parse(body, len, "Vault's answer to the login", &doc, err);
    if (rc == -CT_ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        return ct_err_set(err, CT_EPROTO,
                          "Vault's answer to the login is not JSON, or is cut short");
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
    *ret = strdup(token);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for the token");
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

// A version may carry a deletion time that lies in the future (delete_version_after): then its data
// is still there, so the data decides and the metadata only explains.
int ct_vault_parse_secret(const char *body, size_t len, const struct ct_vault_asked *asked,
                          json_t **ret, struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    int rc = ct_json_parse(body, len, "Vault's answer", &doc, err);
    if (rc == -CT_ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        return ct_err_set(err, CT_EPROTO,
                          "Vault's answer for secret %s is not JSON, or is cut short", asked->path);
    }
    json_t *data = ct_json_at(doc, "data", "data", NULL);
    const json_t *metadata = ct_json_at(doc, "data", "metadata", NULL);
    if (!json_is_object(data)) {
        if (json_is_null(data) && json_is_object(metadata)) {
            return say_deleted(asked, metadata, err);
        }
        return ct_err_set(err, CT_EPROTO,
                          "secret %s: not a KV version 2 answer: the path must be MOUNT/data/NAME",
                          asked->path);
    }
    const json_t *version = json_object_get(metadata, "version");
    if (asked->version != 0 && json_is_integer(version) &&
        json_integer_value(version) != (json_int_t)asked->version) {
        return ct_err_set(err, CT_EPROTO,
                          "secret %s: version %u was asked for, Vault gave version %lld",
                          asked->path, asked->version, (long long)json_integer_value(version));
    }
    *ret = json_incref(data);
    return 0;
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
