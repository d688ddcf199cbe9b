// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "scrape.h"

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
        {"cloudtaser_protection_score", "gauge",
         "Protection score of this container; absent until it is known.", v->points, v->max != 0},
        {"cloudtaser_protection_max", "gauge", "The highest score that there is.", v->max,
         v->max != 0},
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
    if (v->max != 0) {
        put_checks(t, v, labels);
    }
}

size_t ct_metrics_write(int status, const struct ct_metrics_values *values,
                        const struct ct_pod_identity *id, char *out, size_t size)
{
    char body[CT_METRICS_ANSWER_MAX - 1024] = "";
    struct text b = {body, sizeof(body), 0};
    if (status == 200) {
        put_values(&b, values, id);
    }
    return ct_scrape_answer(status, body, out, size);
}
