// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "access.h"
#include "handshake.h"
#include "httpd.h"
#include "log.h"
#include "metrics.h"
#include "mutate.h"
#include "renew.h"
#include "source.h"
#include "text.h"
#include "vault.h"

struct ct_webhook {
    const struct ct_webhook_settings *settings;
    struct ct_httpd *httpd;
    struct ct_source nodes;
    struct ct_source namespaces;
    struct ct_metrics metrics;
    struct ct_renew *_Atomic renew; // of CT_CERT_SELF; set when the server runs already
    char *cert_namespace;
    char *cert_name; // when the settings give none
    struct ct_handshake handshake;
    atomic_bool draining;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// ---- /mutate ----

// How a request that got no decision is answered. Everything else is 500.
static const struct {
    int code;
    unsigned status;
    enum ct_request_error error;
} failures[] = {
    {-CT_EINVAL, 400, CT_REQUEST_MALFORMED},
    {-CT_EPROTO, 400, CT_REQUEST_MALFORMED},
    {-CT_ETOOBIG, 413, CT_REQUEST_TOO_LARGE},
    {-CT_EUNAVAIL, 503, CT_REQUEST_NOT_READY},
    {0, 500, CT_REQUEST_INTERNAL},
};

static void fail(struct ct_webhook *webhook, int code, const struct ct_decision *decision,
                 const struct ct_err *err, uint64_t ns, struct ct_httpd_reply *reply)
{
    size_t i = 0;
    while (failures[i].code != 0 && failures[i].code != code) {
        i++;
    }
    ct_metrics_failed(&webhook->metrics, failures[i].error, ns);
    ct_access_failed(decision, failures[i].status, ct_request_error_name(failures[i].error),
                     err->msg, ns);
    ct_httpd_error(reply, failures[i].status, "%s", err->msg);
}

// A decision by what is not known, or not any more, would be a guess: the API server does what its
// failurePolicy says. Without a nodes file that can be read, what needs a node is refused as it is;
// without namespaces somebody's minimum might be missed, so these must have been there.
static int check_known(struct ct_webhook *webhook, const struct ct_decision *decision,
                       const struct ct_nodes *namespaces, struct ct_httpd_reply *reply,
                       struct ct_err *err)
{
    char trouble[400];
    if (decision->outcome == CT_OUTCOME_SKIPPED) {
        return 0;
    }
    bool good = (webhook->nodes.cluster == NULL ||
                 ct_source_ready(&webhook->nodes, trouble, sizeof(trouble))) &&
                ct_source_ready(&webhook->namespaces, trouble, sizeof(trouble));
    if (good && (namespaces != NULL || !ct_source_used(&webhook->namespaces))) {
        return 0;
    }
    ct_buf_reset(&reply->body);
    return ct_err_set(err, CT_EUNAVAIL, "not ready: %s",
                      good ? "the namespaces have only just become known" : trouble);
}

static unsigned age_of_view(const struct ct_webhook *webhook)
{
    unsigned nodes = ct_source_age_s(&webhook->nodes);
    unsigned namespaces = ct_source_age_s(&webhook->namespaces);
    return nodes > namespaces ? nodes : namespaces;
}

static void handle_mutate(void *cls, const struct ct_httpd_request *request,
                          struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    struct ct_decision decision = {0};
    struct ct_err err = {0};
    uint64_t start = now_ns();
    atomic_fetch_add_explicit(&webhook->metrics.in_flight, 1, memory_order_relaxed);
    struct ct_watch_reader nodes = ct_watch_enter(&webhook->nodes.watch);
    struct ct_watch_reader namespaces = ct_watch_enter(&webhook->namespaces.watch);
    const struct ct_view view = {
        .nodes = nodes.nodes, .namespaces = namespaces.nodes, .age_s = age_of_view(webhook)};
    int r = ct_mutate_view(webhook->settings, &view, request->body, request->body_len, &reply->body,
                           &decision, &err);
    ct_watch_leave(&webhook->namespaces.watch, &namespaces);
    ct_watch_leave(&webhook->nodes.watch, &nodes);
    atomic_fetch_sub_explicit(&webhook->metrics.in_flight, 1, memory_order_relaxed);
    r = r == 0 ? check_known(webhook, &decision, view.namespaces, reply, &err) : r;
    uint64_t ns = now_ns() - start;
    if (r < 0) {
        fail(webhook, r, &decision, &err, ns, reply);
        return;
    }
    ct_metrics_decided(&webhook->metrics, &decision, ns);
    ct_access_decided(&decision, ns);
}

// What never comes to a handler. At info only what the API server may have sent: scanners are many.
static void note_refused(void *cls, unsigned status, const char *method, const char *path)
{
    struct ct_webhook *webhook = cls;
    struct ct_shown shown;
    static const struct {
        unsigned status;
        enum ct_request_error error;
    } errors[] = {
        {400, CT_REQUEST_MALFORMED},
        {413, CT_REQUEST_TOO_LARGE},
        {503, CT_REQUEST_INTERNAL},
        {0, CT_REQUEST_NOT_SERVED},
    };
    size_t i = 0;
    while (errors[i].status != 0 && errors[i].status != status) {
        i++;
    }
    bool review = strcmp(method, "POST") == 0 && strcmp(path, "/mutate") == 0;
    ct_metrics_refused(&webhook->metrics, errors[i].error);
    ct_log(review ? CT_LOG_INFO : CT_LOG_DEBUG, "answered %.16s %s with HTTP %u", method,
           ct_text_show(&shown, path, strlen(path)), status);
}

// ---- the others ----

static void handle_healthz(void *cls, const struct ct_httpd_request *request,
                           struct ct_httpd_reply *reply)
{
    (void)cls;
    (void)request;
    reply->content_type = "text/plain; charset=utf-8";
    ct_buf_add_str(&reply->body, "ok\n");
}

static bool certificate_ready(struct ct_webhook *webhook, char *why, size_t size)
{
    if (webhook->settings->cert_mode != CT_CERT_SELF) {
        return true;
    }
    struct ct_renew *renew = atomic_load(&webhook->renew);
    (void)snprintf(why, size, "the certificate is being made");
    return renew != NULL && ct_renew_ready(renew, why, size);
}

static void handle_readyz(void *cls, const struct ct_httpd_request *request,
                          struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    char why[500];
    if (atomic_load(&webhook->draining)) {
        ct_httpd_error(reply, 503, "not ready: it has been told to end");
        return;
    }
    if (!certificate_ready(webhook, why, sizeof(why)) ||
        !ct_handshake_good(&webhook->handshake, why, sizeof(why)) ||
        !ct_source_ready(&webhook->nodes, why, sizeof(why)) ||
        !ct_source_ready(&webhook->namespaces, why, sizeof(why))) {
        ct_httpd_error(reply, 503, "not ready: %s", why);
        return;
    }
    handle_healthz(cls, request, reply);
}

static void handle_metrics(void *cls, const struct ct_httpd_request *request,
                           struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    struct ct_watch_reader nodes = ct_watch_enter(&webhook->nodes.watch);
    struct ct_watch_reader namespaces = ct_watch_enter(&webhook->namespaces.watch);
    const struct ct_metrics_view view = {
        .nodes = nodes.nodes,
        .namespaces = namespaces.nodes,
        .clusters = {webhook->nodes.cluster, webhook->namespaces.cluster},
        .certificate_expiry = ct_httpd_certificate_expiry(webhook->httpd)};
    ct_metrics_render(&webhook->metrics, &view, &reply->body);
    ct_watch_leave(&webhook->namespaces.watch, &namespaces);
    ct_watch_leave(&webhook->nodes.watch, &nodes);
}

static const struct ct_httpd_route routes[] = {
    {"POST", "/mutate", true, handle_mutate},
    {"GET", "/healthz", false, handle_healthz},
    {"GET", "/readyz", false, handle_readyz},
    {"GET", "/metrics", false, handle_metrics},
};

// ---- files ----

static void tick_source(struct ct_webhook *webhook, struct ct_source *source,
                        enum ct_reload_file file)
{
    int r = ct_source_tick(source);
    if (r != 0) {
        ct_metrics_reloaded(&webhook->metrics, file, r > 0);
    }
}

static void tick_certificate(struct ct_webhook *webhook)
{
    struct ct_err err = {0};
    int r = ct_httpd_reload_certificate(webhook->httpd, &err);
    if (r == 0) {
        return;
    }
    ct_metrics_reloaded(&webhook->metrics, CT_RELOAD_CERTIFICATE, r > 0);
    atomic_store(&webhook->handshake.due, true);
    if (r > 0) {
        ct_log(CT_LOG_INFO, "certificate read again from %s", webhook->settings->tls_cert);
    } else {
        ct_log(CT_LOG_ERROR, "%s; the certificate read before stays in use", err.msg);
    }
}

// Of those that callers may use; the plan is made of the same.
static const char *first_name(const struct ct_webhook *webhook)
{
    const struct ct_option_list *names = &webhook->settings->cert_name;
    return names->n > 0 ? names->item[0] : webhook->cert_name;
}

// What callers verify by is known only of what was made here.
static void tick_handshake(struct ct_webhook *webhook)
{
    struct ct_renew *renew = atomic_load(&webhook->renew);
    CT_AUTO_STR authorities = renew != NULL ? ct_renew_authorities(renew) : NULL;
    ct_handshake_check(&webhook->handshake, webhook->httpd, authorities,
                       authorities != NULL ? first_name(webhook) : NULL);
}

void ct_webhook_tick(struct ct_webhook *webhook)
{
    tick_certificate(webhook);
    tick_handshake(webhook);
    tick_source(webhook, &webhook->nodes, CT_RELOAD_NODES);
    tick_source(webhook, &webhook->namespaces, CT_RELOAD_NAMESPACES);
}

// ---- start and stop ----

void ct_webhook_drain(struct ct_webhook *webhook)
{
    atomic_store(&webhook->draining, true);
    ct_httpd_release(webhook->httpd);
}

void ct_webhook_stop(struct ct_webhook *webhook, bool (*hurry)(void *cls), void *cls)
{
    if (webhook == NULL) {
        return;
    }
    ct_renew_stop(atomic_load(&webhook->renew)); // it shows its certificates by the server
    ct_httpd_stop_within(webhook->httpd, webhook->settings->drain_timeout, hurry, cls);
    ct_source_done(&webhook->nodes);
    ct_source_done(&webhook->namespaces);
    ct_handshake_done(&webhook->handshake);
    free(webhook->cert_namespace);
    free(webhook->cert_name);
    free(webhook);
}

static void give_up(struct ct_webhook *webhook)
{
    ct_webhook_stop(webhook, NULL, NULL);
}
CT_DEFINE_AUTO(ct_webhook, give_up);

static void warn_of_transport(const struct ct_webhook_settings *settings)
{
    if (settings->vault_address != NULL && ct_address_is_plain(settings->vault_address)) {
        ct_log(CT_LOG_WARN,
               "--vault-address %s is http://: tokens and secrets cross the network in the clear",
               settings->vault_address);
    }
}

static int read_kube_config(const struct ct_webhook *webhook, struct ct_kube_config *ret,
                            struct ct_err *err)
{
    const char *path = webhook->settings->kubeconfig;
    return path != NULL ? ct_kube_config_load(path, ret, err)
                        : ct_kube_config_in_cluster(NULL, ret, err);
}

static int watch_cluster(struct ct_webhook *webhook, struct ct_source *source, struct ct_err *err)
{
    CT_AUTO_KUBE_CONFIG config = {0};
    int r = read_kube_config(webhook, &config, err);
    return r < 0 ? r
                 : ct_source_open_cluster(source, &config, webhook->settings->nodes_max_age, err);
}

// First of all: from its first answer on it is ready, if it can be.
static int start_sources(struct ct_webhook *webhook, struct ct_err *err)
{
    const struct ct_webhook_settings *settings = webhook->settings;
    int r = 0;
    if (settings->namespaces_file != NULL) {
        ct_source_open_file(&webhook->namespaces, settings->namespaces_file);
        tick_source(webhook, &webhook->namespaces, CT_RELOAD_NAMESPACES);
    } else if (settings->nodes_file == NULL) {
        r = watch_cluster(webhook, &webhook->namespaces, err);
    }
    if (r == 0 && settings->nodes_file != NULL) {
        ct_source_open_file(&webhook->nodes, settings->nodes_file);
        tick_source(webhook, &webhook->nodes, CT_RELOAD_NODES);
    } else if (r == 0) {
        r = watch_cluster(webhook, &webhook->nodes, err);
    }
    return r < 0 ? ct_err_wrap(err, "the nodes cannot be watched, and there is no --nodes-file")
                 : 0;
}

static int start_server(struct ct_webhook *webhook, const struct ct_certs_set *set,
                        struct ct_err *err)
{
    const struct ct_webhook_settings *settings = webhook->settings;
    const struct ct_httpd_options options = {
        .listen = settings->listen,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .tls_cert_text = set->cert,
        .tls_key_text = set->key,
        .threads = (unsigned)settings->threads,
        .max_connections = (unsigned)settings->max_connections,
        .max_body = CT_WEBHOOK_MAX_BODY,
        .routes = routes,
        .n_routes = CT_ARRAY_LEN(routes),
        .refused = note_refused,
        .cls = webhook,
    };
    return ct_httpd_start(&options, &webhook->httpd, err);
}

static int use_certificate(void *cls, const char *cert, const char *key, struct ct_err *err)
{
    struct ct_webhook *webhook = cls;
    int r = ct_httpd_set_certificate(webhook->httpd, cert, key, err);
    atomic_store(&webhook->handshake.due, true);
    ct_metrics_reloaded(&webhook->metrics, CT_RELOAD_CERTIFICATE, r == 0);
    return r;
}

// What the settings leave open follows from the namespace.
static int plan_certificates(struct ct_webhook *webhook, const struct ct_kube_config *config,
                             struct ct_renew_options *options, struct ct_err *err)
{
    const struct ct_webhook_settings *settings = webhook->settings;
    const char *namespace =
        settings->cert_namespace != NULL ? settings->cert_namespace : config->namespace;
    if (settings->tls_cert != NULL || settings->tls_key != NULL) {
        return ct_err_set(err, CT_EINVAL, "--cert-mode self takes no --tls-cert and no --tls-key");
    }
    if (namespace == NULL || *namespace == '\0') {
        return ct_err_set(err, CT_EINVAL,
                          "--cert-mode self needs --cert-namespace: nothing says "
                          "which namespace this is");
    }
    if (settings->cert_life < 6000) {
        return ct_err_set(err, CT_EINVAL, "--cert-life must be 6s at least");
    }
    webhook->cert_namespace = strdup(namespace);
    if (webhook->cert_namespace == NULL ||
        asprintf(&webhook->cert_name, "cloudtaser-webhook.%s.svc", namespace) < 0) {
        webhook->cert_name = NULL;
        return ct_err_set(err, CT_ENOMEM, "out of memory for certificates");
    }
    bool named = settings->cert_name.n > 0;
    *options = (struct ct_renew_options){
        .place = {.namespace = webhook->cert_namespace,
                  .secret = settings->cert_secret,
                  .configuration = settings->webhook_configuration},
        .plan = {.names = named ? (const char *const *)settings->cert_name.item
                                : (const char *const *)&webhook->cert_name,
                 .n_names = named ? settings->cert_name.n : 1,
                 .life_s = settings->cert_life / 1000},
        .use = use_certificate,
        .cls = webhook,
    };
    return 0;
}

// Serves by a certificate of its own making until the cluster has been asked: /readyz says so.
static int start_with_own_certificate(struct ct_webhook *webhook, struct ct_err *err)
{
    CT_AUTO_KUBE_CONFIG config = {0};
    CT_AUTO_CERTS_SET set = {0};
    struct ct_renew_options options;
    if (read_kube_config(webhook, &config, err) < 0) {
        return ct_err_wrap(err, "--cert-mode self");
    }
    int r = plan_certificates(webhook, &config, &options, err);
    r = r == 0 ? ct_certs_make(&options.plan, time(NULL), &set, err) : r;
    r = r == 0 ? start_server(webhook, &set, err) : r;
    struct ct_renew *renew = NULL;
    r = r == 0 ? ct_renew_start(&config, &set, &options, &renew, err) : r;
    atomic_store(&webhook->renew, renew);
    return r;
}

static int start_with_files(struct ct_webhook *webhook, struct ct_err *err)
{
    const struct ct_certs_set none = {0};
    if (webhook->settings->tls_cert == NULL || webhook->settings->tls_key == NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "--tls-cert and --tls-key are missing (or take --cert-mode self)");
    }
    return start_server(webhook, &none, err);
}

int ct_webhook_start(const struct ct_webhook_settings *settings, struct ct_webhook **ret,
                     struct ct_err *err)
{
    CT_AUTO(ct_webhook) *webhook = calloc(1, sizeof(*webhook));
    if (webhook == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the server");
    }
    ct_source_init(&webhook->nodes, &ct_kind_node);
    ct_source_init(&webhook->namespaces, &ct_kind_namespace);
    ct_handshake_init(&webhook->handshake);
    webhook->settings = settings;
    warn_of_transport(settings);
    int r = start_sources(webhook, err);
    if (r == 0) {
        r = settings->cert_mode == CT_CERT_SELF ? start_with_own_certificate(webhook, err)
                                                : start_with_files(webhook, err);
    }
    if (r < 0) {
        return r;
    }
    tick_handshake(webhook);
    *ret = ct_steal(&webhook);
    return 0;
}

unsigned ct_webhook_port(const struct ct_webhook *webhook)
{
    return ct_httpd_port(webhook->httpd);
}
