// SPDX-License-Identifier: Apache-2.0
#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define CODE_SEGMENT_64 0x33              // __USER_CS; 32-bit programs run with __USER32_CS
#define SYSTEM_CALL_STOP (SIGTRAP | 0x80) // PTRACE_O_TRACESYSGOOD
#define VDSO_MAX 0x10000u

int ct_inject_run(struct ct_inject *in, struct ct_err *err)
{
    for (;;) {
        int status = 0;
        if (ptrace(PTRACE_SYSCALL, in->pid, NULL, NULL) != 0) {
            return ct_err_errno(err, "the program cannot be continued (PTRACE_SYSCALL)");
        }
        pid_t pid;
        do {
            pid = waitpid(in->pid, &status, __WALL);
        } while (pid < 0 && errno == EINTR);
        if (pid < 0) {
            return ct_err_errno(err, "the program cannot be waited for");
        }
        if (!WIFSTOPPED(status)) {
            in->ended = true;
            return ct_err_set(err, CT_ESYSTEM, "the program was killed before it was started");
        }
        if (WSTOPSIG(status) == SYSTEM_CALL_STOP) {
            return 0;
        }
        in->stop_seen = in->stop_seen || WSTOPSIG(status) == SIGSTOP;
    }
}

int ct_inject_begin(struct ct_inject *in, struct ct_err *err)
{
    if (ptrace(PTRACE_GETREGS, in->pid, NULL, &in->regs) != 0) {
        return ct_err_errno(err, "the program's registers cannot be read");
    }
    if (in->regs.cs != CODE_SEGMENT_64) {
        return ct_err_set(err, CT_EDENIED,
                          "it is a 32-bit program; secrets can be delivered to 64-bit ones only");
    }
    in->stack = in->regs.rsp;
    return 0;
}

// Offset of a `syscall` instruction in this process's vDSO; the kernel maps the same one into every
// 64-bit process. 0 when there is none.
static size_t vdso_offset(void)
{
    static const unsigned char code[2] = {0x0f, 0x05};
    const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
    if (vdso == NULL) {
        return 0;
    }
    const Elf64_Ehdr *header = (const void *)vdso;
    const Elf64_Phdr *segment = (const void *)(vdso + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type != PT_LOAD || (segment[i].p_flags & PF_X) == 0 ||
            segment[i].p_filesz > VDSO_MAX) {
            continue;
        }
        // The headers are mapped with the code; an instruction is not to be looked for in them.
        size_t at = header->e_phoff + header->e_phnum * sizeof(*segment);
        const unsigned char *found =
            memmem(vdso + at, segment[i].p_filesz - at, code, sizeof(code));
        return found != NULL ? (size_t)(found - vdso) : 0;
    }
    return 0;
}

int ct_inject_locate(struct ct_inject *in, uintptr_t vdso, struct ct_err *err)
{
    size_t offset = vdso_offset();
    if (vdso == 0 || offset == 0) {
        return ct_err_set(
            err, CT_EDENIED,
            "this kernel gives programs no vDSO, through which secrets are delivered");
    }
    in->insn = vdso + offset;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, in->pid, in->insn, NULL);
    if (errno != 0) {
        return ct_err_errno(err, "the program's vDSO cannot be read");
    }
    if (((unsigned long)word & 0xffff) != 0x050f) {
        return ct_err_set(err, CT_EDENIED, "the program's vDSO is not the kernel's");
    }
    return 0;
}

int ct_inject_call(struct ct_inject *in, long number, const long argument[6], long *ret_value,
                   struct ct_err *err)
{
    struct user_regs_struct regs = in->regs;
    regs.rip = in->insn;
    regs.orig_rax = (unsigned long long)-1; // no system call is to be restarted
    regs.rax = (unsigned long long)number;
    regs.rdi = (unsigned long long)argument[0];
    regs.rsi = (unsigned long long)argument[1];
    regs.rdx = (unsigned long long)argument[2];
    regs.r10 = (unsigned long long)argument[3];
    regs.r8 = (unsigned long long)argument[4];
    regs.r9 = (unsigned long long)argument[5];
    if (ptrace(PTRACE_SETREGS, in->pid, NULL, &regs) != 0) {
        return ct_err_errno(err, "the program's registers cannot be set");
    }
    // Entry and exit, rather than a single step: a step ends in a forced SIGTRAP, which would reset
    // what the program inherited for that signal.
    int status = ct_inject_run(in, err);
    if (status == 0) {
        status = ct_inject_run(in, err);
    }
    if (status != 0) {
        return status;
    }
    if (ptrace(PTRACE_GETREGS, in->pid, NULL, &regs) != 0) {
        return ct_err_errno(err, "the program's registers cannot be read");
    }
    *ret_value = (long)regs.rax;
    return 0;
}

int ct_inject_end(struct ct_inject *in, struct ct_err *err)
{
    struct user_regs_struct regs = in->regs;
    regs.orig_rax = (unsigned long long)-1;
    if (ptrace(PTRACE_SETREGS, in->pid, NULL, &regs) != 0) {
        return ct_err_errno(err, "the program's registers cannot be given back");
    }
    return 0;
}
