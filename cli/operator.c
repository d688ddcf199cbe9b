// SPDX-License-Identifier: Apache-2.0
#include "operator.h"

#include <string.h>

#include "cluster.h"
#include "command.h"
#include "input.h"
#include "text.h"

#define MAX_SNAPSHOT_FILE ((size_t)256 << 20)
#define AT(field) offsetof(struct ct_operator_settings, field)

static int check_namespace(const char *value, struct ct_err *err)
{
    return ct_text_is_label(value, strlen(value))
               ? 0
               : ct_err_set(err, CT_EINVAL,
                            "a namespace's name is allowed: lower-case letters, digits and '-', at "
                            "most 63");
}

const struct ct_option ct_operator_file = {
    .name = "file",
    .letter = 'f',
    .kind = CT_OPTION_STRING,
    .offset = AT(file),
    .argument = "FILE",
    .required = true,
    .help = "The manifest, YAML or JSON, one document or several; - for standard input.",
};

const struct ct_option ct_operator_namespace = {
    .name = "namespace",
    .letter = 'n',
    .kind = CT_OPTION_STRING,
    .offset = AT(namespace),
    .argument = "NAMESPACE",
    .help = "The namespace of objects that name none; without it that of the kubeconfig's context "
            "where a cluster is asked, else default.",
    .check = check_namespace,
};

static const struct ct_option about_cluster[] = {
    {.name = "context",
     .kind = CT_OPTION_STRING,
     .offset = AT(context),
     .argument = "NAME",
     .help = "The kubeconfig's context; without it the current one."},
    {.name = "from-cluster",
     .kind = CT_OPTION_BOOL,
     .offset = AT(from_cluster),
     .fallback = "false",
     .help = "Take the webhook's settings from the ConfigMap that its chart has made in the "
             "cluster, in the place of --config."},
    {.name = "system-namespace",
     .kind = CT_OPTION_STRING,
     .offset = AT(system_namespace),
     .fallback = "cloudtaser-system",
     .argument = "NAMESPACE",
     .help = "Where the webhook and that ConfigMap are."},
};

// What the names of options begin with that say how to decide; all others say how to serve.
static const char *const deciding[] = {
    "nodes-file", "namespaces-file", "kubeconfig",           "injector-",
    "vault-",     "allow-",          "min-protection-score", "mode",
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

static void add(struct ct_operator_table *t, const struct ct_option *options, size_t n)
{
    for (size_t i = 0; i < n && t->table.n < CT_OPERATOR_MAX_OPTIONS; i++) {
        t->options[t->table.n++] = options[i];
    }
}

const struct ct_option_table *ct_operator_table(struct ct_operator_table *t, const char *program,
                                                const char *summary, const struct ct_option *own,
                                                size_t n_own, const char *nodes_help)
{
    const struct {
        const char *name;
        const char *help;
    } helps[] = {
        {"nodes-file", nodes_help},
        {"namespaces-file", "What `kubectl get namespaces -o json` prints. Without it the cluster "
                            "is asked, if it is asked for nodes; else their labels do not count."},
        {"kubeconfig", "How to reach the cluster; without it KUBECONFIG, else ~/.kube/config, else "
                       "as a pod."},
    };
    t->table = (struct ct_option_table){
        .program = program, .summary = summary, .file = true, .options = t->options};
    add(t, own, n_own);
    size_t first = t->table.n;
    add(t, ct_webhook_options.options, ct_webhook_options.n);
    for (size_t i = first; i < t->table.n; i++) {
        struct ct_option *o = &t->options[i];
        o->hidden = !decides(o->name);
        o->required = false;
        for (size_t k = 0; k < CT_ARRAY_LEN(helps); k++) {
            o->help = strcmp(o->name, helps[k].name) == 0 ? helps[k].help : o->help;
        }
    }
    add(t, about_cluster, CT_ARRAY_LEN(about_cluster));
    return &t->table;
}

// ---- the cluster ----

CT_CHECKED static int connect_cluster(struct ct_operator_settings *settings, struct ct_err *err)
{
    return settings->kube != NULL ? 0
                                  : ct_cli_cluster_open(settings->webhook.kubeconfig,
                                                        settings->context, &settings->kube, err);
}

int ct_operator_status(int rc)
{
    static const enum ct_code failures[] = {CT_EDENIED, CT_EUNAVAIL, CT_EPROTO, CT_ENOMEM};
    for (size_t i = 0; i < CT_ARRAY_LEN(failures); i++) {
        if (rc == -(int)failures[i]) {
            return CT_EXIT_REFUSED;
        }
    }
    return CT_EXIT_USAGE;
}

// Parses once more, with the cluster's settings in the place of --config. A negative result is an error
// told in `err`; else as ct_command_begin().
static int parse_again(const struct ct_option_table *table, int argc, char **argv,
                       struct ct_operator_settings *settings, struct ct_err *err)
{
    CT_AUTO_STR text = NULL;
    char name[160];
    int status = CT_EXIT_GOOD;
    int r = connect_cluster(settings, err);
    r = r < 0 ? r : ct_cli_cluster_settings(settings->kube, settings->system_namespace, &text, err);
    if (r < 0) {
        return r;
    }
    (void)snprintf(name, sizeof(name), "the ConfigMap cloudtaser-webhook in namespace %.63s",
                   settings->system_namespace);
    struct ct_option_table with = *table;
    struct ct_kube *kube = settings->kube;
    with.file_text = text;
    with.file_name = name;
    ct_option_free(table, settings);
    *settings = (struct ct_operator_settings){.kube = kube};
    return ct_command_begin(&with, argc, argv, settings, &status) ? 0 : -CT_EINVAL;
}

int ct_operator_run(const struct ct_option_table *table, int argc, char **argv,
                    int (*work)(void *settings, struct ct_err *err))
{
    struct ct_operator_settings settings = {.file = NULL};
    struct ct_err err = {0};
    int status;
    if (!ct_command_begin(table, argc, argv, &settings, &status)) {
        return status;
    }
    int r = settings.from_cluster ? parse_again(table, argc, argv, &settings, &err) : 0;
    status = r < 0 ? ct_operator_status(r) : work(&settings, &err);
    if (err.code != 0) {
        (void)fprintf(stderr, "%s: %s\n", table->program, err.msg);
    }
    ct_kube_free(settings.kube);
    ct_nodes_free(settings.nodes);
    ct_nodes_free(settings.namespaces);
    ct_option_free(table, &settings);
    return status;
}

// ---- what is read ----

int ct_operator_read(struct ct_operator_settings *settings, struct ct_yaml *ret,
                     const char **ret_what, struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = CT_YAML_MAX_BYTES};
    int r;
    if (settings->object != NULL) {
        *ret_what = settings->object;
        r = connect_cluster(settings, err);
        return r < 0 ? r
                     : ct_cli_cluster_get(settings->kube, settings->object, settings->namespace,
                                          ret, err);
    }
    *ret_what = ct_input_name(settings->file);
    r = ct_input_read(settings->file, &text, err);
    if (r < 0) {
        return r;
    }
    return ct_yaml_read(text.data != NULL ? text.data : "", text.len, *ret_what, ret, err);
}

const char *ct_operator_namespace_of(const struct ct_operator_settings *settings)
{
    if (settings->namespace != NULL) {
        return settings->namespace;
    }
    return settings->kube != NULL ? ct_kube_namespace(settings->kube) : NULL;
}

void ct_operator_note_namespace(const struct ct_operator_settings *settings, const char *program,
                                const struct ct_manifest_pod *pod)
{
    struct ct_shown shown;
    if (settings->namespaces != NULL &&
        ct_nodes_find(settings->namespaces, pod->namespace) == NULL) {
        (void)fprintf(stderr,
                      "%s: note: %s: namespace \"%s\" is not among the %zu that are known, so no "
                      "least score of it counts\n",
                      program, pod->object,
                      ct_text_show(&shown, pod->namespace, strlen(pod->namespace)),
                      ct_nodes_count(settings->namespaces));
    }
}

CT_CHECKED static int read_snapshot(const struct ct_kind *what, const char *path,
                                    struct ct_nodes **ret, struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = MAX_SNAPSHOT_FILE};
    int r = ct_input_read(path, &text, err);
    if (r == 0) {
        r = ct_kind_parse(what, text.data != NULL ? text.data : "", text.len, ret, err);
    }
    return r < 0 ? ct_err_wrap(err, "%s file %s", what->plural, path) : 0;
}

CT_CHECKED static int ask_nodes(struct ct_operator_settings *settings, struct ct_err *err)
{
    int r = connect_cluster(settings, err);
    if (r < 0) {
        return r;
    }
    r = ct_cli_cluster_list(settings->kube, &ct_kind_node, &settings->nodes, err);
    return r < 0 ? ct_err_wrap(err, "the nodes cannot be listed (--nodes-file does without)") : 0;
}

CT_CHECKED static int ask_namespaces(struct ct_operator_settings *settings, struct ct_err *err)
{
    struct ct_err why = {0};
    int r = ct_cli_cluster_list(settings->kube, &ct_kind_namespace, &settings->namespaces, &why);
    if (r == -CT_EDENIED) {
        (void)fprintf(stderr, "note: namespaces may not be listed, their labels do not count: %s\n",
                      why.msg);
        return 0;
    }
    return r < 0
               ? ct_err_set(err, (enum ct_code) - r, "the namespaces cannot be listed: %s", why.msg)
               : 0;
}

// It can be read once.
CT_CHECKED static int check_standard_input(const struct ct_operator_settings *settings,
                                           struct ct_err *err)
{
    const char *const files[] = {settings->file, settings->webhook.nodes_file,
                                 settings->webhook.namespaces_file};
    int n = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(files); i++) {
        n += files[i] != NULL && strcmp(files[i], "-") == 0;
    }
    return n < 2 ? 0
                 : ct_err_set(err, CT_EINVAL,
                              "standard input (-) can be one of --file, --nodes-file and "
                              "--namespaces-file; give files for the others");
}

int ct_operator_know(struct ct_operator_settings *settings, bool live, struct ct_err *err)
{
    const struct ct_webhook_settings *w = &settings->webhook;
    int r = check_standard_input(settings, err);
    if (r < 0) {
        return r;
    }
    bool asked =
        live || settings->kube != NULL || settings->context != NULL || w->kubeconfig != NULL;
    if (w->nodes_file != NULL) {
        r = read_snapshot(&ct_kind_node, w->nodes_file, &settings->nodes, err);
    } else if (asked) {
        r = ask_nodes(settings, err);
    }
    if (r == 0 && w->namespaces_file != NULL) {
        r = read_snapshot(&ct_kind_namespace, w->namespaces_file, &settings->namespaces, err);
    } else if (r == 0 && settings->kube != NULL) {
        r = ask_namespaces(settings, err);
    }
    settings->webhook.without_nodes = settings->nodes == NULL;
    return r;
}
