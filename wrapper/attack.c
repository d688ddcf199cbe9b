// SPDX-License-Identifier: Apache-2.0
#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assume.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define DESCRIPTORS_MAX 1024 // closed one by one where close_range(2) is missing (before 5.9)

// The sibling has this at the same address as the process that it was forked from.
static const long ordinary = 0x6f7264696e617279;

// Everything a child needs, prepared before it exists.
struct target {
    pid_t pid;
    uintptr_t address;
    struct ct_standing standing; // whose it is
    char environ_path[32];
    char mem_path[32];
};

static struct target target_of(pid_t pid, uintptr_t address)
{
    struct target t = {.pid = pid, .address = address};
    (void)snprintf(t.environ_path, sizeof(t.environ_path), "/proc/%d/environ", (int)pid);
    (void)snprintf(t.mem_path, sizeof(t.mem_path), "/proc/%d/mem", (int)pid);
    return t;
}

const char *ct_attack_name(unsigned set)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {CT_ATTACK_VM_READ, "process_vm_readv"}, {CT_ATTACK_MEM, "/proc/PID/mem"},
        {CT_ATTACK_PEEK, "PTRACE_PEEKDATA"},     {CT_ATTACK_ENVIRON, "/proc/PID/environ"},
        {CT_ATTACK_SPLICE, "vmsplice"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        if ((set & names[i].bit) != 0) {
            return names[i].name;
        }
    }
    return "no attack";
}

static bool vm_read(pid_t pid, uintptr_t address)
{
    long word;
    struct iovec local = {&word, sizeof(word)};
    struct iovec remote = {(void *)address, sizeof(word)};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof(word);
}

static bool mem_read(int fd, uintptr_t address)
{
    long word;
    return fd >= 0 && pread(fd, &word, sizeof(word), (off_t)address) == (ssize_t)sizeof(word);
}

static bool peek(pid_t pid, uintptr_t address)
{
    errno = 0;
    (void)ptrace(PTRACE_PEEKDATA, pid, address, NULL);
    return errno == 0;
}

unsigned ct_attack_page(pid_t pid, int mem_fd, uintptr_t address, bool traced)
{
    return (vm_read(pid, address) ? CT_ATTACK_VM_READ : 0u) |
           (mem_read(mem_fd, address) ? CT_ATTACK_MEM : 0u) |
           (traced && peek(pid, address) ? CT_ATTACK_PEEK : 0u);
}

unsigned ct_attack_splice(uintptr_t address)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return 0;
    }
    struct iovec page = {(void *)address, sizeof(long)};
    ssize_t n = vmsplice(pipe_fd[1], &page, 1, 0);
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
    return n == (ssize_t)sizeof(long) ? CT_ATTACK_SPLICE : 0u;
}

int ct_attack_descriptors(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -1;
    }
    int held = 0;
    for (struct dirent *e = readdir(dir); e != NULL && held == 0; e = readdir(dir)) {
        char target[64];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target));
        held = n > 0 && memmem(target, (size_t)n, "secretmem", 9) != NULL;
    }
    (void)closedir(dir);
    return held;
}

// What an attacker without privileges can do.
static unsigned attack(const struct target *t)
{
    unsigned done = vm_read(t->pid, t->address) ? CT_ATTACK_VM_READ : 0u;
    int fd = open(t->mem_path, O_RDONLY | O_CLOEXEC);
    if (mem_read(fd, t->address)) {
        done |= CT_ATTACK_MEM;
    }
    ct_close_fd(&fd);
    fd = open(t->environ_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        done |= CT_ATTACK_ENVIRON;
    }
    ct_close_fd(&fd);
    return done;
}

// This thread alone becomes the target's user without any capability.
static bool drop_privileges(const struct target *t)
{
    if (!ct_standing_become(&t->standing)) {
        return false;
    }
    // Fewer are always granted.
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capset, &header, none) == 0;
}

void ct_attack_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) != 0) {
        for (int i = first; i < DESCRIPTORS_MAX; i++) {
            (void)close(i);
        }
    }
}

// The sibling will be open to attack: it keeps nothing but its end of the sockets, as descriptor 0.
static void close_all_but(int fd)
{
    (void)dup2(fd, STDIN_FILENO);
    ct_attack_close_from(STDIN_FILENO + 1);
}

// Attacks the target first when that is its parent, then becomes dumpable and waits to be attacked, until the
// other end is closed: its parent may not be permitted to kill another user's process.
_Noreturn static void sibling(const struct target *t, bool parent, int report)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    close_all_but(report);
    unsigned done = 0;
    if (drop_privileges(t)) {
        if (parent) {
            done = attack(t);
        }
        if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 &&
            write(STDIN_FILENO, &done, sizeof(done)) == (ssize_t)sizeof(done)) {
            char byte;
            while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
            }
        }
    }
    _exit(1);
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {
    }
}

// Attacks both from a child that shares this process's memory but not its capabilities.
static int attack_without_privileges(const struct target *control, const struct target *target,
                                     bool own, struct ct_attack_outcome *ret, struct ct_err *err)
{
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    volatile unsigned control_done = 0;
    volatile unsigned target_done = 0;
    volatile bool tried = false;
    pid_t pid = vfork();
    if (pid == 0) {
        if (drop_privileges(target)) {
            control_done = attack(control);
            target_done = own ? 0 : attack(target);
            tried = true;
        }
        _exit(0);
    }
    if (pid < 0) {
        return ct_err_errno(err, "cannot fork an attacker");
    }
    reap(pid);
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != dumpable) {
        // The child's change of user counted for the memory that it shared.
        (void)prctl(PR_SET_DUMPABLE, dumpable == 1 ? 1 : 0, 0, 0, 0);
    }
    if (!tried) {
        return ct_err_set(err, CT_ESYSTEM,
                          "the attacker cannot become the app's user or drop its capabilities");
    }
    ret->control = control_done;
    if (!own) {
        ret->target = target_done;
    }
    return 0;
}

int ct_attack_process(pid_t pid, uintptr_t address, struct ct_attack_outcome *ret,
                      struct ct_err *err)
{
    *ret = (struct ct_attack_outcome){0};
    struct target target = target_of(pid, address);
    target.standing = (struct ct_standing){.uid = geteuid(), .gid = getegid()};
    // A child that shares its memory may always read this process's: the sibling attacks instead.
    bool own = pid == getpid();
    if (!own) {
        (void)ct_standing_of(pid, &target.standing); // without /proc: as this process
    }
    int report[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) != 0) {
        return ct_err_errno(err, "cannot make a pair of sockets");
    }
    CT_AUTO_FD receive = report[0];
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        sibling(&target, own, report[1]);
    }
    (void)close(report[1]);
    if (child < 0) {
        return ct_err_errno(err, "cannot fork a sibling to attack");
    }
    unsigned done = 0;
    int status = 0;
    if (read(receive, &done, sizeof(done)) != (ssize_t)sizeof(done)) {
        status = ct_err_set(err, CT_ESYSTEM, "the control could not be made dumpable");
    } else {
        ret->target = done;
        struct target control = target_of(child, (uintptr_t)&ordinary);
        status = attack_without_privileges(&control, &target, own, ret, err);
    }
    (void)kill(child,
               SIGKILL); // where that is permitted, so that it ends even if somebody has stopped it
    ct_close_fd(&receive);
    receive = -1;
    reap(child);
    return status;
}
