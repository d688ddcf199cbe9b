// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The state that all programs share, whatever their tier: who is protected, who is exempt, and the
// record of each refusal. The maps are pinned, so that they and what enforces by them outlive the agent.
#ifndef CT_STATE_BPF_H
#define CT_STATE_BPF_H

#include "kernel.bpf.h"
#include "shared.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EPERM 1
#define SIGKILL 9
#define CT_MAX_MARKS 32768 // 250 pods of 128 processes
#define CT_MAX_PIDS 65536

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CT_MAX_MARKS);
    __type(key, __u32);
    __type(value, struct ct_mark);
} ct_marks SEC(".maps");

// The numbers by which protected threads are called, in each pid namespace that they are seen from: for tiers
// that have a system call's arguments and no kernel object.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CT_MAX_PIDS);
    __type(key, struct ct_pid_key);
    __type(value, __u32);
} ct_pids SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 256);
    __type(key, struct ct_exempt_key);
    __type(value, struct ct_exempt);
} ct_exempts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ct_guard_config);
} ct_config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, CT_V_COUNT);
    __type(key, __u32);
    __type(value, struct ct_count);
} ct_counts SEC(".maps");

// Refusals of the self-test's attacker alone, for each tier and vector: what proves a vector.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, CT_V_COUNT *CT_TIER_COUNT);
    __type(key, __u32);
    __type(value, __u64);
} ct_proofs SEC(".maps");

// Marks that found no room: a process that should be protected and is not.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} ct_unmarked SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 256 * 1024);
} ct_events SEC(".maps");

static __always_inline __u32 current_tgid(void)
{
    return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline struct ct_guard_config *config(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&ct_config, &key);
}

static __always_inline struct ct_mark *mark_of(__u32 tgid)
{
    return bpf_map_lookup_elem(&ct_marks, &tgid);
}

static __always_inline struct ct_mark *mark_of_task(struct task_struct *task)
{
    return mark_of(BPF_CORE_READ(task, tgid));
}

// The wrapper's dealings with its own child before it is released.
static __always_inline bool is_holder(const struct ct_mark *mark)
{
    return (mark->flags & CT_MARK_HELD) != 0 && mark->root == current_tgid();
}

static __always_inline bool is_exempt(enum ct_vector vector)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
    struct ct_exempt_key key = {.inode = BPF_CORE_READ(inode, i_ino),
                                .device = BPF_CORE_READ(inode, i_sb, s_dev)};
    struct ct_exempt *exempt = bpf_map_lookup_elem(&ct_exempts, &key);
    return exempt != NULL && (exempt->vectors >> vector & 1) != 0;
}

static __always_inline void record_event(enum ct_vector vector, enum ct_tier tier,
                                         enum ct_action action, __u32 victim,
                                         struct ct_count *count)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_event *event = bpf_ringbuf_reserve(&ct_events, sizeof(*event), 0);
    if (event == NULL) {
        count->lost++;
        return;
    }
    struct ct_mark *mark = mark_of(victim);
    event->time_ns = bpf_ktime_get_ns();
    event->vector = vector;
    event->action = action;
    event->tier = tier;
    event->uid = bpf_get_current_uid_gid();
    event->pid = bpf_get_current_pid_tgid();
    event->tgid = current_tgid();
    event->parent = BPF_CORE_READ(task, real_parent, tgid);
    event->victim = victim;
    event->cgroup = bpf_get_current_cgroup_id();
    event->victim_cgroup = mark != NULL ? mark->cgroup : 0;
    bpf_get_current_comm(event->comm, sizeof(event->comm));
    event->exe[0] = '\0';
    bpf_probe_read_kernel_str(event->exe, sizeof(event->exe),
                              BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name));
    bpf_ringbuf_submit(event, 0);
}

// Counts a refusal and tells of it. Those of the self-test prove the tier and make no event.
static __always_inline void record(enum ct_vector vector, enum ct_tier tier, enum ct_action action,
                                   __u32 victim)
{
    struct ct_guard_config *c = config();
    __u32 key = vector;
    if (c != NULL && c->tester != 0 && c->tester == current_tgid()) {
        key = tier * CT_V_COUNT + vector;
        __u64 *proof = bpf_map_lookup_elem(&ct_proofs, &key);
        if (proof != NULL) {
            __sync_fetch_and_add(proof, 1);
        }
        return;
    }
    struct ct_count *count = bpf_map_lookup_elem(&ct_counts, &key);
    if (count != NULL) {
        count->actions[action]++;
        record_event(vector, tier, action, victim, count);
    }
}

#endif
