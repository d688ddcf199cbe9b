// SPDX-License-Identifier: Apache-2.0
#include "score_log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "log.h"

static void log_text(const struct ct_score *score)
{
    char line[256];
    for (size_t i = 0; ct_score_format(score, i, line, sizeof(line)); i++) {
        ct_log(CT_LOG_INFO, "%s", line);
    }
}

static void add_time(struct ct_buf *out)
{
    struct timespec now = {0};
    struct tm tm = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    ct_buf_addf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\"", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000);
}

static void log_json(const struct ct_score *score)
{
    CT_AUTO_BUF out = {.max = 16384};
    char line[256] = "";
    (void)ct_score_format(score, 0, line, sizeof(line));
    ct_buf_add_str(&out, "{\"time\":");
    add_time(&out);
    ct_buf_add_str(&out, ",\"program\":\"cloudtaser-wrapper\",\"level\":\"info\",\"msg\":");
    ct_buf_add_json(&out, line, strlen(line));
    ct_buf_addf(&out, ",\"score\":%d,\"max\":%d,\"checks\":{", score->points, score->max);
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        const struct ct_score_line *check = &score->line[i];
        ct_buf_addf(&out, "%s\"%s\":{\"ok\":%s,\"points\":%d,\"reason\":", i > 0 ? "," : "",
                    ct_check_info((enum ct_check)i)->name, check->ok ? "true" : "false",
                    check->points);
        ct_buf_add_json(&out, check->reason, strlen(check->reason));
        ct_buf_add_str(&out, "}");
    }
    ct_buf_add_str(&out, "}}\n");
    if (out.failed) {
        log_text(score);
        return;
    }
    ssize_t written = write(STDERR_FILENO, out.data, out.len);
    (void)written;
}

void ct_score_log(const struct ct_score *score)
{
    if (ct_log_format() == CT_LOG_JSON) {
        log_json(score);
    } else {
        log_text(score);
    }
}

// ---- may the app run?

// One check's part in the verdict.
struct verdict_line {
    bool ok;
    const char *reason;
};

static void add_reasons(const struct verdict_line *lines, uint32_t which, char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if (lines[i].ok || (which & (UINT32_C(1) << i)) == 0 || used >= size) {
            continue;
        }
        int n = snprintf(out + used, size - used, "%s%s: %s", used > 0 ? "; " : "",
                         ct_check_info((enum ct_check)i)->name, lines[i].reason);
        used += n > 0 ? (size_t)n : 0;
    }
}

static int judge(const struct verdict_line *lines, bool early, int min, uint32_t require,
                 struct ct_err *err)
{
    char reasons[384] = "";
    int points = 0;
    uint32_t missing = 0;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        points += lines[i].ok ? ct_check_info((enum ct_check)i)->points : 0;
        missing |= lines[i].ok ? 0 : require & (UINT32_C(1) << i);
    }
    if (missing != 0) {
        add_reasons(lines, missing, reasons, sizeof(reasons));
        return ct_err_set(err, CT_EDENIED, "a required check failed, the app is not started: %s",
                          reasons);
    }
    if (points < min) {
        add_reasons(lines, UINT32_MAX, reasons, sizeof(reasons));
        return ct_err_set(
            err, CT_EDENIED,
            "protection score %s%d is below the minimum of %d, the app is not started: %s",
            early ? "of at most " : "", points, min, reasons);
    }
    return 0;
}

int ct_score_reachable(const struct ct_facts *facts, int min, uint32_t require, struct ct_err *err)
{
    struct verdict_line lines[CT_CHECK_COUNT];
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        lines[i] = (struct verdict_line){.ok = true, .reason = ""};
        for (int h = 0; h < CT_HOLDER_COUNT && lines[i].ok; h++) {
            const struct ct_fact *fact = &facts->fact[i][h];
            if (fact->state == CT_FACT_FAILED) {
                lines[i] = (struct verdict_line){.ok = false, .reason = fact->reason};
            }
        }
    }
    return judge(lines, true, min, require, err);
}

int ct_score_reached(const struct ct_score *score, int min, uint32_t require, struct ct_err *err)
{
    struct verdict_line lines[CT_CHECK_COUNT];
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        lines[i] = (struct verdict_line){.ok = score->line[i].ok, .reason = score->line[i].reason};
    }
    return judge(lines, false, min, require, err);
}
