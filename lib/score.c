// SPDX-License-Identifier: Apache-2.0
#include "score.h"

#include <stdarg.h>
#include <string.h>

static const struct ct_check_info checks[CT_CHECK_COUNT] = {
    [CT_CHECK_MEMFD_SECRET] =
        {"memfd_secret", 15, .node = true, .app = true,
         "Secret pages physically removed from kernel direct map (Linux 5.14+)"},
    [CT_CHECK_MLOCK] = {"mlock", 10, .node = false, .app = true,
                        "Secret pages pinned in RAM, cannot be swapped to disk"},
    [CT_CHECK_MADV_DONTDUMP] = {"madv_dontdump", 10, .node = false, .app = true,
                                "Secret pages excluded from core dumps"},
    [CT_CHECK_PR_SET_DUMPABLE] =
        {"pr_set_dumpable", 10, .node = false, .app = true,
         "Process is non-dumpable; /proc access restricted, ptrace blocked"},
    [CT_CHECK_TOKEN_PROTECTED] =
        {"token_protected", 10, .node = false, .app = false,
         "Vault authentication token stored in protected memory (not on disk or in env)"},
    [CT_CHECK_EBPF_CONNECTED] = {"ebpf_connected", 10, .node = true, .app = true,
                                 "eBPF enforcement agent is active and monitoring this process"},
    [CT_CHECK_KPROBES_ACTIVE] =
        {"kprobes_active", 10, .node = true, .app = true,
         "Synchronous syscall blocking via kprobe override (not just reactive kill)"},
};

const struct ct_check_info *ct_check_info(enum ct_check check)
{
    return &checks[check];
}

int ct_check_from_name(const char *name, size_t len)
{
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if (strlen(checks[i].name) == len && memcmp(checks[i].name, name, len) == 0) {
            return i;
        }
    }
    return -1;
}

int ct_score_max(void)
{
    int sum = 0;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        sum += checks[i].points;
    }
    return sum;
}

int ct_score_pod_share(void)
{
    int sum = 0;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        sum += checks[i].node ? 0 : checks[i].points;
    }
    return sum;
}

void ct_fact_proven(struct ct_facts *f, enum ct_check c, enum ct_holder h)
{
    struct ct_fact *fact = &f->fact[c][h];
    if (fact->state != CT_FACT_FAILED) {
        fact->state = CT_FACT_PROVEN;
    }
}

void ct_fact_failed(struct ct_facts *f, enum ct_check c, enum ct_holder h, const char *fmt, ...)
{
    struct ct_fact *fact = &f->fact[c][h];
    if (fact->state == CT_FACT_FAILED) {
        return; // the first cause is the one to tell
    }
    fact->state = CT_FACT_FAILED;
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(fact->reason, sizeof(fact->reason), fmt, args) < 0) {
        fact->reason[0] = '\0';
    }
    va_end(args);
}

// The first holder's failure, else "not tried"; "" when everything that counts is proven.
static const char *reason_of(const struct ct_fact *fact, int holders)
{
    bool proven = true;
    for (int h = 0; h < holders; h++) {
        if (fact[h].state == CT_FACT_FAILED) {
            return fact[h].reason[0] != '\0' ? fact[h].reason : "failed";
        }
        proven = proven && fact[h].state == CT_FACT_PROVEN;
    }
    return proven ? "" : "not tried";
}

void ct_score_compute(const struct ct_facts *facts, struct ct_score *ret)
{
    *ret = (struct ct_score){.max = ct_score_max()};
    for (int c = 0; c < CT_CHECK_COUNT; c++) {
        struct ct_score_line *line = &ret->line[c];
        line->reason = reason_of(facts->fact[c], checks[c].app ? CT_HOLDER_COUNT : 1);
        line->ok = line->reason[0] == '\0';
        line->points = line->ok ? checks[c].points : 0;
        ret->points += line->points;
    }
}

_Static_assert(CT_HOLDER_WRAPPER == 0, "a check about the wrapper alone looks at the first holder");

bool ct_score_format(const struct ct_score *score, size_t i, char *out, size_t out_size)
{
    if (i > CT_CHECK_COUNT) {
        return false;
    }
    if (i == 0) {
        (void)snprintf(out, out_size, "Protection score: %d/%d", score->points, score->max);
        return true;
    }
    const struct ct_score_line *line = &score->line[i - 1];
    if (line->ok) {
        (void)snprintf(out, out_size, "%s: OK (+%d)", checks[i - 1].name, line->points);
    } else {
        (void)snprintf(out, out_size, "%s: FAIL (+0) %s", checks[i - 1].name, line->reason);
    }
    return true;
}
