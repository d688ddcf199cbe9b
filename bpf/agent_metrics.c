// SPDX-License-Identifier: Apache-2.0
#include "agent_metrics.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vectors.h"

#define KEY_MAX 64

static const char *const actions[CT_ACTION_COUNT] = {"denied", "killed"};

// Maps that fill and empty: the hashes. Of ct_rates the kernel itself drops the oldest.
static const char *const watched[] = {"ct_marks", "ct_pids",     "ct_cgroups",
                                      "ct_pods",  "ct_requests", "ct_answers",
                                      "ct_rates", "ct_exempts",  "ct_own"};

static void head(struct ct_buf *out, const char *name, const char *type, const char *help)
{
    ct_buf_addf(out, "# HELP cloudtaser_agent_%s %s\n# TYPE cloudtaser_agent_%s %s\n", name, help,
                name, type);
}

static void number(struct ct_buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(out, name, type, help);
    ct_buf_addf(out, "cloudtaser_agent_%s %" PRIu64 "\n", name, value);
}

static uint64_t entries(int map)
{
    struct bpf_map_info info = {0};
    __u32 size = sizeof(info);
    char keys[2][KEY_MAX];
    uint64_t n = 0;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0 || info.key_size > KEY_MAX) {
        return 0;
    }
    // Who comes and goes meanwhile must not make the walk endless.
    const void *last = NULL;
    while (n < info.max_entries && bpf_map_get_next_key(map, last, keys[n % 2]) == 0) {
        last = keys[n % 2];
        n++;
    }
    return n;
}

// What the kernel charges for it (fdinfo(5), "memlock").
static uint64_t bytes(int map)
{
    char path[64];
    char line[128];
    uint64_t value = 0;
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map);
    CT_AUTO_FILE file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "memlock: %" SCNu64, &value) == 1) {
            break;
        }
    }
    return value;
}

static void write_attacks(const struct ct_agent_metrics *metrics, struct ct_buf *out,
                          const struct ct_vector_info *vectors, size_t n)
{
    uint64_t lost = 0;
    head(out, "attacks_total", "counter",
         "Attacks that were refused, or whose process was killed.");
    for (size_t i = 0; i < n; i++) {
        struct ct_count count;
        ct_report_counts(metrics->report, vectors[i].vector, &count);
        for (int a = 0; a < CT_ACTION_COUNT; a++) {
            ct_buf_addf(out, "cloudtaser_agent_attacks_total{vector=\"%s\",action=\"%s\"} %llu\n",
                        vectors[i].name, actions[a], count.actions[a]);
            lost += count.lost[a];
        }
    }
    number(out, "events_lost_total", "counter",
           "Attacks without an event of their own, since there were too many; they are counted.",
           lost);
    number(out, "lines_dropped_total", "counter", "Lines that whoever reads them did not take.",
           ct_report_dropped(metrics->report));
}

static void write_tiers(const struct ct_agent_metrics *metrics, struct ct_buf *out,
                        const struct ct_vector_info *vectors, size_t n)
{
    head(out, "vector_tier", "gauge",
         "What refuses an attack, as the last self-test has shown; tier none: nothing does.");
    for (size_t i = 0; i < n; i++) {
        struct ct_result result = ct_guard_result(metrics->guard, vectors[i].vector);
        bool refused = metrics->proven && result.outcome == CT_OUTCOME_REFUSED;
        ct_buf_addf(out, "cloudtaser_agent_vector_tier{vector=\"%s\",tier=\"%s\"} 1\n",
                    vectors[i].name, ct_tier_name(refused ? result.tier : CT_TIER_NONE));
    }
}

static void write_maps(const struct ct_agent_metrics *metrics, struct ct_buf *out)
{
    head(out, "map_entries", "gauge", "Entries of a map in the kernel.");
    for (size_t i = 0; i < CT_ARRAY_LEN(watched); i++) {
        int map = ct_guard_map(metrics->guard, watched[i]);
        if (map >= 0) {
            ct_buf_addf(out, "cloudtaser_agent_map_entries{map=\"%s\"} %" PRIu64 "\n", watched[i],
                        entries(map));
        }
    }
    head(out, "map_bytes", "gauge", "Memory of a map in the kernel.");
    for (size_t i = 0; i < CT_ARRAY_LEN(watched); i++) {
        int map = ct_guard_map(metrics->guard, watched[i]);
        if (map >= 0) {
            ct_buf_addf(out, "cloudtaser_agent_map_bytes{map=\"%s\"} %" PRIu64 "\n", watched[i],
                        bytes(map));
        }
    }
}

static double cpu_seconds(void)
{
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// proc_pid_statm(5): the second number, in pages.
static uint64_t resident_bytes(void)
{
    uint64_t pages = 0;
    CT_AUTO_FILE file = fopen("/proc/self/statm", "re");
    return file != NULL && fscanf(file, "%*u %" SCNu64, &pages) == 1
               ? pages * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

// But for the one that looks.
static uint64_t open_descriptors(void)
{
    uint64_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (const struct dirent *entry = NULL; folder != NULL && (entry = readdir(folder)) != NULL;) {
        n += entry->d_name[0] != '.';
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return n > 0 ? n - 1 : 0;
}

static void write_process(const struct ct_agent_metrics *metrics, struct ct_buf *out)
{
    head(out, "cpu_seconds_total", "counter",
         "Processor time of the agent's own process, and of all self-tests.");
    ct_buf_addf(out,
                "cloudtaser_agent_cpu_seconds_total{process=\"agent\"} %.6f\n"
                "cloudtaser_agent_cpu_seconds_total{process=\"selftest\"} %.6f\n",
                cpu_seconds(), metrics->selftest_cpu_seconds);
    number(out, "resident_bytes", "gauge", "Memory of the agent's own process.", resident_bytes());
    number(out, "open_descriptors", "gauge", "Descriptors of the agent's own process.",
           open_descriptors());
}

// All that are marked but for the agent's own, and those that have ended.
static uint64_t protected_processes(const struct ct_guard *guard)
{
    int map = ct_guard_map(guard, "ct_marks");
    __u32 key;
    __u32 last;
    struct ct_mark mark;
    uint64_t n = 0;
    int rc = bpf_map_get_next_key(map, NULL, &key);
    for (uint64_t steps = 0; rc == 0 && steps < UINT16_MAX; steps++) {
        n += bpf_map_lookup_elem(map, &key, &mark) == 0 && (mark.flags & CT_MARK_AGENT) == 0 &&
             mark.stage != CT_STAGE_ENDED;
        last = key;
        rc = bpf_map_get_next_key(map, &last, &key);
    }
    return n;
}

uint64_t ct_agent_metrics_unmarked(const struct ct_guard *guard)
{
    __u32 key = 0;
    __u64 value = 0;
    return bpf_map_lookup_elem(ct_guard_map(guard, "ct_unmarked"), &key, &value) == 0 ? value : 0;
}

void ct_agent_metrics_standby(bool standby, struct ct_buf *out)
{
    number(out, "standby", "gauge",
           "1 where nothing can be enforced, and the agent waits to try again.", standby ? 1 : 0);
}

void ct_agent_metrics_write(const struct ct_agent_metrics *metrics, struct ct_buf *out)
{
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    struct ct_guard_pinned pinned = ct_guard_pinned(metrics->guard);
    ct_agent_metrics_standby(false, out);
    write_attacks(metrics, out, vectors, n);
    write_tiers(metrics, out, vectors, n);
    number(out, "protected_processes", "gauge", "Processes that are protected.",
           protected_processes(metrics->guard));
    number(out, "unmarked_total", "counter",
           "Processes that should be protected and found no room.",
           ct_agent_metrics_unmarked(metrics->guard));
    number(out, "generation", "gauge", "Which generation of programs enforces.", pinned.generation);
    number(out, "unpinned_programs", "gauge",
           "Programs that this kernel does not pin: they end with the agent.", pinned.unpinned);
    head(out, "selftest_seconds", "gauge", "How long the last self-test took.");
    ct_buf_addf(out, "cloudtaser_agent_selftest_seconds %.3f\n", metrics->selftest_seconds);
    number(out, "selftest_failures_total", "counter", "Self-tests that did not come to an end.",
           metrics->selftest_failures);
    write_process(metrics, out);
    write_maps(metrics, out);
}
