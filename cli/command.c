// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <string.h>

#include "ct_version.h"
#include "text.h"

const struct ct_command ct_commands[] = {
    {"inject", "Show what the webhook would make of a manifest.", ct_inject_table, ct_inject_run},
    {"explain", "Tell check by check and node by node what score a manifest's pods would reach.",
     ct_explain_table, ct_explain_run},
    {"run", "Start a program with secrets from Vault, without Kubernetes.", ct_run_table,
     ct_run_run},
    {"dev-vault", "Serve a small Vault-compatible API for development.", ct_dev_vault_table,
     ct_dev_vault_run},
    {"completion", "Print the completion script for bash, zsh or fish.", ct_completion_table,
     ct_completion_run},
};
const size_t ct_n_commands = CT_ARRAY_LEN(ct_commands);

bool ct_command_begin(const struct ct_option_table *table, int argc, char **argv, void *settings,
                      int *ret)
{
    struct ct_err err = {0};
    int r = ct_option_parse(table, argc, argv, settings, &err);
    *ret = CT_EXIT_GOOD;
    if (r == CT_OPTION_HELP) {
        ct_option_help(table, stdout);
    } else if (r == CT_OPTION_VERSION) {
        (void)printf("cloudtaser %s\n", CT_VERSION);
    } else if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", table->program, err.msg);
        *ret = CT_EXIT_USAGE;
    }
    return r == CT_OPTION_RUN;
}

int ct_command_run(const struct ct_option_table *table, int argc, char **argv, void *settings,
                   int (*work)(void *settings, struct ct_err *err))
{
    struct ct_err err = {0};
    int status;
    if (!ct_command_begin(table, argc, argv, settings, &status)) {
        return status;
    }
    status = work(settings, &err);
    if (err.code != 0) {
        (void)fprintf(stderr, "%s: %s\n", table->program, err.msg);
    }
    ct_option_free(table, settings);
    return status;
}

static const char *name_of(const void *cls, size_t i)
{
    const struct ct_command *commands = cls;
    return commands[i].name;
}

const char *ct_command_nearest(const char *name)
{
    return ct_text_nearest(name, strlen(name), name_of, ct_commands, ct_n_commands);
}
