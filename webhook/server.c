// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "httpd.h"
#include "log.h"
#include "metrics.h"
#include "mutate.h"
#include "text.h"
#include "vault.h"
#include "watch.h"

struct ct_webhook {
    const struct ct_webhook_settings *settings;
    struct ct_httpd *httpd;
    struct ct_watch watch;
    struct ct_metrics metrics;
    // Why it is not ready, for as long as no nodes have been read.
    pthread_mutex_t lock;
    char not_ready[512];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// ---- /mutate ----

// One line for each pod that is patched or refused; of those that did not opt in only for debugging.
static void log_decision(const struct ct_decision *d, uint64_t ns)
{
    bool warn = d->reason != CT_REASON_NONE; // refused, or admitted in spite of it
    bool skipped = d->outcome == CT_OUTCOME_SKIPPED;
    char reason[64] = "";
    if (warn) {
        (void)snprintf(reason, sizeof(reason), "reason=%s ", ct_reason_name(d->reason));
    }
    ct_log(warn      ? CT_LOG_WARN
           : skipped ? CT_LOG_DEBUG
                     : CT_LOG_INFO,
           "%s pod %s/%s: %smin-score=%d warnings=%u uid=%s us=%llu%s%s%s",
           ct_outcome_name(d->outcome), d->namespace, d->name, reason, d->min_score, d->warnings,
           d->uid, (unsigned long long)(ns / 1000), d->dry_run ? " dry-run" : "",
           d->sentence[0] != '\0' ? ": " : "", d->sentence);
}

// How a request that got no decision is answered. Everything else is 500.
static const struct {
    int code;
    unsigned status;
    enum ct_request_error error;
} failures[] = {
    {-CT_EINVAL, 400, CT_REQUEST_MALFORMED},
    {-CT_EPROTO, 400, CT_REQUEST_MALFORMED},
    {-CT_ETOOBIG, 413, CT_REQUEST_TOO_LARGE},
    {0, 500, CT_REQUEST_INTERNAL},
};

static void fail(struct ct_webhook *webhook, int code, const struct ct_err *err, uint64_t ns,
                 struct ct_httpd_reply *reply)
{
    size_t i = 0;
    while (failures[i].code != 0 && failures[i].code != code) {
        i++;
    }
    ct_metrics_failed(&webhook->metrics, failures[i].error, ns);
    ct_log(CT_LOG_WARN, "refused a request with HTTP %u: %s", failures[i].status, err->msg);
    ct_httpd_error(reply, failures[i].status, "%s", err->msg);
}

static void handle_mutate(void *cls, const struct ct_httpd_request *request,
                          struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    struct ct_decision decision = {0};
    struct ct_err err = {0};
    uint64_t start = now_ns();
    atomic_fetch_add_explicit(&webhook->metrics.in_flight, 1, memory_order_relaxed);
    struct ct_watch_reader reader = ct_watch_enter(&webhook->watch);
    int r = ct_mutate(webhook->settings, reader.nodes, request->body, request->body_len,
                      &reply->body, &decision, &err);
    ct_watch_leave(&webhook->watch, &reader);
    atomic_fetch_sub_explicit(&webhook->metrics.in_flight, 1, memory_order_relaxed);
    uint64_t ns = now_ns() - start;
    if (r < 0) {
        fail(webhook, r, &err, ns, reply);
        return;
    }
    ct_metrics_decided(&webhook->metrics, &decision, ns);
    log_decision(&decision, ns);
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

static void handle_readyz(void *cls, const struct ct_httpd_request *request,
                          struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    (void)request;
    if (atomic_load(&webhook->watch.nodes) != NULL) {
        handle_healthz(cls, request, reply);
        return;
    }
    (void)pthread_mutex_lock(&webhook->lock);
    ct_httpd_error(reply, 503, "not ready: %s", webhook->not_ready);
    (void)pthread_mutex_unlock(&webhook->lock);
}

static void handle_metrics(void *cls, const struct ct_httpd_request *request,
                           struct ct_httpd_reply *reply)
{
    struct ct_webhook *webhook = cls;
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    struct ct_watch_reader reader = ct_watch_enter(&webhook->watch);
    ct_metrics_render(&webhook->metrics, reader.nodes, ct_httpd_certificate_expiry(webhook->httpd),
                      &reply->body);
    ct_watch_leave(&webhook->watch, &reader);
}

static const struct ct_httpd_route routes[] = {
    {"POST", "/mutate", true, handle_mutate},
    {"GET", "/healthz", false, handle_healthz},
    {"GET", "/readyz", false, handle_readyz},
    {"GET", "/metrics", false, handle_metrics},
};

// ---- files ----

static void tick_nodes(struct ct_webhook *webhook)
{
    struct ct_err err = {0};
    bool had = atomic_load(&webhook->watch.nodes) != NULL;
    int r = ct_watch_nodes(&webhook->watch, &err);
    if (r == 0) {
        return;
    }
    ct_metrics_reloaded(&webhook->metrics, CT_RELOAD_NODES, r > 0);
    if (r > 0) {
        struct ct_watch_reader reader = ct_watch_enter(&webhook->watch);
        size_t n = ct_nodes_count(reader.nodes);
        ct_log(n > 0 ? CT_LOG_INFO : CT_LOG_WARN, "%zu nodes read from %s%s", n,
               webhook->watch.path,
               n > 0 ? ""
                     : "; pods whose minimum takes a node's help are refused until there are any");
        ct_watch_leave(&webhook->watch, &reader);
        return;
    }
    (void)pthread_mutex_lock(&webhook->lock);
    (void)snprintf(webhook->not_ready, sizeof(webhook->not_ready), "%s", err.msg);
    (void)pthread_mutex_unlock(&webhook->lock);
    ct_log(CT_LOG_ERROR, "%s%s", err.msg, had ? "; the nodes read before stay in use" : "");
}

static void tick_certificate(struct ct_webhook *webhook)
{
    struct ct_err err = {0};
    int r = ct_httpd_reload_certificate(webhook->httpd, &err);
    if (r == 0) {
        return;
    }
    ct_metrics_reloaded(&webhook->metrics, CT_RELOAD_CERTIFICATE, r > 0);
    if (r > 0) {
        ct_log(CT_LOG_INFO, "certificate read again from %s", webhook->settings->tls_cert);
    } else {
        ct_log(CT_LOG_ERROR, "%s; the certificate read before stays in use", err.msg);
    }
}

void ct_webhook_tick(struct ct_webhook *webhook)
{
    tick_certificate(webhook);
    tick_nodes(webhook);
}

// ---- start and stop ----

void ct_webhook_stop(struct ct_webhook *webhook)
{
    if (webhook == NULL) {
        return;
    }
    ct_httpd_stop(webhook->httpd);
    ct_watch_done(&webhook->watch);
    (void)pthread_mutex_destroy(&webhook->lock);
    free(webhook);
}
CT_DEFINE_AUTO(ct_webhook, ct_webhook_stop);

static void warn_of_transport(const struct ct_webhook_settings *settings)
{
    if (settings->vault_address != NULL && ct_address_is_plain(settings->vault_address)) {
        ct_log(CT_LOG_WARN,
               "--vault-address %s is http://: tokens and secrets cross the network in the clear",
               settings->vault_address);
    }
}

int ct_webhook_start(const struct ct_webhook_settings *settings, struct ct_webhook **ret,
                     struct ct_err *err)
{
    CT_AUTO(ct_webhook) *webhook = calloc(1, sizeof(*webhook));
    if (webhook == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the server");
    }
    (void)pthread_mutex_init(&webhook->lock, NULL);
    webhook->settings = settings;
    webhook->watch.path = settings->nodes_file;
    const struct ct_httpd_options options = {
        .listen = settings->listen,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .threads = (unsigned)settings->threads,
        .max_connections = (unsigned)settings->max_connections,
        .max_body = CT_WEBHOOK_MAX_BODY,
        .routes = routes,
        .n_routes = CT_ARRAY_LEN(routes),
        .refused = note_refused,
        .cls = webhook,
    };
    warn_of_transport(settings);
    // Nodes first: from its first answer on it is ready, if it can be.
    tick_nodes(webhook);
    int r = ct_httpd_start(&options, &webhook->httpd, err);
    if (r < 0) {
        return r;
    }
    *ret = ct_steal(&webhook);
    return 0;
}

unsigned ct_webhook_port(const struct ct_webhook *webhook)
{
    return ct_httpd_port(webhook->httpd);
}
