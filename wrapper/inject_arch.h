// SPDX-License-Identifier: Apache-2.0
//
// What of inject.h differs from processor to processor: inject_x86_64.c, inject_aarch64.c. Internal to
// inject.c; the process is always one that this one traces, in a stop.
#ifndef CT_INJECT_ARCH_H
#define CT_INJECT_ARCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "err.h"

#define CT_INJECT_ONLY_64_BIT "it is a 32-bit program; secrets can be delivered to 64-bit ones only"

// A system call instruction, as it lies in memory.
struct ct_inject_insn {
    unsigned char code[sizeof(long)];
    size_t size;
    size_t align;
};

extern const struct ct_inject_insn ct_inject_arch_insn;

// CT_EDENIED for a 32-bit program.
CT_CHECKED int ct_inject_arch_get(pid_t pid, struct user_regs_struct *ret, struct ct_err *err);

// Nothing is left of a system call that the kernel might restart.
CT_CHECKED int ct_inject_arch_set(pid_t pid, const struct user_regs_struct *regs,
                                  struct ct_err *err);

uintptr_t ct_inject_arch_stack(const struct user_regs_struct *regs);

// Makes the process run the instruction at `insn`, for this system call, when it is continued.
void ct_inject_arch_aim(struct user_regs_struct *regs, uintptr_t insn, long number,
                        const long argument[6]);

// What the system call that has just ended gave.
long ct_inject_arch_result(const struct user_regs_struct *regs);

#endif
