// SPDX-License-Identifier: Apache-2.0
//
// Vault's answers: the first byte chooses what they are taken for, the rest is the body. No sentence
// may hold a hidden string.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vault_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ct_vault_hidden hidden = {.token = "hvs.hidden-token-0123",
                                              .credential = "eyJhidden.jwt-0123.signature"};

static void expect_hidden(const char *text)
{
    if (strstr(text, hidden.token) != NULL || strstr(text, hidden.credential) != NULL) {
        abort();
    }
}

static void as_login(const char *body, size_t len)
{
    char *token = NULL;
    struct ct_err err = {0};
    struct ct_vault_lease lease;
    if (ct_vault_parse_login(body, len, &token, &lease, &err) == 0 && !ct_vault_token_ok(token)) {
        abort();
    }
    expect_hidden(err.msg);
    free(token);
}

static void as_secret(const char *body, size_t len)
{
    json_t *keys = NULL;
    struct ct_err err = {0};
    const struct ct_vault_asked asked = {.path = "mount/data/name", .version = 2};
    if (ct_vault_parse_secret(body, len, &asked, &keys, &err) == 0 && !json_is_object(keys)) {
        abort();
    }
    expect_hidden(err.msg);
    json_decref(keys);
}

static void as_missing(const char *body, size_t len)
{
    struct ct_err err = {0};
    const struct ct_vault_asked asked = {.path = "mount/name"};
    if (ct_vault_parse_missing(body, len, &asked, &err) == 0) {
        abort();
    }
    expect_hidden(err.msg);
}

static void as_errors(const char *body, size_t len)
{
    char quote[CT_VAULT_QUOTE_MAX + 8];
    (void)ct_vault_says_sealed(body, len);
    ct_vault_quote_errors(body, len, &hidden, quote, sizeof(quote));
    expect_hidden(quote);
    for (const char *c = quote; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const takers[])(const char *, size_t) = {as_login, as_secret, as_missing,
                                                           as_errors};
    if (size == 0) {
        return 0;
    }
    takers[data[0] % 4]((const char *)data + 1, size - 1);
    return 0;
}
