// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of `cloudtaser`, each with its option table: what --help, completion and the hint
// after a misspelt name are made of.
#ifndef CT_CLI_COMMAND_H
#define CT_CLI_COMMAND_H

#include "option.h"

// Exit statuses of the program.
enum ct_exit {
    CT_EXIT_GOOD = 0,
    CT_EXIT_REFUSED = 1, // understood, and refused or failed
    CT_EXIT_USAGE = 2,   // options, or an input that cannot be read
};

struct ct_command {
    const char *name;
    const char *summary; // one line, for the list of commands
    const struct ct_option_table *(*table)(void);
    // Runs with argv[0] the subcommand's name; returns the exit status. Writes to standard output
    // and error.
    int (*run)(int argc, char **argv);
};

extern const struct ct_command ct_commands[];
extern const size_t ct_n_commands;

const struct ct_option_table *ct_inject_table(void);
int ct_inject_run(int argc, char **argv);
const struct ct_option_table *ct_explain_table(void);
int ct_explain_run(int argc, char **argv);
const struct ct_option_table *ct_run_table(void);
int ct_run_run(int argc, char **argv);
const struct ct_option_table *ct_dev_vault_table(void);
int ct_dev_vault_run(int argc, char **argv);
const struct ct_option_table *ct_completion_table(void);
int ct_completion_run(int argc, char **argv);

// Parses the options of `table` and answers --help and --version. True: go on. False: *ret is the
// exit status, and settings need no freeing.
bool ct_command_begin(const struct ct_option_table *table, int argc, char **argv, void *settings,
                      int *ret);

// What a command with settings does from start to end: parses into `settings` (zeroed by the caller),
// has `work` do it, tells its error on standard error, frees. `work` returns the exit status.
int ct_command_run(const struct ct_option_table *table, int argc, char **argv, void *settings,
                   int (*work)(void *settings, struct ct_err *err));

// The command that somebody who wrote `name` may have meant; NULL when none is near.
const char *ct_command_nearest(const char *name);

#endif
