// SPDX-License-Identifier: Apache-2.0
#include "operator.h"

#include <string.h>

#include "input.h"

#define MAX_NODES_FILE ((size_t)256 << 20)

const struct ct_option ct_operator_file = {
    .name = "file",
    .letter = 'f',
    .kind = CT_OPTION_STRING,
    .offset = offsetof(struct ct_operator_settings, file),
    .argument = "FILE",
    .required = true,
    .help = "The manifest, YAML or JSON, one document or several; - for standard input.",
};

// What the names of options begin with that say how to decide; all others say how to serve.
static const char *const deciding[] = {
    "nodes-file", "injector-", "vault-", "allow-", "min-protection-score", "mode",
};

static bool decides(const char *name)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(deciding); i++) {
        if (strncmp(deciding[i], name, strlen(deciding[i])) == 0) {
            return true;
        }
    }
    return false;
}

const struct ct_option_table *ct_operator_table(struct ct_operator_table *t, const char *program,
                                                const char *summary, const struct ct_option *own,
                                                size_t n_own, bool nodes_required,
                                                const char *nodes_help)
{
    size_t n = 0;
    for (size_t i = 0; i < n_own && n < CT_OPERATOR_MAX_OPTIONS; i++) {
        t->options[n++] = own[i];
    }
    for (size_t i = 0; i < ct_webhook_options.n && n < CT_OPERATOR_MAX_OPTIONS; i++) {
        struct ct_option *o = &t->options[n++];
        *o = ct_webhook_options.options[i];
        o->hidden = !decides(o->name);
        o->required = false;
        if (strcmp(o->name, "nodes-file") == 0) {
            o->required = nodes_required;
            o->help = nodes_help;
        }
    }
    t->table = (struct ct_option_table){
        .program = program, .summary = summary, .file = true, .options = t->options, .n = n};
    return &t->table;
}

int ct_operator_read(const struct ct_operator_settings *settings, struct ct_yaml *ret,
                     struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = CT_YAML_MAX_BYTES};
    int r = ct_input_read(settings->file, &text, err);
    if (r < 0) {
        return r;
    }
    return ct_yaml_read(text.data != NULL ? text.data : "", text.len, ct_input_name(settings->file),
                        ret, err);
}

int ct_operator_nodes(struct ct_operator_settings *settings, struct ct_nodes **ret,
                      struct ct_err *err)
{
    const char *path = settings->webhook.nodes_file;
    CT_AUTO_BUF text = {.max = MAX_NODES_FILE};
    if (path == NULL) {
        settings->webhook.without_nodes = true;
        return 0;
    }
    int r = ct_input_read(path, &text, err);
    if (r == 0) {
        r = ct_nodes_parse(text.data != NULL ? text.data : "", text.len, ret, err);
    }
    return r < 0 ? ct_err_wrap(err, "nodes file %s", path) : 0;
}
