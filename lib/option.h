// SPDX-License-Identifier: Apache-2.0
//
// One table drives flags, environment variables, the configuration file, --help and the generated
// documentation of a program. Precedence: flag, environment, file, default. Unknown keys are
// refused, and all problems are reported at once.
#ifndef CT_OPTION_H
#define CT_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "err.h"

enum ct_option_kind {
    CT_OPTION_STRING,   // char *   (malloc'd)
    CT_OPTION_BOOL,     // bool     ("--x", "--x=true|false"; JSON true|false)
    CT_OPTION_INT,      // int      within min..max
    CT_OPTION_DURATION, // unsigned milliseconds; "250ms", "10s", "5m", "1h"
    CT_OPTION_LIST,     // struct ct_option_list, repeatable
    CT_OPTION_CHOICE,   // int: index into choices
};

struct ct_option_list {
    char **item; // NULL-terminated, malloc'd; NULL while empty
    size_t n;
};

struct ct_option {
    const char *name; // "vault-allow": flag --vault-allow, file key "vault-allow",
                      // environment PREFIX_VAULT_ALLOW
    enum ct_option_kind kind;
    size_t offset;              // of the field in the settings struct
    const char *fallback;       // default in the flag's text form; NULL: none
    const char *argument;       // "URL", shown in help
    const char *help;           // one sentence
    int min, max;               // CT_OPTION_INT and CT_OPTION_DURATION (ms); max 0: no bound
    const char *const *choices; // CT_OPTION_CHOICE, NULL-terminated
    bool required;
    bool hidden;  // accepted, and shown nowhere: a key of a file that another program reads too
    bool operand; // an argument without a flag is a value of this one; of one option at most
    char letter;  // 'f': -f VALUE means the same; 0: none
    // Validates one text value; NULL for none.
    int (*check)(const char *value, struct ct_err *err);
};

struct ct_option_table {
    const char *program;    // "cloudtaser-webhook"
    const char *summary;    // one line for --help
    const char *operands;   // what stands behind the options, for --help; NULL: nothing
    const char *env_prefix; // "CLOUDTASER_WEBHOOK"; NULL: no environment
    bool file;              // accepts --config FILE (a JSON object; lists as arrays)
    const char *file_text;  // what such a file would hold, instead of one; NULL: none
    const char *file_name;  // how that text is called in sentences
    const struct ct_option *options;
    size_t n;
};

enum ct_option_result { CT_OPTION_RUN = 0, CT_OPTION_HELP = 1, CT_OPTION_VERSION = 2 };

// Fills `settings` (zeroed by the caller) from argv, environment, file and defaults. --help, -h and
// --version are always known. Returns enum ct_option_result, or -CT_EINVAL with every problem in
// one message, one a line, or -CT_ENOMEM. On error nothing in settings needs freeing. Empty
// environment variables count as missing; unknown ones under the prefix are left alone, for
// Kubernetes makes such names out of Services. Not thread-safe (getenv(3)).
CT_CHECKED int ct_option_parse(const struct ct_option_table *table, int argc, char **argv,
                               void *settings, struct ct_err *err);

void ct_option_free(const struct ct_option_table *table, void *settings);
void ct_option_help(const struct ct_option_table *table, FILE *out);
// A Markdown table of all options, for docs/configuration.md.
void ct_option_markdown(const struct ct_option_table *table, FILE *out);

#endif
