// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <jansson.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "advice.h"
#include "devices.h"
#include "score.h"
#include "vectors.h"

#ifndef SYS_memfd_secret // musl's headers may be older
#define SYS_memfd_secret 447
#endif

static const char *const outcomes[] = {
    [CT_OUTCOME_UNTRIED] = "untried",      [CT_OUTCOME_OPEN] = "open",
    [CT_OUTCOME_ABSENT] = "absent",        [CT_OUTCOME_OVERDONE] = "refused to everybody",
    [CT_OUTCOME_EXEMPT] = "open (exempt)", [CT_OUTCOME_REFUSED] = "refused",
};

// What the wrapper's canary tries: whoever reads memory begins with one of these.
static const enum ct_vector reading[] = {CT_V_PTRACE, CT_V_MEM_READ, CT_V_VM_READV,
                                         CT_V_PIDFD_GETFD};

struct summary {
    unsigned refused[CT_TIER_COUNT];
    unsigned open;
    unsigned absent;
    bool memfd_secret;
    enum ct_tier call; // by which a wrapper registers; none: it cannot
    bool exempts;      // the operator lets somebody pass
    bool enforced;    // it can, every way of reading is refused, by whatever tier, and to everybody
    bool synchronous; // and before it is done
};

static bool has_memfd_secret(void)
{
    long fd = syscall(SYS_memfd_secret, 0);
    if (fd >= 0) {
        (void)close((int)fd);
    }
    return fd >= 0;
}

// The parameter is there where the kernel was built with it (mm/secretmem.c).
static const char *memfd_secret_advice(void)
{
    return access("/sys/module/secretmem/parameters/enable", F_OK) == 0
               ? "it is off: boot with secretmem.enable=1"
               : "this kernel was built without CONFIG_SECRETMEM (5.14 or later)";
}

static struct summary summarize(const struct ct_guard *guard)
{
    struct summary sum = {.memfd_secret = has_memfd_secret()};
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    for (size_t i = 0; i < n; i++) {
        struct ct_result result = ct_guard_result(guard, vectors[i].vector);
        if (result.outcome == CT_OUTCOME_REFUSED) {
            sum.refused[result.tier]++;
        } else if (result.outcome == CT_OUTCOME_ABSENT) {
            sum.absent++;
        } else {
            sum.open++;
        }
    }
    struct ct_result call = ct_guard_result(guard, CT_V_CALL);
    sum.call = call.outcome == CT_OUTCOME_REFUSED ? call.tier : CT_TIER_NONE;
    sum.exempts = ct_guard_exempt(guard) != 0;
    sum.enforced = sum.call != CT_TIER_NONE && !sum.exempts;
    sum.synchronous = sum.enforced;
    for (size_t i = 0; i < CT_ARRAY_LEN(reading); i++) {
        struct ct_result result = ct_guard_result(guard, reading[i]);
        bool refused = result.outcome == CT_OUTCOME_REFUSED;
        sum.enforced = sum.enforced && refused;
        sum.synchronous = sum.synchronous && refused && result.tier > CT_TIER_REACTIVE;
    }
    return sum;
}

static int points_of(const struct summary *sum)
{
    return (sum->memfd_secret ? ct_check_info(CT_CHECK_MEMFD_SECRET)->points : 0) +
           (sum->enforced ? ct_check_info(CT_CHECK_EBPF_CONNECTED)->points : 0) +
           (sum->synchronous ? ct_check_info(CT_CHECK_KPROBES_ACTIVE)->points : 0);
}

static void add_release(struct ct_node_facts *facts)
{
    struct utsname system;
    (void)snprintf(facts->kernel, sizeof(facts->kernel), "%s",
                   uname(&system) == 0 ? system.release : "");
}

void ct_probe_nothing(struct ct_node_facts *ret)
{
    const struct summary sum = {.memfd_secret = has_memfd_secret()};
    *ret = (struct ct_node_facts){
        .points = points_of(&sum), .memfd_secret = sum.memfd_secret, .first = 1};
    add_release(ret);
}

static void facts_of(const struct ct_guard *guard, const struct summary *sum,
                     struct ct_node_facts *ret)
{
    enum ct_tier weakest = CT_TIER_LSM;
    *ret = (struct ct_node_facts){.points = points_of(sum), .memfd_secret = sum->memfd_secret};
    for (size_t i = 0; i < CT_ARRAY_LEN(reading); i++) {
        struct ct_result result = ct_guard_result(guard, reading[i]);
        weakest = result.tier < weakest ? result.tier : weakest;
    }
    ret->enforcement = sum->enforced ? (int)weakest : CT_TIER_NONE;
    for (int tier = CT_TIER_REACTIVE; tier < CT_TIER_COUNT; tier++) {
        ret->vectors += (int)sum->refused[tier];
    }
    add_release(ret);
}

void ct_probe_facts(const struct ct_guard *guard, struct ct_node_facts *ret)
{
    const struct summary sum = summarize(guard);
    facts_of(guard, &sum, ret);
}

static int max_points(void)
{
    return ct_score_max() - ct_score_pod_share();
}

static void print_check(FILE *out, enum ct_check check, bool ok, const char *advice)
{
    const struct ct_check_info *info = ct_check_info(check);
    (void)fprintf(out, "%s: %s (+%d)%s%s\n", info->name, ok ? "OK" : "FAIL", ok ? info->points : 0,
                  ok ? "" : " ", ok ? "" : advice);
}

// What a person can do where no tier refuses synchronously.
static void print_advice(const struct ct_guard *guard, const struct summary *sum, FILE *out)
{
    struct ct_advice_facts facts = {.tiers = ct_guard_tiers(guard), .exempts = sum->exempts};
    ct_advice_look(&facts);
    ct_advice_write(&facts, out);
    for (int tier = CT_TIER_LSM; tier > CT_TIER_NONE; tier--) {
        const char *trouble = ct_guard_tier_trouble(guard, (enum ct_tier)tier);
        if (trouble[0] != '\0') {
            (void)fprintf(out, "%s cannot be had here: %s\n", ct_tier_name((enum ct_tier)tier),
                          trouble);
        }
    }
}

static const char *why_not_enforced(const struct summary *sum)
{
    if (sum->exempts) {
        return "what is exempt can be played by whoever is root";
    }
    return sum->call != CT_TIER_NONE ? "a way to read memory stays open"
                                     : "no wrapper can register here";
}

static int written(FILE *out, struct ct_err *err)
{
    return fflush(out) == 0 && ferror(out) == 0 ? 0 : ct_err_errno(err, "cannot write the result");
}

int ct_probe_text(const struct ct_guard *guard, FILE *out, struct ct_err *err)
{
    struct summary sum = summarize(guard);
    struct ct_node_facts facts;
    facts_of(guard, &sum, &facts);
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    for (size_t i = 0; i < n; i++) {
        struct ct_result result = ct_guard_result(guard, vectors[i].vector);
        (void)fprintf(out, "%3d  %-18s %-13s %s\n", vectors[i].vector, vectors[i].name,
                      result.outcome == CT_OUTCOME_REFUSED ? ct_tier_name(result.tier)
                                                           : outcomes[result.outcome],
                      vectors[i].title);
    }
    (void)fprintf(
        out,
        "\n%u by lsm, %u by fmod_ret, %u by kprobe, %u by cgroup, %u by reactive kill; %u open, %u "
        "absent\n",
        sum.refused[CT_TIER_LSM], sum.refused[CT_TIER_FMOD_RET], sum.refused[CT_TIER_KPROBE],
        sum.refused[CT_TIER_CGROUP], sum.refused[CT_TIER_REACTIVE], sum.open, sum.absent);
    (void)fprintf(out, "Linux %s; vectors refused: %d; enforcement: %s\n", facts.kernel,
                  facts.vectors, ct_tier_name((enum ct_tier)facts.enforcement));
    (void)fprintf(out, "Wrappers register by: %s\n", ct_tier_name(sum.call));
    (void)fprintf(out, "This node's share of the score: %d/%d\n", points_of(&sum), max_points());
    print_check(out, CT_CHECK_MEMFD_SECRET, sum.memfd_secret, memfd_secret_advice());
    print_check(out, CT_CHECK_EBPF_CONNECTED, sum.enforced, why_not_enforced(&sum));
    print_check(out, CT_CHECK_KPROBES_ACTIVE, sum.synchronous,
                sum.exempts ? why_not_enforced(&sum)
                            : "nothing here refuses before the attack is carried out");
    if (!sum.synchronous) {
        print_advice(guard, &sum, out);
    }
    if (ct_devices_has_crash_kernel()) {
        (void)fprintf(out, "a crash kernel is loaded: whoever can make this machine panic has its "
                           "memory written out; unload it (kexec -p -u) before the agent runs\n");
    }
    return written(out, err);
}

static json_t *vectors_json(const struct ct_guard *guard)
{
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct ct_result result = ct_guard_result(guard, vectors[i].vector);
        (void)json_array_append_new(list, json_pack("{s:i,s:s,s:s,s:s}", "vector",
                                                    (int)vectors[i].vector, "name", vectors[i].name,
                                                    "outcome", outcomes[result.outcome], "tier",
                                                    ct_tier_name(result.tier)));
    }
    return list;
}

int ct_probe_json(const struct ct_guard *guard, FILE *out, struct ct_err *err)
{
    struct summary sum = summarize(guard);
    struct ct_node_facts facts;
    facts_of(guard, &sum, &facts);
    json_t *counts = json_object();
    for (int tier = CT_TIER_REACTIVE; tier < CT_TIER_COUNT; tier++) {
        (void)json_object_set_new(counts, ct_tier_name((enum ct_tier)tier),
                                  json_integer(sum.refused[tier]));
    }
    json_t *all = json_pack("{s:s,s:i,s:i,s:s,s:i,s:b,s:b,s:s,s:o,s:o}", "kernel", facts.kernel,
                            "points", facts.points, "max", max_points(), "enforcement",
                            ct_tier_name((enum ct_tier)facts.enforcement), "refused", facts.vectors,
                            "memfd_secret", facts.memfd_secret, "crash_kernel",
                            ct_devices_has_crash_kernel(), "registration", ct_tier_name(sum.call),
                            "tiers", counts, "vectors", vectors_json(guard));
    int rc = all != NULL ? json_dumpf(all, out, JSON_COMPACT) : -1;
    json_decref(all);
    (void)fputc('\n', out);
    return rc == 0 ? written(out, err) : ct_err_set(err, CT_ENOMEM, "out of memory for the result");
}
