// SPDX-License-Identifier: Apache-2.0
//
// System calls run by another process that this one traces, stopped at the exit of its execve. No
// instruction of the program is run or changed; the system call instruction used is the vDSO's. What
// differs from processor to processor is behind inject_arch.h.
#ifndef CT_INJECT_H
#define CT_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "err.h"

struct ct_inject {
    pid_t pid;
    uintptr_t stack;              // the new program's stack pointer: argc lies there
    uintptr_t insn;               // a system call instruction in the new program
    bool stop_seen;               // somebody sent SIGSTOP meanwhile; it was held back
    bool ended;                   // it was killed, and is reaped: …
    int end_status;               // … as waitpid(2) told
    struct user_regs_struct regs; // as execve left them
};

// Lets the tracee run to its next system call's entry or exit. SIGSTOP is noted and held back; all
// other signals must be blocked in it. CT_ESYSTEM when it ended instead.
CT_CHECKED int ct_inject_run(struct ct_inject *in, struct ct_err *err);

// Takes the registers at the exit of execve. CT_EDENIED for a 32-bit program.
CT_CHECKED int ct_inject_begin(struct ct_inject *in, struct ct_err *err);

// Finds the instruction; `vdso` is the program's AT_SYSINFO_EHDR. CT_EDENIED when there is none.
CT_CHECKED int ct_inject_locate(struct ct_inject *in, uintptr_t vdso, struct ct_err *err);

// Runs one system call. *ret_value is the kernel's answer: -1 … -4095 is a negated errno. An error
// means that tracing itself failed.
CT_CHECKED int ct_inject_call(struct ct_inject *in, long number, const long argument[6],
                              long *ret_value, struct ct_err *err);

// Gives the registers back; the program will start as if nothing had happened.
CT_CHECKED int ct_inject_end(struct ct_inject *in, struct ct_err *err);

#endif
