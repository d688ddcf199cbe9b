// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser run: a program with its secrets, without Kubernetes. Nothing is supervised here: this
// process becomes the wrapper, and terminal, job control, signals and exit status are the wrapper's.
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "buf.h"
#include "command.h"
#include "exit_code.h"
#include "on_change.h"

#define PROGRAM "cloudtaser run"
#define AT(field) offsetof(struct ct_run_settings, field)

static const char *const log_formats[] = {"text", "json", NULL};

static const struct ct_option options[] = {
    {.name = "secret",
     .kind = CT_OPTION_LIST,
     .offset = AT(secrets),
     .argument = "NAME=PATH#KEY",
     .help = "A variable and the secret that it gets: Vault's API path without /v1/, the key, and "
             "#VERSION if not the newest."},
    {.name = "secret-path",
     .kind = CT_OPTION_LIST,
     .offset = AT(paths),
     .argument = "PATH",
     .help = "A secret of which every key becomes a variable of the key's name."},
    {.name = "env-file",
     .kind = CT_OPTION_LIST,
     .offset = AT(env_files),
     .argument = "FILE",
     .help = "Lines NAME=VALUE for the environment, whose values may hold references "
             "(vault:PATH#KEY, ${vault:PATH#KEY}); # begins a comment."},
    {.name = "vault-address",
     .kind = CT_OPTION_STRING,
     .offset = AT(address),
     .argument = "URL",
     .help = "Vault's address; without it VAULT_ADDR."},
    {.name = "vault-namespace",
     .kind = CT_OPTION_STRING,
     .offset = AT(namespace),
     .argument = "NAMESPACE",
     .help = "Vault's namespace; without it VAULT_NAMESPACE."},
    {.name = "vault-ca-file",
     .kind = CT_OPTION_STRING,
     .offset = AT(ca_file),
     .argument = "FILE",
     .help = "The authorities that Vault's certificate is verified with (PEM); without it "
             "VAULT_CACERT, else the system's."},
    {.name = "vault-skip-verify",
     .kind = CT_OPTION_BOOL,
     .offset = AT(skip_verify),
     .fallback = "false",
     .help = "Do not verify Vault's certificate; VAULT_SKIP_VERIFY says the same."},
    {.name = "auth-method",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(auth),
     .fallback = "token",
     .argument = "METHOD",
     .choices = ct_run_auth_methods,
     .help = "How to log in."},
    {.name = "auth-path",
     .kind = CT_OPTION_STRING,
     .offset = AT(auth_path),
     .argument = "PATH",
     .help = "Mount of the login; without it that is the method's name."},
    {.name = "role",
     .kind = CT_OPTION_STRING,
     .offset = AT(role),
     .argument = "ROLE",
     .help = "Vault role; of approle the role id."},
    {.name = "token-file",
     .kind = CT_OPTION_STRING,
     .offset = AT(token_file),
     .argument = "FILE",
     .help =
         "Holds the Vault token (token; without it VAULT_TOKEN, else ~/.vault-token), the secret "
         "id (approle) or the JWT (jwt, kubernetes)."},
    {.name = "secret-id-wrapped",
     .kind = CT_OPTION_BOOL,
     .offset = AT(secret_id_wrapped),
     .fallback = "false",
     .help = "The token file holds a wrapping token for the secret id."},
    {.name = "min-protection-score",
     .kind = CT_OPTION_INT,
     .offset = AT(min_score),
     .fallback = "0",
     .argument = "POINTS",
     .min = 0,
     .max = 75,
     .help = "Below it the program is not started."},
    {.name = "require",
     .kind = CT_OPTION_LIST,
     .offset = AT(require),
     .argument = "CHECK",
     .help = "A check that must pass, whatever the sum."},
    {.name = "launcher",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(launcher),
     .fallback = "auto",
     .argument = "MODE",
     .choices = ct_launcher_mode_names,
     .help =
         "What is done about a shell, tini, gosu and the like: auto follows those that come to one "
         "program, follow all of them, and deliver gives them the secrets in the clear, at the "
         "points' price."},
    {.name = "plain-environment",
     .kind = CT_OPTION_BOOL,
     .offset = AT(plain_environment),
     .fallback = "false",
     .help = "Deliver in the clear, at the points' price, where nothing better can be had."},
    {.name = "refresh-interval",
     .kind = CT_OPTION_DURATION,
     .offset = AT(refresh_ms),
     .argument = "DURATION",
     .min = CT_REFRESH_LEAST_S * 1000,
     .max = CT_REFRESH_MOST_S * 1000,
     .help = "How often the secrets are read again while the program runs; without it never."},
    {.name = "on-change",
     .kind = CT_OPTION_STRING,
     .offset = AT(on_change),
     .argument = "REACTION",
     .help = "What happens when they have changed: keep, signal:NAME or restart; without it keep."},
    {.name = "vault-timeout",
     .kind = CT_OPTION_DURATION,
     .offset = AT(timeout_ms),
     .fallback = "10s",
     .argument = "DURATION",
     .min = 100,
     .max = 300000,
     .help = "Time that one request to Vault may take."},
    {.name = "vault-retry-budget",
     .kind = CT_OPTION_DURATION,
     .offset = AT(retry_budget_ms),
     .fallback = "10s",
     .argument = "DURATION",
     .max = 3600000,
     .help = "Time that all tries may take together."},
    {.name = "log-format",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(log_format),
     .fallback = "text",
     .argument = "FORMAT",
     .choices = log_formats,
     .help = "How the wrapper's lines on standard error are written."},
    {.name = "wrapper",
     .kind = CT_OPTION_STRING,
     .offset = AT(wrapper),
     .argument = "FILE",
     .help = "cloudtaser-wrapper; without it the one beside this program or in its "
             "../libexec/cloudtaser."},
};

static const struct ct_option_table table = {
    .program = PROGRAM,
    .summary =
        "Starts a program with secrets from Vault in its environment, protected as in a pod: "
        "fetched by cloudtaser-wrapper, which this process becomes. Variables that hold "
        "references already (vault:PATH#KEY) are resolved too. VAULT_TOKEN is handed to the "
        "wrapper alone, and the program does not see it. Exit status: the program's own, 128+n "
        "when signal n ended it; before it is started 100 score below the minimum, 101 login "
        "refused, 102 secret missing or denied, 103 Vault not reachable, 104 bad options, 125 "
        "anything else, 126 and 127 a program that cannot be executed or found.",
    .operands = "-- PROGRAM [ARGUMENT]...",
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

const struct ct_option_table *ct_run_table(void)
{
    return &table;
}

// Beside this program, where a package puts it, and where a build does.
CT_CHECKED static int find_wrapper(char *path, size_t size, struct ct_err *err)
{
    static const char *const places[] = {"", "../libexec/cloudtaser/", "../static/wrapper/"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0) {
        return ct_err_errno(err, "where this program lies cannot be told: give --wrapper");
    }
    self[len] = '\0';
    *(strrchr(self, '/') + 1) = '\0';
    for (size_t i = 0; i < CT_ARRAY_LEN(places); i++) {
        int n = snprintf(path, size, "%s%scloudtaser-wrapper", self, places[i]);
        if (n > 0 && (size_t)n < size && access(path, X_OK) == 0) {
            return 0;
        }
    }
    return ct_err_set(err, CT_ENOTFOUND,
                      "cloudtaser-wrapper is neither in %s nor in %s../libexec/cloudtaser: give "
                      "--wrapper",
                      self, self);
}

// The wrapper's last settings: where its token waits, and all of them in the environment. Whatever is
// wrong with them is told here, by the wrapper's own reader.
CT_CHECKED static int add_config(struct ct_config *config, const char *token,
                                 struct ct_run_environment *environment, struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = CT_CONFIG_MAX};
    struct ct_config read_back;
    if (token != NULL) {
        int fd = ct_run_hand_over(token, err);
        if (fd < 0) {
            return fd;
        }
        config->token_fd = (unsigned)fd;
    }
    ct_config_write(config, &text);
    if (text.failed) {
        return ct_err_set(err, CT_ETOOBIG, "all settings together are longer than %d bytes",
                          CT_CONFIG_MAX);
    }
    int r = ct_config_parse(text.data, &read_back, err);
    if (r == 0) {
        return ct_run_environment_set(environment, CT_CONFIG_VARIABLE, text.data, err);
    }
    // The variable means nothing to whom it is told here; its keys are named as the options are.
    static const char prefix[] = CT_CONFIG_VARIABLE ": ";
    if (strncmp(err->msg, prefix, strlen(prefix)) == 0) {
        memmove(err->msg, err->msg + strlen(prefix), strlen(err->msg + strlen(prefix)) + 1);
    }
    return r;
}

// Returns only when it failed: the exit status.
static int become_wrapper(const struct ct_run_settings *settings,
                          const struct ct_run_environment *environment, struct ct_err *err)
{
    char found[PATH_MAX];
    size_t n = 0;
    if (settings->wrapper == NULL && find_wrapper(found, sizeof(found), err) < 0) {
        return CT_EXIT_OTHER;
    }
    while (settings->command[n] != NULL) {
        n++;
    }
    char name[] = "cloudtaser-wrapper";
    char end[] = "--";
    char **argv = calloc(n + 3, sizeof(*argv));
    if (argv == NULL) {
        (void)ct_err_set(err, CT_ENOMEM, "out of memory for the command line");
        return CT_EXIT_OTHER;
    }
    argv[0] = name;
    argv[1] = end;
    memcpy(argv + 2, settings->command, n * sizeof(*argv));
    const char *path = settings->wrapper != NULL ? settings->wrapper : found;
    (void)execve(path, argv, environment->item);
    (void)ct_err_errno(err, "%s cannot be started", path);
    free(argv);
    return CT_EXIT_OTHER;
}

static int work(void *cls, struct ct_err *err)
{
    const struct ct_run_settings *settings = cls;
    CT_AUTO_RUN_ENVIRONMENT environment = {0};
    struct ct_config config;
    const char *token = NULL;
    const char *name;
    if (settings->command == NULL || settings->command[0] == NULL) {
        (void)ct_err_set(err, CT_EINVAL,
                         "no program to start: put it behind --, as in `" PROGRAM
                         " --secret DB_PASSWORD=secret/data/db#password -- ./server`");
        return CT_EXIT_CONFIGURATION;
    }
    if (ct_run_config(settings, &config, &token, err) < 0 ||
        ct_run_environment_make(settings, environ, &environment, err) < 0 ||
        add_config(&config, token, &environment, err) < 0) {
        return err->code == CT_ENOMEM || err->code == CT_ESYSTEM ? CT_EXIT_OTHER
                                                                 : CT_EXIT_CONFIGURATION;
    }
    for (size_t i = 0; (name = ct_run_unheeded(i)) != NULL; i++) {
        (void)fprintf(stderr, PROGRAM ": note: %s is set, and has no effect here\n", name);
    }
    return become_wrapper(settings, &environment, err);
}

int ct_run_run(int argc, char **argv)
{
    struct ct_run_settings settings = {.command = NULL};
    int own = 1;
    while (own < argc && strcmp(argv[own], "--") != 0) {
        own++;
    }
    settings.command = own < argc ? argv + own + 1 : NULL;
    int status = ct_command_run(&table, own, argv, &settings, work);
    return status == CT_EXIT_USAGE ? CT_EXIT_CONFIGURATION : status;
}
