// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser dev-vault: for development, never for secrets that matter.
#include <signal.h>
#include <string.h>

#include "command.h"
#include "dev_vault.h"
#include "log.h"
#include "option.h"

struct settings {
    char *listen, *tls_cert, *tls_key, *kv, *root_token;
    struct ct_option_list role;
};

#define AT(field) offsetof(struct settings, field)

static const struct ct_option options[] = {
    {.name = "listen",
     .kind = CT_OPTION_STRING,
     .offset = AT(listen),
     .fallback = "127.0.0.1:8200",
     .argument = "ADDRESS:PORT",
     .help = "Where to serve; port 0 takes any free one."},
    {.name = "tls-cert",
     .kind = CT_OPTION_STRING,
     .offset = AT(tls_cert),
     .argument = "FILE",
     .help = "Certificate (PEM); without it the server speaks plain HTTP."},
    {.name = "tls-key",
     .kind = CT_OPTION_STRING,
     .offset = AT(tls_key),
     .argument = "FILE",
     .help = "The certificate's private key (PEM)."},
    {.name = "kv",
     .kind = CT_OPTION_STRING,
     .offset = AT(kv),
     .argument = "FILE",
     .help = "Secrets below secret/: a JSON object of paths, each with its keys and values, or an "
             "array of such versions."},
    {.name = "root-token",
     .kind = CT_OPTION_STRING,
     .offset = AT(root_token),
     .argument = "TOKEN",
     .help = "The token that may do everything; without it a random one is made and printed."},
    {.name = "role",
     .kind = CT_OPTION_LIST,
     .offset = AT(role),
     .argument = "NAME[=PREFIX,…]",
     .help = "A role of the kubernetes, jwt and approle logins (there its role id), and what its "
             "tokens may read below secret/ and kv/ (everything without '=')."},
};

static const struct ct_option_table table = {
    .program = "cloudtaser dev-vault",
    .summary = "A small Vault-compatible server for development: in memory, verifies no JWT.",
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

CT_CHECKED static int fill(struct ct_dev_store *store, const struct settings *settings,
                           struct ct_err *err)
{
    int r = ct_dev_store_init(store, settings->root_token, err);
    for (size_t i = 0; i < settings->role.n && r == 0; i++) {
        r = ct_dev_store_role(store, settings->role.item[i], err);
    }
    return r == 0 && settings->kv != NULL ? ct_dev_store_load(store, settings->kv, err) : r;
}

// As it is copied into a shell, whatever the port was asked for as.
static void tell_address(const struct ct_httpd_options *how, unsigned port)
{
    const char *colon = strrchr(how->listen, ':');
    int len = colon != NULL ? (int)(colon - how->listen) : 0;
    ct_log(CT_LOG_INFO, "serves Vault's API on port %u: export VAULT_ADDR=%s://%.*s:%u", port,
           how->tls_cert != NULL ? "https" : "http", len > 0 ? len : (int)strlen("127.0.0.1"),
           len > 0 ? how->listen : "127.0.0.1", port);
}

CT_CHECKED static int serve(struct ct_dev_vault *vault, const struct settings *settings,
                            struct ct_err *err)
{
    struct ct_httpd *httpd = NULL;
    sigset_t signals;
    int signal_number = 0;
    const struct ct_httpd_options how = {
        .listen = settings->listen,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .threads = 2,
        .max_body = 1024 * 1024,
        .routes = ct_dev_vault_routes,
        .n_routes = ct_dev_vault_n_routes,
        .cls = vault,
    };
    int r = fill(&vault->store, settings, err);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    r = r < 0 ? r : ct_httpd_start(&how, &httpd, err);
    if (r < 0) {
        return r;
    }
    ct_log(CT_LOG_WARN, "for development only: secrets lie in plain memory, no JWT is verified");
    tell_address(&how, ct_httpd_port(httpd));
    if (settings->root_token == NULL) {
        ct_log(CT_LOG_INFO, "root token: %s", vault->store.tokens[0].text);
    }
    (void)sigwait(&signals, &signal_number);
    ct_httpd_stop(httpd);
    return 0;
}

const struct ct_option_table *ct_dev_vault_table(void)
{
    return &table;
}

static int work(void *cls, struct ct_err *err)
{
    struct ct_dev_vault vault = {.lock = PTHREAD_MUTEX_INITIALIZER};
    int r = serve(&vault, cls, err);
    ct_dev_store_done(&vault.store);
    bool ours = r == -CT_EINVAL || r == -CT_ENOTFOUND || r == -CT_ETOOBIG; // option or file
    return r == 0 ? CT_EXIT_GOOD : ours ? CT_EXIT_USAGE : CT_EXIT_REFUSED;
}

int ct_dev_vault_run(int argc, char **argv)
{
    struct settings settings = {0};
    ct_log_init(table.program, CT_LOG_TEXT);
    return ct_command_run(&table, argc, argv, &settings, work);
}
