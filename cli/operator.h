// SPDX-License-Identifier: Apache-2.0
//
// What `inject` and `explain` share: the operator's settings, by the webhook's own option table, the
// manifest, and what is known of the cluster.
#ifndef CT_CLI_OPERATOR_H
#define CT_CLI_OPERATOR_H

#include "kube.h"
#include "manifest.h"
#include "nodes.h"
#include "settings.h"
#include "yaml_doc.h"

enum ct_output { CT_OUTPUT_TEXT, CT_OUTPUT_JSON };

struct ct_operator_settings {
    struct ct_webhook_settings webhook; // first: the offsets of its table hold here too
    char *file;
    char *object;    // "KIND/NAME" in the cluster, instead of a file
    char *namespace; // of the object, or of a manifest's that name none; NULL: that of the context
    char *context;   // of the kubeconfig; NULL: the current one
    bool from_cluster;
    char *system_namespace; // where the webhook's settings lie
    bool explain;
    int output; // enum ct_output

    // Not options: what was opened and read.
    struct ct_kube *kube;        // NULL: no cluster is asked
    struct ct_nodes *nodes;      // NULL: not known
    struct ct_nodes *namespaces; // NULL: not known
};

#define CT_OPERATOR_MAX_OPTIONS 64

// An option table put together of the webhook's and of a command's own options. What only the server
// needs is accepted and not shown, so that the webhook's configuration file can be given as it is.
struct ct_operator_table {
    struct ct_option_table table;
    struct ct_option options[CT_OPERATOR_MAX_OPTIONS];
};

// Fills `t` once and returns its table. `own` come first; behind them those about the cluster.
const struct ct_option_table *ct_operator_table(struct ct_operator_table *t, const char *program,
                                                const char *summary, const struct ct_option *own,
                                                size_t n_own, const char *nodes_help);

// -f, --file: what both commands work on; -n, --namespace: where it is.
extern const struct ct_option ct_operator_file;
extern const struct ct_option ct_operator_namespace;

// As ct_command_run(); with --from-cluster the webhook's own settings stand behind the flags.
int ct_operator_run(const struct ct_option_table *table, int argc, char **argv,
                    int (*work)(void *settings, struct ct_err *err));

// Reads the manifest that settings->file names, or the object in the cluster. *ret_what is how it is
// called in sentences.
CT_CHECKED int ct_operator_read(struct ct_operator_settings *settings, struct ct_yaml *ret,
                                const char **ret_what, struct ct_err *err);
// The namespace of a manifest's objects that name none: --namespace, or that of the cluster's context
// where the cluster is asked. NULL: nobody says; borrowed.
const char *ct_operator_namespace_of(const struct ct_operator_settings *settings);
// Notes on standard error that the pod's namespace is none of those that are known, so that no label of
// it counts; nothing when it is one of them, or none are known. `program` begins the line.
void ct_operator_note_namespace(const struct ct_operator_settings *settings, const char *program,
                                const struct ct_manifest_pod *pod);
// Reads the files of nodes and namespaces that are named, and asks the cluster for what is not, if one
// is named or `live` says so; else has the engine leave the nodes out. A right that lacks for the
// namespaces is noted on standard error alone.
CT_CHECKED int ct_operator_know(struct ct_operator_settings *settings, bool live,
                                struct ct_err *err);
// The exit status for an error of the two.
int ct_operator_status(int rc);

#endif
