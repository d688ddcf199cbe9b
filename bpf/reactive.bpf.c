// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The tier `reactive`: the attacker is killed by a signal that the kernel itself sends, at the entry of the
// system call, or, for files, at its return, before the program sees the descriptor. It
// leaves a gap (another thread of the attacker, io_uring), and earns no points for synchronous blocking.
#include "register.bpf.h"
#include "syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int kill_for(struct verdict verdict)
{
    if (verdict.vector != 0 && !is_tried_elsewhere()) {
        record(verdict.vector, CT_TIER_REACTIVE, CT_ACTION_KILLED, verdict.victim);
        bpf_send_signal(SIGKILL);
    }
    return 0;
}

#define NR_PERF_EVENT_OPEN 298

// By x86-64's number.
static __always_inline struct verdict on_entry(long number, const struct arguments *in)
{
    switch (number) {
    case 9: // mmap
        return (in->a[2] & PROT_EXEC) != 0 ? on_map(file_of(in->a[4]), in->a[2]) : let_pass();
    case 101:
        return on_ptrace(in);
    case 256:
    case 279:
        return against_number(CT_V_MEMORY_ADVICE, in->a[0]);
    case 274:
        return against_number(CT_V_COMPARE, in->a[0]);
    case NR_PERF_EVENT_OPEN:
        return is_perf_of_all(in) ? let_pass() : against_number(CT_V_PERF, in->a[1]);
    case 308:
        return on_setns(in);
    case 310:
        return against_number(CT_V_VM_READV, in->a[0]);
    case 311:
        return against_number(CT_V_VM_WRITEV, in->a[0]);
    case 312:
        return on_kcmp(in);
    case 438:
        return against_pidfd(CT_V_PIDFD_GETFD, in->a[0]);
    case 440:
        return against_pidfd(CT_V_MEMORY_ADVICE, in->a[0]);
    default:
        return let_pass();
    }
}

#define NR_PRCTL 157

// The answer goes beside the call, which fails as it would without us.
static __always_inline int answer(const struct arguments *in)
{
    int error = on_prctl(CT_TIER_REACTIVE, (int)in->a[0], in->a[1], in->a[2]);
    if (error != 0) {
        bpf_send_signal_thread((int)in->a[0] == CT_GUARD_MAGIC ? CT_GUARD_SIGNAL + place_of(error)
                                                               : SIGKILL);
    }
    return 0;
}

static __always_inline int on_call(long number, const struct arguments *in)
{
    return number == NR_PRCTL ? answer(in) : kill_for(on_entry(number, in));
}

SEC("raw_tracepoint/sys_enter")
int rk_enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    long number = (long)ctx->args[1];
    struct arguments in;
    if (is_32_bit()) {
        in.a[0] = (__u32)BPF_CORE_READ(regs, bx);
        in.a[1] = (__u32)BPF_CORE_READ(regs, cx);
        in.a[2] = (__u32)BPF_CORE_READ(regs, dx);
        in.a[4] = (__u32)BPF_CORE_READ(regs, di);
        return on_call(from_i386((int)number), &in);
    }
    in.a[0] = BPF_CORE_READ(regs, di);
    in.a[1] = BPF_CORE_READ(regs, si);
    in.a[2] = BPF_CORE_READ(regs, dx);
    in.a[4] = BPF_CORE_READ(regs, r8);
    return on_call(from_x32((int)number), &in);
}

static __always_inline bool opens(long number)
{
    return number == 2 || number == 257 || number == 304 || number == 437 || number == 85;
}

// A PCI device's configuration, in sysfs and in procfs: other tiers are asked when it is written (lockdown), this one
// sees no more than that it is opened.
static __always_inline struct verdict on_config_file(struct file *file)
{
    unsigned long magic = BPF_CORE_READ(file, f_inode, i_sb, s_magic);
    struct dentry *entry = BPF_CORE_READ(file, f_path.dentry);
    char name[16] = {0};
    char folder[16] = {0};
    if ((BPF_CORE_READ(file, f_mode) & FMODE_WRITE) == 0 ||
        (magic != SYSFS_MAGIC && magic != PROC_SUPER_MAGIC)) {
        return let_pass();
    }
    bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(entry, d_name.name));
    bpf_probe_read_kernel_str(folder, sizeof(folder), BPF_CORE_READ(entry, d_parent, d_name.name));
    // DOMAIN:BUS:DEVICE.FUNCTION/config, BUS/DEVICE.FUNCTION.
    bool config = magic == SYSFS_MAGIC ? IS(name, "config") && folder[4] == ':' && folder[7] == ':'
                                       : name[2] == '.' && name[4] == '\0';
    return config ? kernel_wide(CT_V_PCI) : let_pass();
}

static __always_inline struct verdict on_file(struct file *file)
{
    struct verdict verdict = on_open(file);
    return verdict.vector != 0 ? verdict : on_config_file(file);
}

SEC("raw_tracepoint/sys_exit")
int rk_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    long fd = (long)ctx->args[1];
    if (fd < 0) {
        return 0;
    }
    long number = own_number(BPF_CORE_READ(regs, orig_ax));
    bool samples = number == NR_PERF_EVENT_OPEN;
    struct file *file = samples || opens(number) ? file_of(fd) : NULL;
    if (file == NULL) {
        return 0;
    }
    return kill_for(samples ? on_perf_made(BPF_CORE_READ(file, private_data)) : on_file(file));
}
