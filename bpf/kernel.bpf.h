// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The kernel's structures as far as the programs read them: names alone matter, for libbpf places
// each access by the running kernel's BTF (CO-RE). What exists in some kernels only is asked for by
// bpf_core_field_exists(), never by a version.
#ifndef CT_BPF_KERNEL_H
#define CT_BPF_KERNEL_H

// bpf_tracing.h then takes the kernel's names of the registers.
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_MAP_TYPE_LRU_HASH = 9,
    BPF_MAP_TYPE_RINGBUF = 27,
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct hlist_node {
    struct hlist_node *next;
};

struct hlist_head {
    struct hlist_node *first;
};

struct xarray {
    void *xa_head;
};

struct xa_node {
    unsigned char shift;
    void *slots[64];
};

struct idr {
    struct xarray idr_rt;
};

struct pid_namespace {
    struct idr idr;
    unsigned int level;
};

struct ns_common {
    unsigned int inum;
};

struct mnt_namespace {
    struct ns_common ns;
};

struct nsproxy {
    struct mnt_namespace *mnt_ns;
};

struct kernfs_node {
    __u64 id;
    const char *name;
    struct kernfs_node *parent;
};

// As 6.15 calls it.
struct kernfs_node___from_6_15 {
    struct kernfs_node *__parent;
};

struct cgroup;

struct cgroup_subsys_state {
    struct cgroup *cgroup;
    struct cgroup_subsys_state *parent;
};

struct cgroup {
    struct cgroup_subsys_state self;
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
};

struct bpf_map {
    __u32 id;
};

struct bpf_prog;

struct bpf_prog_aux {
    __u32 id;
    __u32 used_map_cnt;
    struct bpf_map **used_maps;
    struct bpf_prog *prog;
};

struct bpf_insn {
    __u8 code;
};

enum bpf_prog_type {
    BPF_PROG_TYPE_UNSPEC,
};

struct bpf_prog {
    enum bpf_prog_type type;
    __u32 len;
    struct bpf_prog_aux *aux;
    struct bpf_insn insnsi[0];
};

struct bpf_link {
    __u32 id;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    unsigned int level;
    struct hlist_head tasks[4];
    struct upid numbers[1];
};

typedef struct {
    int counter;
} atomic_t;

struct task_struct;

struct signal_struct {
    atomic_t live;
    struct task_struct *group_exec_task;
};

// Its name until 5.17.
struct signal_struct___before_5_17 {
    struct task_struct *group_exit_task;
};

struct super_block {
    unsigned long s_magic;
    unsigned int s_dev;
};

struct address_space;

struct inode {
    unsigned short i_mode;
    unsigned int i_rdev;
    unsigned long i_ino;
    unsigned int i_generation;
    struct address_space *i_mapping;
    struct super_block *i_sb;
    void *i_private;
};

struct qstr {
    const unsigned char *name;
};

struct dentry {
    struct qstr d_name;
    struct dentry *d_parent;
    struct inode *d_inode;
};

struct path {
    struct dentry *dentry;
};

struct vfsmount {
    struct super_block *mnt_sb;
};

struct file {
    unsigned int f_flags;
    unsigned int f_mode;
    struct path f_path;
    struct inode *f_inode;
    struct address_space *f_mapping;
    void *private_data;
};

struct proc_inode {
    struct pid *pid;
    struct inode vfs_inode;
};

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

struct mm_struct {
    struct file *exe_file;
};

struct thread_info {
    __u32 status;
};

struct task_struct {
    struct thread_info thread_info;
    void *stack;
    unsigned int __state;
    unsigned int flags;
    unsigned int ptrace;
    int pid;
    int tgid;
    struct task_struct *real_parent;
    struct task_struct *group_leader;
    struct hlist_node pid_links[4];
    struct pid *thread_pid;
    struct mm_struct *mm;
    struct files_struct *files;
    struct signal_struct *signal;
    struct nsproxy *nsproxy;
    struct css_set *cgroups;
    struct perf_event_context *perf_event_ctxp;
    char comm[16];
};

// Its name until 5.14, where it had a long's size.
struct task_struct___before_5_14 {
    long state;
};

// One for hardware and one for software until 6.2.
struct task_struct___before_6_2 {
    struct perf_event_context *perf_event_ctxp[2];
};

struct perf_event_context {
    int nr_events;
};

struct perf_event_attr {
    __u32 type;
    __u64 sample_period;
    __u64 sample_type;
};

struct hw_perf_event {
    struct task_struct *target;
};

struct pmu {
    const char *name;
    void *setup_aux;
};

struct perf_event {
    struct pmu *pmu;
    struct perf_event_attr attr;
    struct hw_perf_event hw;
};

struct pt_regs {
    unsigned long r15;
    unsigned long r14;
    unsigned long r13;
    unsigned long r12;
    unsigned long bp;
    unsigned long bx;
    unsigned long r11;
    unsigned long r10;
    unsigned long r9;
    unsigned long r8;
    unsigned long ax;
    unsigned long cx;
    unsigned long dx;
    unsigned long si;
    unsigned long di;
    unsigned long orig_ax;
    unsigned long ip;
    unsigned long cs;
    unsigned long flags;
    unsigned long sp;
    unsigned long ss;
};

union bpf_attr {
    struct {
        __u32 prog_type;
        __u32 expected_attach_type;
    };
};

// A context, not the kernel's own: read as it is, never relocated (include/uapi/linux/bpf.h).
#pragma clang attribute pop
struct bpf_sysctl {
    __u32 write;
    __u32 file_pos;
};
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_raw_tracepoint_args {
    __u64 args[3];
};

// Of these only the names count: bpf_core_enum_value() asks the running kernel for their values.
enum bpf_func_id {
    BPF_FUNC_snprintf_btf = 149,
    BPF_FUNC_snprintf = 165,
    BPF_FUNC_task_pt_regs = 175,
    BPF_FUNC_trace_vprintk = 177,
};

enum lockdown_reason {
    LOCKDOWN_DEV_MEM = 2,
    LOCKDOWN_KEXEC = 4,
    LOCKDOWN_HIBERNATION = 5,
    LOCKDOWN_PCI_ACCESS = 6,
    LOCKDOWN_IOPORT = 7,
    LOCKDOWN_MSR = 8,
    LOCKDOWN_DEBUGFS = 15,
    LOCKDOWN_KCORE = 19,
    LOCKDOWN_TRACEFS = 27,
};

enum kernel_load_data_id {
    LOADING_MODULE = 2,
    LOADING_KEXEC_IMAGE = 3,
};

enum kernel_read_file_id {
    READING_MODULE = 2,
    READING_KEXEC_IMAGE = 3,
};

#pragma clang attribute pop

#endif
