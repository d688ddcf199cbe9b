// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

// ---- requests

static bool starts(const char *data, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(data, with, n) == 0;
}

// "METHOD TARGET HTTP/1.x", RFC 9112 section 3; no field of the head matters.
static int judge_line(const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    size_t method = space != NULL ? (size_t)(space - line) : 0;
    const char *target = line + method + 1;
    const char *end = method > 0 ? memchr(target, ' ', len - method - 1) : NULL;
    if (end == NULL || len - (size_t)(end + 1 - line) != 8 || !starts(end + 1, 8, "HTTP/1.")) {
        return 400;
    }
    size_t target_len = (size_t)(end - target);
    const char *query = memchr(target, '?', target_len);
    size_t path_len = query != NULL ? (size_t)(query - target) : target_len;
    if (path_len != strlen("/metrics") || !starts(target, path_len, "/metrics")) {
        return 404;
    }
    return method == 3 && starts(line, method, "GET") ? 200 : 405;
}

int ct_metrics_read(const char *data, size_t len)
{
    const char *line_end = len > 0 ? memchr(data, '\n', len) : NULL;
    bool whole = len >= 4 && memmem(data, len, "\r\n\r\n", 4) != NULL;
    bool whole_lf = len >= 2 && memmem(data, len, "\n\n", 2) != NULL;
    if (!whole && !whole_lf) {
        return len > CT_METRICS_HEAD_MAX ? 431 : CT_METRICS_MORE;
    }
    size_t line = (size_t)(line_end - data);
    line -= line > 0 && data[line - 1] == '\r' ? 1 : 0;
    return judge_line(data, line);
}

// ---- answers

struct text {
    char *out;
    size_t size;
    size_t len;
};

static void CT_PRINTF(2, 3) put(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->out + t->len, t->size - t->len, fmt, args);
    va_end(args);
    size_t left = t->size - t->len;
    t->len += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
}

static void put_head(struct text *t, const char *name, const char *type, const char *help)
{
    put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_checks(struct text *t, const struct ct_metrics_values *v, const char *labels)
{
    static const char name[] = "cloudtaser_wrapper_check_passed";
    put_head(t, name, "gauge", "Is this check of the protection score proven?");
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        put(t, "%s{%s,check=\"%s\"} %d\n", name, labels, ct_check_info((enum ct_check)i)->name,
            v->passed[i] ? 1 : 0);
    }
}

static void put_values(struct text *t, const struct ct_metrics_values *v,
                       const struct ct_pod_identity *id)
{
    char labels[sizeof(*id) + 32];
    (void)snprintf(labels, sizeof(labels), "pod=\"%s\",namespace=\"%s\"", id->pod, id->space);
    const struct {
        const char *name, *type, *help;
        int64_t value;
        bool known;
    } all[] = {
        {"cloudtaser_protection_score", "gauge", "Protection score of this container.", v->points,
         true},
        {"cloudtaser_protection_max", "gauge", "The highest score that there is.", v->max, true},
        {"cloudtaser_wrapper_token_renewals_total", "counter", "Renewals of the Vault token.",
         (int64_t)v->token.renewed, true},
        {"cloudtaser_wrapper_logins_total", "counter",
         "Logins at Vault after the first one, of the start.", (int64_t)v->token.logged_in, true},
        {"cloudtaser_wrapper_token_failures_total", "counter",
         "Renewals and logins that failed and are tried again.", (int64_t)v->token.failed, true},
        {"cloudtaser_wrapper_token_expiry_timestamp_seconds", "gauge",
         "When the Vault token ends; absent while none is known or it has no end.", v->token_end,
         v->token_end != 0},
        {"cloudtaser_wrapper_log_lines_dropped_total", "counter", "Log lines that nobody took.",
         (int64_t)v->log_dropped, true},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(all); i++) {
        if (all[i].known) {
            put_head(t, all[i].name, all[i].type, all[i].help);
            put(t, "%s{%s} %" PRId64 "\n", all[i].name, labels, all[i].value);
        }
    }
    put_checks(t, v, labels);
}

size_t ct_metrics_write(int status, const struct ct_metrics_values *values,
                        const struct ct_pod_identity *id, char *out, size_t size)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {431, "Request Header Fields Too Large"},
    };
    char body[CT_METRICS_ANSWER_MAX - 1024] = "";
    struct text b = {body, sizeof(body), 0};
    struct text t = {out, size, 0};
    const char *reason = "";
    for (size_t i = 0; i < CT_ARRAY_LEN(reasons); i++) {
        reason = reasons[i].status == status ? reasons[i].reason : reason;
    }
    if (status == 200) {
        put_values(&b, values, id);
    } else {
        put(&b, "%s\n", reason);
    }
    put(&t,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: %zu\r\n%sConnection: close\r\n\r\n",
        status, reason, b.len, status == 405 ? "Allow: GET\r\n" : "");
    put(&t, "%s", body);
    return t.len;
}
