// SPDX-License-Identifier: Apache-2.0
#include "cluster.h"

#include <limits.h>
#include <string.h>

#include "json.h"
#include "text.h"

#define PAGE 500
#define MAX_PAGES 200
#define MAX_ANSWER ((size_t)64 << 20)
#define EXPIRED 410 // the list has gone on without us: from the start
#define SETTINGS_MAP "cloudtaser-webhook"
#define SETTINGS_KEY "webhook.json"

CT_CHECKED static int find_config(const char *kubeconfig, const char *context,
                                  struct ct_kube_config *ret, struct ct_err *err)
{
    char path[PATH_MAX];
    const char *variable = getenv("KUBECONFIG");
    const char *home = getenv("HOME");
    if (kubeconfig != NULL) {
        return ct_kube_config_load_context(kubeconfig, context, ret, err);
    }
    if (variable != NULL && variable[0] != '\0') {
        return strchr(variable, ':') == NULL
                   ? ct_kube_config_load_context(variable, context, ret, err)
                   : ct_err_set(err, CT_EINVAL,
                                "KUBECONFIG names several files, which are not merged here: name "
                                "one by --kubeconfig");
    }
    (void)snprintf(path, sizeof(path), "%s/.kube/config", home != NULL ? home : "");
    if (home != NULL && access(path, F_OK) == 0) {
        return ct_kube_config_load_context(path, context, ret, err);
    }
    if (context == NULL && ct_kube_config_in_cluster(NULL, ret, err) == 0) {
        return 0;
    }
    return ct_err_set(err, CT_ENOTFOUND,
                      "there is no cluster to ask: neither KUBECONFIG nor ~/.kube/config says how, "
                      "and this is no pod; give --kubeconfig, or --nodes-file to do without");
}

int ct_cli_cluster_open(const char *kubeconfig, const char *context, struct ct_kube **ret,
                        struct ct_err *err)
{
    static const struct ct_kube_options once = {.connect_timeout_ms = 10000, .timeout_ms = 60000};
    CT_AUTO_KUBE_CONFIG config = {.server = NULL};
    int r = find_config(kubeconfig, context, &config, err);
    r = r < 0 ? r : ct_kube_init(err);
    return r < 0 ? r : ct_kube_new(&config, &once, ret, err);
}

// ---- lists ----

struct listing {
    struct ct_nodes *pages[MAX_PAGES];
    size_t n;
    char *next; // where the next page begins; NULL: this was the last
};

static void listing_done(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        ct_nodes_free(l->pages[i]);
    }
    free(l->next);
    *l = (struct listing){.n = 0};
}

CT_CHECKED static int take_page(const struct ct_kind *what, struct listing *l,
                                const struct ct_buf *body, struct ct_err *err)
{
    CT_AUTO_JSON list = NULL;
    int r = ct_json_parse(body->len > 0 ? body->data : "", body->len, "the API server's list",
                          &list, err);
    const json_t *items = json_object_get(list, "items");
    const char *next = ct_json_str(json_object_get(list, "metadata"), "continue");
    if (r < 0 || !json_is_array(items)) {
        return ct_err_set(err, CT_EPROTO, "the API server answered no list of %s", what->plural);
    }
    if (l->n == MAX_PAGES) {
        return ct_err_set(err, CT_ETOOBIG, "the API server's list of %s has no end", what->plural);
    }
    r = ct_nodes_of_items(what, items, &l->pages[l->n], err);
    if (r < 0) {
        return r;
    }
    l->n++;
    free(ct_steal(&l->next));
    if (next != NULL && *next != '\0') {
        l->next = strdup(next);
        r = l->next != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for a list");
    }
    return r;
}

// A continue token is opaque: whatever is no letter or digit is escaped.
static void write_path(const struct ct_kind *what, const struct listing *l, struct ct_buf *path)
{
    ct_buf_reset(path);
    ct_buf_addf(path, "%s?limit=%d%s", what->path, PAGE, l->next != NULL ? "&continue=" : "");
    for (const char *c = l->next; c != NULL && *c != '\0'; c++) {
        ct_buf_addf(path, ct_text_is_alnum(*c) ? "%c" : "%%%02X", (unsigned char)*c);
    }
}

CT_CHECKED static int read_pages(struct ct_kube *kube, const struct ct_kind *what,
                                 struct listing *l, long *status, struct ct_err *err)
{
    CT_AUTO_BUF path = {.max = 16384};
    struct ct_kube_answer answer = {.body = {.max = MAX_ANSWER}};
    int r = 0;
    do {
        write_path(what, l, &path);
        const struct ct_kube_request request = {.method = "GET", .path = path.data};
        r = path.failed ? ct_err_set(err, CT_EPROTO, "the API server's continue token is too long")
                        : ct_kube_send(kube, &request, &answer, err);
        *status = answer.status;
        r = r < 0 ? r : take_page(what, l, &answer.body, err);
    } while (r == 0 && l->next != NULL);
    ct_buf_done(&answer.body);
    return r;
}

int ct_cli_cluster_list(struct ct_kube *kube, const struct ct_kind *what, struct ct_nodes **ret,
                        struct ct_err *err)
{
    for (int tries = 0;; tries++) {
        __attribute__((cleanup(listing_done))) struct listing l = {.n = 0};
        long status = 0;
        int r = read_pages(kube, what, &l, &status, err);
        if (r < 0 && status == EXPIRED && tries < 3) {
            continue;
        }
        return r < 0 ? r : ct_nodes_merge((const struct ct_nodes *const *)l.pages, l.n, ret, err);
    }
}

// ---- one object ----

static const struct object_kind {
    const char *names[3]; // the first is also the one in the API's path, but for its 's'
    const char *group;
} object_kinds[] = {
    {{"pod", "po"}, "/api/v1"},
    {{"deployment", "deploy"}, "/apis/apps/v1"},
    {{"statefulset", "sts"}, "/apis/apps/v1"},
    {{"daemonset", "ds"}, "/apis/apps/v1"},
    {{"replicaset", "rs"}, "/apis/apps/v1"},
    {{"replicationcontroller", "rc"}, "/api/v1"},
    {{"job"}, "/apis/batch/v1"},
    {{"cronjob", "cj"}, "/apis/batch/v1"},
    {{"podtemplate"}, "/api/v1"},
};

// Is ".apps", of "deployment.apps", what the kind's path "/apis/apps/v1" says? "" is, always.
static bool is_group(const struct object_kind *kind, const char *text, size_t len)
{
    static const char apis[] = "/apis/";
    size_t start = strlen(apis);
    return len == 0 || (strncmp(kind->group, apis, start) == 0 && *text == '.' &&
                        strncmp(kind->group + start, text + 1, len - 1) == 0 &&
                        kind->group[start + len - 1] == '/');
}

// "deployment", "deployments", "deploy", and as `kubectl get -o name` has it "deployment.apps".
static const struct object_kind *find_kind(const char *text, size_t whole)
{
    const char *dot = memchr(text, '.', whole);
    size_t len = dot != NULL ? (size_t)(dot - text) : whole;
    for (size_t i = 0; i < CT_ARRAY_LEN(object_kinds); i++) {
        const char *const *name = object_kinds[i].names;
        if (!is_group(&object_kinds[i], text + len, whole - len)) {
            continue;
        }
        for (size_t k = 0; k < CT_ARRAY_LEN(object_kinds[i].names) && name[k] != NULL; k++) {
            size_t own = strlen(name[k]);
            bool plural = k == 0 && len == own + 1 && text[own] == 's';
            if ((len == own || plural) && strncmp(text, name[k], own) == 0) {
                return &object_kinds[i];
            }
        }
    }
    return NULL;
}

CT_CHECKED static int get(struct ct_kube *kube, const char *path, json_t **ret, struct ct_err *err)
{
    struct ct_kube_answer answer = {.body = {.max = MAX_ANSWER}};
    const struct ct_kube_request request = {.method = "GET", .path = path};
    int r = ct_kube_send(kube, &request, &answer, err);
    if (r == 0) {
        r = ct_json_parse(answer.body.data, answer.body.len, "the API server's answer", ret, err);
        r = r == -CT_EINVAL ? ct_err_set(err, CT_EPROTO, "the API server answered no JSON") : r;
    }
    ct_buf_done(&answer.body);
    return r;
}

// The kind and the name of "KIND/NAME".
CT_CHECKED static int read_object(const char *object, const struct object_kind **ret_kind,
                                  const char **ret_name, struct ct_err *err)
{
    struct ct_shown shown;
    const char *slash = strchrnul(object, '/');
    *ret_kind = find_kind(object, (size_t)(slash - object));
    *ret_name = *slash == '/' ? slash + 1 : "";
    if (*ret_kind != NULL && ct_text_is_subdomain(*ret_name, strlen(*ret_name))) {
        return 0;
    }
    return ct_err_set(err, CT_EINVAL,
                      "\"%s\": KIND/NAME is allowed, with a kind that makes pods: pod, deployment, "
                      "statefulset, daemonset, replicaset, job, cronjob and others; a manifest's "
                      "file is given by --file",
                      ct_text_show(&shown, object, strlen(object)));
}

int ct_cli_cluster_check_object(const char *object, struct ct_err *err)
{
    const struct object_kind *kind = NULL;
    const char *name = NULL;
    return read_object(object, &kind, &name, err);
}

int ct_cli_cluster_get(struct ct_kube *kube, const char *object, const char *namespace,
                       struct ct_yaml *ret, struct ct_err *err)
{
    char path[1024];
    const struct object_kind *kind = NULL;
    const char *name = NULL;
    const char *context = ct_kube_namespace(kube);
    int r = read_object(object, &kind, &name, err);
    if (r < 0) {
        return r;
    }
    if (namespace == NULL) {
        namespace = context != NULL ? context : "default";
    }
    if (!ct_text_is_label(namespace, strlen(namespace))) {
        struct ct_shown shown;
        return ct_err_set(err, CT_EINVAL, "\"%s\" is no name of a namespace",
                          ct_text_show(&shown, namespace, strlen(namespace)));
    }
    (void)snprintf(path, sizeof(path), "%s/namespaces/%s/%ss/%s", kind->group, namespace,
                   kind->names[0], name);
    struct ct_yaml_document *document = calloc(1, sizeof(*document));
    if (document == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for %s", object);
    }
    ret->documents = document;
    r = get(kube, path, &document->value, err);
    ret->n = r == 0 ? 1 : 0;
    return r;
}

int ct_cli_cluster_settings(struct ct_kube *kube, const char *namespace, char **ret,
                            struct ct_err *err)
{
    char path[256];
    CT_AUTO_JSON map = NULL;
    if (!ct_text_is_label(namespace, strlen(namespace))) {
        struct ct_shown shown;
        return ct_err_set(err, CT_EINVAL, "\"%s\" is no name of a namespace",
                          ct_text_show(&shown, namespace, strlen(namespace)));
    }
    (void)snprintf(path, sizeof(path), "/api/v1/namespaces/%s/configmaps/" SETTINGS_MAP, namespace);
    int r = get(kube, path, &map, err);
    if (r < 0) {
        return ct_err_wrap(err, "the webhook's settings");
    }
    const char *text = ct_json_str(json_object_get(map, "data"), SETTINGS_KEY);
    if (text == NULL) {
        return ct_err_set(err, CT_ENOTFOUND,
                          "the ConfigMap " SETTINGS_MAP " in namespace %s has no " SETTINGS_KEY,
                          namespace);
    }
    *ret = strdup(text);
    return *ret != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for the settings");
}
