// SPDX-License-Identifier: Apache-2.0
//
// How a Kubernetes API server is reached: from within a pod, or by a kubeconfig file.
#ifndef CT_KUBE_CONFIG_H
#define CT_KUBE_CONFIG_H

#include <stdbool.h>

#include "err.h"

// Where a pod finds its service account: `token`, `ca.crt`, `namespace`.
#define CT_KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

// Strings are malloc'd; NULL when missing. Of a _file and its _pem at most one is set.
struct ct_kube_config {
    char *server; // "https://10.96.0.1:443", without a '/' behind it
    char *ca_file;
    char *ca_pem; // neither: the system's authorities
    char *cert_file;
    char *cert_pem;
    char *key_file;
    char *key_pem;
    char *token;
    char *token_file; // read again when it changes; goes before `token`
    char *namespace;
    bool skip_verify;
};

// From KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and the files in `folder` (NULL:
// CT_KUBE_SERVICE_ACCOUNT). CT_ENOTFOUND when this is no pod, or one without a service account. Not
// thread-safe (getenv(3)).
CT_CHECKED int ct_kube_config_in_cluster(const char *folder, struct ct_kube_config *ret,
                                         struct ct_err *err);

// The current context of a kubeconfig file, YAML or JSON: server, certificate-authority(-data),
// insecure-skip-tls-verify; client-certificate(-data) with client-key(-data), token, tokenFile;
// namespace. Paths count from the file's folder. What would change the way there and is not of this
// list (exec, auth-provider, username, proxy-url, tls-server-name, impersonation) is refused by name,
// not passed over. CT_ENOTFOUND, CT_EINVAL, CT_ETOOBIG, CT_ENOMEM, CT_ESYSTEM. Thread-safe.
CT_CHECKED int ct_kube_config_load(const char *path, struct ct_kube_config *ret,
                                   struct ct_err *err);

// As ct_kube_config_load(), of the context of that name; NULL: the current one.
CT_CHECKED int ct_kube_config_load_context(const char *path, const char *context,
                                           struct ct_kube_config *ret, struct ct_err *err);

// Frees; keys and tokens are wiped. Zeroed afterwards. NULL is fine.
void ct_kube_config_done(struct ct_kube_config *config);

#define CT_AUTO_KUBE_CONFIG __attribute__((cleanup(ct_kube_config_done))) struct ct_kube_config

#endif
