// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The guard of the guard: who may end or stop the agent, take its pins off, get hold of its maps and
// programs.
#ifndef CT_RING_BPF_H
#define CT_RING_BPF_H

#include "decide.bpf.h"

#define BPF_FS_MAGIC 0xcafe4a11
#define SYSFS_MAGIC 0x62656572
#define MNT_DETACH 2

#define KIN_LEVELS 6
#define PIN_LEVELS 4
#define CGROUP_LEVELS 16

static __always_inline bool has_agent(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->agent != 0;
}

// ---- its end ----

static __always_inline struct task_struct *agent_task(void)
{
    __u32 key = 0;
    __u64 *task = bpf_map_lookup_elem(&ct_agent_task, &key);
    return task != NULL ? (struct task_struct *)*task : NULL;
}

// The container's runtime: what started its first process, and what that has started since, but for the first
// process's own descendants. Where the node's first process started it, nobody else is the runtime.
static __always_inline bool is_runtime_of(struct task_struct *first)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    __u32 runtime = BPF_CORE_READ(first, real_parent, tgid);
    __u32 first_tgid = BPF_CORE_READ(first, tgid);
    for (int i = 0; runtime > 1 && i < KIN_LEVELS; i++) {
        __u32 tgid = BPF_CORE_READ(task, tgid);
        if (tgid == first_tgid || tgid <= 1) {
            return false;
        }
        if (tgid == runtime) {
            return true;
        }
        task = BPF_CORE_READ(task, real_parent);
    }
    return false;
}

static __always_inline bool is_runtime(void)
{
    struct task_struct *agent = agent_task();
    return agent != NULL && is_runtime_of(agent);
}

// The first process of its pid namespace: orphans come to it, and so everybody may be its descendant.
static __always_inline bool is_reaper(struct task_struct *task)
{
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    struct upid upid = {0};
    return level >= MAX_LEVELS || bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]) != 0 ||
           upid.nr == 1;
}

// The runtime may enter the namespaces of a container's first process: so come kubelet's probes and what is executed
// there. What it has executed is of its kin too, but is in the container's mounts and not in the runtime's.
static __always_inline bool may_enter(struct task_struct *victim, const struct ct_mark *mark)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct task_struct *runtime = BPF_CORE_READ(victim, real_parent);
    return mark->root == (__u32)BPF_CORE_READ(victim, tgid) && mark_of_task(runtime) == NULL &&
           !is_reaper(runtime) && is_runtime_of(victim) &&
           BPF_CORE_READ(task, nsproxy, mnt_ns) == BPF_CORE_READ(runtime, nsproxy, mnt_ns);
}

// The agent's processes may end each other, the runtime the container, and the first process everything, when the
// machine goes down.
static __always_inline bool may_end_agent(void)
{
    __u32 tgid = current_tgid();
    struct ct_mark *mark = mark_of(tgid);
    return tgid == 1 || (mark != NULL && (mark->flags & CT_MARK_AGENT) != 0) || is_runtime();
}

// Signal 0 only asks whether there is such a process.
static __always_inline struct verdict on_kill(struct task_struct *victim, int signal)
{
    struct ct_mark *mark = mark_of_task(victim);
    if (mark == NULL || (mark->flags & CT_MARK_AGENT) == 0 || signal == 0 || may_end_agent()) {
        return let_pass();
    }
    return (struct verdict){CT_V_KILL, BPF_CORE_READ(victim, tgid)};
}

// ---- its cgroup ----

// Whether the agent's cgroup is that of this number or one within. It is looked up anew each time: the agent may
// have been moved.
static __always_inline bool is_agent_in(__u64 number)
{
    struct task_struct *agent = agent_task();
    if (agent == NULL) {
        return false;
    }
    struct cgroup *cgroup = BPF_CORE_READ(agent, cgroups, dfl_cgrp);
    for (int i = 0; i < CGROUP_LEVELS && cgroup != NULL; i++) {
        if (BPF_CORE_READ(cgroup, kn, id) == number) {
            return true;
        }
        struct cgroup_subsys_state *parent = BPF_CORE_READ(cgroup, self.parent);
        cgroup = parent != NULL ? BPF_CORE_READ(parent, cgroup) : NULL;
    }
    return false;
}

// cgroup.kill and cgroup.freeze, which ask no hook for each process.
static __always_inline struct verdict on_cgroup_file(struct file *file)
{
    char name[16] = {0};
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
    if (!IS(name, "cgroup.kill") && !IS(name, "cgroup.freeze")) {
        return let_pass();
    }
    struct ct_guard_config *c = config();
    if (c == NULL || !is_agent_in(BPF_CORE_READ(file, f_path.dentry, d_parent, d_inode, i_ino)) ||
        may_end_agent()) {
        return let_pass();
    }
    return (struct verdict){CT_V_CGROUP, c->agent};
}

// ---- its pins ----

static __always_inline bool is_pin(struct dentry *entry)
{
    struct ct_ring *r = ring();
    for (int i = 0; r != NULL && r->pins_inode != 0 && i < PIN_LEVELS; i++) {
        struct inode *inode = BPF_CORE_READ(entry, d_inode);
        if (BPF_CORE_READ(inode, i_ino) == r->pins_inode &&
            BPF_CORE_READ(inode, i_sb, s_dev) == r->pins_device) {
            return true;
        }
        entry = BPF_CORE_READ(entry, d_parent);
    }
    return false;
}

static __always_inline bool is_bpf_fs(struct inode *inode)
{
    return inode->i_sb->s_magic == BPF_FS_MAGIC;
}

static __always_inline struct verdict on_unpin(struct inode *dir, struct dentry *entry)
{
    return is_bpf_fs(dir) && is_pin(entry) ? kernel_wide(CT_V_UNPIN) : let_pass();
}

static __always_inline struct verdict on_repin(struct inode *dir, struct dentry *entry,
                                               struct dentry *other)
{
    return is_bpf_fs(dir) && (is_pin(entry) || is_pin(other)) ? kernel_wide(CT_V_UNPIN)
                                                              : let_pass();
}

// The file system of the pins, or, in the first mount namespace, what it is mounted below and would take it along.
static __always_inline struct verdict on_umount(struct vfsmount *mount, int flags)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_ring *r = ring();
    if (r == NULL || r->pins_inode == 0) {
        return let_pass();
    }
    bool detaches = (flags & MNT_DETACH) != 0 && mount->mnt_sb->s_magic == SYSFS_MAGIC &&
                    BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum) == r->first_mounts;
    bool pins = mount->mnt_sb->s_magic == BPF_FS_MAGIC && mount->mnt_sb->s_dev == r->pins_device;
    return pins || detaches ? kernel_wide(CT_V_UNPIN) : let_pass();
}

// ---- its maps and programs ----

// A descriptor of one, by its number or its pin. While there is no agent the next one has to get at them.
static __always_inline struct verdict on_object(__u32 kind, __u32 id)
{
    const struct ct_own_key key = {.kind = kind, .id = id};
    if (!has_agent() || bpf_map_lookup_elem(&ct_own, &key) == NULL) {
        return let_pass();
    }
    return kernel_wide(CT_V_OBJECTS);
}

#endif
