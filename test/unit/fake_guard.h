// SPDX-License-Identifier: Apache-2.0
//
// Somebody who answers in the guard's place: a filter of system calls, as whoever starts a container may set one up.
#ifndef CT_TEST_FAKE_GUARD_H
#define CT_TEST_FAKE_GUARD_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard_call.h"

// The errno that it answers to each operation.
struct fake_guard {
    unsigned char to_register, to_query, to_release, to_leave;
    // Forbids process_vm_readv, ptrace and pidfd_getfd too, as some containers do.
    int forbids;
};

#define FAKE_LOAD(member)                                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, member))
#define FAKE_UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define FAKE_ANSWER(value) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (value))
#define FAKE_FORBID(call)                                                                          \
    FAKE_UNLESS((call), 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static inline int fake_guard_install(const struct fake_guard *g)
{
    struct sock_filter code[] = {
        FAKE_LOAD(nr),
        FAKE_UNLESS(g->forbids ? SYS_process_vm_readv : ~0u, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        FAKE_UNLESS(g->forbids ? SYS_ptrace : ~0u, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        FAKE_UNLESS(g->forbids ? SYS_pidfd_getfd : ~0u, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        FAKE_UNLESS(SYS_prctl, 11),
        FAKE_LOAD(args[0]),
        FAKE_UNLESS(CT_GUARD_MAGIC, 9),
        FAKE_LOAD(args[1]),
        FAKE_UNLESS(CT_GUARD_REGISTER, 1),
        FAKE_ANSWER(g->to_register),
        FAKE_UNLESS(CT_GUARD_QUERY, 1),
        FAKE_ANSWER(g->to_query),
        FAKE_UNLESS(CT_GUARD_RELEASE, 1),
        FAKE_ANSWER(g->to_release),
        FAKE_UNLESS(CT_GUARD_LEAVE, 1),
        FAKE_ANSWER(g->to_leave),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                   syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0
               ? 0
               : -1;
}

// Runs `step` in a child that the fake answers; its result, which must be within 0 … 100.
static inline int fake_guard_run(const struct fake_guard *g, int (*step)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(fake_guard_install(g) == 0 ? step() : 101);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : 102;
}

#endif
