// SPDX-License-Identifier: Apache-2.0
#include "enforcement.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "canary.h"
#include "clock.h"
#include "guard_call.h"
#include "tally.h"

#define INTERVAL_MS 7000 // loss is to be seen within 10 s
#define PATIENCE_MS 3000 // with one canary
#define AGAIN_MS 250     // after one that came to no end
#define FAILURES_MAX 3   // such ones in a row, on a machine that is short of everything

static const enum ct_check checks[] = {CT_CHECK_EBPF_CONNECTED, CT_CHECK_KPROBES_ACTIVE};
static const struct ct_canary_victim own = {.pid = 0};

void ct_enforcement_prove(const struct ct_enforcement *e, struct ct_facts *facts)
{
    if (e->standing.state == CT_GUARD_PROTECTED) {
        const struct ct_canary_outcome outcome = ct_canary_run(&own);
        ct_canary_record(facts, CT_HOLDER_WRAPPER, &outcome);
        return;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(checks); i++) {
        ct_fact_failed(facts, checks[i], CT_HOLDER_WRAPPER, "%s", e->standing.reason);
        ct_fact_failed(facts, checks[i], CT_HOLDER_APP, "%s", e->standing.reason);
    }
}

// An app that has ended meanwhile needs no release, and whatever else the guard may answer leaves
// the app protected.
void ct_enforcement_released(const struct ct_enforcement *e, pid_t app, pid_t child)
{
    if (e->standing.state != CT_GUARD_PROTECTED) {
        return;
    }
    (void)ct_guard_ask(CT_GUARD_RELEASE, (unsigned long)app);
    if (child != app) {
        (void)ct_guard_ask(CT_GUARD_RELEASE, (unsigned long)child);
    }
}

// ---- while the app runs

static void take_outcome(const struct ct_canary_outcome *outcome)
{
    struct ct_facts news;
    uint32_t set = 0;
    ct_tally_read(&news);
    for (size_t i = 0; i < CT_ARRAY_LEN(checks); i++) {
        news.fact[checks[i]][CT_HOLDER_WRAPPER] = (struct ct_fact){.state = CT_FACT_UNTRIED};
        set |= UINT32_C(1) << checks[i];
    }
    ct_canary_record(&news, CT_HOLDER_WRAPPER, outcome);
    ct_tally_replace(set, &news, "enforcement by the node's agent is lost",
                     "enforcement by the node's agent is back");
}

static int due_in(void *cls)
{
    const struct ct_enforcement *e = cls;
    int64_t left = e->due_ms - (int64_t)ct_clock_ms();
    return left > 0 ? (int)left : 0;
}

// Returns whether the canary is worth another try.
static bool note_failure(struct ct_enforcement *e)
{
    bool again = ++e->failures < FAILURES_MAX;
    e->due_ms = (int64_t)ct_clock_ms() + (again ? AGAIN_MS : INTERVAL_MS);
    return again;
}

static void take_turn(void *cls)
{
    struct ct_enforcement *e = cls;
    const struct ct_canary_outcome broken = {.verdict = CT_CANARY_BROKEN, .attack = ""};
    e->due_ms = (int64_t)ct_clock_ms() + PATIENCE_MS;
    if (e->canary != 0) {
        (void)kill(e->canary, SIGKILL); // its end tells the rest
        return;
    }
    pid_t pid = ct_canary_fork(&own);
    if (pid > 0) {
        e->canary = pid;
    } else if (!note_failure(e)) {
        take_outcome(&broken);
    }
}

static void note_end(void *cls, pid_t pid, int status)
{
    struct ct_enforcement *e = cls;
    if (pid != e->canary) {
        return;
    }
    e->canary = 0;
    const struct ct_canary_outcome outcome = ct_canary_outcome(status);
    if (outcome.verdict == CT_CANARY_BROKEN && note_failure(e)) {
        return;
    }
    if (outcome.verdict != CT_CANARY_BROKEN) {
        e->failures = 0;
        e->due_ms = (int64_t)ct_clock_ms() + INTERVAL_MS;
    }
    take_outcome(&outcome);
}

void ct_enforcement_follow(struct ct_enforcement *e, const struct ct_facts *facts,
                           struct ct_supervise_chore *ret)
{
    struct ct_score score;
    *ret = (struct ct_supervise_chore){.cls = NULL};
    ct_score_compute(facts, &score);
    if (!score.line[CT_CHECK_EBPF_CONNECTED].ok) {
        return; // nothing that could be lost
    }
    // Pods that start together are not to look together.
    unsigned chance = 0;
    (void)syscall(SYS_getrandom, &chance, sizeof(chance), 0);
    e->due_ms = (int64_t)ct_clock_ms() + (int64_t)(chance % INTERVAL_MS);
    *ret = (struct ct_supervise_chore){
        .due_in = due_in, .run = take_turn, .ended = note_end, .cls = e};
}
