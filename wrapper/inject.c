// SPDX-License-Identifier: Apache-2.0
#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "inject_arch.h"

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
            in->end_status = status;
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
    int status = ct_inject_arch_get(in->pid, &in->regs, err);
    in->stack = status == 0 ? ct_inject_arch_stack(&in->regs) : 0;
    return status;
}

// Offset of a system call instruction in `size` bytes; `size` itself when there is none.
static size_t find_instruction(const unsigned char *code, size_t size)
{
    const struct ct_inject_insn *insn = &ct_inject_arch_insn;
    for (size_t at = 0; at + insn->size <= size; at++) {
        const unsigned char *found = memmem(code + at, size - at, insn->code, insn->size);
        if (found == NULL) {
            break;
        }
        at = (size_t)(found - code);
        if ((uintptr_t)found % insn->align == 0) {
            return at;
        }
    }
    return size;
}

// Offset of a system call instruction in this process's vDSO; the kernel maps the same one into every
// 64-bit process. 0 when there is none.
static size_t vdso_offset(void)
{
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
        size_t size = segment[i].p_filesz;
        size_t found = at < size ? at + find_instruction(vdso + at, size - at) : size;
        return found < size ? found : 0;
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
    if (memcmp(&word, ct_inject_arch_insn.code, ct_inject_arch_insn.size) != 0) {
        return ct_err_set(err, CT_EDENIED, "the program's vDSO is not the kernel's");
    }
    return 0;
}

int ct_inject_call(struct ct_inject *in, long number, const long argument[6], long *ret_value,
                   struct ct_err *err)
{
    struct user_regs_struct regs = in->regs;
    ct_inject_arch_aim(&regs, in->insn, number, argument);
    int status = ct_inject_arch_set(in->pid, &regs, err);
    if (status != 0) {
        return status;
    }
    // Entry and exit, rather than a single step: a step ends in a forced SIGTRAP, which would reset
    // what the program inherited for that signal.
    status = ct_inject_run(in, err);
    if (status == 0) {
        status = ct_inject_run(in, err);
    }
    if (status == 0) {
        status = ct_inject_arch_get(in->pid, &regs, err);
    }
    if (status != 0) {
        return status;
    }
    *ret_value = ct_inject_arch_result(&regs);
    return 0;
}

int ct_inject_end(struct ct_inject *in, struct ct_err *err)
{
    return ct_inject_arch_set(in->pid, &in->regs, err);
}
