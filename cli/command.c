// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <string.h>

#include "ct_version.h"

#define NAME_MAX_LENGTH 32

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

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Levenshtein's distance, row by row. `b` has at most NAME_MAX_LENGTH characters.
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LENGTH + 1];
    size_t len = strlen(b);
    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < len; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(replaced, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[len];
}

const char *ct_command_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t best = 3; // at most two letters may differ, and half of the word must be right
    if (strlen(name) > NAME_MAX_LENGTH) {
        return NULL;
    }
    for (size_t i = 0; i < ct_n_commands; i++) {
        size_t d = distance(name, ct_commands[i].name);
        if (d < best && 2 * d <= strlen(ct_commands[i].name)) {
            best = d;
            nearest = ct_commands[i].name;
        }
    }
    return nearest;
}
