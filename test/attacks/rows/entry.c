// SPDX-License-Identifier: Apache-2.0
// The attacks by the kernel's other entries: i386's, which a program of 64 bits too reaches by `int $0x80` and which
// takes the way into the kernel that a program of 32 bits does, and x32's, by a bit of the call's number; and some by calls
// that libc does not make. Which it is, is in the program's name: row_NAME_32, row_NAME_x32, row_NAME. With row_NAME_high
// the call's number comes with an upper half, of which newer kernels take no notice.
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

enum call {
    CALL_OPEN,
    CALL_OPENAT,
    CALL_OPENAT2,
    CALL_PTRACE,
    CALL_IOPERM,
    CALL_INIT_MODULE,
    CALL_FINIT_MODULE,
    CALL_KEXEC_LOAD,
    CALL_GET_ROBUST_LIST,
    CALL_MIGRATE_PAGES,
    CALL_MOVE_PAGES,
    CALL_PERF_EVENT_OPEN,
    CALL_SETNS,
    CALL_PROCESS_VM_READV,
    CALL_PROCESS_VM_WRITEV,
    CALL_PROCESS_MADVISE,
    CALL_PIDFD_GETFD,
    CALL_KCMP,
    CALL_BPF,
};

// By i386's numbers (arch/x86/entry/syscalls/syscall_32.tbl), x32's and x86-64's (syscall_64.tbl).
static const struct {
    long i386, x32, own;
} numbers[] = {
    [CALL_OPEN] = {5, 2, 2},
    [CALL_OPENAT] = {295, 257, 257},
    [CALL_OPENAT2] = {437, 437, 437},
    [CALL_PTRACE] = {26, 521, 101},
    [CALL_IOPERM] = {101, 173, 173},
    [CALL_INIT_MODULE] = {128, 175, 175},
    [CALL_FINIT_MODULE] = {350, 313, 313},
    [CALL_KEXEC_LOAD] = {283, 528, 246},
    [CALL_GET_ROBUST_LIST] = {312, 531, 274},
    [CALL_MIGRATE_PAGES] = {294, 256, 256},
    [CALL_MOVE_PAGES] = {317, 533, 279},
    [CALL_PERF_EVENT_OPEN] = {336, 298, 298},
    [CALL_SETNS] = {346, 308, 308},
    [CALL_PROCESS_VM_READV] = {347, 539, 310},
    [CALL_PROCESS_VM_WRITEV] = {348, 540, 311},
    [CALL_PROCESS_MADVISE] = {440, 440, 440},
    [CALL_PIDFD_GETFD] = {438, 438, 438},
    [CALL_KCMP] = {349, 312, 312},
    [CALL_BPF] = {357, 321, 321},
};

#define TIMEOUT_SECONDS 60
#define I386_GETPID 20
#define X32_BIT 0x40000000L
#define UPPER_HALF 0x100000000L
#define KEXEC_ARCH_X86_64 (62UL << 16)

// What those entries' pointers lead to: it lies below 4 GiB, and is laid out as programs of 32 bits have it.
struct low {
    char text[64];
    char path[64];
    uint32_t word;
    uint32_t vector_here[2], vector_there[2]; // struct iovec of 32 bits
    uint64_t nodes;
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

static bool ends_with(const char *suffix)
{
    const char *name = program_invocation_short_name;
    size_t len = strlen(name);
    return len > strlen(suffix) && strcmp(name + len - strlen(suffix), suffix) == 0;
}

// By the entry that the program's name says.
static long enter(enum call call, unsigned long a, unsigned long b, unsigned long c,
                  unsigned long d, unsigned long e)
{
    if (ends_with("_32")) {
        return call_32(numbers[call].i386, a, b, c, d, e);
    }
    return ends_with("_x32")    ? syscall(X32_BIT + numbers[call].x32, a, b, c, d, e, 0L)
           : ends_with("_high") ? syscall(UPPER_HALF + numbers[call].own, a, b, c, d, e, 0L)
                                : syscall(numbers[call].own, a, b, c, d, e, 0L);
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
    return of_text(enter(CALL_PROCESS_VM_READV, (unsigned long)victim_pid(victim),
                         at(low->vector_here), 1, at(low->vector_there), 1),
                   "process_vm_readv");
}

static enum row_result vm_writev(const struct row_victim *victim)
{
    prepare_vectors(victim);
    memcpy(low->text, ROW_TEXT, sizeof(ROW_TEXT));
    return as_result(enter(CALL_PROCESS_VM_WRITEV, (unsigned long)victim_pid(victim),
                           at(low->vector_here), 1, at(low->vector_there), 1),
                     "process_vm_writev");
}

static enum row_result attach(const struct row_victim *victim)
{
    unsigned long pid = (unsigned long)victim_pid(victim);
    if (enter(CALL_PTRACE, PTRACE_ATTACH, pid, 0, 0, 0) < 0) {
        return row_from_errno("PTRACE_ATTACH");
    }
    waitpid(victim->pid, NULL, 0);
    // The end of this process lets the victim go.
    long rc = enter(CALL_PTRACE, PTRACE_PEEKDATA, pid, victim->address, at(&low->word), 0);
    return rc >= 0 && memcmp(&low->word, ROW_TEXT, sizeof(low->word)) == 0 ? ROW_LEAKED
                                                                           : ROW_REFUSED;
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
    return read_of(enter(CALL_OPEN, memory_file(victim), O_RDONLY, 0, 0, 0), victim);
}

static enum row_result by_openat(const struct row_victim *victim)
{
    return read_of(enter(CALL_OPENAT, (unsigned)AT_FDCWD, memory_file(victim), O_RDONLY, 0, 0),
                   victim);
}

static enum row_result by_openat2(const struct row_victim *victim)
{
    return read_of(enter(CALL_OPENAT2, (unsigned)AT_FDCWD, memory_file(victim), at(&low->how),
                         sizeof(low->how), 0),
                   victim);
}

static enum row_result getfd(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    long fd = enter(CALL_PIDFD_GETFD, (unsigned long)pidfd, (unsigned long)victim->fd, 0, 0, 0);
    return fd < 0 ? row_from_errno("pidfd_getfd")
                  : of_text(pread((int)fd, low->text, sizeof(low->text), 0), "pread");
}

static enum row_result advise(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    prepare_vectors(victim);
    low->vector_there[1] = 4096;
    return as_result(
        enter(CALL_PROCESS_MADVISE, (unsigned long)pidfd, at(low->vector_there), 1, MADV_COLD, 0),
        "process_madvise");
}

// No page at all: whether one may is asked before.
static enum row_result move(const struct row_victim *victim)
{
    return as_result(enter(CALL_MOVE_PAGES, (unsigned long)victim_pid(victim), 0, 0, 0, 0),
                     "move_pages");
}

// From the first node to the first node.
static enum row_result migrate(const struct row_victim *victim)
{
    low->nodes = 1;
    return as_result(enter(CALL_MIGRATE_PAGES, (unsigned long)victim_pid(victim), 64,
                           at(&low->nodes), at(&low->nodes), 0),
                     "migrate_pages");
}

static enum row_result compare(const struct row_victim *victim)
{
    return as_result(
        enter(CALL_KCMP, (unsigned long)getpid(), (unsigned long)victim_pid(victim), KCMP_VM, 0, 0),
        "kcmp");
}

static enum row_result robust_list(const struct row_victim *victim)
{
    return as_result(enter(CALL_GET_ROBUST_LIST, (unsigned long)victim_pid(victim), at(low->text),
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
    return as_result(enter(CALL_PERF_EVENT_OPEN, at(&low->perf), (unsigned long)victim_pid(victim),
                           (unsigned)-1, (unsigned)-1, 0),
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
    return as_result(enter(CALL_BPF, BPF_PROG_LOAD, at(&low->bpf), sizeof(low->bpf), 0, 0), "bpf");
}

// Of no segments, which unloads what there is.
static enum row_result kexec(const struct row_victim *victim)
{
    (void)victim;
    return as_result(enter(CALL_KEXEC_LOAD, 0, 0, 0, KEXEC_ARCH_X86_64, 0), "kexec_load");
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
        as_result(enter(CALL_INIT_MODULE, at(low->path), sizeof(*low) - sizeof(low->text),
                        at(low->text), 0, 0),
                  "init_module");
    enum row_result by_file = as_result(
        enter(CALL_FINIT_MODULE, (unsigned long)fd, at(low->text), 0, 0, 0), "finit_module");
    return by_memory == ROW_REFUSED ? by_file : by_memory;
}

static enum row_result io_ports(const struct row_victim *victim)
{
    (void)victim;
    return as_result(enter(CALL_IOPERM, 0x80, 1, 1, 0, 0), "ioperm");
}

static enum row_result enter_namespace(const struct row_victim *victim)
{
    long pidfd = syscall(SYS_pidfd_open, victim_pid(victim), 0L);
    return as_result(enter(CALL_SETNS, (unsigned long)pidfd, CLONE_NEWUTS, 0, 0, 0), "setns");
}

static const struct {
    const char *name;
    enum row_result (*attack)(const struct row_victim *victim);
} attacks[] = {
    {"ptrace", attach},         {"mem_open", by_open},
    {"mem_openat", by_openat},  {"mem_openat2", by_openat2},
    {"vm_readv", vm_readv},     {"vm_writev", vm_writev},
    {"pidfd_getfd", getfd},     {"madvise", advise},
    {"migrate_pages", migrate}, {"move_pages", move},
    {"kcmp", compare},          {"robust_list", robust_list},
    {"perf", sample},           {"bpf", load_program},
    {"kexec", kexec},           {"module", module},
    {"io_ports", io_ports},     {"setns", enter_namespace},
};

// Whether the program's name is row_NAME, with or without a way in.
static bool is_called(const char *name)
{
    const char *called = program_invocation_short_name;
    size_t len = strlen(name);
    if (strncmp(called, "row_", 4) != 0 || strncmp(called + 4, name, len) != 0) {
        return false;
    }
    const char *way = called + 4 + len;
    return way[0] == '\0' || strcmp(way, "_32") == 0 || strcmp(way, "_x32") == 0 ||
           strcmp(way, "_high") == 0;
}

enum row_result row_attack(const struct row_victim *victim)
{
    (void)alarm(TIMEOUT_SECONDS);
    // Where the kernel has no i386 entry, the instruction is a fault.
    if (ends_with("_32")) {
        (void)signal(SIGSEGV, entry_is_missing);
        (void)call_32(I386_GETPID, 0, 0, 0, 0, 0);
        (void)signal(SIGSEGV, SIG_DFL);
    }
    low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
               -1, 0);
    for (size_t i = 0; low != MAP_FAILED && i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (is_called(attacks[i].name)) {
            return attacks[i].attack(victim);
        }
    }
    fprintf(stderr, "%s is none of the attacks\n", program_invocation_short_name);
    exit(64);
}
