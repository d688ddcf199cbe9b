// SPDX-License-Identifier: Apache-2.0
//
// What `inject` and `explain` share: the operator's settings, by the webhook's own option table, the
// manifest and the nodes.
#ifndef CT_CLI_OPERATOR_H
#define CT_CLI_OPERATOR_H

#include "nodes.h"
#include "settings.h"
#include "yaml_doc.h"

enum ct_output { CT_OUTPUT_TEXT, CT_OUTPUT_JSON };

struct ct_operator_settings {
    struct ct_webhook_settings webhook; // first: the offsets of its table hold here too
    char *file;
    bool explain;
    int output; // enum ct_output
};

#define CT_OPERATOR_MAX_OPTIONS 64

// An option table put together of the webhook's and of a command's own options. What only the server
// needs is accepted and not shown, so that the webhook's configuration file can be given as it is.
struct ct_operator_table {
    struct ct_option_table table;
    struct ct_option options[CT_OPERATOR_MAX_OPTIONS];
};

// Fills `t` once and returns its table. `own` come first; `nodes_required`: is --nodes-file?
const struct ct_option_table *ct_operator_table(struct ct_operator_table *t, const char *program,
                                                const char *summary, const struct ct_option *own,
                                                size_t n_own, bool nodes_required,
                                                const char *nodes_help);

// -f, --file: what both commands work on.
extern const struct ct_option ct_operator_file;

// Reads the manifest that settings->file names.
CT_CHECKED int ct_operator_read(const struct ct_operator_settings *settings, struct ct_yaml *ret,
                                struct ct_err *err);
// Reads the nodes file, if one is named, or has the engine leave the nodes out.
CT_CHECKED int ct_operator_nodes(struct ct_operator_settings *settings, struct ct_nodes **ret,
                                 struct ct_err *err);

#endif
