// SPDX-License-Identifier: Apache-2.0
#include "kube_config.h"

#include <openssl/evp.h>
#include <string.h>

#include "file.h"
#include "kube_yaml.h"

#define MAX_KUBECONFIG (1024u * 1024)
#define MAX_TEXT (256 * 1024)

static void wipe_str(char **s)
{
    if (*s != NULL) {
        explicit_bzero(*s, strlen(*s));
        free(*s);
        *s = NULL;
    }
}

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory for the API server's configuration");
}

// ---- kubeconfig ----

struct loader {
    const char *path;
    struct ct_kube_config config;
    struct ct_err *err;
};

static int copy_str(struct loader *l, const json_t *from, const char *key, char **to)
{
    const json_t *value = json_object_get(from, key);
    const char *text = ct_json_str(from, key);
    if (value == NULL || json_is_null(value) || (text != NULL && *text == '\0')) {
        return 0;
    }
    if (text == NULL || strlen(text) > MAX_TEXT) {
        return ct_err_set(l->err, CT_EINVAL,
                          "kubeconfig %s: \"%s\" must be a text of at most %d bytes", l->path, key,
                          MAX_TEXT);
    }
    *to = strdup(text);
    return *to != NULL ? 0 : no_memory(l->err);
}

// A file's path: from the kubeconfig's own folder unless absolute.
static int copy_path(struct loader *l, const json_t *from, const char *key, char **to)
{
    CT_AUTO_STR text = NULL;
    int rc = copy_str(l, from, key, &text);
    if (rc < 0 || text == NULL) {
        return rc;
    }
    const char *slash = strrchr(l->path, '/');
    if (text[0] == '/' || slash == NULL) {
        *to = ct_steal(&text);
        return 0;
    }
    if (asprintf(to, "%.*s/%s", (int)(slash - l->path), l->path, text) < 0) {
        *to = NULL;
        return no_memory(l->err);
    }
    return 0;
}

// NAME-data in base64 (RFC 4648).
static int copy_data(struct loader *l, const json_t *from, const char *key, char **to)
{
    char *text = NULL;
    int rc = copy_str(l, from, key, &text);
    if (rc < 0 || text == NULL) {
        return rc;
    }
    size_t len = strlen(text);
    char *out = calloc(1, len + 4);
    int n =
        out != NULL ? EVP_DecodeBlock((unsigned char *)out, (unsigned char *)text, (int)len) : 0;
    if (out == NULL) {
        rc = no_memory(l->err);
    } else if (n < 0 || strncmp(out, "-----BEGIN ", 11) != 0) {
        rc = ct_err_set(l->err, CT_EINVAL, "kubeconfig %s: \"%s\" is no PEM in base64", l->path,
                        key);
    }
    wipe_str(&text);
    if (rc < 0) {
        wipe_str(&out);
        return rc;
    }
    out[n] = '\0';
    *to = out;
    return 0;
}

static int refuse(struct loader *l, const json_t *from, const char *const *keys,
                  const char *instead)
{
    for (; *keys != NULL; keys++) {
        if (json_object_get(from, *keys) != NULL) {
            return ct_err_set(l->err, CT_EINVAL, "kubeconfig %s: \"%s\" is not supported: %s",
                              l->path, *keys, instead);
        }
    }
    return 0;
}

// clusters, users and contexts are lists of {name: …, KIND: {…}}.
static int find(struct loader *l, const json_t *doc, const char *list, const char *kind,
                const char *name, const json_t **ret)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(doc, list), i, item)
    {
        const char *found = ct_json_str(item, "name");
        if (found != NULL && strcmp(found, name) == 0 &&
            json_is_object(json_object_get(item, kind))) {
            *ret = json_object_get(item, kind);
            return 0;
        }
    }
    return ct_err_set(l->err, CT_EINVAL, "kubeconfig %s: \"%s\" has no %s named \"%.100s\"",
                      l->path, list, kind, name);
}

static int take_cluster(struct loader *l, const json_t *cluster)
{
    static const char *const refused[] = {"proxy-url", "tls-server-name", NULL};
    struct ct_kube_config *c = &l->config;
    int rc = refuse(l, cluster, refused, "give the address at which the certificate is valid");
    if (rc == 0) {
        rc = copy_str(l, cluster, "server", &c->server);
    }
    if (rc == 0) {
        rc = copy_data(l, cluster, "certificate-authority-data", &c->ca_pem);
    }
    if (rc == 0 && c->ca_pem == NULL) {
        rc = copy_path(l, cluster, "certificate-authority", &c->ca_file);
    }
    if (rc < 0) {
        return rc;
    }
    if (c->server == NULL ||
        (strncmp(c->server, "https://", 8) != 0 && strncmp(c->server, "http://", 7) != 0)) {
        return ct_err_set(l->err, CT_EINVAL,
                          "kubeconfig %s: the cluster's server is no https:// URL", l->path);
    }
    size_t len = strlen(c->server);
    while (len > 0 && c->server[len - 1] == '/') {
        c->server[--len] = '\0';
    }
    c->skip_verify = json_is_true(json_object_get(cluster, "insecure-skip-tls-verify"));
    return 0;
}

static int take_user(struct loader *l, const json_t *user)
{
    static const char *const refused[] = {"exec", "auth-provider", "username", "as", NULL};
    struct ct_kube_config *c = &l->config;
    int rc = refuse(l, user, refused, "give a token, tokenFile or client certificate");
    if (rc == 0) {
        rc = copy_data(l, user, "client-certificate-data", &c->cert_pem);
    }
    if (rc == 0 && c->cert_pem == NULL) {
        rc = copy_path(l, user, "client-certificate", &c->cert_file);
    }
    if (rc == 0) {
        rc = copy_data(l, user, "client-key-data", &c->key_pem);
    }
    if (rc == 0 && c->key_pem == NULL) {
        rc = copy_path(l, user, "client-key", &c->key_file);
    }
    if (rc == 0) {
        rc = copy_path(l, user, "tokenFile", &c->token_file);
    }
    if (rc == 0) {
        rc = copy_str(l, user, "token", &c->token);
    }
    bool cert = c->cert_pem != NULL || c->cert_file != NULL;
    bool key = c->key_pem != NULL || c->key_file != NULL;
    if (rc == 0 && cert != key) {
        rc =
            ct_err_set(l->err, CT_EINVAL,
                       "kubeconfig %s: client-certificate and client-key belong together", l->path);
    }
    return rc;
}

// `current` NULL: the one that the file says.
static int take_context(struct loader *l, const json_t *doc, const char *current)
{
    current = current != NULL ? current : ct_json_str(doc, "current-context");
    const json_t *context = NULL;
    const json_t *cluster = NULL;
    const json_t *user = NULL;
    if (current == NULL || *current == '\0') {
        return ct_err_set(l->err, CT_EINVAL, "kubeconfig %s: there is no current-context", l->path);
    }
    int rc = find(l, doc, "contexts", "context", current, &context);
    const char *name = ct_json_str(context, "cluster");
    if (rc == 0) {
        rc = find(l, doc, "clusters", "cluster", name != NULL ? name : "", &cluster);
    }
    if (rc == 0) {
        rc = take_cluster(l, cluster);
    }
    name = ct_json_str(context, "user");
    if (rc == 0 && name != NULL && *name != '\0') { // kubectl writes "" for none
        rc = find(l, doc, "users", "user", name, &user);
    }
    if (rc == 0 && user != NULL) {
        rc = take_user(l, user);
    }
    return rc < 0 ? rc : copy_str(l, context, "namespace", &l->config.namespace);
}

int ct_kube_config_load(const char *path, struct ct_kube_config *ret, struct ct_err *err)
{
    return ct_kube_config_load_context(path, NULL, ret, err);
}

int ct_kube_config_load_context(const char *path, const char *context, struct ct_kube_config *ret,
                                struct ct_err *err)
{
    CT_AUTO_SECRET_BUF text = {.max = MAX_KUBECONFIG, .secret = true};
    CT_AUTO_JSON doc = NULL;
    struct loader l = {.path = path, .err = err};
    int rc = ct_file_read(path, &text, err);
    if (rc < 0) {
        return ct_err_wrap(err, "kubeconfig");
    }
    CT_AUTO_STR what = NULL;
    if (asprintf(&what, "kubeconfig %s", path) < 0) {
        what = NULL;
        return no_memory(err);
    }
    rc = ct_kube_yaml_parse(text.data != NULL ? text.data : "", text.len, what, &doc, err);
    if (rc == 0) {
        rc = take_context(&l, doc, context);
    }
    if (rc < 0) {
        ct_kube_config_done(&l.config);
        return rc;
    }
    *ret = l.config;
    return 0;
}
