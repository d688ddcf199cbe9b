// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The programs: for each hook one of BPF LSM and one of fmod_ret, whose verdicts are the same; for each
// system call one that overrides it at its kprobe. The loader attaches for each vector the first tier
// that is seen to refuse.
#include "verdict.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int refuse(struct verdict verdict, enum ct_tier tier)
{
    if (verdict.vector == 0) {
        return 0;
    }
    record(verdict.vector, tier, CT_ACTION_DENIED, verdict.victim);
    return -EPERM;
}

// ---- who is protected ----

#define MAX_LEVELS 8 // pid namespaces within one another; the kernel allows 32

static __always_inline void count_unmarked(void)
{
    __u32 key = 0;
    __u64 *unmarked = bpf_map_lookup_elem(&ct_unmarked, &key);
    if (unmarked != NULL) {
        __sync_fetch_and_add(unmarked, 1);
    }
}

static __always_inline void number_thread(struct task_struct *task, __u32 tgid, bool known)
{
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    for (unsigned int i = 0; i < MAX_LEVELS && i <= level; i++) {
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

SEC("raw_tracepoint/sched_process_fork")
int ct_fork(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *parent = (struct task_struct *)ctx->args[0];
    struct task_struct *child = (struct task_struct *)ctx->args[1];
    struct ct_mark *mark = mark_of_task(parent);
    __u32 tgid = BPF_CORE_READ(child, tgid);
    if (mark == NULL) {
        return 0;
    }
    if (tgid != (__u32)BPF_CORE_READ(parent, tgid)) {
        struct ct_mark copy = *mark;
        // A wrapper's child is held until it is released; what descends from others is as they are.
        copy.flags = (copy.flags & CT_MARK_WRAPPER) != 0 ? CT_MARK_HELD : copy.flags;
        if (bpf_map_update_elem(&ct_marks, &tgid, &copy, BPF_ANY) != 0) {
            count_unmarked();
        }
    }
    number_thread(child, tgid, true);
    return 0;
}

SEC("raw_tracepoint/sched_process_exit")
int ct_exit(void *ctx)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    __u32 tgid = current_tgid();
    (void)ctx;
    if (mark_of(tgid) == NULL) {
        return 0;
    }
    number_thread(task, tgid, false);
    // The last of its threads: the kernel has counted this one out already.
    if (BPF_CORE_READ(task, signal, live.counter) == 0) {
        bpf_map_delete_elem(&ct_marks, &tgid);
    }
    return 0;
}

// ---- BPF LSM and fmod_ret ----

#define HOOK(name, verdict, args...)                                                               \
    SEC("lsm/" #name)                                                                              \
    int BPF_PROG(lsm_##name, args)                                                                 \
    {                                                                                              \
        (void)ctx;                                                                                 \
        return refuse(verdict, CT_TIER_LSM);                                                       \
    }                                                                                              \
    SEC("fmod_ret/security_" #name)                                                                \
    int BPF_PROG(mod_##name, args)                                                                 \
    {                                                                                              \
        (void)ctx;                                                                                 \
        return refuse(verdict, CT_TIER_FMOD_RET);                                                  \
    }

HOOK(ptrace_access_check, on_access(child, mode), struct task_struct *child, unsigned int mode)
HOOK(ptrace_traceme, on_traceme(parent), struct task_struct *parent)
// The kernel vouches for this pointer: its members are read directly, at a tenth of a helper's price.
HOOK(file_open,
     is_of_interest(file->f_inode->i_mode, file->f_inode->i_sb->s_magic) ? on_open(file)
                                                                         : let_pass(),
     struct file *file)
HOOK(locked_down, on_lockdown(what), int what)
HOOK(kernel_load_data, on_load_data(id), int id)
HOOK(kernel_read_file, on_read_file(id), struct file *file, int id)
HOOK(bpf, on_bpf(cmd, attr->prog_type), int cmd, union bpf_attr *attr)
HOOK(perf_event_alloc, on_perf(event), struct perf_event *event)
