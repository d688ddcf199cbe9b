// SPDX-License-Identifier: Apache-2.0
#include "clock.h"
#include "vault_internal.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "vault_answer.h"

#define FIRST_DELAY_MS 100U
#define LAST_DELAY_MS 5000U
#define WAIT_SLICE_MS 100U
#define LEAST_TIMEOUT_MS 1000U

uint64_t ct_vault_chance_below(uint64_t n)
{
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance)) {
        chance = ct_clock_ms();
    }
    return n > 0 ? chance % n : 0;
}

int ct_vault_new(const struct ct_config *config, const struct ct_vault_hooks *hooks,
                 struct ct_vault **ret, struct ct_err *err)
{
    struct ct_vault *v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the Vault client");
    }
    v->config = config;
    if (hooks != NULL) {
        v->hooks = *hooks;
    }
    v->exit_code = CT_EXIT_OTHER;
    *ret = v;
    return 0;
}

void ct_vault_wipe(char **s)
{
    if (*s != NULL) {
        explicit_bzero(*s, strlen(*s));
        free(*s);
        *s = NULL;
    }
}

void ct_vault_go_on(struct ct_vault *v, const struct ct_vault_hooks *hooks)
{
    ct_vault_disconnect(v);
    v->hooks = *hooks;
    v->beside = true;
}

void ct_vault_begin_budget(struct ct_vault *v)
{
    v->deadline_ms = ct_clock_ms() + v->config->retry_budget_ms;
}

const struct ct_vault_lease *ct_vault_lease(const struct ct_vault *v)
{
    return &v->lease;
}

const char *ct_vault_token(const struct ct_vault *v)
{
    return v->token;
}

enum ct_exit_code ct_vault_exit_code(const struct ct_vault *v)
{
    return v->exit_code;
}

void ct_vault_disconnect(struct ct_vault *v)
{
    ct_http_free(v->http);
    v->http = NULL;
    ct_vault_wipe(&v->credential);
}

void ct_vault_free(struct ct_vault *v)
{
    if (v == NULL) {
        return;
    }
    ct_vault_disconnect(v);
    ct_vault_wipe(&v->token);
    ct_vault_wipe(&v->wrapping);
    ct_vault_wipe(&v->secret_id);
    ct_http_trust_free(v->trust);
    free(v);
}

// ---- what a status means

// Statuses that a retry may mend. 412: a replica that lags behind; 472, 473: a standby.
static const char *passing_cause(long status, const struct ct_http_answer *a)
{
    static const struct {
        long status;
        const char *cause;
    } causes[] = {
        {412, "this replica lags behind"}, {429, "too many requests"},
        {472, "a recovery replica"},       {473, "a standby"},
        {501, "not initialised"},          {503, "not available"},
    };
    if (status == 503 && ct_vault_says_sealed(a->body.data, a->body.len)) {
        return "Vault is sealed";
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(causes); i++) {
        if (causes[i].status == status) {
            return causes[i].cause;
        }
    }
    return status >= 500 && status <= 599 ? "a server's error" : NULL;
}

static int refuse_redirect(struct ct_vault *v, const struct ct_vault_request *rq,
                           const struct ct_http_answer *a, const struct ct_vault_hidden *hidden,
                           struct ct_err *err)
{
    v->exit_code = CT_EXIT_UNREACHABLE;
    bool show = a->location[0] != '\0' && ct_vault_may_quote(a->location, hidden);
    return ct_err_set(
        err, CT_EPROTO,
        "%s: Vault at %s answered %ld, a redirect%s%s, which is not followed (it would "
        "take the token elsewhere): name the server itself as address",
        rq->what, v->config->vault_address, a->status, show ? " to " : "", show ? a->location : "");
}

// Anything but 200. Sets the exit code; CT_EUNAVAIL is what is worth a retry.
static int judge_status(struct ct_vault *v, const struct ct_vault_request *rq,
                        const struct ct_http_answer *a, struct ct_err *err)
{
    const struct ct_vault_hidden hidden = {.token = v->token, .credential = v->credential};
    const char *cause = passing_cause(a->status, a);
    if (cause != NULL) {
        v->exit_code = CT_EXIT_UNREACHABLE;
        return ct_err_set(err, CT_EUNAVAIL, "%s: Vault at %s answered %ld: %s", rq->what,
                          v->config->vault_address, a->status, cause);
    }
    if (a->status >= 300 && a->status <= 399) {
        return refuse_redirect(v, rq, a, &hidden, err);
    }
    char quote[CT_VAULT_QUOTE_MAX + 8];
    ct_vault_quote_errors(a->body.data, a->body.len, &hidden, quote, sizeof(quote));
    v->exit_code = rq->refused_exit;
    enum ct_code code = a->status >= 400 && a->status <= 499 ? CT_EDENIED : CT_EPROTO;
    return ct_err_set(err, code, "%s: Vault at %s answered %ld%s%s", rq->what,
                      v->config->vault_address, a->status,
                      code == CT_EDENIED ? " (refused)" : ", which makes no sense here", quote);
}

// ---- one try

// OpenSSL survives the want of memory everywhere but where it sets a connection up (it uses a record layer
// that it could not make), which takes far less than this. Nothing else allocates meanwhile.
static int assure_room(const struct ct_vault *v, struct ct_err *err)
{
    void *room = v->beside ? malloc(CT_VAULT_CONNECTION_ROOM) : NULL;
    bool enough = !v->beside || room != NULL;
    free(room);
    return enough ? 0 : ct_err_set(err, CT_ENOMEM, "too little memory left for a connection");
}

static int send_once(struct ct_vault *v, const struct ct_vault_request *rq,
                     struct ct_http_answer *ret, struct ct_err *err)
{
    int rc = ct_vault_connect(v, err);
    if (rc == 0) {
        rc = assure_room(v, err);
    }
    if (rc < 0) {
        return rc;
    }
    const char *headers[4] = {"X-Vault-Request: true"};
    size_t n = 1;
    CT_AUTO_SECRET_BUF space = {.max = 1024, .secret = true};
    CT_AUTO_SECRET_BUF token = {.max = CT_VAULT_TOKEN_MAX + 32, .secret = true};
    if (v->config->vault_namespace[0] != '\0') {
        ct_buf_add_str(&space, "X-Vault-Namespace: ");
        ct_buf_add_str(&space, v->config->vault_namespace);
        headers[n++] = space.data;
    }
    if (rq->token != NULL) {
        ct_buf_add_str(&token, "X-Vault-Token: ");
        ct_buf_add_str(&token, rq->token);
        headers[n++] = token.data;
    }
    if (space.failed || token.failed) {
        v->exit_code = CT_EXIT_OTHER;
        return ct_err_set(err, CT_ENOMEM, "out of memory for a request's headers");
    }
    return ct_http_request(v->http, rq->url, headers, rq->body, rq->body_len, ret, err);
}

static int explain_transport(struct ct_vault *v, const struct ct_vault_request *rq, int rc,
                             struct ct_err *err)
{
    const struct ct_vault_hidden hidden = {.token = v->token, .credential = v->credential};
    v->exit_code = rc == -CT_ETOOBIG  ? rq->refused_exit
                   : rc == -CT_ENOMEM ? CT_EXIT_OTHER
                                      : CT_EXIT_UNREACHABLE;
    if (err != NULL && !ct_vault_may_quote(err->msg, &hidden)) {
        return ct_err_set(err, (enum ct_code) - rc, "%s: the exchange with Vault at %s failed",
                          rq->what, v->config->vault_address);
    }
    return ct_err_wrap(err, "%s", rq->what);
}

// 0 for a complete answer of status 200, or 404 where `missing_too`.
static int try_once(struct ct_vault *v, const struct ct_vault_request *rq,
                    struct ct_http_answer *ret, struct ct_err *err)
{
    int rc = send_once(v, rq, ret, err);
    ct_vault_connection_used(v, rc == 0);
    v->status = rc == 0 ? ret->status : 0;
    if (rc < 0) {
        return explain_transport(v, rq, rc, err);
    }
    bool missing = ret->status == 404 && rq->refused_exit == CT_EXIT_SECRET;
    if (ret->status == 200 || missing) {
        return 0;
    }
    return judge_status(v, rq, ret, err);
}

// ---- retries

// Half of the exponential step is fixed, half is chance, so that a thousand pods that lost the same
// Vault do not return in step.
static unsigned backoff_ms(unsigned attempt)
{
    unsigned step = attempt < 6 ? FIRST_DELAY_MS << attempt : LAST_DELAY_MS;
    step = step < LAST_DELAY_MS ? step : LAST_DELAY_MS;
    return step / 2 + (unsigned)ct_vault_chance_below(step / 2 + 1);
}

static bool stopped(const struct ct_vault *v)
{
    return v->hooks.stop != NULL && v->hooks.stop(v->hooks.cls);
}

static void wait_for(const struct ct_vault *v, unsigned delay_ms)
{
    uint64_t end = ct_clock_ms() + delay_ms;
    for (uint64_t now = ct_clock_ms(); now < end && !stopped(v); now = ct_clock_ms()) {
        uint64_t slice = end - now < WAIT_SLICE_MS ? end - now : WAIT_SLICE_MS;
        const struct timespec t = {.tv_nsec = (long)slice * 1000000L};
        (void)nanosleep(&t, NULL);
    }
}

// A try may not outlast the budget by much: what is left of it bounds the request, but for a floor
// that gives a healthy Vault the time to answer, and the first try of all, which always has its own.
static void bound_request(struct ct_vault *v)
{
    uint64_t now = ct_clock_ms();
    uint64_t left = v->deadline_ms > now ? v->deadline_ms - now : 0;
    uint64_t limit = v->config->timeout_ms;
    if (v->config->retry_budget_ms != 0 && left < limit) {
        uint64_t floor = limit < LEAST_TIMEOUT_MS ? limit : LEAST_TIMEOUT_MS;
        limit = left > floor ? left : floor;
    }
    ct_http_set_timeout(v->http, (unsigned)limit);
}

int ct_vault_exchange(struct ct_vault *v, const struct ct_vault_request *rq,
                      struct ct_http_answer *ret, struct ct_err *err)
{
    struct ct_err local = {0};
    struct ct_err *why = err != NULL ? err : &local;
    v->status = 0;
    for (unsigned attempt = 0;; attempt++) {
        int rc = ct_vault_connect(v, why);
        if (rc == 0) {
            bound_request(v);
            rc = try_once(v, rq, ret, why);
        } else if (rc != -CT_EUNAVAIL) {
            return rc;
        }
        v->tries = attempt + 1;
        if (rc == 0) {
            return 0;
        }
        ct_http_answer_done(ret);
        if (rc != -CT_EUNAVAIL || stopped(v)) {
            return rc;
        }
        unsigned delay = backoff_ms(attempt);
        if (ct_clock_ms() + delay >= v->deadline_ms) {
            return attempt == 0 ? rc
                                : ct_err_wrap(why, "given up after %u tries in %u ms", attempt + 1,
                                              v->config->retry_budget_ms);
        }
        if (v->hooks.retry != NULL) {
            v->hooks.retry(v->hooks.cls, why, delay);
        }
        wait_for(v, delay);
        if (stopped(v)) {
            return rc;
        }
    }
}

// ---- URLs

int ct_vault_make_url(struct ct_vault *v, const char *path, const char *query, char *out,
                      size_t size, struct ct_err *err)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~/@:=+";
    size_t n = (size_t)snprintf(out, size, "%s/v1/", v->config->vault_address);
    for (const char *c = path; *c != '\0' && n + 4 < size; c++) {
        if (strchr(plain, *c) != NULL) {
            out[n++] = *c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[(unsigned char)*c >> 4];
        out[n++] = hex[(unsigned char)*c & 15];
    }
    if (n + strlen(query) + 4 >= size) {
        v->exit_code = CT_EXIT_CONFIGURATION;
        return ct_err_set(err, CT_ETOOBIG, "the path %.64s… is too long for a URL", path);
    }
    strcpy(out + n, query);
    return 0;
}

// ---- reading

int ct_vault_read(struct ct_vault *v, const char *path, unsigned version, json_t **ret,
                  struct ct_err *err)
{
    const struct ct_vault_asked asked = {.path = path, .version = version};
    char url[CT_VAULT_URL_MAX];
    char query[32] = "";
    char what[1024];
    if (version != 0) {
        (void)snprintf(query, sizeof(query), "?version=%u", version);
    }
    (void)snprintf(what, sizeof(what), "secret %s", path);
    int rc = ct_vault_make_url(v, path, query, url, sizeof(url), err);
    if (rc < 0) {
        return rc;
    }
    const struct ct_vault_request rq = {
        .url = url, .what = what, .token = v->token, .refused_exit = CT_EXIT_SECRET};
    struct ct_http_answer answer = {0}; // the request may fail before it is touched
    rc = ct_vault_exchange(v, &rq, &answer, err);
    if (rc < 0) {
        return rc;
    }
    rc = answer.status == 200
             ? ct_vault_parse_secret(answer.body.data, answer.body.len, &asked, ret, err)
             : ct_vault_parse_missing(answer.body.data, answer.body.len, &asked, err);
    ct_http_answer_done(&answer);
    v->exit_code = rc == 0 || rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_SECRET;
    return rc;
}
