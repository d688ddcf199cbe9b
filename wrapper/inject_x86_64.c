// SPDX-License-Identifier: Apache-2.0
//
// inject_arch.h for x86-64.
#include <sys/ptrace.h>

#include "inject_arch.h"

#define CODE_SEGMENT_64 0x33 // __USER_CS; 32-bit programs run with __USER32_CS

const struct ct_inject_insn ct_inject_arch_insn = {.code = {0x0f, 0x05}, .size = 2, .align = 1};

int ct_inject_arch_get(pid_t pid, struct user_regs_struct *ret, struct ct_err *err)
{
    if (ptrace(PTRACE_GETREGS, pid, NULL, ret) != 0) {
        return ct_err_errno(err, "the program's registers cannot be read");
    }
    return ret->cs == CODE_SEGMENT_64 ? 0 : ct_err_set(err, CT_EDENIED, CT_INJECT_ONLY_64_BIT);
}

int ct_inject_arch_set(pid_t pid, const struct user_regs_struct *regs, struct ct_err *err)
{
    struct user_regs_struct set = *regs;
    set.orig_rax = (unsigned long long)-1; // no system call is to be restarted
    if (ptrace(PTRACE_SETREGS, pid, NULL, &set) != 0) {
        return ct_err_errno(err, "the program's registers cannot be set");
    }
    return 0;
}

uintptr_t ct_inject_arch_stack(const struct user_regs_struct *regs)
{
    return regs->rsp;
}

void ct_inject_arch_aim(struct user_regs_struct *regs, uintptr_t insn, long number,
                        const long argument[6])
{
    regs->rip = insn;
    regs->rax = (unsigned long long)number;
    regs->rdi = (unsigned long long)argument[0];
    regs->rsi = (unsigned long long)argument[1];
    regs->rdx = (unsigned long long)argument[2];
    regs->r10 = (unsigned long long)argument[3];
    regs->r8 = (unsigned long long)argument[4];
    regs->r9 = (unsigned long long)argument[5];
}

long ct_inject_arch_result(const struct user_regs_struct *regs)
{
    return (long)regs->rax;
}
