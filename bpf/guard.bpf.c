// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The programs: for each hook one of BPF LSM and one of fmod_ret, whose verdicts are the same; for each
// system call one that overrides it at its kprobe. The loader attaches for each vector the first tier
// that is seen to refuse.
#include "reads.bpf.h"
#include "register.bpf.h"
#include "syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int refuse(struct verdict verdict, enum ct_tier tier)
{
    if (verdict.vector == 0 || is_tried_elsewhere()) {
        return 0;
    }
    record(verdict.vector, tier, CT_ACTION_DENIED, verdict.victim);
    return -EPERM;
}

// ---- who is protected ----

SEC("raw_tracepoint/sched_process_fork")
int ct_fork(struct bpf_raw_tracepoint_args *ctx)
{
    if (is_current_generation()) {
        on_fork((struct task_struct *)ctx->args[0], (struct task_struct *)ctx->args[1]);
    }
    return 0;
}

SEC("raw_tracepoint/sched_process_exec")
int ct_exec(struct bpf_raw_tracepoint_args *ctx)
{
    if (is_current_generation()) {
        on_exec((struct task_struct *)ctx->args[0], current_tgid(), (__u32)ctx->args[1]);
    }
    return 0;
}

SEC("raw_tracepoint/sched_process_exit")
int ct_exit(void *ctx)
{
    (void)ctx;
    if (is_current_generation()) {
        on_exit((struct task_struct *)bpf_get_current_task(), current_tgid());
    }
    return 0;
}

SEC("raw_tracepoint/sched_process_free")
int ct_free(struct bpf_raw_tracepoint_args *ctx)
{
    if (is_current_generation()) {
        on_free((struct task_struct *)ctx->args[0]);
    }
    return 0;
}

// Run by the agent in its own context (BPF_PROG_TEST_RUN), never attached: marks the caller as one of the agent's
// processes, or as the agent, by the numbers that the kernel has for it. Whoever has got hold of this program may ask.
SEC("raw_tracepoint/sched_process_exec")
int ct_claim(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_guard_config *c = config();
    __u32 tgid = current_tgid();
    __u32 key = 0;
    __u64 *address = bpf_map_lookup_elem(&ct_agent_task, &key);
    bool becomes_agent = ctx->args[0] == CT_CLAIM_AGENT;
    const struct ct_mark mark = {
        .cgroup = bpf_get_current_cgroup_id(), .flags = CT_MARK_AGENT, .root = tgid};
    if (c == NULL || address == NULL ||
        !(becomes_agent ? is_awaited(c, tgid, *address != 0) : is_child_of_agent(c))) {
        return CT_CLAIM_REFUSED;
    }
    if (!add_mark(tgid, &mark)) {
        return CT_CLAIM_NO_ROOM;
    }
    number_thread(task, tgid, true);
    if (becomes_agent) {
        *address = (__u64)BPF_CORE_READ(task, group_leader);
        c->agent = tgid;
    }
    return CT_CLAIM_DONE;
}

// ---- what reads memory ----

// Never run: it calls each helper by which any program may read memory, and some kernels have more of these than others.
// It uses a map because it is known for the agent's by that.
SEC("raw_tracepoint/sched_process_exec")
int ct_reading(void *ctx)
{
    static const char format[] = "";
    char out[16] = {0};
    (void)ctx;
    asm volatile("" : : "r"(&ct_config));
    bpf_probe_read_user(out, sizeof(out), NULL);
    bpf_probe_read_kernel(out, sizeof(out), NULL);
    bpf_probe_read_user_str(out, sizeof(out), NULL);
    bpf_probe_read_kernel_str(out, sizeof(out), NULL);
    bpf_trace_printk(out, sizeof(out));
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf_btf)) {
        bpf_snprintf_btf(out, sizeof(out), (struct btf_ptr *)out, sizeof(out), 0);
    }
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf)) {
        bpf_snprintf(out, sizeof(out), format, NULL, 0);
    }
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_trace_vprintk)) {
        bpf_trace_vprintk(out, sizeof(out), NULL, 0);
    }
    return 0;
}

// Run by the agent (BPF_PROG_TEST_RUN), never attached: what the kernel has made of an instruction, by its number, of a
// program behind a descriptor of the agent's, if it calls a helper; else 0. To the agent itself the kernel shows that by
// CAP_SYSLOG alone.
SEC("raw_tracepoint/sched_process_exec")
int ct_look(struct bpf_raw_tracepoint_args *ctx)
{
    if (!is_agent()) {
        return 0;
    }
    struct file *file = file_of(ctx->args[0]);
    struct bpf_prog *program = BPF_CORE_READ(file, private_data);
    __u64 at = (__u64)program + bpf_core_field_offset(struct bpf_prog, insnsi);
    __u64 instruction = 0;
    bpf_probe_read_kernel(&instruction, sizeof(instruction),
                          (void *)(at + ctx->args[1] * sizeof(instruction)));
    return (instruction & 0xff) == INSN_CALL && (instruction >> 12 & 0xf) == CALL_HELPER
               ? (int)(instruction >> 32)
               : 0;
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

// The kernel vouches for this pointer: its members are read directly, at a tenth of a helper's price.
static __always_inline struct verdict on_file(struct file *file)
{
    struct inode *inode = file->f_inode;
    unsigned short mode = inode->i_mode;
    bool writes = (file->f_mode & FMODE_WRITE) != 0;
    if (is_of_interest(mode, inode->i_sb->s_magic, writes)) {
        return on_open(file);
    }
    return writes && (mode & S_IFMT) == S_IFREG
               ? on_program_write(inode->i_ino, inode->i_sb->s_dev, inode->i_generation)
               : let_pass();
}

HOOK(ptrace_access_check, on_access(child, mode), struct task_struct *child, unsigned int mode)
HOOK(ptrace_traceme, on_traceme(parent), struct task_struct *parent)
HOOK(file_open, on_file(file), struct file *file)
HOOK(mmap_file, on_map(file, prot), struct file *file, unsigned long prot)
HOOK(locked_down, on_lockdown(what), int what)
HOOK(kernel_load_data, on_load_data(id), int id)
HOOK(kernel_read_file, on_read_file(id), struct file *file, int id)
HOOK(bpf, on_bpf(cmd, attr->prog_type, attr->expected_attach_type), int cmd, union bpf_attr *attr)
HOOK(perf_event_alloc, on_perf(event), struct perf_event *event)
HOOK(task_kill, on_kill(task, sig), struct task_struct *task, void *info, int sig)
HOOK(file_send_sigiotask, on_owner_signal(task), struct task_struct *task)
HOOK(task_setrlimit, on_kill(task, 1), struct task_struct *task)
HOOK(inode_unlink, on_unpin(dir, entry), struct inode *dir, struct dentry *entry)
HOOK(inode_rmdir, on_unpin(dir, entry), struct inode *dir, struct dentry *entry)
HOOK(inode_rename, on_repin(dir, entry, other), struct inode *dir, struct dentry *entry,
     struct inode *other_dir, struct dentry *other)
HOOK(sb_umount, on_umount(mount, flags), struct vfsmount *mount, int flags)
HOOK(bpf_map, on_object(CT_OWN_MAP, map->id), struct bpf_map *map)
HOOK(bpf_prog, on_program(prog), struct bpf_prog *prog)

// ---- registration ----

SEC("lsm/task_prctl")
int BPF_PROG(lsm_task_prctl, int option, unsigned long operation, unsigned long argument)
{
    (void)ctx;
    return as_error(on_prctl(CT_TIER_LSM, option, operation, argument));
}

SEC("fmod_ret/security_task_prctl")
int BPF_PROG(mod_task_prctl, int option, unsigned long operation, unsigned long argument)
{
    (void)ctx;
    return as_error(on_prctl(CT_TIER_FMOD_RET, option, operation, argument));
}

// ---- the root cgroup ----

// What switches off ftrace switches off every program above but those at raw tracepoints, and says nothing. What
// cores are given to is root's to say, and may be a program.
SEC("cgroup/sysctl")
int cg_sysctl(struct bpf_sysctl *ctx)
{
    char name[32] = {0};
    if (ctx->write == 0 || bpf_sysctl_get_name(ctx, name, sizeof(name), 0) < 0) {
        return 1;
    }
    enum ct_vector vector = IS(name, "kernel/ftrace_enabled") ? CT_V_FTRACE
                            : IS(name, "kernel/core_pattern") ? CT_V_CORE_PATTERN
                                                              : 0;
    return vector == 0 || refuse(kernel_wide(vector), CT_TIER_CGROUP) == 0;
}
