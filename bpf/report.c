// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vectors.h"

// Lines of their own: a hundred at once, and then 20 a second.
#define BURST 100
#define PER_SECOND 20
#define TURN_MS 1000

static const char *const actions[CT_ACTION_COUNT] = {"denied", "killed"};

struct ct_report {
    const struct ct_guard *guard;
    const char *node;
    struct ct_lines *out;
    struct ct_places *places;
    struct ct_count *counts; // one for each processor
    int processors;
    int64_t tokens_ms; // of lines, in the time that earns them
    int64_t last_ms;
    int64_t told_ms;
    bool stirred;                               // events have come since the counts were read
    uint64_t more[CT_V_COUNT][CT_ACTION_COUNT]; // read, and not told yet
    uint64_t lost[CT_V_COUNT][CT_ACTION_COUNT]; // told already
};

void ct_report_counts(const struct ct_report *report, enum ct_vector vector, struct ct_count *ret)
{
    __u32 key = (__u32)vector;
    *ret = (struct ct_count){0};
    if (bpf_map_lookup_elem(ct_guard_map(report->guard, "ct_counts"), &key, report->counts) != 0) {
        return;
    }
    for (int i = 0; i < report->processors; i++) {
        for (int a = 0; a < CT_ACTION_COUNT; a++) {
            ret->actions[a] += report->counts[i].actions[a];
            ret->lost[a] += report->counts[i].lost[a];
        }
    }
}

struct ct_report *ct_report_new(const struct ct_guard *guard, const char *node,
                                struct ct_lines *out)
{
    CT_AUTO(ct_report) *report = calloc(1, sizeof(*report));
    if (report == NULL) {
        return NULL;
    }
    report->guard = guard;
    report->node = node;
    report->out = out;
    report->processors = libbpf_num_possible_cpus();
    report->places = ct_places_new();
    report->counts =
        report->processors > 0 ? calloc((size_t)report->processors, sizeof(*report->counts)) : NULL;
    if (report->places == NULL || report->counts == NULL) {
        return NULL;
    }
    report->tokens_ms = (int64_t)BURST * 1000 / PER_SECOND;
    // What earlier agents have lost they have told.
    for (int v = 0; v < CT_V_COUNT; v++) {
        struct ct_count count;
        ct_report_counts(report, (enum ct_vector)v, &count);
        for (int a = 0; a < CT_ACTION_COUNT; a++) {
            report->lost[v][a] = count.lost[a];
        }
    }
    return ct_steal(&report);
}

void ct_report_free(struct ct_report *report)
{
    if (report != NULL) {
        ct_places_free(report->places);
        free(report->counts);
    }
    free(report);
}

static bool may_tell(struct ct_report *report, int64_t now_ms)
{
    const int64_t all = (int64_t)BURST * 1000 / PER_SECOND;
    const int64_t one = 1000 / PER_SECOND;
    report->tokens_ms += report->last_ms != 0 ? now_ms - report->last_ms : 0;
    report->tokens_ms = report->tokens_ms < all ? report->tokens_ms : all;
    report->last_ms = now_ms;
    if (report->tokens_ms < one) {
        return false;
    }
    report->tokens_ms -= one;
    return true;
}

// An attacker that has been killed may be gone; one that has not may have executed something else.
static const char *program_of(const struct ct_event *event, char *out, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%u/exe", event->tgid);
    ssize_t n = readlink(path, out, size - 1);
    if (n <= 0) {
        return NULL;
    }
    out[n] = '\0';
    const char *name = strrchr(out, '/');
    return name != NULL && strncmp(name + 1, event->exe, sizeof(event->exe) - 1) == 0 ? out : NULL;
}

bool ct_report_event(struct ct_report *report, const struct ct_event *event, int64_t now_ms)
{
    char program[512];
    struct ct_event_about about = {.node = report->node};
    bool known = event->vector < CT_V_COUNT && event->action < CT_ACTION_COUNT;
    report->stirred = true;
    if (!known || !may_tell(report, now_ms)) {
        report->more[known ? event->vector : 0][known ? event->action : 0]++;
        return false;
    }
    about.program = program_of(event, program, sizeof(program));
    if (!ct_places_find(report->places, event->cgroup, now_ms, &about.attacker)) {
        (void)ct_place_of((pid_t)event->tgid, &about.attacker);
    }
    if (event->victim != 0 &&
        !ct_places_find(report->places, event->victim_cgroup, now_ms, &about.victim)) {
        (void)ct_place_of((pid_t)event->victim, &about.victim);
    }
    if (event->victim != 0) {
        const __u64 key = event->victim_cgroup;
        (void)bpf_map_lookup_elem(ct_guard_map(report->guard, "ct_pods"), &key, &about.victim_pod);
    }
    if (!ct_event_write(event, &about, report->out)) {
        report->more[event->vector][event->action]++;
    }
    return true;
}

static void tell_more(struct ct_report *report, enum ct_vector vector, enum ct_action action)
{
    const struct ct_vector_info *info = ct_vector_info(vector);
    CT_AUTO_BUF line = {.max = 1024};
    ct_line_begin(&line, "attacks", report->node);
    ct_line_add(&line, "vector", info != NULL ? info->name : "unknown");
    ct_line_add(&line, "action", actions[action]);
    ct_buf_addf(&line, "\"more\":%" PRIu64 ",", report->more[vector][action]);
    if (ct_line_write(&line, report->out)) {
        report->more[vector][action] = 0;
    }
}

void ct_report_turn(struct ct_report *report, int64_t now_ms)
{
    if (report->told_ms != 0 && now_ms - report->told_ms < TURN_MS) {
        return;
    }
    report->told_ms = now_ms;
    // Events are lost when those before them fill the ring: who has read none has lost none.
    if (!report->stirred) {
        return;
    }
    report->stirred = false;
    for (int v = 0; v < CT_V_COUNT; v++) {
        struct ct_count count;
        ct_report_counts(report, (enum ct_vector)v, &count);
        for (int a = 0; a < CT_ACTION_COUNT; a++) {
            report->more[v][a] += count.lost[a] - report->lost[v][a];
            report->lost[v][a] = count.lost[a];
            if (report->more[v][a] != 0) {
                tell_more(report, (enum ct_vector)v, (enum ct_action)a);
            }
            // What nobody took is told again.
            report->stirred = report->stirred || report->more[v][a] != 0;
        }
    }
}

uint64_t ct_report_dropped(const struct ct_report *report)
{
    return report->out->dropped;
}
