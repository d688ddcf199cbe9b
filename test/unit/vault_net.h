// SPDX-License-Identifier: Apache-2.0
//
// The network of a test of the Vault client: canned answers in place of the HTTP layer, by --wrap of
// ct_http_new, ct_http_free, ct_http_set_timeout and ct_http_request.
#ifndef CT_TEST_VAULT_NET_H
#define CT_TEST_VAULT_NET_H

#include "expect.h"

#include <stdlib.h>
#include <unistd.h>

#include "buf.h"
#include "http.h"
#include "vault.h"

#define TOKEN "hvs.planted-token-0123456789"
#define JWT "eyJplanted.jwt-0123456789.signature"
#define LOGIN_OK "{\"auth\":{\"client_token\":\"" TOKEN "\"}}"
#define METADATA "\"metadata\":{\"version\":1,\"deletion_time\":\"\",\"destroyed\":false}"
#define SECRET_OK "{\"data\":{\"data\":{\"k\":\"v\"}," METADATA "}}"

int __wrap_ct_http_new(const struct ct_http_options *options, struct ct_http **ret,
                       struct ct_err *err);
void __wrap_ct_http_free(struct ct_http *http);
void __wrap_ct_http_set_timeout(struct ct_http *http, unsigned timeout_ms);
int __wrap_ct_http_request(struct ct_http *http, const char *url, const char *const *headers,
                           const char *body, size_t body_len, struct ct_http_answer *ret,
                           struct ct_err *err);

// One answer, or with `code` a failure of the transport.
struct reply {
    int code;
    const char *sentence;
    long status;
    const char *body;
    const char *location;
};

static struct {
    const struct reply *replies; // the last one is repeated
    size_t n;
    size_t served;
    size_t connected;
    size_t closed;
    unsigned timeout;
    char url[4096];
    char headers[4096];
    char body[32768];
} net;

static int a_connection;

int __wrap_ct_http_new(const struct ct_http_options *options, struct ct_http **ret,
                       struct ct_err *err)
{
    if (strcmp(options->ca_file, "/missing") == 0) {
        return ct_err_set(err, CT_ENOTFOUND, "cannot open the CA file /missing");
    }
    net.connected++;
    *ret = (struct ct_http *)&a_connection;
    return 0;
}

void __wrap_ct_http_free(struct ct_http *http)
{
    net.closed += http != NULL ? 1 : 0;
}

void __wrap_ct_http_set_timeout(struct ct_http *http, unsigned timeout_ms)
{
    (void)http;
    net.timeout = timeout_ms;
}

int __wrap_ct_http_request(struct ct_http *http, const char *url, const char *const *headers,
                           const char *body, size_t body_len, struct ct_http_answer *ret,
                           struct ct_err *err)
{
    assert_ptr_equal(http, &a_connection);
    const struct reply *reply = &net.replies[net.served < net.n ? net.served : net.n - 1];
    net.served++;
    (void)snprintf(net.url, sizeof(net.url), "%s", url);
    net.headers[0] = '\0';
    for (size_t i = 0; headers[i] != NULL; i++) {
        size_t used = strlen(net.headers);
        (void)snprintf(net.headers + used, sizeof(net.headers) - used, "%s|", headers[i]);
    }
    (void)snprintf(net.body, sizeof(net.body), "%.*s", (int)body_len, body != NULL ? body : "");
    *ret = (struct ct_http_answer){.status = reply->status, .body = {.max = 65536}};
    if (reply->code != 0) {
        return ct_err_set(err, (enum ct_code)reply->code, "%s", reply->sentence);
    }
    if (reply->location != NULL) {
        (void)snprintf(ret->location, sizeof(ret->location), "%s", reply->location);
    }
    ct_buf_add_str(&ret->body, reply->body != NULL ? reply->body : "");
    return 0;
}

static struct ct_config config;
static char token_file[] = "/tmp/ct-test-vault-XXXXXX";

static inline void serve(const struct reply *replies, size_t n)
{
    memset(&net, 0, sizeof(net));
    net.replies = replies;
    net.n = n;
}

static inline int reset(void **state)
{
    (void)state;
    ct_config_init(&config);
    (void)snprintf(config.vault_address, sizeof(config.vault_address), "https://v:8200");
    (void)snprintf(config.role, sizeof(config.role), "web");
    (void)snprintf(config.token_file, sizeof(config.token_file), "%s", token_file);
    config.retry_budget_ms = 0;
    return 0;
}

static inline void write_token(const char *text)
{
    FILE *f = fopen(token_file, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#endif
