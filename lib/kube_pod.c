// SPDX-License-Identifier: Apache-2.0
//
// The configuration of a pod. Apart from kubeconfig files, for those who need no YAML.
#include <string.h>

#include "file.h"
#include "kube_config.h"

#define MAX_NAMESPACE 256

static void wipe_str(char **s)
{
    if (*s != NULL) {
        explicit_bzero(*s, strlen(*s));
        free(*s);
        *s = NULL;
    }
}

void ct_kube_config_done(struct ct_kube_config *config)
{
    if (config == NULL) {
        return;
    }
    char **const all[] = {
        &config->server,     &config->ca_file,   &config->ca_pem,  &config->cert_file,
        &config->cert_pem,   &config->key_file,  &config->key_pem, &config->token,
        &config->token_file, &config->namespace,
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(all); i++) {
        wipe_str(all[i]);
    }
    config->skip_verify = false;
}

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory for the API server's configuration");
}

static int in_folder(const char *folder, const char *name, char **ret, struct ct_err *err)
{
    if (asprintf(ret, "%s/%s", folder, name) < 0) {
        *ret = NULL;
        return no_memory(err);
    }
    return 0;
}

static int read_namespace(const char *folder, struct ct_kube_config *config, struct ct_err *err)
{
    CT_AUTO_STR path = NULL;
    CT_AUTO_BUF text = {.max = MAX_NAMESPACE};
    int rc = in_folder(folder, "namespace", &path, err);
    if (rc == 0) {
        rc = ct_file_read(path, &text, err);
    }
    if (rc < 0) {
        return rc == -CT_ENOTFOUND ? 0 : rc; // only some uses need it, and these ask for it
    }
    config->namespace = strndup(text.data != NULL ? text.data : "",
                                strcspn(text.data != NULL ? text.data : "", "\r\n"));
    return config->namespace != NULL ? 0 : no_memory(err);
}

int ct_kube_config_in_cluster(const char *folder, struct ct_kube_config *ret, struct ct_err *err)
{
    CT_AUTO_KUBE_CONFIG config = {0};
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    folder = folder != NULL ? folder : CT_KUBE_SERVICE_ACCOUNT;
    if (host == NULL || *host == '\0' || port == NULL || *port == '\0') {
        return ct_err_set(err, CT_ENOTFOUND,
                          "this is no pod of a cluster (KUBERNETES_SERVICE_HOST and "
                          "KUBERNETES_SERVICE_PORT are not set): name a kubeconfig file");
    }
    bool v6 = strchr(host, ':') != NULL;
    if (asprintf(&config.server, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) <
        0) {
        config.server = NULL;
        return no_memory(err);
    }
    int rc = in_folder(folder, "ca.crt", &config.ca_file, err);
    if (rc == 0) {
        rc = in_folder(folder, "token", &config.token_file, err);
    }
    if (rc == 0 && (access(config.token_file, R_OK) != 0 || access(config.ca_file, R_OK) != 0)) {
        rc = ct_err_set(err, CT_ENOTFOUND,
                        "%s holds no readable token and ca.crt: the pod needs a service account "
                        "(automountServiceAccountToken)",
                        folder);
    }
    if (rc == 0) {
        rc = read_namespace(folder, &config, err);
    }
    if (rc == 0) {
        *ret = config;
        config = (struct ct_kube_config){0};
    }
    return rc;
}
