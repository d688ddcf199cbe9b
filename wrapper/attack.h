// SPDX-License-Identifier: Apache-2.0
//
// The attacks that the proofs of the score are made of. Children made here use the stack and raw
// system calls only: they have no arena.
#ifndef CT_ATTACK_H
#define CT_ATTACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

// Ways to read another process's memory; a set of these says which ones succeeded.
enum ct_attack {
    CT_ATTACK_VM_READ = 1, // process_vm_readv(2)
    CT_ATTACK_MEM = 2,     // /proc/PID/mem
    CT_ATTACK_PEEK = 4,    // PTRACE_PEEKDATA
    CT_ATTACK_ENVIRON = 8, // /proc/PID/environ
    CT_ATTACK_SPLICE = 16, // vmsplice(2) of one's own page into a pipe
};

// Reads a word at `address` of `pid` - this process, or one that it traces (then PEEKDATA too) - by
// every means; mem_fd is its /proc/PID/mem, or -1. Returns the set that succeeded.
unsigned ct_attack_page(pid_t pid, int mem_fd, uintptr_t address, bool traced);

// Has the kernel lend this process's own page at `address` to a pipe, as zero-copy I/O does: needs
// neither /proc nor process_vm_readv(2), which some seccomp profiles refuse.
unsigned ct_attack_splice(uintptr_t address);

// Does a process hold a descriptor of secret memory, for pidfd_getfd(2) to steal? 1, 0, or -1 when its
// /proc/PID/fd cannot be read.
int ct_attack_descriptors(pid_t pid);

// The name of one attack of a set, for a reason.
const char *ct_attack_name(unsigned set);

// Closes this descriptor and all above it, as far as there are any.
void ct_attack_close_from(int first);

struct ct_attack_outcome {
    unsigned control; // what succeeded on the dumpable sibling
    unsigned target;  // what succeeded on the target
};

// Attacks `pid` as the same user without any capability, and a sibling of equal standing that is
// dumpable, which is the control. `pid` may be this process. `address` is readable in `pid`.
CT_CHECKED int ct_attack_process(pid_t pid, uintptr_t address, struct ct_attack_outcome *ret,
                                 struct ct_err *err);

#endif
