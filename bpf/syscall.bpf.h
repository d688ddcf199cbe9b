// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Verdicts on system calls by their arguments, for the two tiers that see nothing else: numbers of processes
// are taken as the caller's namespace counts them, and no pointer of the caller is believed.
#ifndef CT_SYSCALL_BPF_H
#define CT_SYSCALL_BPF_H

#include "verdict.bpf.h"

#define PTRACE_TRACEME 0
#define PID_FS_MAGIC 0x50494446
// Where expected_attach_type is in a load's attributes (include/uapi/linux/bpf.h).
#define CT_BPF_ATTACH_TYPE 68
// No program's type: refused as one that is not known.
#define CT_BPF_UNREADABLE 0xffffffffU
// Where sample_type is in an event's attributes (include/uapi/linux/perf_event.h).
#define CT_PERF_SAMPLE_TYPE 24
#define PERF_FLAG_PID_CGROUP 4

struct arguments {
    __u64 a[5];
};

// The protected process that the caller calls by this number.
static __always_inline struct verdict against_number(enum ct_vector vector, __u64 number)
{
    __u32 tgid = tgid_by_number((__u32)number);
    struct ct_mark *mark = mark_of(tgid);
    if (mark == NULL || tgid == current_tgid() || is_own_dealing(mark, tgid) || is_exempt(vector)) {
        return let_pass();
    }
    return (struct verdict){vector, tgid};
}

// The process behind one of the caller's pidfds: until 6.8 the file has its struct pid, then the inode. For
// pidfd_send_signal(2) a process's folder in /proc is one too.
static __always_inline struct pid *pid_of(struct file *file)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    unsigned long magic = BPF_CORE_READ(inode, i_sb, s_magic);
    if (magic == PROC_SUPER_MAGIC) {
        return pid_of_proc(inode);
    }
    return magic == PID_FS_MAGIC ? BPF_CORE_READ(inode, i_private)
                                 : BPF_CORE_READ(file, private_data);
}

static __always_inline struct task_struct *task_by_pidfd(__u64 fd)
{
    struct file *file = file_of(fd);
    struct pid *pid = file != NULL ? pid_of(file) : NULL;
    return pid != NULL ? task_of(pid) : NULL;
}

static __always_inline struct verdict against_task(enum ct_vector vector,
                                                   struct task_struct *victim)
{
    __u32 tgid = victim != NULL ? BPF_CORE_READ(victim, tgid) : 0;
    struct ct_mark *mark = victim != NULL ? mark_of_victim(victim) : NULL;
    if (mark == NULL || tgid == current_tgid() || is_own_dealing(mark, tgid)) {
        return let_pass();
    }
    return against(vector, victim);
}

static __always_inline struct verdict against_pidfd(enum ct_vector vector, __u64 fd)
{
    return against_task(vector, task_by_pidfd(fd));
}

// A signal, or a limit (argument `with` says which), for a process of the agent's. Groups of processes, by numbers
// below 1, are let pass.
static __always_inline struct verdict against_agent(__u64 number, __u64 with)
{
    struct verdict verdict = (int)number > 0 ? against_number(CT_V_KILL, number) : let_pass();
    struct ct_mark *mark = verdict.vector != 0 ? mark_of(verdict.victim) : NULL;
    bool agents = mark != NULL && (mark->flags & CT_MARK_AGENT) != 0;
    return agents && with != 0 && !may_end_agent() ? verdict : let_pass();
}

static __always_inline struct verdict against_agent_pidfd(__u64 fd, __u64 signal)
{
    struct verdict verdict = against_pidfd(CT_V_KILL, fd);
    struct ct_mark *mark = verdict.vector != 0 ? mark_of(verdict.victim) : NULL;
    bool agents = mark != NULL && (mark->flags & CT_MARK_AGENT) != 0;
    return agents && signal != 0 && !may_end_agent() ? verdict : let_pass();
}

static __always_inline struct verdict on_ptrace(const struct arguments *in)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return in->a[0] == PTRACE_TRACEME ? on_traceme(BPF_CORE_READ(task, real_parent))
                                      : against_number(CT_V_PTRACE, in->a[1]);
}

static __always_inline struct verdict on_kcmp(const struct arguments *in)
{
    struct verdict first = against_number(CT_V_COMPARE, in->a[0]);
    return first.vector != 0 ? first : against_number(CT_V_COMPARE, in->a[1]);
}

static __always_inline bool is_perf_of_all(const struct arguments *in)
{
    return (int)in->a[1] == -1 || (in->a[4] & PERF_FLAG_PID_CGROUP) != 0;
}

// What is asked for of a whole processor, or a cgroup, lies in the caller's memory, and another thread of it may change
// that after this look at it: security_perf_event_alloc() has a second one.
static __always_inline struct verdict on_perf_call(const struct arguments *in)
{
    const char *attr = (const char *)in->a[0];
    __u32 type = 0;
    __u64 sample = 0;
    if (!is_perf_of_all(in)) {
        return against_number(CT_V_PERF, in->a[1]);
    }
    bool readable = bpf_probe_read_user(&type, sizeof(type), attr) == 0 &&
                    bpf_probe_read_user(&sample, sizeof(sample), attr + CT_PERF_SAMPLE_TYPE) == 0;
    return !readable || type >= PERF_TYPE_MAX || (sample & PERF_SAMPLE_USER_CONTENT) != 0
               ? kernel_wide(CT_V_PERF)
               : let_pass();
}

// What is loaded lies in the caller's memory, and another thread of it may change that after this look at it:
// security_bpf() has a second one. So does whose map or program is asked for, and that is not looked at.
static __always_inline struct verdict on_bpf_call(const struct arguments *in)
{
    const char *attr = (const char *)in->a[1];
    __u32 type = CT_BPF_UNREADABLE;
    __u32 attach = 0;
    if (in->a[0] == BPF_PROG_LOAD) {
        if (bpf_probe_read_user(&type, sizeof(type), attr) != 0) {
            type = CT_BPF_UNREADABLE;
        }
        if (in->a[2] >= CT_BPF_ATTACH_TYPE + sizeof(attach)) {
            bpf_probe_read_user(&attach, sizeof(attach), attr + CT_BPF_ATTACH_TYPE);
        }
        return on_bpf(BPF_PROG_LOAD, type, attach);
    }
    bool gets = in->a[0] == BPF_OBJ_GET || in->a[0] == BPF_MAP_GET_FD_BY_ID ||
                in->a[0] == BPF_PROG_GET_FD_BY_ID || in->a[0] == BPF_LINK_GET_FD_BY_ID;
    return gets && has_agent() ? kernel_wide(CT_V_OBJECTS) : let_pass();
}

// What a ring opens makes no system call: none for root, who alone could open another's memory.
static __always_inline struct verdict on_io_uring_setup(void)
{
    return (__u32)bpf_get_current_uid_gid() == 0 ? kernel_wide(CT_V_IO_URING) : let_pass();
}

static __always_inline struct verdict on_setns(const struct arguments *in)
{
    struct task_struct *victim = task_by_pidfd(in->a[0]);
    struct ct_mark *mark = victim != NULL ? mark_of_task(victim) : NULL;
    return mark != NULL && may_enter(victim, mark) ? let_pass() : against_task(CT_V_SETNS, victim);
}

#endif
