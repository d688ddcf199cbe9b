// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What is refused, decided on the kernel's own objects and in one place for all tiers. A verdict names the
// vector, and the victim where there is one; vector 0 lets it pass.
#ifndef CT_VERDICT_BPF_H
#define CT_VERDICT_BPF_H

#include "program.bpf.h"
#include "ring.bpf.h"

#define PTRACE_MODE_ATTACH 2U
#define PTRACE_MODE_NOAUDIT 4U
#define FMODE_WRITE 2U
#define PF_IO_WORKER 0x10U
#define TS_COMPAT 2U
#define THREAD_SIZE 16384
#define S_IFMT 0170000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define S_IFREG 0100000

#define PROC_SUPER_MAGIC 0x9fa0
#define DEBUGFS_MAGIC 0x64626720
#define TRACEFS_MAGIC 0x74726163
#define BINFMTFS_MAGIC 0x42494e4d
#define CGROUP2_MAGIC 0x63677270

#define PERF_TYPE_MAX 6
// PERF_SAMPLE_REGS_USER, _STACK_USER, and _REGS_INTR, which are the user's where he is interrupted.
#define PERF_SAMPLE_USER_CONTENT (1U << 12 | 1U << 13 | 1U << 18)
#define BPF_PROG_LOAD 5
#define BPF_PROG_TYPE_TRACING 26
#define BPF_TRACE_ITER 28

// Commands of bpf(2).
#define BPF_OBJ_GET 7
#define BPF_PROG_GET_FD_BY_ID 13
#define BPF_MAP_GET_FD_BY_ID 14
#define BPF_LINK_UPDATE 29
#define BPF_LINK_GET_FD_BY_ID 30
#define BPF_LINK_DETACH 34

// ---- who ----

static __always_inline struct verdict against(enum ct_vector vector, struct task_struct *victim)
{
    if (is_exempt(vector)) {
        return let_pass();
    }
    return (struct verdict){vector, BPF_CORE_READ(victim, tgid)};
}

// ---- access to another process ----

// Where the caller's registers were saved. Before 5.15 no helper tells: the kernel's stack ends with them, and it
// had that size (x86, without KASAN).
static __always_inline struct pt_regs *caller_registers(struct task_struct *task)
{
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
        return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
    }
    return (struct pt_regs *)((char *)BPF_CORE_READ(task, stack) + THREAD_SIZE) - 1;
}

static __always_inline bool is_32_bit(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) != 0;
}

#define NR_READ 0
#define NR_PREAD 17
#define NR_READV 19
#define NR_SENDFILE 40

// x86-64's number of what i386 calls by this one, as far as it is told apart here; else -1.
static __always_inline long from_i386(long number)
{
    switch (number) {
    case 3:
        return NR_READ;
    case 5:
        return 2; // open
    case 8:
        return 85; // creat
    case 26:
        return 101; // ptrace
    case 172:
        return 157; // prctl
    case 294:
        return 256; // migrate_pages
    case 295:
        return 257; // openat
    case 312:
        return 274; // get_robust_list
    case 317:
        return 279; // move_pages
    case 336:
        return 298; // perf_event_open
    case 342:
        return 304; // open_by_handle_at
    case 346:
        return 308; // setns
    case 347:
        return 310; // process_vm_readv
    case 348:
        return 311; // process_vm_writev
    case 349:
        return 312; // kcmp
    case 426:       // io_uring_enter, openat2, pidfd_getfd, process_madvise: the same in both
    case 437:
    case 438:
    case 440:
        return number;
    default:
        return -1;
    }
}

#define X32_BIT 0x40000000

// x86-64's number of what x32 calls by this one, and of its own.
static __always_inline long from_x32(int number)
{
    if ((number & X32_BIT) == 0) {
        return number;
    }
    switch (number & ~X32_BIT) {
    case 521:
        return 101; // ptrace
    case 531:
        return 274; // get_robust_list
    case 533:
        return 279; // move_pages
    case 539:
        return 310; // process_vm_readv
    case 540:
        return 311; // process_vm_writev
    default:
        return number & ~X32_BIT;
    }
}

// By x86-64's numbers. Of the upper half of the register that it comes in the kernel takes no notice.
static __always_inline long own_number(unsigned long in_register)
{
    return is_32_bit() ? from_i386((int)in_register) : from_x32((int)in_register);
}

static __always_inline long syscall_number(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return own_number(BPF_CORE_READ(caller_registers(task), orig_ax));
}

#define NR_IO_URING_ENTER 426

// A worker of io_uring, or what submits to it and is served at once.
static __always_inline bool is_by_io_uring(void)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return (BPF_CORE_READ(task, flags) & PF_IO_WORKER) != 0 ||
           syscall_number() == NR_IO_URING_ENTER;
}

// Which attack an access check stands for: a name for the record alone, never what decides.
static __always_inline enum ct_vector access_vector(unsigned int mode)
{
    bool attach = (mode & PTRACE_MODE_ATTACH) != 0;
    if (is_by_io_uring()) {
        return CT_V_IO_URING;
    }
    switch (syscall_number()) {
    case 310:
        return CT_V_VM_READV;
    case 311:
        return CT_V_VM_WRITEV;
    case 438:
        return CT_V_PIDFD_GETFD;
    case 256: // migrate_pages, move_pages, process_madvise
    case 279:
    case 440:
        return CT_V_MEMORY_ADVICE;
    case 274: // get_robust_list, kcmp
    case 312:
        return CT_V_COMPARE;
    case 298:
        return CT_V_PERF;
    case 308:
        return CT_V_SETNS;
    case 2: // open, openat, open_by_handle_at, openat2
    case 257:
    case 304:
    case 437:
        return attach ? CT_V_MEM_READ : CT_V_LINKS;
    default:
        return attach ? CT_V_PTRACE : CT_V_LINKS;
    }
}

static __always_inline struct verdict on_access(struct task_struct *child, unsigned int mode)
{
    __u32 tgid = BPF_CORE_READ(child, tgid);
    struct ct_mark *mark = mark_of_victim_or_agents(child);
    if (mark == NULL || is_own_dealing(mark, tgid)) {
        return let_pass();
    }
    // The agent looks at whose program it is before it lets it be a wrapper.
    if ((mode & PTRACE_MODE_ATTACH) == 0 && is_agent()) {
        return let_pass();
    }
    // A look that nobody is to notice: ps and stat (PTRACE_MODE_NOAUDIT).
    if ((mode & PTRACE_MODE_NOAUDIT) != 0 && (mode & PTRACE_MODE_ATTACH) == 0) {
        return let_pass();
    }
    enum ct_vector vector = access_vector(mode);
    bool enters =
        (mode & PTRACE_MODE_ATTACH) == 0 && (vector == CT_V_LINKS || vector == CT_V_SETNS);
    return enters && may_enter(child, mark) ? let_pass() : against(vector, child);
}

static __always_inline struct verdict on_traceme(struct task_struct *parent)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_mark *mark = mark_of(current_tgid());
    __u32 tracer = BPF_CORE_READ(parent, tgid);
    if (mark == NULL || ((mark->flags & CT_MARK_HELD) != 0 && mark->root == tracer &&
                         is_vetted_wrapper(mark_of(tracer)))) {
        return let_pass();
    }
    return (struct verdict){CT_V_TRACEME, BPF_CORE_READ(task, tgid)};
}

// ---- files ----

// Which attack it is to open a process's file of this name; 0 for one that gives nothing away.
static __always_inline __u32 proc_vector(const char *name, bool writes)
{
    if (IS(name, "mem")) {
        return writes ? CT_V_MEM_WRITE : CT_V_MEM_READ;
    }
    if (IS(name, "environ") || IS(name, "auxv")) {
        return CT_V_ENVIRON;
    }
    if (IS(name, "maps") || IS(name, "smaps") || IS(name, "smaps_rollup") ||
        IS(name, "numa_maps") || IS(name, "pagemap") || IS(name, "stack") || IS(name, "syscall")) {
        return CT_V_MAPS;
    }
    if (!writes) {
        return 0;
    }
    return IS(name, "comm") ? CT_V_PROC_WRITE_NAME : CT_V_PROC_WRITE;
}

// One of /proc's own, which belongs to no process.
static __always_inline struct verdict on_kernel_file(const char *name, bool writes)
{
    if (IS(name, "kcore")) {
        return kernel_wide(CT_V_KCORE);
    }
    if (writes && IS(name, "sysrq-trigger")) {
        return kernel_wide(CT_V_CRASH);
    }
    return writes && IS(name, "core_pattern") ? kernel_wide(CT_V_CORE_PATTERN) : let_pass();
}

// Whom a file of /proc belongs to; NULL for nobody.
static __always_inline struct pid *pid_of_proc(struct inode *inode)
{
    struct proc_inode *proc =
        (void *)((char *)inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
    return BPF_CORE_READ(proc, pid);
}

static __always_inline struct verdict on_proc(struct file *file, struct inode *inode, bool writes)
{
    struct pid *pid = pid_of_proc(inode);
    struct task_struct *victim = pid != NULL ? task_of(pid) : NULL;
    __u32 tgid = victim != NULL ? BPF_CORE_READ(victim, tgid) : 0;
    struct ct_mark *mark = victim != NULL ? mark_of_victim_or_agents(victim) : NULL;
    char name[16] = {0};
    if (pid != NULL && (mark == NULL || tgid == current_tgid() || is_own_dealing(mark, tgid))) {
        return let_pass();
    }
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
    if (pid == NULL) {
        return on_kernel_file(name, writes);
    }
    __u32 vector = proc_vector(name, writes);
    if (vector == 0) {
        return let_pass();
    }
    return against(is_by_io_uring() ? CT_V_IO_URING : vector, victim);
}

// The registers of a PCI device, by which it reads and writes all of memory; and what makes the kernel write
// all of memory into a file, or run what such a file holds.
static __always_inline struct verdict on_sysfs(struct file *file)
{
    struct dentry *entry = BPF_CORE_READ(file, f_path.dentry);
    char name[32] = {0};
    char folder[16] = {0};
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(entry, d_name.name));
    if ((is_name(name, "resource", 8) && name[8] >= '0' && name[8] <= '9') ||
        IS(name, "enable_unsafe_noiommu_mode")) {
        return kernel_wide(CT_V_PCI);
    }
    if (!IS(name, "state") && !IS(name, "disk") && !IS(name, "resume")) {
        return let_pass();
    }
    bpf_probe_read_kernel_str(folder, sizeof(folder), BPF_CORE_READ(entry, d_parent, d_name.name));
    return IS(folder, "power") ? kernel_wide(CT_V_HIBERNATION) : let_pass();
}

static __always_inline bool is_watched(unsigned int major)
{
    __u32 key = 0;
    struct ct_majors *majors = bpf_map_lookup_elem(&ct_majors, &key);
    return majors != NULL && major != 0 && (major == majors->uio || major == majors->vfio);
}

// Under a mounted file system: lvm, mkfs and fsck have to write there, so it is for the profile `strict` alone.
static __always_inline struct verdict on_block_device(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->strict != 0 ? kernel_wide(CT_V_BLOCK_DEVICE) : let_pass();
}

static __always_inline struct verdict on_device(struct inode *inode, bool writes)
{
    unsigned int device = BPF_CORE_READ(inode, i_rdev);
    unsigned int major = device >> 20;
    unsigned int minor = device & 0xfffff;
    // mem, kmem and port, whatever their names (mknod(1)).
    if (major == 1 && (minor == 1 || minor == 2 || minor == 4)) {
        return kernel_wide(CT_V_DEV_MEM);
    }
    // /dev/snapshot: hibernation by a program.
    if (major == 10 && minor == 231) {
        return kernel_wide(CT_V_HIBERNATION);
    }
    if (is_watched(major)) {
        return kernel_wide(CT_V_PCI);
    }
    return major == 202 && writes ? kernel_wide(CT_V_IO_PORTS) : let_pass(); // msr
}

// Whether an open can be any of our business: nearly none is, and everybody pays for the question.
static __always_inline bool is_of_interest(unsigned short mode, unsigned long magic, bool writes)
{
    return magic == PROC_SUPER_MAGIC || magic == TRACEFS_MAGIC || magic == DEBUGFS_MAGIC ||
           magic == BINFMTFS_MAGIC || magic == CGROUP2_MAGIC || (mode & S_IFMT) == S_IFCHR ||
           (writes && (magic == SYSFS_MAGIC || (mode & S_IFMT) == S_IFBLK));
}

static __always_inline struct verdict on_write(struct file *file, struct inode *inode,
                                               unsigned short type)
{
    switch (BPF_CORE_READ(inode, i_sb, s_magic)) {
    case BINFMTFS_MAGIC:
        return kernel_wide(CT_V_BINFMT);
    case TRACEFS_MAGIC:
        return kernel_wide(CT_V_TRACEFS);
    case DEBUGFS_MAGIC:
        return kernel_wide(CT_V_DEBUGFS);
    case CGROUP2_MAGIC:
        return on_cgroup_file(file);
    case SYSFS_MAGIC:
        return on_sysfs(file);
    default:
        return type == S_IFREG ? on_program_file(file) : let_pass();
    }
}

static __always_inline struct verdict on_open(struct file *file)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    bool writes = (BPF_CORE_READ(file, f_mode) & FMODE_WRITE) != 0;
    unsigned short type = BPF_CORE_READ(inode, i_mode) & S_IFMT;
    if (type == S_IFCHR) {
        return on_device(inode, writes);
    }
    if (BPF_CORE_READ(inode, i_sb, s_magic) == PROC_SUPER_MAGIC) {
        return on_proc(file, inode, writes);
    }
    if (!writes) {
        return let_pass();
    }
    return type == S_IFBLK ? on_block_device() : on_write(file, inode, type);
}

// ---- the kernel ----

// Who asks whether there is hibernation, by reading files of /sys/power, is no attacker.
static __always_inline bool is_reading(void)
{
    long number = syscall_number();
    return number == NR_READ || number == NR_PREAD || number == NR_READV || number == NR_SENDFILE;
}

static __always_inline struct verdict on_lockdown(int what)
{
#define REASON(name, vector)                                                                       \
    if (bpf_core_enum_value_exists(enum lockdown_reason, name) &&                                  \
        what == (int)bpf_core_enum_value(enum lockdown_reason, name)) {                            \
        return kernel_wide(vector);                                                                \
    }
    REASON(LOCKDOWN_DEV_MEM, CT_V_DEV_MEM)
    REASON(LOCKDOWN_KCORE, CT_V_KCORE)
    REASON(LOCKDOWN_KEXEC, CT_V_KEXEC)
    REASON(LOCKDOWN_IOPORT, CT_V_IO_PORTS)
    REASON(LOCKDOWN_MSR, CT_V_IO_PORTS)
    REASON(LOCKDOWN_TRACEFS, CT_V_TRACEFS)
    REASON(LOCKDOWN_PCI_ACCESS, CT_V_PCI)
    REASON(LOCKDOWN_HIBERNATION, is_reading() ? 0 : CT_V_HIBERNATION)
#undef REASON
    return let_pass();
}

static __always_inline struct verdict on_load_data(int id)
{
    if (id == (int)bpf_core_enum_value(enum kernel_load_data_id, LOADING_MODULE)) {
        return kernel_wide(CT_V_MODULE);
    }
    if (id == (int)bpf_core_enum_value(enum kernel_load_data_id, LOADING_KEXEC_IMAGE)) {
        return kernel_wide(CT_V_KEXEC);
    }
    return let_pass();
}

static __always_inline struct verdict on_read_file(int id)
{
    if (id == (int)bpf_core_enum_value(enum kernel_read_file_id, READING_MODULE)) {
        return kernel_wide(CT_V_MODULE);
    }
    if (id == (int)bpf_core_enum_value(enum kernel_read_file_id, READING_KEXEC_IMAGE)) {
        return kernel_wide(CT_V_KEXEC_FILE);
    }
    return let_pass();
}

// Programs that are there to read memory in any process's context: kprobe, tracepoint, perf_event, raw_tracepoint
// (writable too), tracing, struct_ops, extensions, lsm, syscall. Those of networks and cgroups are everybody's,
// but for the profile `strict`, as long as they do not read (reads.bpf.h).
#define CT_READING_TYPES                                                                           \
    (1U << 2 | 1U << 5 | 1U << 7 | 1U << 17 | 1U << 24 | 1U << 26 | 1U << 27 | 1U << 28 |          \
     1U << 29 | 1U << 31)

static __always_inline bool is_reading_type(unsigned int type)
{
    return type > 31 || (CT_READING_TYPES >> type & 1) != 0;
}

// `first` and `attach`: the first word of what the call is given, which is a program's type or what a link is known by, and
// the type by which a program is to be attached.
static __always_inline struct verdict on_bpf(int cmd, unsigned int first, unsigned int attach)
{
    struct ct_guard_config *c = config();
    unsigned int type = first;
    if (cmd == BPF_LINK_GET_FD_BY_ID) {
        return on_object(CT_OWN_LINK, first);
    }
    if (cmd == BPF_LINK_UPDATE || cmd == BPF_LINK_DETACH) {
        return on_link_change(first);
    }
    if (cmd != BPF_PROG_LOAD) {
        return let_pass();
    }
    if (type == BPF_PROG_TYPE_TRACING && attach == BPF_TRACE_ITER) {
        return kernel_wide(CT_V_ITERATOR);
    }
    return is_reading_type(type) || (c != NULL && c->strict != 0) ? kernel_wide(CT_V_BPF_LOAD)
                                                                  : let_pass();
}

// Of a dynamic type are probes, and hardware: what that counts (its energy, say) is nobody's, unlike its samples and
// traces. The software clocks, which newer kernels hold in such units too, are perf(1)'s choice where no hardware counts.
static __always_inline bool is_prying(struct perf_event *event)
{
    char name[16] = {0};
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(event, pmu, name));
    if (IS(name, "cpu_clock") || IS(name, "task_clock")) {
        return false;
    }
    return IS(name, "kprobe") || IS(name, "uprobe") ||
           BPF_CORE_READ(event, attr.sample_period) != 0 ||
           BPF_CORE_READ(event, pmu, setup_aux) != NULL;
}

// Of a whole processor, or a cgroup: whoever runs there is sampled. Dynamic types are probes and hardware.
static __always_inline struct verdict on_perf_of_all(struct perf_event *event)
{
    __u32 type = BPF_CORE_READ(event, attr.type);
    __u64 sample = BPF_CORE_READ(event, attr.sample_type);
    return (type >= PERF_TYPE_MAX && is_prying(event)) || (sample & PERF_SAMPLE_USER_CONTENT) != 0
               ? kernel_wide(CT_V_PERF)
               : let_pass();
}

static __always_inline struct verdict on_perf(struct perf_event *event)
{
    struct task_struct *target = BPF_CORE_READ(event, hw.target);
    if (target == NULL) {
        return on_perf_of_all(event);
    }
    // Who measures itself; and whose events its child inherits, which is of its group while it is made.
    bool own = (__u32)BPF_CORE_READ(target, tgid) == current_tgid();
    return !own && mark_of_victim(target) != NULL ? against(CT_V_PERF, target) : let_pass();
}

// What was let pass by the number of its process, of which it has none: the kernel's own copy of what it is.
static __always_inline struct verdict on_perf_made(struct perf_event *event)
{
    return BPF_CORE_READ(event, hw.target) == NULL ? on_perf_of_all(event) : let_pass();
}

#endif
