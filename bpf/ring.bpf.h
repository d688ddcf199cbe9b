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
#define MAPS_LOOKED_AT 4

static __always_inline bool has_agent(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->agent != 0;
}

// ---- who it is ----

// The process that has written its number into the settings: as the first pid namespace counts it, or, as long as
// nobody is the agent yet, as its own does, for it knows no other.
static __always_inline bool is_awaited(const struct ct_guard_config *c, __u32 tgid,
                                       bool there_is_one)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
    unsigned int level = BPF_CORE_READ(pid, level);
    struct upid upid = {0};
    if (c->agent == 0 || c->agent == tgid) {
        return c->agent != 0;
    }
    return !there_is_one && level < MAX_LEVELS &&
           bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]) == 0 &&
           (__u32)upid.nr == c->agent;
}

static __always_inline bool is_child_of_agent(const struct ct_guard_config *c)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return c->agent != 0 && c->agent == (__u32)BPF_CORE_READ(task, real_parent, tgid);
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
    struct ct_mark *mark = mark_of_victim_or_agents(victim);
    if (mark == NULL || (mark->flags & CT_MARK_AGENT) == 0 || signal == 0 || may_end_agent()) {
        return let_pass();
    }
    return (struct verdict){CT_V_KILL, BPF_CORE_READ(victim, tgid)};
}

// One that the kernel sends for a descriptor (F_SETOWN, F_SETSIG): it comes in whosever context something happened, and
// the agent waits for none.
static __always_inline struct verdict on_owner_signal(struct task_struct *victim)
{
    struct ct_mark *mark = mark_of_victim_or_agents(victim);
    return mark != NULL && (mark->flags & CT_MARK_AGENT) != 0
               ? (struct verdict){CT_V_KILL, BPF_CORE_READ(victim, tgid)}
               : let_pass();
}

// ---- its cgroup ----

// Whether the agent's cgroup is that of this number or one within. It is looked up anew each time: the agent may
// have been moved. So deep that not all of them are looked at, it may be in any.
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
    return cgroup != NULL;
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
    return bpf_core_field_exists(node->parent)
               ? BPF_CORE_READ(node, parent)
               : BPF_CORE_READ((struct kernfs_node___from_6_15 *)node, __parent);
}

// cgroup.kill and cgroup.freeze, which ask no hook for each process. By what the kernel itself calls them: who opens one
// by its handle (open_by_handle_at(2)) may have an entry without a name and without a folder.
static __always_inline struct verdict on_cgroup_file(struct file *file)
{
    char name[16] = {0};
    struct kernfs_node *node = BPF_CORE_READ(file, f_inode, i_private);
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(node, name));
    if (!IS(name, "cgroup.kill") && !IS(name, "cgroup.freeze")) {
        return let_pass();
    }
    struct ct_guard_config *c = config();
    if (c == NULL || !is_agent_in(BPF_CORE_READ(parent_of(node), id)) || may_end_agent()) {
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

// ---- its maps, programs and links ----

static __always_inline bool is_own(__u32 kind, __u32 id)
{
    const struct ct_own_key key = {.kind = kind, .id = id};
    return bpf_map_lookup_elem(&ct_own, &key) != NULL;
}

// A descriptor of one, by its number or its pin. While there is no agent the next one has to get at them.
static __always_inline struct verdict on_object(__u32 kind, __u32 id)
{
    return has_agent() && is_own(kind, id) ? kernel_wide(CT_V_OBJECTS) : let_pass();
}

// Of the agent's programs each uses one of its maps among its first ones: by that it is known from the moment on at which it
// has a number.
static __always_inline bool uses_own_map(struct bpf_prog *program)
{
    __u32 n = BPF_CORE_READ(program, aux, used_map_cnt);
    struct bpf_map **maps = BPF_CORE_READ(program, aux, used_maps);
    bool uses = false;
    for (__u32 i = 0; i < MAPS_LOOKED_AT && i < n && !uses; i++) {
        struct bpf_map *map = NULL;
        bpf_probe_read_kernel(&map, sizeof(map), maps + i);
        uses = is_own(CT_OWN_MAP, BPF_CORE_READ(map, id));
    }
    return uses;
}

static __always_inline struct verdict on_own_program(struct bpf_prog *program)
{
    bool own = has_agent() &&
               (is_own(CT_OWN_PROGRAM, BPF_CORE_READ(program, aux, id)) || uses_own_map(program));
    return own ? kernel_wide(CT_V_OBJECTS) : let_pass();
}

// To take a link off, or to put another program in its place. A link's pin can be opened, and that can be done with it.
static __always_inline struct verdict on_link_change(__u32 fd)
{
    struct file *file = file_of(fd);
    const struct bpf_link *link = file != NULL ? BPF_CORE_READ(file, private_data) : NULL;
    return link != NULL ? on_object(CT_OWN_LINK, BPF_CORE_READ(link, id)) : let_pass();
}

#endif
