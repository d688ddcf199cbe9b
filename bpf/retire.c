// SPDX-License-Identifier: Apache-2.0
#include "retire.h"

#include <jansson.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "json.h"
#include "kube.h"
#include "label.h"
#include "log.h"

#define STEP_MS 2000
#define TRY_MS 10000
#define BUDGET_MS 30000
#define MAX_ANSWER (4U << 20)
#define DENIED_MS 20000 // an API server that has just started does not know all rights yet

struct settings {
    char *namespace;
    char *daemonset;
    unsigned timeout_ms;
    char *credentials; // folder of the service account
};

static const struct ct_option options[] = {
    {.name = "namespace",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, namespace),
     .argument = "NAME",
     .help = "The agent's namespace; this pod's own unless told."},
    {.name = "daemonset",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, daemonset),
     .fallback = "cloudtaser-agent",
     .argument = "NAME",
     .help = "The agent's DaemonSet."},
    {.name = "timeout",
     .kind = CT_OPTION_DURATION,
     .offset = offsetof(struct settings, timeout_ms),
     .fallback = "4m",
     .argument = "TIME",
     .min = 1000,
     .max = 86400000,
     .help = "For how long nodes are waited for."},
    {.name = "credentials",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, credentials),
     .fallback = CT_KUBE_SERVICE_ACCOUNT,
     .argument = "FOLDER",
     .help = "Where the service account's token and ca.crt are."},
};

static const struct ct_option_table table = {
    .program = "cloudtaser-agent retire",
    .summary =
        "Have the agents of all nodes take away what they left there, before they are removed.",
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

// All agents are replaced at once by ones that uninstall, again and again until the DaemonSet goes.
static const char patch[] =
    "{\"spec\":{\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":"
    "{\"maxUnavailable\":\"100%\",\"maxSurge\":0}},\"template\":{\"spec\":{\"containers\":[{"
    "\"name\":"
    "\"agent\",\"args\":[\"uninstall\",\"--node-name=$(NODE_NAME)\"]}]}}}}";

static const char labelled[] =
    "/api/v1/"
    "nodes?limit=1&labelSelector=cloudtaser.node-restriction.kubernetes.io%2Fprotection-points";

struct retiring {
    struct ct_kube *kube;
    char path[512]; // of the DaemonSet
    struct ct_err *err;
};

// *ret is NULL when there is no such thing.
static int ask(struct retiring *r, const char *method, const char *path, const char *body,
               json_t **ret)
{
    const struct ct_kube_request request = {
        .method = method,
        .path = path,
        .type = body != NULL ? "application/strategic-merge-patch+json" : NULL,
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0};
    struct ct_kube_answer answer = {.body = {.max = MAX_ANSWER}};
    *ret = NULL;
    int rc = ct_kube_send(r->kube, &request, &answer, r->err);
    if (rc == 0) {
        rc = ct_json_parse(answer.body.data, answer.body.len, "the API server's answer", ret,
                           r->err);
    }
    ct_buf_done(&answer.body);
    return rc == -CT_ENOTFOUND ? 0 : rc;
}

static json_int_t number(const json_t *object, const char *part, const char *key)
{
    return json_integer_value(ct_json_at(object, part, key, NULL));
}

// 1 when each node's agent has been replaced and no node is labelled any more; negative: an error.
static int is_done(struct retiring *r)
{
    CT_AUTO_JSON set = NULL;
    CT_AUTO_JSON nodes = NULL;
    int rc = ask(r, "GET", r->path, NULL, &set);
    if (rc < 0 || set == NULL) {
        return rc < 0 ? rc : 1;
    }
    json_int_t wanted = number(set, "status", "desiredNumberScheduled");
    if (number(set, "status", "observedGeneration") < number(set, "metadata", "generation") ||
        number(set, "status", "updatedNumberScheduled") < wanted) {
        return 0;
    }
    rc = ask(r, "GET", labelled, NULL, &nodes);
    return rc < 0 ? rc : json_array_size(json_object_get(nodes, "items")) == 0;
}

// 1 when there is no such DaemonSet; negative: an error.
static int replace_agents(struct retiring *r)
{
    CT_AUTO_JSON set = NULL;
    int rc = ask(r, "PATCH", r->path, patch, &set);
    return rc < 0 ? rc : set == NULL;
}

// Whether to ask again after this answer. *denied_ms: since when nothing but refusals came; 0: they did not.
static bool may_pass(int rc, uint64_t *denied_ms)
{
    uint64_t now = ct_clock_ms();
    *denied_ms = rc != -CT_EDENIED ? 0 : *denied_ms == 0 ? now : *denied_ms;
    return rc == 0 || rc == -CT_EUNAVAIL || (rc == -CT_EDENIED && now < *denied_ms + DENIED_MS);
}

// An API server that does not answer for a while is asked again, as long as there is time.
static int retire(struct retiring *r, unsigned timeout_ms)
{
    uint64_t end = ct_clock_ms() + timeout_ms;
    uint64_t denied = 0;
    bool replacing = false;
    for (;;) {
        int rc = replacing ? is_done(r) : replace_agents(r);
        bool late = ct_clock_ms() > end;
        if (rc > 0 || !may_pass(rc, &denied) || (rc < 0 && late)) {
            return rc < 0 ? rc : 0;
        }
        replacing = replacing || rc == 0;
        if (rc == 0 && late) {
            return ct_err_set(r->err, CT_EUNAVAIL,
                              "after %u s there are nodes whose agent has not gone: those with the "
                              "label " CT_LABEL_PREFIX
                              "protection-points, or those that run no pods",
                              timeout_ms / 1000);
        }
        (void)ct_kube_sleep(r->kube, STEP_MS);
    }
}

static int run(const struct settings *settings, struct ct_err *err)
{
    const struct ct_kube_options how = {.timeout_ms = TRY_MS, .retry_budget_ms = BUDGET_MS};
    CT_AUTO_KUBE_CONFIG config = {0};
    CT_AUTO(ct_kube) *kube = NULL;
    int rc = ct_kube_init(err);
    rc = rc == 0 ? ct_kube_config_in_cluster(settings->credentials, &config, err) : rc;
    rc = rc == 0 ? ct_kube_new(&config, &how, &kube, err) : rc;
    if (rc < 0) {
        return rc;
    }
    struct retiring r = {.kube = kube, .err = err};
    const char *namespace =
        settings->namespace != NULL ? settings->namespace : ct_kube_namespace(kube);
    if (namespace == NULL) {
        return ct_err_set(err, CT_EINVAL, "no namespace is known: give --namespace");
    }
    int n = snprintf(r.path, sizeof(r.path), "/apis/apps/v1/namespaces/%s/daemonsets/%s", namespace,
                     settings->daemonset);
    if (n < 0 || (size_t)n >= sizeof(r.path)) {
        return ct_err_set(err, CT_EINVAL, "--namespace and --daemonset are too long");
    }
    return retire(&r, settings->timeout_ms);
}

int ct_retire_main(int argc, char **argv)
{
    struct settings settings = {0};
    struct ct_err err = {0};
    int status;
    if (!ct_agent_begin(&table, argc, argv, CT_VERSION, &settings, &status)) {
        return status;
    }
    ct_log_init("cloudtaser-agent", CT_LOG_JSON);
    int rc = run(&settings, &err);
    if (rc < 0) {
        ct_log(CT_LOG_ERROR, "%s", err.msg);
    } else {
        ct_log(CT_LOG_INFO, "no node has anything of the agent any more");
    }
    ct_option_free(&table, &settings);
    return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}
