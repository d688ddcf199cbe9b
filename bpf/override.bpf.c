// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// The tier `kprobe`: a system call is not carried out at all. Needs CONFIG_BPF_KPROBE_OVERRIDE. x86-64's
// entries take their arguments from the caller's registers.
#include "reads.bpf.h"
#include "register.bpf.h"
#include "syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void read_arguments(struct pt_regs *ctx, struct arguments *ret)
{
    struct pt_regs *caller = (struct pt_regs *)ctx->di;
    ret->a[0] = BPF_CORE_READ(caller, di);
    ret->a[1] = BPF_CORE_READ(caller, si);
    ret->a[2] = BPF_CORE_READ(caller, dx);
    ret->a[3] = BPF_CORE_READ(caller, r10);
}

static __always_inline void read_arguments_32(struct pt_regs *ctx, struct arguments *ret)
{
    struct pt_regs *caller = (struct pt_regs *)ctx->di;
    ret->a[0] = (__u32)BPF_CORE_READ(caller, bx);
    ret->a[1] = (__u32)BPF_CORE_READ(caller, cx);
    ret->a[2] = (__u32)BPF_CORE_READ(caller, dx);
    ret->a[3] = (__u32)BPF_CORE_READ(caller, si);
}

// With the fifth, which few ask for.
static __always_inline void read_five(struct pt_regs *ctx, struct arguments *ret)
{
    read_arguments(ctx, ret);
    ret->a[4] = BPF_CORE_READ((struct pt_regs *)ctx->di, r8);
}

static __always_inline void read_five_32(struct pt_regs *ctx, struct arguments *ret)
{
    read_arguments_32(ctx, ret);
    ret->a[4] = (__u32)BPF_CORE_READ((struct pt_regs *)ctx->di, di);
}

// Once in the object, and not in each of its programs, of which there are many.
static __attribute__((noinline)) int refuse_call(struct pt_regs *ctx, __u32 vector, __u32 victim)
{
    if (!is_tried_elsewhere()) {
        record(vector, CT_TIER_KPROBE, CT_ACTION_DENIED, victim);
        bpf_override_return(ctx, -EPERM);
    }
    return 0;
}

static __always_inline int override(struct pt_regs *ctx, struct verdict verdict)
{
    return verdict.vector != 0 ? refuse_call(ctx, verdict.vector, verdict.victim) : 0;
}

// A kernel's function for a system call, and what is done with its arguments (`in`).
#define ENTRY(kernel_function, program, read, done)                                                \
    SEC("kprobe/" kernel_function)                                                                 \
    int program(struct pt_regs *ctx)                                                               \
    {                                                                                              \
        struct arguments in;                                                                       \
        read(ctx, &in);                                                                            \
        return done;                                                                               \
    }

// Both entries of a system call: 64 bits and, for programs of 32 bits, i386's.
#define ENTRIES(name, done)                                                                        \
    ENTRY("__x64_sys_" #name, kp_##name, read_arguments, done)                                     \
    ENTRY("__ia32_sys_" #name, kp32_##name, read_arguments_32, done)

#define SYSCALL(name, verdict) ENTRIES(name, override(ctx, verdict))

// Those of i386's calls that have a function of their own.
#define COMPAT_SYSCALL(name, verdict)                                                              \
    ENTRY("__ia32_compat_sys_" #name, kpc_##name, read_arguments_32, override(ctx, verdict))

// Those of x32's, which come with arguments of 64 bits. All others of its calls are x86-64's own functions.
#define X32_SYSCALL(name, verdict)                                                                 \
    ENTRY("__x64_compat_sys_" #name, kpx_##name, read_arguments, override(ctx, verdict))

COMPAT_SYSCALL(ptrace, on_ptrace(&in))
COMPAT_SYSCALL(move_pages, against_number(CT_V_MEMORY_ADVICE, in.a[0]))    // before 5.15
COMPAT_SYSCALL(migrate_pages, against_number(CT_V_MEMORY_ADVICE, in.a[0])) // before 5.15
COMPAT_SYSCALL(get_robust_list, against_number(CT_V_COMPARE, in.a[0]))
COMPAT_SYSCALL(kexec_load, kernel_wide(CT_V_KEXEC))
COMPAT_SYSCALL(rt_sigqueueinfo, against_agent(in.a[0], in.a[1]))
COMPAT_SYSCALL(rt_tgsigqueueinfo, against_agent(in.a[1], in.a[2]))

X32_SYSCALL(ptrace, on_ptrace(&in))
X32_SYSCALL(move_pages, against_number(CT_V_MEMORY_ADVICE, in.a[0])) // before 5.15
X32_SYSCALL(get_robust_list, against_number(CT_V_COMPARE, in.a[0]))
X32_SYSCALL(kexec_load, kernel_wide(CT_V_KEXEC))
X32_SYSCALL(rt_sigqueueinfo, against_agent(in.a[0], in.a[1]))
X32_SYSCALL(rt_tgsigqueueinfo, against_agent(in.a[1], in.a[2]))

SYSCALL(ptrace, on_ptrace(&in))
SYSCALL(process_vm_readv, against_number(CT_V_VM_READV, in.a[0]))
SYSCALL(process_vm_writev, against_number(CT_V_VM_WRITEV, in.a[0]))
SYSCALL(pidfd_getfd, against_pidfd(CT_V_PIDFD_GETFD, in.a[0]))
SYSCALL(process_madvise, against_pidfd(CT_V_MEMORY_ADVICE, in.a[0]))
SYSCALL(move_pages, against_number(CT_V_MEMORY_ADVICE, in.a[0]))
SYSCALL(migrate_pages, against_number(CT_V_MEMORY_ADVICE, in.a[0]))
SYSCALL(kcmp, on_kcmp(&in))
SYSCALL(get_robust_list, against_number(CT_V_COMPARE, in.a[0]))
ENTRY("__x64_sys_perf_event_open", kp_perf_event_open, read_five, override(ctx, on_perf_call(&in)))
ENTRY("__ia32_sys_perf_event_open", kp32_perf_event_open, read_five_32,
      override(ctx, on_perf_call(&in)))
SYSCALL(bpf, on_bpf_call(&in))
SYSCALL(setns, on_setns(&in))
SYSCALL(io_uring_setup, on_io_uring_setup())
SYSCALL(kexec_load, kernel_wide(CT_V_KEXEC))
SYSCALL(kexec_file_load, kernel_wide(CT_V_KEXEC_FILE))
SYSCALL(init_module, kernel_wide(CT_V_MODULE))
SYSCALL(finit_module, kernel_wide(CT_V_MODULE))
SYSCALL(kill, against_agent(in.a[0], in.a[1]))
SYSCALL(tkill, against_agent(in.a[0], in.a[1]))
SYSCALL(tgkill, against_agent(in.a[1], in.a[2]))
SYSCALL(rt_sigqueueinfo, against_agent(in.a[0], in.a[1]))
SYSCALL(rt_tgsigqueueinfo, against_agent(in.a[1], in.a[2]))
SYSCALL(pidfd_send_signal, against_agent_pidfd(in.a[0], in.a[1]))
SYSCALL(prlimit64, against_agent(in.a[0], in.a[2]))
SYSCALL(ioperm, kernel_wide(CT_V_IO_PORTS))
SYSCALL(iopl, kernel_wide(CT_V_IO_PORTS))

// The second look at what is loaded, at the kernel's own copy. Nothing can be overridden here any more: who has
// changed it meanwhile is killed. It proves nothing to the self-test: by itself it is no refusal.
static __always_inline int kill_late(struct verdict verdict)
{
    if (verdict.vector != 0 && tester() == NULL) {
        record(verdict.vector, CT_TIER_KPROBE, CT_ACTION_KILLED, verdict.victim);
        bpf_send_signal(SIGKILL);
    }
    return 0;
}

// A program of a type that all may load, and which reads: before anyone has a descriptor of it.
SEC("kprobe/security_bpf_prog")
int kp_security_bpf_prog(struct pt_regs *ctx)
{
    return kill_late(on_loaded((struct bpf_prog *)ctx->di));
}

SEC("kprobe/security_bpf")
int kp_security_bpf(struct pt_regs *ctx)
{
    union bpf_attr *attr = (union bpf_attr *)ctx->si;
    return kill_late(on_bpf((int)ctx->di, BPF_CORE_READ(attr, prog_type),
                            BPF_CORE_READ(attr, expected_attach_type)));
}

SEC("kprobe/security_perf_event_alloc")
int kp_security_perf_event_alloc(struct pt_regs *ctx)
{
    return kill_late(on_perf_made((struct perf_event *)ctx->di));
}

// ---- registration ----

static __always_inline int answer(struct pt_regs *ctx, const struct arguments *in)
{
    int error = as_error(on_prctl(CT_TIER_KPROBE, (int)in->a[0], in->a[1], in->a[2]));
    if (error != 0) {
        bpf_override_return(ctx, error);
    }
    return 0;
}

ENTRIES(prctl, answer(ctx, &in))
