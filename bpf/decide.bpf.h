// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What verdicts are made of. A verdict names the vector, and the victim where there is one; vector 0 lets it pass.
#ifndef CT_DECIDE_BPF_H
#define CT_DECIDE_BPF_H

#include "state.bpf.h"

#define TASK_NEW 0x800U

struct verdict {
    __u32 vector;
    __u32 victim;
};

static __always_inline struct verdict let_pass(void)
{
    return (struct verdict){0, 0};
}

static __always_inline bool is_new(struct task_struct *task)
{
    if (bpf_core_field_exists(task->__state)) {
        return (BPF_CORE_READ(task, __state) & TASK_NEW) != 0;
    }
    return (BPF_CORE_READ((struct task_struct___before_5_14 *)task, state) & TASK_NEW) != 0;
}

// The mark of one who is looked at. A child can be found before the tracepoint at which it is marked: until it is woken for
// the first time, it is what its parent is. Whether it is new is asked first: who has been woken by then is marked.
static __always_inline struct ct_mark *mark_of_victim(struct task_struct *task)
{
    bool new = is_new(task);
    struct ct_mark *mark = mark_of_task(task);
    return mark != NULL || !new ? mark : mark_of_task(BPF_CORE_READ(task, real_parent));
}

// The same, and the agent's for what it has forked and nobody marks: the self-test's attackers and whom else they try, who
// reads a program aside, and who tells the cluster. They have the agent's descriptors, if for a moment. The self-test's own
// attacker is let at them.
static __always_inline struct ct_mark *mark_of_victim_or_agents(struct task_struct *task)
{
    struct ct_mark *mark = mark_of_victim(task);
    if (mark != NULL || tester() != NULL) {
        return mark;
    }
    mark = mark_of_task(BPF_CORE_READ(task, real_parent));
    return mark != NULL && (mark->flags & CT_MARK_AGENT) != 0 ? mark : NULL;
}

static __always_inline bool is_agent(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->agent != 0 && c->agent == current_tgid();
}

// A kernel-wide vector: refused to everyone but the agent and what the operator exempts.
static __always_inline struct verdict kernel_wide(enum ct_vector vector)
{
    if (is_agent() || is_exempt(vector)) {
        return let_pass();
    }
    return (struct verdict){vector, 0};
}

// The file behind one of the caller's descriptors; NULL for none.
static __always_inline struct file *file_of(__u64 fd)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    struct file *file = NULL;
    __u32 index = (__u32)fd;
    if (index >= BPF_CORE_READ(table, max_fds)) {
        return NULL;
    }
    bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + index);
    return file;
}

static __always_inline bool is_name(const char *name, const char *other, int size)
{
    for (int i = 0; i < size; i++) {
        if (name[i] != other[i]) {
            return false;
        }
    }
    return true;
}

#define IS(name, text) is_name(name, text, sizeof(text))

#endif
