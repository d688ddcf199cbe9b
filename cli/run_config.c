// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "buf.h"
#include "run.h"
#include "text.h"

#define MAX_TOKEN 4096 // as the wrapper takes it; a pipe holds that much without a reader

const char *const ct_run_auth_methods[] = {"token", "approle", "jwt", "kubernetes", NULL};

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static const char *given_or(const char *flag, const char *name)
{
    return flag != NULL ? flag : variable(name);
}

// Copies a value of `what` into a field of the settings; NULL leaves it.
CT_CHECKED static int put(char *to, size_t size, const char *value, const char *what,
                          struct ct_err *err)
{
    if (value != NULL && strlen(value) >= size) {
        return ct_err_set(err, CT_ETOOBIG, "%s is longer than %zu bytes", what, size - 1);
    }
    if (value != NULL) {
        memcpy(to, value, strlen(value) + 1);
    }
    return 0;
}

#define PUT(field, value, what) put((field), sizeof(field), (value), (what), err)

// The wrapper wants absolute paths.
CT_CHECKED static int put_file(char *to, size_t size, const char *value, const char *what,
                               struct ct_err *err)
{
    char whole[PATH_MAX];
    char folder[PATH_MAX];
    if (value == NULL || value[0] == '/') {
        return put(to, size, value, what, err);
    }
    if (getcwd(folder, sizeof(folder)) == NULL) {
        return ct_err_errno(err, "the working directory cannot be told");
    }
    if (snprintf(whole, sizeof(whole), "%s/%s", folder, value) >= (int)sizeof(whole)) {
        return ct_err_set(err, CT_ETOOBIG, "%s: the path is too long", what);
    }
    return put(to, size, whole, what, err);
}

// What Go's strconv.ParseBool takes, as Vault's own tools do.
CT_CHECKED static int read_truth(const char *name, bool *ret, struct ct_err *err)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    const char *value = variable(name);
    for (size_t i = 0; value != NULL && i < CT_ARRAY_LEN(yes); i++) {
        if (strcmp(value, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcmp(value, no[i]) == 0) {
            return 0;
        }
    }
    struct ct_shown shown;
    return value == NULL ? 0
                         : ct_err_set(err, CT_EINVAL, "%s \"%s\": true or false is allowed", name,
                                      ct_text_show(&shown, value, strlen(value)));
}

CT_CHECKED static int set_address(const struct ct_run_settings *s, struct ct_config *c,
                                  struct ct_err *err)
{
    const char *address = given_or(s->address, "VAULT_ADDR");
    if (address == NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "where is Vault? Give --vault-address or set VAULT_ADDR, to something "
                          "like https://vault.example.com:8200");
    }
    int r = PUT(c->vault_address, address, "Vault's address");
    size_t len = strlen(c->vault_address);
    if (r == 0 && len > 0 && c->vault_address[len - 1] == '/') {
        c->vault_address[len - 1] = '\0';
    }
    return r < 0 ? r : ct_config_check_address(c->vault_address, err);
}

CT_CHECKED static int set_paths(const struct ct_run_settings *s, struct ct_config *c,
                                struct ct_err *err)
{
    size_t len = 0;
    for (size_t i = 0; i < s->paths.n; i++) {
        int n = snprintf(c->paths + len, sizeof(c->paths) - len, "%s%s", i > 0 ? "," : "",
                         s->paths.item[i]);
        len += (size_t)n;
        if (len >= sizeof(c->paths)) {
            return ct_err_set(err, CT_ETOOBIG, "all of --secret-path are longer than %zu bytes",
                              sizeof(c->paths) - 1);
        }
    }
    return 0;
}

CT_CHECKED static int set_require(const struct ct_run_settings *s, struct ct_config *c,
                                  struct ct_err *err)
{
    for (size_t i = 0; i < s->require.n; i++) {
        const char *name = s->require.item[i];
        int check = ct_check_from_name(name, strlen(name));
        struct ct_shown shown;
        if (check < 0) {
            return ct_err_set(err, CT_EINVAL, "--require: \"%s\" is no check's name",
                              ct_text_show(&shown, name, strlen(name)));
        }
        c->require |= UINT32_C(1) << check;
    }
    return 0;
}

// Where `vault login` leaves its token.
CT_CHECKED static int use_login_file(struct ct_config *c, struct ct_err *err)
{
    const char *home = variable("HOME");
    char path[PATH_MAX] = "";
    if (home != NULL) {
        (void)snprintf(path, sizeof(path), "%s/.vault-token", home);
    }
    if (home == NULL || access(path, F_OK) != 0) {
        return ct_err_set(err, CT_ENOTFOUND,
                          "there is no Vault token: set VAULT_TOKEN, log in by `vault login`, give "
                          "--token-file, or choose another --auth-method");
    }
    return put_file(c->token_file, sizeof(c->token_file), path, path, err);
}

CT_CHECKED static int set_credential(const struct ct_run_settings *s, struct ct_config *c,
                                     const char **ret_token, struct ct_err *err)
{
    const char *token = variable("VAULT_TOKEN");
    *ret_token = NULL;
    if (s->token_file != NULL) {
        return put_file(c->token_file, sizeof(c->token_file), s->token_file, "--token-file", err);
    }
    if (c->auth != CT_AUTH_TOKEN) {
        return ct_err_set(
            err, CT_EINVAL, "--auth-method %s needs --token-file, the file that holds %s",
            ct_auth_name(c->auth), c->auth == CT_AUTH_APPROLE ? "the secret id" : "the JWT");
    }
    if (token == NULL) {
        return use_login_file(c, err);
    }
    *ret_token = token;
    return 0;
}

int ct_run_config(const struct ct_run_settings *s, struct ct_config *ret, const char **ret_token,
                  struct ct_err *err)
{
    struct ct_config *c = ret;
    bool skip_verify = false;
    ct_config_init(c);
    c->auth = (enum ct_auth)ct_auth_from_name(ct_run_auth_methods[s->auth]);
    c->secret_id_wrapped = s->secret_id_wrapped;
    c->plain_environment = s->plain_environment;
    c->min_score = s->min_score;
    c->timeout_ms = s->timeout_ms;
    c->retry_budget_ms = s->retry_budget_ms;
    c->json_log = s->log_format == 1;
    c->launcher = (enum ct_launcher_mode)s->launcher;
    (void)snprintf(c->auth_path, sizeof(c->auth_path), "%s", ct_auth_name(c->auth));
    int r = set_address(s, c, err);
    r = r < 0 ? r : read_truth("VAULT_SKIP_VERIFY", &skip_verify, err);
    c->skip_verify = s->skip_verify || skip_verify;
    r = r < 0 ? r : PUT(c->vault_namespace, given_or(s->namespace, "VAULT_NAMESPACE"), "namespace");
    r = r < 0 ? r
              : put_file(c->ca_file, sizeof(c->ca_file), given_or(s->ca_file, "VAULT_CACERT"),
                         "the CA's file", err);
    r = r < 0 ? r : PUT(c->auth_path, s->auth_path, "--auth-path");
    r = r < 0 ? r : PUT(c->role, s->role, "--role");
    r = r < 0 ? r : set_paths(s, c, err);
    r = r < 0 ? r : set_require(s, c, err);
    return r < 0 ? r : set_credential(s, c, ret_token, err);
}

int ct_run_hand_over(const char *token, struct ct_err *err)
{
    int ends[2];
    size_t len = strlen(token);
    if (len > MAX_TOKEN) {
        return ct_err_set(err, CT_ETOOBIG, "VAULT_TOKEN is longer than %d bytes", MAX_TOKEN);
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return ct_err_errno(err, "cannot make a pipe for the token");
    }
    CT_AUTO_FD reader = ends[0];
    CT_AUTO_FD writer = ends[1];
    if (write(writer, token, len) != (ssize_t)len) {
        return ct_err_errno(err, "cannot hand the token over");
    }
    // Inherited, and none of the three that every program has.
    int kept = fcntl(reader, F_DUPFD, 3);
    return kept < 0 ? ct_err_errno(err, "cannot hand the token over") : kept;
}

const char *ct_run_unheeded(size_t i)
{
    static const char *const names[] = {
        "VAULT_CAPATH",     "VAULT_CACERT_BYTES",    "VAULT_CLIENT_CERT",
        "VAULT_CLIENT_KEY", "VAULT_TLS_SERVER_NAME", "VAULT_PROXY_ADDR",
        "VAULT_HTTP_PROXY", "VAULT_AGENT_ADDR",      "VAULT_WRAP_TTL",
    };
    for (size_t k = 0; k < CT_ARRAY_LEN(names); k++) {
        if (variable(names[k]) != NULL && i-- == 0) {
            return names[k];
        }
    }
    return NULL;
}
