// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The state that all programs share, whatever their tier: who is protected, who is exempt, and the
// record of each refusal. The maps are pinned, so that they and what enforces by them outlive the agent.
#ifndef CT_STATE_BPF_H
#define CT_STATE_BPF_H

#include "kernel.bpf.h"
#include "ring.h"
#include "shared.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EPERM 1
#define SIGKILL 9
#define MAX_LEVELS 8       // pid namespaces within one another; the kernel allows 32
#define CT_MAX_MARKS 36864 // 250 pods of 128 processes, and some that end
#define CT_MAX_PIDS 65536
#define CT_MAX_CGROUPS 2048
#define CT_MAX_PROGRAMS 8192

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

// Containers that have registered: once each.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CT_MAX_CGROUPS);
    __type(key, __u64);
    __type(value, struct ct_cgroup);
} ct_cgroups SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, 1U); // BPF_F_NO_PREALLOC: it is as large as there are pods
    __uint(max_entries, CT_MAX_CGROUPS);
    __type(key, __u64);
    __type(value, struct ct_pod_name);
} ct_pods SEC(".maps");

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

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ct_ring);
} ct_ring SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ct_tester);
} ct_tester SEC(".maps");

// Maps and programs that are the agent's own.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 512);
    __type(key, struct ct_own_key);
    __type(value, __u32);
} ct_own SEC(".maps");

// What protected processes run. What was not run for longest makes room.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, CT_MAX_PROGRAMS);
    __type(key, struct ct_program_key);
    __type(value, struct ct_program);
} ct_programs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct ct_majors);
} ct_majors SEC(".maps");

// The kernel's address of the agent's task; 0: none.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} ct_agent_task SEC(".maps");

// Which generation this program belongs to; the loader sets it.
const volatile __u32 generation SEC(".rodata.generation") = 0;

// By the task, for programs of cgroups have no other helper.
static __always_inline __u32 current_tgid(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return BPF_CORE_READ(task, tgid);
}

static __always_inline struct ct_ring *ring(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&ct_ring, &key);
}

// Whether it is this generation that keeps the marks. Programs of two are attached while one replaces the other.
static __always_inline bool is_current_generation(void)
{
    struct ct_ring *r = ring();
    return r != NULL && r->generation == generation;
}

static __always_inline struct ct_tester *tester(void)
{
    __u32 key = 0;
    struct ct_tester *t = bpf_map_lookup_elem(&ct_tester, &key);
    return t != NULL && t->tgid != 0 && t->tgid == current_tgid() ? t : NULL;
}

// The self-test tries the programs of another generation: these here let its attacker pass.
static __always_inline bool is_tried_elsewhere(void)
{
    struct ct_tester *t = tester();
    return t != NULL && t->generation != generation;
}

static __always_inline struct ct_guard_config *config(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&ct_config, &key);
}

// Also of a process that has left.
static __always_inline struct ct_mark *any_mark_of(__u32 tgid)
{
    return bpf_map_lookup_elem(&ct_marks, &tgid);
}

static __always_inline struct ct_mark *mark_of(__u32 tgid)
{
    struct ct_mark *mark = any_mark_of(tgid);
    return mark != NULL && (mark->flags & CT_MARK_LEFT) == 0 ? mark : NULL;
}

static __always_inline struct ct_mark *mark_of_task(struct task_struct *task)
{
    return mark_of(BPF_CORE_READ(task, tgid));
}

static __always_inline bool is_vetted_wrapper(const struct ct_mark *mark)
{
    return mark != NULL && (mark->flags & CT_MARK_WRAPPER) != 0 && mark->stage == CT_STAGE_VETTED;
}

// What a wrapper and its children have to do with each other before a child is released: the wrapper with the child,
// and a child that is the wrapper's own code, having executed nothing, with the wrapper and its other children.
static __always_inline bool is_own_dealing(const struct ct_mark *victim, __u32 victim_tgid)
{
    __u32 tgid = current_tgid();
    bool held = (victim->flags & CT_MARK_HELD) != 0;
    __u32 root = held ? victim->root : victim_tgid;
    if (!is_vetted_wrapper(held ? mark_of(root) : victim)) {
        return false;
    }
    if (held && root == tgid) {
        return true;
    }
    struct ct_mark *mark = mark_of(tgid);
    return mark != NULL && (mark->flags & CT_MARK_HELD) != 0 && mark->ran == 0 &&
           mark->root == root;
}

static __always_inline bool is_exempt(enum ct_vector vector)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
    struct ct_exempt_key key = {.inode = BPF_CORE_READ(inode, i_ino),
                                .device = BPF_CORE_READ(inode, i_sb, s_dev)};
    struct ct_exempt *exempt = bpf_map_lookup_elem(&ct_exempts, &key);
    return exempt != NULL && (exempt->vectors >> vector & 1) != 0 &&
           (exempt->cgroup == 0 || exempt->cgroup == bpf_get_current_cgroup_id());
}

static __always_inline bool has_exempts(void)
{
    struct ct_exempt_key none = {0};
    return bpf_map_lookup_elem(&ct_exempts, &none) != NULL;
}

static __always_inline void record_event(enum ct_vector vector, enum ct_tier tier,
                                         enum ct_action action, __u32 victim,
                                         struct ct_count *count)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_event *event = bpf_ringbuf_reserve(&ct_events, sizeof(*event), 0);
    if (event == NULL) {
        __sync_fetch_and_add(&count->lost[action], 1);
        return;
    }
    struct ct_mark *mark = mark_of(victim);
    event->time_ns = bpf_ktime_get_ns();
    event->vector = vector;
    event->action = action;
    event->tier = tier;
    event->uid = bpf_get_current_uid_gid();
    event->pid = BPF_CORE_READ(task, pid);
    event->tgid = current_tgid();
    event->parent = BPF_CORE_READ(task, real_parent, tgid);
    event->victim = victim;
    event->cgroup = bpf_get_current_cgroup_id();
    event->victim_cgroup = mark != NULL ? mark->cgroup : 0;
    BPF_CORE_READ_STR_INTO(&event->comm, task, comm);
    event->exe[0] = '\0';
    bpf_probe_read_kernel_str(event->exe, sizeof(event->exe),
                              BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name));
    bpf_ringbuf_submit(event, 0);
}

// True: it was the self-test, and the tier is proven.
static __always_inline bool is_proof(enum ct_vector vector, enum ct_tier tier)
{
    __u32 key = tier * CT_V_COUNT + vector;
    if (tester() == NULL) {
        return false;
    }
    __u64 *proof = bpf_map_lookup_elem(&ct_proofs, &key);
    if (proof != NULL) {
        __sync_fetch_and_add(proof, 1);
    }
    return true;
}

// The attacker of a wrapper's canary, at a process of that wrapper's.
static __always_inline bool is_trial(__u32 victim)
{
    struct ct_mark *left = any_mark_of(current_tgid());
    struct ct_mark *mark = mark_of(victim);
    return left != NULL && (left->flags & CT_MARK_LEFT) != 0 && mark != NULL &&
           mark->root == left->root;
}

// Counts a refusal and tells of it. Those of the self-test prove the tier and make no event.
static __always_inline void record(enum ct_vector vector, enum ct_tier tier, enum ct_action action,
                                   __u32 victim)
{
    __u32 key = vector;
    if (is_proof(vector, tier) || is_trial(victim)) {
        return;
    }
    // Of two generations' programs both act here, as neither ends the system call's way through the kernel.
    if ((tier <= CT_TIER_KPROBE || tier == CT_TIER_CGROUP) && !is_current_generation()) {
        return;
    }
    struct ct_count *count = bpf_map_lookup_elem(&ct_counts, &key);
    if (count != NULL) {
        // A processor's own, and yet not one program's alone: who runs it may be preempted.
        __sync_fetch_and_add(&count->actions[action], 1);
        record_event(vector, tier, action, victim, count);
    }
}

// The task of a struct pid; NULL once it has ended.
static __always_inline struct task_struct *task_of(struct pid *pid)
{
    struct hlist_node *node = BPF_CORE_READ(pid, tasks[0].first);
    return node == NULL
               ? NULL
               : (void *)((char *)node - bpf_core_field_offset(struct task_struct, pid_links[0]));
}

// ---- who is protected ----

static __always_inline void count_unmarked(void)
{
    __u32 key = 0;
    __u64 *unmarked = bpf_map_lookup_elem(&ct_unmarked, &key);
    if (unmarked != NULL) {
        __sync_fetch_and_add(unmarked, 1);
    }
}

// In the namespaces of this level and those within.
static __always_inline void number_thread_from(struct task_struct *task, __u32 tgid, bool known,
                                               unsigned int first)
{
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    for (unsigned int i = first; i < MAX_LEVELS && i <= level; i++) {
        struct upid upid;
        if (bpf_core_read(&upid, sizeof(upid), &pid->numbers[i]) != 0) {
            return;
        }
        struct ct_pid_key key = {.namespace = (__u64)upid.ns, .number = upid.nr};
        if (!known) {
            bpf_map_delete_elem(&ct_pids, &key);
        } else if (bpf_map_update_elem(&ct_pids, &key, &tgid, BPF_ANY) != 0) {
            count_unmarked();
        }
    }
}

// Of each process the first thread, so that none takes the others' room: the rest are found where the kernel has them. Given
// up are all, since generations before this one numbered them.
static __always_inline void number_thread(struct task_struct *task, __u32 tgid, bool known)
{
    if (known && (__u32)BPF_CORE_READ(task, pid) != tgid) {
        return;
    }
    number_thread_from(task, tgid, known, 0);
}

#define NUMBER_LEVELS 5 // of 6 bits: 2^22 is the kernel's limit
#define NODE_BITS 2UL   // of a pointer to another level
#define NODE_LEAST 4096

// The thread group of the task that a pid namespace has by this number, from the kernel's own tree of them; 0: none.
static __attribute__((noinline)) __u32 find_tgid(__u64 namespace, __u32 number)
{
    struct pid_namespace *ns = (struct pid_namespace *)namespace;
    unsigned long entry = (unsigned long)BPF_CORE_READ(ns, idr.idr_rt.xa_head);
    bool found = false;
    for (int i = 0; i < NUMBER_LEVELS && !found; i++) {
        struct xa_node *node = (struct xa_node *)(entry - NODE_BITS);
        if ((entry & 3) != NODE_BITS || entry < NODE_LEAST) {
            return 0;
        }
        __u32 shift = BPF_CORE_READ(node, shift) & 31;
        if (i == 0 && number >> shift > 63) {
            return 0;
        }
        unsigned long slot =
            bpf_core_field_offset(struct xa_node, slots) + (number >> shift & 63) * sizeof(void *);
        if (bpf_probe_read_kernel(&entry, sizeof(entry), (char *)node + slot) != 0) {
            return 0;
        }
        found = shift == 0;
    }
    struct task_struct *task =
        found && entry >= NODE_LEAST && (entry & 3) == 0 ? task_of((struct pid *)entry) : NULL;
    return task != NULL ? BPF_CORE_READ(task, tgid) : 0;
}

// The thread group that the caller's pid namespace calls by this number, or by that of one of its threads; 0: none.
static __always_inline __u32 tgid_by_number(__u32 number)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    struct upid upid = {0};
    if (level >= MAX_LEVELS || bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]) != 0) {
        return 0;
    }
    struct ct_pid_key key = {.namespace = (__u64)upid.ns, .number = number};
    __u32 *tgid = bpf_map_lookup_elem(&ct_pids, &key);
    // An entry that was left behind does not hide who has the number now.
    return tgid != NULL && mark_of(*tgid) != NULL ? *tgid : find_tgid(key.namespace, number);
}

// False, and counted, when there is no room, or the container has too many.
static __always_inline bool add_mark(__u32 tgid, const struct ct_mark *mark)
{
    struct ct_cgroup *cgroup = bpf_map_lookup_elem(&ct_cgroups, &mark->cgroup);
    if (cgroup != NULL && cgroup->tasks >= cgroup->limit) {
        __sync_fetch_and_add(&cgroup->over, 1);
        count_unmarked();
        return false;
    }
    if (bpf_map_update_elem(&ct_marks, &tgid, mark, BPF_ANY) != 0) {
        count_unmarked();
        return false;
    }
    if (cgroup != NULL) {
        __sync_fetch_and_add(&cgroup->tasks, 1);
    }
    return true;
}

// Two threads that end at once may both have found it: it is counted by whoever takes it away.
static __always_inline void drop_mark(__u32 tgid, const struct ct_mark *mark)
{
    __u64 key = mark->cgroup;
    if (bpf_map_delete_elem(&ct_marks, &tgid) != 0) {
        return;
    }
    struct ct_cgroup *cgroup = bpf_map_lookup_elem(&ct_cgroups, &key);
    if (cgroup != NULL) {
        __sync_fetch_and_add(&cgroup->tasks, -1);
    }
}

#endif
