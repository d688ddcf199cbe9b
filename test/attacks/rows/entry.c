// SPDX-License-Identifier: Apache-2.0
// The attacks by the kernel's other entries: i386's, which a program of 64 bits too reaches by `int $0x80` and which
// takes the way into the kernel that a program of 32 bits does, and x32's, by a bit of the call's number. Which
// attack it is, is in the program's name: row_NAME_32, row_NAME_x32.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "row.h"

// i386's numbers (arch/x86/entry/syscalls/syscall_32.tbl); from 424 on they are everybody's.
enum {
    I386_OPEN = 5,
    I386_GETPID = 20,
    I386_PTRACE = 26,
    I386_IOPERM = 101,
    I386_INIT_MODULE = 128,
    I386_KEXEC_LOAD = 283,
    I386_OPENAT = 295,
    I386_GET_ROBUST_LIST = 312,
    I386_MOVE_PAGES = 317,
    I386_PERF_EVENT_OPEN = 336,
    I386_SETNS = 346,
    I386_PROCESS_VM_READV = 347,
    I386_PROCESS_VM_WRITEV = 348,
    I386_KCMP = 349,
    I386_FINIT_MODULE = 350,
    I386_BPF = 357,
};

#define TIMEOUT_SECONDS 60
#define X32_BIT 0x40000000L
#define X32_PTRACE (X32_BIT + 521)
#define X32_PROCESS_VM_READV (X32_BIT + 539)
#define KEXEC_ARCH_X86_64 (62UL << 16)

// What those entries' pointers lead to: it lies below 4 GiB.
struct low {
    char text[64];
    char path[64];
    uint32_t word;
    uint32_t vector_here[2], vector_there[2]; // struct iovec of 32 bits
    struct open_how how;
    struct perf_event_attr perf;
    union bpf_attr bpf;
    struct bpf_insn program[2];
};

static struct low *low;

static void entry_is_missing(int number)
{
    (void)number;
    _exit(ROW_ABSENT);
}

static uint32_t at(const void *memory)
{
    return (uint32_t)(uintptr_t)memory;
}

// A call with up to five arguments; the sixth is 0. -1 with errno, as libc has it.
static long call_32(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                    unsigned long e)
{
    long result = number;
    __asm__ volatile("mov %%rbp, %%r12\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "int $0x80\n\t"
                     "mov %%r12, %%rbp"
                     : "+a"(result)
                     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "r8", "r9", "r10", "r11", "r12", "cc", "memory");
    int error = (int)result;
    if (error < 0 && error > -4096) {
        errno = -error;
        return -1;
    }
    return (uint32_t)result;
}

static long victim_pid(const struct row_victim *victim)
{
    return (long)victim->pid;
}

static enum row_result as_result(long value, const char *what)
{
    return value < 0 ? row_from_errno(what) : ROW_LEAKED;
}

static enum row_result of_text(long n, const char *what)
{
    if (n < 0) {
        return row_from_errno(what);
    }
    return row_is_text(low->text, (size_t)n) ? ROW_LEAKED : ROW_REFUSED;
}

// Its address has to fit too: the victim's text lies as low.
static void prepare_vectors(const struct row_victim *victim)
{
    low->vector_here[0] = at(low->text);
    low->vector_there[0] = (uint32_t)victim->address;
    low->vector_here[1] = low->vector_there[1] = sizeof(ROW_TEXT);
}

static enum row_result vm_readv(const struct row_victim *victim)
{
    prepare_vectors(victim);
    return of_text(call_32(I386_PROCESS_VM_READV, (unsigned long)victim_pid(victim),
                           at(low->vector_here), 1, at(low->vector_there), 1),
                   "process_vm_readv");
}

static enum row_result vm_writev(const struct row_victim *victim)
{
    prepare_vectors(victim);
    memcpy(low->text, ROW_TEXT, sizeof(ROW_TEXT));
    return as_result(call_32(I386_PROCESS_VM_WRITEV, (unsigned long)victim_pid(victim),
                             at(low->vector_here), 1, at(low->vector_there), 1),
                     "process_vm_writev");
}

static enum row_result peeked(long attached, const struct row_victim *victim,
                              long (*peek)(const struct row_victim *victim))
{
    if (attached < 0) {
        return row_from_errno("PTRACE_ATTACH");
    }
    waitpid(victim->pid, NULL, 0);
    // The end of this process lets the victim go.
    long rc = peek(victim);
    return rc >= 0 && memcmp(&low->word, ROW_TEXT, sizeof(low->word)) == 0 ? ROW_LEAKED
                                                                           : ROW_REFUSED;
}

static long peek_32(const struct row_victim *victim)
{
    return call_32(I386_PTRACE, PTRACE_PEEKDATA, (unsigned long)victim_pid(victim), victim->address,
                   at(&low->word), 0);
}

static enum row_result attach(const struct row_victim *victim)
{
    long pid = victim_pid(victim);
    return peeked(call_32(I386_PTRACE, PTRACE_ATTACH, (unsigned long)pid, 0, 0, 0), victim,
                  peek_32);
}

static enum row_result read_of(long fd, const struct row_victim *victim)
{
    return fd < 0 ? row_from_errno("open")
                  : of_text(pread((int)fd, low->text, sizeof(low->text), (off_t)victim->address),
                            "pread");
}

static uint32_t memory_file(const struct row_victim *victim)
{
    snprintf(low->path, sizeof(low->path), "%s", row_path(victim, "mem"));
    return at(low->path);
}

static enum row_result by_open(const struct row_victim *victim)
{
    return read_of(call_32(I386_OPEN, memory_file(victim), O_RDONLY, 0, 0, 0), victim);
}

static enum row_result by_openat(const struct row_victim *victim)
{
    return read_of(call_32(I386_OPENAT, (unsigned)AT_FDCWD, memory_file(victim), O_RDONLY, 0, 0),
                   victim);
}

static enum row_result by_openat2(const struct row_victim *victim)
{
    return read_of(call_32(SYS_openat2, (unsigned)AT_FDCWD, memory_file(victim), at(&low->how),
                           sizeof(low->how), 0),
                   victim);
}

static enum row_result getfd(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    long fd = call_32(SYS_pidfd_getfd, (unsigned long)pidfd, (unsigned long)victim->fd, 0, 0, 0);
    return fd < 0 ? row_from_errno("pidfd_getfd")
                  : of_text(pread((int)fd, low->text, sizeof(low->text), 0), "pread");
}

static enum row_result advise(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    prepare_vectors(victim);
    low->vector_there[1] = 4096;
    return as_result(
        call_32(SYS_process_madvise, (unsigned long)pidfd, at(low->vector_there), 1, MADV_COLD, 0),
        "process_madvise");
}

// No page at all: whether one may is asked before.
static enum row_result move(const struct row_victim *victim)
{
    return as_result(call_32(I386_MOVE_PAGES, (unsigned long)victim_pid(victim), 0, 0, 0, 0),
                     "move_pages");
}

static enum row_result compare(const struct row_victim *victim)
{
    return as_result(call_32(I386_KCMP, (unsigned long)getpid(), (unsigned long)victim_pid(victim),
                             KCMP_VM, 0, 0),
                     "kcmp");
}

static enum row_result robust_list(const struct row_victim *victim)
{
    return as_result(call_32(I386_GET_ROBUST_LIST, (unsigned long)victim_pid(victim), at(low->text),
                             at(low->path), 0, 0),
                     "get_robust_list");
}

static enum row_result sample(const struct row_victim *victim)
{
    low->perf =
        (struct perf_event_attr){.type = PERF_TYPE_SOFTWARE,
                                 .size = sizeof(low->perf),
                                 .config = PERF_COUNT_SW_CPU_CLOCK,
                                 .sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
                                 .sample_regs_user = 1,
                                 .sample_stack_user = 1024,
                                 .sample_period = 1000000};
    return as_result(call_32(I386_PERF_EVENT_OPEN, at(&low->perf),
                             (unsigned long)victim_pid(victim), (unsigned)-1, (unsigned)-1, 0),
                     "perf_event_open");
}

// A program that does nothing, of a type that could read.
static enum row_result load_program(const struct row_victim *victim)
{
    (void)victim;
    memcpy(low->text, "GPL", sizeof("GPL"));
    low->program[0] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K};
    low->program[1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    low->bpf = (union bpf_attr){.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                                .insns = at(low->program),
                                .insn_cnt = 2,
                                .license = at(low->text)};
    return as_result(call_32(I386_BPF, BPF_PROG_LOAD, at(&low->bpf), sizeof(low->bpf), 0, 0),
                     "bpf");
}

// Of no segments, which unloads what there is.
static enum row_result kexec(const struct row_victim *victim)
{
    (void)victim;
    return as_result(call_32(I386_KEXEC_LOAD, 0, 0, 0, KEXEC_ARCH_X86_64, 0), "kexec_load");
}

// One that is none, so that it ends with ENOEXEC.
static enum row_result module(const struct row_victim *victim)
{
    int fd = memfd_create("junk", MFD_CLOEXEC);
    (void)victim;
    memset(low, '-', sizeof(*low));
    if (write(fd, low, sizeof(*low)) != (ssize_t)sizeof(*low)) {
        return ROW_ABSENT;
    }
    low->text[0] = '\0';
    enum row_result by_memory =
        as_result(call_32(I386_INIT_MODULE, at(low->path), sizeof(*low) - sizeof(low->text),
                          at(low->text), 0, 0),
                  "init_module");
    enum row_result by_file = as_result(
        call_32(I386_FINIT_MODULE, (unsigned long)fd, at(low->text), 0, 0, 0), "finit_module");
    return by_memory == ROW_REFUSED ? by_file : by_memory;
}

static enum row_result io_ports(const struct row_victim *victim)
{
    (void)victim;
    return as_result(call_32(I386_IOPERM, 0x80, 1, 1, 0, 0), "ioperm");
}

static enum row_result enter(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    return as_result(call_32(I386_SETNS, (unsigned long)pidfd, CLONE_NEWUTS, 0, 0, 0), "setns");
}

// ---- x32 ----

static long peek_x32(const struct row_victim *victim)
{
    return syscall(X32_PTRACE, (long)PTRACE_PEEKDATA, victim_pid(victim), victim->address,
                   &low->word);
}

static enum row_result attach_x32(const struct row_victim *victim)
{
    return peeked(syscall(X32_PTRACE, (long)PTRACE_ATTACH, victim_pid(victim), 0L, 0L), victim,
                  peek_x32);
}

static enum row_result vm_readv_x32(const struct row_victim *victim)
{
    prepare_vectors(victim);
    return of_text(syscall(X32_PROCESS_VM_READV, victim_pid(victim), low->vector_here, 1L,
                           low->vector_there, 1L, 0L),
                   "process_vm_readv");
}

static const struct {
    const char *name;
    enum row_result (*attack)(const struct row_victim *victim);
} attacks[] = {
    {"row_ptrace_32", attach},
    {"row_mem_open_32", by_open},
    {"row_mem_openat_32", by_openat},
    {"row_mem_openat2_32", by_openat2},
    {"row_vm_readv_32", vm_readv},
    {"row_vm_writev_32", vm_writev},
    {"row_pidfd_getfd_32", getfd},
    {"row_madvise_32", advise},
    {"row_move_pages_32", move},
    {"row_kcmp_32", compare},
    {"row_robust_list_32", robust_list},
    {"row_perf_32", sample},
    {"row_bpf_32", load_program},
    {"row_kexec_32", kexec},
    {"row_module_32", module},
    {"row_io_ports_32", io_ports},
    {"row_setns_32", enter},
    {"row_ptrace_x32", attach_x32},
    {"row_vm_readv_x32", vm_readv_x32},
};

enum row_result row_attack(const struct row_victim *victim)
{
    (void)alarm(TIMEOUT_SECONDS);
    // Where the kernel has no i386 entry, the instruction is a fault.
    (void)signal(SIGSEGV, entry_is_missing);
    (void)call_32(I386_GETPID, 0, 0, 0, 0, 0);
    (void)signal(SIGSEGV, SIG_DFL);
    low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
               -1, 0);
    for (size_t i = 0; low != MAP_FAILED && i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (strcmp(program_invocation_short_name, attacks[i].name) == 0) {
            return attacks[i].attack(victim);
        }
    }
    fprintf(stderr, "%s is none of the attacks\n", program_invocation_short_name);
    exit(64);
}
