// SPDX-License-Identifier: Apache-2.0
#include "access.h"

#include "log.h"

#define MAX_FIELDS 16

struct record {
    struct ct_log_field fields[MAX_FIELDS];
    size_t n;
};

static void add_text(struct record *r, const char *name, const char *text)
{
    if (text[0] != '\0') {
        r->fields[r->n++] = (struct ct_log_field){.name = name, .text = text};
    }
}

static void add_number(struct record *r, const char *name, long long number)
{
    r->fields[r->n++] = (struct ct_log_field){.name = name, .number = number};
}

// What the request itself says of itself.
static void describe(struct record *r, const struct ct_decision *d, const char *decision,
                     const char *reason)
{
    add_text(r, "uid", d->uid);
    add_text(r, "namespace", d->namespace);
    add_text(r, d->generated ? "generateName" : "name", d->name);
    add_text(r, "user", d->user);
    add_text(r, "operation", d->operation);
    add_text(r, "decision", decision);
    add_text(r, "reason", reason);
}

static void finish(struct record *r, const struct ct_decision *d, unsigned status, uint64_t ns)
{
    add_number(r, "duration_us", (long long)(ns / 1000));
    r->fields[r->n++] =
        (struct ct_log_field){.name = "dry_run", .flag = true, .number = d->dry_run};
    add_number(r, "status", status);
}

static enum ct_log_level level_of(const struct ct_decision *d, bool json)
{
    if (d->reason != CT_REASON_NONE) {
        return CT_LOG_WARN; // refused, or admitted in spite of it
    }
    return d->outcome == CT_OUTCOME_SKIPPED && !json ? CT_LOG_DEBUG : CT_LOG_INFO;
}

static void write_text(const struct ct_decision *d, enum ct_log_level level, uint64_t ns)
{
    char reason[64] = "";
    if (d->reason != CT_REASON_NONE) {
        (void)snprintf(reason, sizeof(reason), "reason=%s ", ct_reason_name(d->reason));
    }
    ct_log(level, "%s pod %s/%s%s: %smin-score=%d warnings=%u uid=%s us=%llu%s%s%s",
           ct_decision_word(d), d->namespace, d->name, d->generated ? "*" : "", reason,
           d->min_score, d->warnings, d->uid, (unsigned long long)(ns / 1000),
           d->dry_run ? " dry-run" : "", d->sentence[0] != '\0' ? ": " : "", d->sentence);
}

void ct_access_decided(const struct ct_decision *d, uint64_t ns)
{
    bool json = ct_log_format() == CT_LOG_JSON;
    enum ct_log_level level = level_of(d, json);
    if (!json) {
        write_text(d, level, ns);
        return;
    }
    struct record r = {.n = 0};
    describe(&r, d, ct_decision_word(d), ct_reason_name(d->reason));
    add_number(&r, "score", d->min_score);
    if (d->candidates >= 0) {
        add_number(&r, "candidates", d->candidates);
    }
    add_number(&r, "warnings", d->warnings);
    finish(&r, d, 200, ns);
    ct_log_record(level, r.fields, r.n, "%s pod %s/%s%s%s%s", ct_decision_word(d), d->namespace,
                  d->name, d->generated ? "*" : "", d->sentence[0] != '\0' ? ": " : "",
                  d->sentence);
}

void ct_access_failed(const struct ct_decision *d, unsigned status, const char *reason,
                      const char *sentence, uint64_t ns)
{
    struct record r = {.n = 0};
    describe(&r, d, "error", reason);
    finish(&r, d, status, ns);
    ct_log_record(CT_LOG_WARN, r.fields, r.n, "refused a request with HTTP %u: %s", status,
                  sentence);
}
