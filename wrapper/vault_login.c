// SPDX-License-Identifier: Apache-2.0
//
// The ways to a token: a login with what a file holds, or the file's token itself.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "file.h"
#include "text.h"
#include "vault_answer.h"
#include "vault_internal.h"

// What was written into a pipe before this program was started is taken out of it, and the pipe is
// closed: nobody can read it again.
static int read_descriptor(int fd, struct ct_buf *out, struct ct_err *err)
{
    CT_AUTO_FD owned = fd;
    ssize_t n;
    do {
        char *to = ct_buf_reserve(out, out->max - out->len);
        if (to == NULL) {
            return ct_err_set(err, CT_ENOMEM, "out of memory for the token");
        }
        n = read(owned, to, out->max - out->len);
        if (n < 0 && errno != EINTR) {
            return ct_err_errno(err, "descriptor %d cannot be read", fd);
        }
        out->len += n > 0 ? (size_t)n : 0;
        to[n > 0 ? n : 0] = '\0';
    } while (n != 0 && out->len < out->max);
    return 0;
}

// The content of the token file, or of the descriptor, without surrounding white space.
static int read_token(struct ct_vault *v, char **ret, struct ct_err *err)
{
    const char *path = v->config->token_file;
    unsigned fd = v->config->token_fd;
    CT_AUTO_SECRET_BUF file = {.max = CT_VAULT_TOKEN_MAX + 64, .secret = true};
    v->exit_code = CT_EXIT_CONFIGURATION;
    int rc = fd != 0 ? read_descriptor((int)fd, &file, err) : ct_file_read(path, &file, err);
    if (rc < 0) {
        return ct_err_wrap(err, fd != 0 ? "the token cannot be taken over"
                                        : "the token file cannot be used");
    }
    static const char space[] = " \t\r\n";
    const char *begin = file.data != NULL ? file.data : "";
    begin += strspn(begin, space);
    size_t len = strlen(begin);
    while (len > 0 && strchr(space, begin[len - 1]) != NULL) {
        len--;
    }
    char *token = strndup(begin, len);
    if (token == NULL) {
        v->exit_code = CT_EXIT_OTHER;
        return ct_err_set(err, CT_ENOMEM, "out of memory for the token file");
    }
    if (!ct_vault_token_ok(token)) {
        ct_vault_wipe(&token);
        return ct_err_set(
            err, CT_EINVAL,
            "%s%s holds no token: one line of 1 to %d printable characters is allowed",
            fd != 0 ? "what was handed over" : "the token file ", path, CT_VAULT_TOKEN_MAX);
    }
    *ret = token;
    return 0;
}

static int no_memory(struct ct_vault *v, const char *what, struct ct_err *err)
{
    v->exit_code = CT_EXIT_OTHER;
    return ct_err_set(err, CT_ENOMEM, "%s: out of memory", what);
}

// POSTs up to two members and returns the complete answer; GETs it where `members` is NULL. A value of
// NULL leaves its member out.
struct member {
    const char *key;
    const char *value;
};

static int post(struct ct_vault *v, const char *path, const char *what, const char *token,
                const struct member members[2], struct ct_http_answer *ret, struct ct_err *err)
{
    char url[CT_VAULT_URL_MAX];
    int rc = ct_vault_make_url(v, path, "", url, sizeof(url), err);
    if (rc < 0) {
        return rc;
    }
    CT_AUTO_SECRET_BUF body = {.max = (size_t)4 * CT_VAULT_TOKEN_MAX, .secret = true};
    const char *before = "{";
    for (size_t i = 0; members != NULL && i < 2 && members[i].value != NULL; i++) {
        ct_buf_addf(&body, "%s\"%s\":", before, members[i].key);
        ct_buf_add_json(&body, members[i].value, strlen(members[i].value));
        before = ",";
    }
    ct_buf_add_str(&body, body.len == 0 ? "{}" : "}");
    if (body.failed) {
        return no_memory(v, what, err);
    }
    const struct ct_vault_request rq = {.url = url,
                                        .what = what,
                                        .body = members != NULL ? body.data : NULL,
                                        .body_len = body.len,
                                        .token = token,
                                        .refused_exit = CT_EXIT_LOGIN};
    return ct_vault_exchange(v, &rq, ret, err);
}

// ---- a response-wrapped secret id

#define INTERCEPTED                                                                                \
    "the secret id may have been intercepted: unless you know better, destroy it and make a new "  \
    "one"

// Where secret ids are made: auth/MOUNT/role/NAME/secret-id, behind the namespace where there is one.
static bool makes_secret_ids(const struct ct_config *c, const char *path)
{
    char prefix[sizeof(c->auth_path) + 16];
    size_t space = strlen(c->vault_namespace);
    if (space > 0 && strncmp(path, c->vault_namespace, space) == 0 && path[space] == '/') {
        path += space + 1;
    }
    (void)snprintf(prefix, sizeof(prefix), "auth/%s/role/", c->auth_path);
    if (strncmp(path, prefix, strlen(prefix)) != 0) {
        return false;
    }
    const char *end = strchr(path + strlen(prefix), '/');
    return end != NULL && (strcmp(end, "/secret-id") == 0 || strcmp(end, "/custom-secret-id") == 0);
}

static int explain_used(struct ct_vault *v, unsigned tries, struct ct_err *err)
{
    struct ct_err why = {0};
    if (err != NULL) {
        why = *err;
    }
    return ct_err_set(err, CT_EDENIED,
                      "the wrapping token in %s is not valid (any more): it works once and for its "
                      "time only, so a restart needs a new one. %s " INTERCEPTED " (%.160s)",
                      v->config->token_file,
                      tries > 1 ? "A try of this start whose answer was lost may have used it; else"
                                : "If nothing of yours used it,",
                      why.msg);
}

// A thief who unwraps a token may wrap what it held again; what Vault remembers of the new one's
// making then tells.
static int check_origin(struct ct_vault *v, struct ct_err *err)
{
    static const char what[] = "looking the wrapping token up";
    const struct member body[2] = {{"token", v->credential}, {NULL, NULL}};
    struct ct_http_answer answer = {0};
    int rc = post(v, "sys/wrapping/lookup", what, NULL, body, &answer, err);
    if (rc == -CT_EDENIED && v->exit_code == CT_EXIT_LOGIN) {
        return explain_used(v, 1, err);
    }
    if (rc < 0) {
        return rc;
    }
    char *path = NULL;
    rc = ct_vault_parse_text(answer.body.data, answer.body.len, what, "creation_path", &path, err);
    ct_http_answer_done(&answer);
    if (rc < 0) {
        v->exit_code = rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_LOGIN;
        return rc;
    }
    if (!makes_secret_ids(v->config, path)) {
        const struct ct_vault_hidden hidden = {.token = v->token, .credential = v->credential};
        struct ct_shown shown;
        v->exit_code = CT_EXIT_LOGIN;
        rc = ct_err_set(err, CT_EDENIED,
                        "the wrapping token in %s was made by %s and not by "
                        "auth/%s/role/NAME/secret-id: " INTERCEPTED,
                        v->config->token_file,
                        ct_vault_may_quote(path, &hidden) ? ct_text_show(&shown, path, strlen(path))
                                                          : "something else",
                        v->config->auth_path);
    }
    free(path);
    return rc;
}

// The credential is a wrapping token: it becomes the secret id that it holds.
static int unwrap(struct ct_vault *v, struct ct_err *err)
{
    static const char what[] = "unwrapping the secret id";
    static const struct member nothing[2] = {{NULL, NULL}, {NULL, NULL}};
    int rc = check_origin(v, err);
    if (rc < 0) {
        return rc;
    }
    struct ct_http_answer answer = {0};
    rc = post(v, "sys/wrapping/unwrap", what, v->credential, nothing, &answer, err);
    if (rc == -CT_EDENIED && v->exit_code == CT_EXIT_LOGIN) {
        return explain_used(v, v->tries, err);
    }
    if (rc < 0) {
        return rc;
    }
    char *id = NULL;
    rc = ct_vault_parse_text(answer.body.data, answer.body.len, what, "secret_id", &id, err);
    ct_http_answer_done(&answer);
    if (rc < 0 || !ct_vault_token_ok(id)) {
        ct_vault_wipe(&id);
        v->exit_code = rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_LOGIN;
        return rc < 0 ? rc : ct_err_set(err, CT_EPROTO, "%s: what came is no secret id", what);
    }
    ct_vault_wipe(&v->wrapping);
    v->wrapping = ct_steal(&v->credential);
    ct_vault_wipe(&v->secret_id);
    v->secret_id = id;
    return 0;
}

static bool same(const char *a, const char *b)
{
    size_t len = strlen(a);
    unsigned char differs = 0;
    if (strlen(b) != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        differs |= (unsigned char)(a[i] ^ b[i]);
    }
    return differs == 0;
}

// A login once more finds the file as it was, used up: what it held is still known.
static int take_secret_id(struct ct_vault *v, struct ct_err *err)
{
    bool known = v->wrapping != NULL && same(v->wrapping, v->credential);
    int rc = known ? 0 : unwrap(v, err);
    if (rc < 0) {
        return rc;
    }
    ct_vault_wipe(&v->credential);
    v->credential = strdup(v->secret_id);
    return v->credential != NULL ? 0 : no_memory(v, "unwrapping the secret id", err);
}

// ---- login

static int post_login(struct ct_vault *v, char **ret, struct ct_err *err)
{
    const struct ct_config *c = v->config;
    bool approle = c->auth == CT_AUTH_APPROLE;
    const struct member body[2] = {{approle ? "role_id" : "role", c->role},
                                   {approle ? "secret_id" : "jwt", v->credential}};
    char path[sizeof(c->auth_path) + 16];
    char what[sizeof(path) + sizeof(c->role) + 32];
    (void)snprintf(path, sizeof(path), "auth/%s/login", c->auth_path);
    (void)snprintf(what, sizeof(what), "login at auth/%s as role %s", c->auth_path, c->role);
    struct ct_http_answer answer = {0};
    int rc = post(v, path, what, NULL, body, &answer, err);
    if (rc < 0) {
        return rc;
    }
    rc = ct_vault_parse_login(answer.body.data, answer.body.len, ret, &v->lease, err);
    ct_http_answer_done(&answer);
    if (rc < 0) {
        v->exit_code = rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_LOGIN;
        return ct_err_wrap(err, "%s", what);
    }
    return 0;
}

int ct_vault_login(struct ct_vault *v, struct ct_err *err)
{
    bool token = v->config->auth == CT_AUTH_TOKEN;
    char *fresh = NULL;
    v->deadline_ms = ct_clock_ms() + v->config->retry_budget_ms;
    if (v->config->token_fd != 0 && v->token != NULL) {
        v->exit_code = CT_EXIT_OTHER;
        v->lease = (struct ct_vault_lease){0};
        return 0; // it came once, and there is no other
    }
    ct_vault_wipe(&v->credential);
    int rc = read_token(v, token ? &fresh : &v->credential, err);
    if (rc == 0 && v->config->auth == CT_AUTH_APPROLE && v->config->secret_id_wrapped) {
        rc = take_secret_id(v, err);
    }
    if (rc == 0 && !token) {
        rc = post_login(v, &fresh, err);
    } else if (rc == 0) {
        v->lease = (struct ct_vault_lease){0};
    }
    if (rc == 0) {
        ct_vault_wipe(&v->token);
        v->token = fresh;
        v->exit_code = CT_EXIT_OTHER;
    }
    return rc;
}

// ---- the token's life

int ct_vault_renew(struct ct_vault *v, struct ct_err *err)
{
    static const char what[] = "renewing the token";
    static const struct member nothing[2] = {{NULL, NULL}, {NULL, NULL}};
    struct ct_http_answer answer = {0};
    char *token = NULL;
    v->deadline_ms = ct_clock_ms() + v->config->retry_budget_ms;
    int rc = post(v, "auth/token/renew-self", what, v->token, nothing, &answer, err);
    if (rc < 0) {
        return rc;
    }
    rc = ct_vault_parse_login(answer.body.data, answer.body.len, &token, &v->lease, err);
    ct_http_answer_done(&answer);
    ct_vault_wipe(&token);
    if (rc == 0 && !v->lease.known) {
        rc = ct_err_set(err, CT_EPROTO, "Vault's answer holds no auth.lease_duration");
    }
    v->exit_code = rc == 0 ? CT_EXIT_OTHER : CT_EXIT_LOGIN;
    return rc < 0 ? ct_err_wrap(err, "%s", what) : 0;
}

int ct_vault_look_up(struct ct_vault *v, struct ct_err *err)
{
    struct ct_http_answer answer = {0};
    v->deadline_ms = ct_clock_ms() + v->config->retry_budget_ms;
    int rc =
        post(v, "auth/token/lookup-self", "looking the token up", v->token, NULL, &answer, err);
    if (rc < 0) {
        return rc;
    }
    rc = ct_vault_parse_lookup(answer.body.data, answer.body.len, &v->lease, err);
    ct_http_answer_done(&answer);
    v->exit_code = rc == 0 ? CT_EXIT_OTHER : CT_EXIT_LOGIN;
    return rc;
}
