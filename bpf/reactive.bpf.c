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
    case 298:
        return on_perf_call(in);
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
        return on_call(from_i386(number), &in);
    }
    in.a[0] = BPF_CORE_READ(regs, di);
    in.a[1] = BPF_CORE_READ(regs, si);
    in.a[2] = BPF_CORE_READ(regs, dx);
    in.a[4] = BPF_CORE_READ(regs, r8);
    return on_call(number, &in);
}

static __always_inline bool opens(long number)
{
    return number == 2 || number == 257 || number == 304 || number == 437 || number == 85;
}

static __always_inline bool opens_32(long number)
{
    return number == 5 || number == 295 || number == 342 || number == 437 || number == 8;
}

SEC("raw_tracepoint/sys_exit")
int rk_exit(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    long number = (long)BPF_CORE_READ(regs, orig_ax);
    long fd = (long)ctx->args[1];
    if (fd < 0 || !(is_32_bit() ? opens_32(number) : opens(number))) {
        return 0;
    }
    struct file *file = file_of(fd);
    return file != NULL ? kill_for(on_open(file)) : 0;
}
