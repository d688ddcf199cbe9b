// SPDX-License-Identifier: Apache-2.0
//
// inject_arch.h for aarch64. The vDSO there always has a system call instruction: signal handlers
// return through its __kernel_rt_sigreturn.
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "inject_arch.h"

#ifndef NT_ARM_SYSTEM_CALL
#define NT_ARM_SYSTEM_CALL 0x404
#endif

// svc #0, as it lies in memory: code is little-endian on either kind of kernel.
const struct ct_inject_insn ct_inject_arch_insn = {
    .code = {0x01, 0x00, 0x00, 0xd4}, .size = 4, .align = 4};

// At the stops of a system call x7 tells the tracer which of the two it is; what was in it is the
// kernel's to give back, and a value set here is dropped (Linux, arch/arm64/kernel/ptrace.c).
int ct_inject_arch_get(pid_t pid, struct user_regs_struct *ret, struct ct_err *err)
{
    struct iovec set = {ret, sizeof(*ret)};
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &set) != 0) {
        return ct_err_errno(err, "the program's registers cannot be read");
    }
    // A 32-bit program has another, smaller set.
    return set.iov_len == sizeof(*ret) ? 0 : ct_err_set(err, CT_EDENIED, CT_INJECT_ONLY_64_BIT);
}

int ct_inject_arch_set(pid_t pid, const struct user_regs_struct *regs, struct ct_err *err)
{
    struct user_regs_struct copy = *regs;
    struct iovec set = {&copy, sizeof(copy)};
    int none = -1; // no system call is to be restarted
    struct iovec call = {&none, sizeof(none)};
    if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &set) != 0 ||
        ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &call) != 0) {
        return ct_err_errno(err, "the program's registers cannot be set");
    }
    return 0;
}

uintptr_t ct_inject_arch_stack(const struct user_regs_struct *regs)
{
    return regs->sp;
}

void ct_inject_arch_aim(struct user_regs_struct *regs, uintptr_t insn, long number,
                        const long argument[6])
{
    regs->pc = insn;
    regs->regs[8] = (unsigned long long)number;
    for (int i = 0; i < 6; i++) {
        regs->regs[i] = (unsigned long long)argument[i];
    }
}

long ct_inject_arch_result(const struct user_regs_struct *regs)
{
    return (long)regs->regs[0];
}
