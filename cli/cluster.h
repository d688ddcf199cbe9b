// SPDX-License-Identifier: Apache-2.0
//
// The live cluster, asked once: its nodes and namespaces, an object, the webhook's settings.
#ifndef CT_CLI_CLUSTER_H
#define CT_CLI_CLUSTER_H

#include "kube.h"
#include "nodes.h"
#include "yaml_doc.h"

// By `kubeconfig`, else KUBECONFIG, else ~/.kube/config, else as a pod: the context of that name, NULL:
// the current one. Opens nothing yet. Not thread-safe (getenv(3)). CT_ENOTFOUND when there is no cluster
// to ask; ct_kube_config_load()'s errors.
CT_CHECKED int ct_cli_cluster_open(const char *kubeconfig, const char *context,
                                   struct ct_kube **ret, struct ct_err *err);

// All nodes, or namespaces, by pages. ct_kube_send()'s errors, CT_EPROTO, CT_ETOOBIG.
CT_CHECKED int ct_cli_cluster_list(struct ct_kube *kube, const struct ct_kind *what,
                                   struct ct_nodes **ret, struct ct_err *err);

// The object "KIND/NAME" - kinds that make pods, as kubectl names them, short names too - as one
// document. `namespace` NULL: that of the context, else "default". CT_EINVAL, ct_kube_send()'s errors.
CT_CHECKED int ct_cli_cluster_get(struct ct_kube *kube, const char *object, const char *namespace,
                                  struct ct_yaml *ret, struct ct_err *err);

// Is this such an object's name? Asks nobody. CT_EINVAL says what is allowed.
CT_CHECKED int ct_cli_cluster_check_object(const char *object, struct ct_err *err);

// The webhook's settings in the ConfigMap that the chart makes in `namespace`: a new text. CT_ENOTFOUND.
CT_CHECKED int ct_cli_cluster_settings(struct ct_kube *kube, const char *namespace, char **ret,
                                       struct ct_err *err);

#endif
