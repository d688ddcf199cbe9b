// SPDX-License-Identifier: Apache-2.0
#include "vectors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "guard_call.h"

// The most that a kernel takes is 16: refused for that once the hooks have passed it.
#define KEXEC_SEGMENTS_TOO_MANY 0xffffUL

static int absent(void)
{
    return errno == ENOSYS || errno == ENOENT || errno == ENODEV || errno == ENXIO ? -errno : 0;
}

static int open_at(int folder, const char *path, int flags)
{
    int fd = openat(folder, path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return absent();
    }
    (void)close(fd);
    return 0;
}

static int open_only(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags);
}

// A file of a file system that need not be mounted anywhere.
static int open_in(const char *type, const char *path, int flags)
{
    CT_AUTO_FD fs = ct_fs_open(type);
    return fs >= 0 ? open_at(fs, path, flags) : absent();
}

static int open_of(const struct ct_victim *victim, const char *name, int flags)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)victim->pid, name);
    return open_only(path, flags);
}

static int attempt_ptrace(const struct ct_victim *victim)
{
    return ptrace(PTRACE_SEIZE, victim->pid, NULL, NULL) != 0 ? absent() : 0;
}

static int attempt_traceme(const struct ct_victim *victim)
{
    (void)victim;
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 ? absent() : 0;
}

static int attempt_mem_read(const struct ct_victim *victim)
{
    return open_of(victim, "mem", O_RDONLY);
}

static int attempt_mem_write(const struct ct_victim *victim)
{
    return open_of(victim, "mem", O_RDWR);
}

static int transfer(const struct ct_victim *victim, long number)
{
    static char here[16];
    struct iovec local = {.iov_base = here, .iov_len = sizeof(here)};
    struct iovec remote = {.iov_base = here, .iov_len = sizeof(here)};
    return syscall(number, victim->pid, &local, 1L, &remote, 1L, 0L) < 0 ? absent() : 0;
}

static int attempt_vm_readv(const struct ct_victim *victim)
{
    return transfer(victim, SYS_process_vm_readv);
}

static int attempt_vm_writev(const struct ct_victim *victim)
{
    return transfer(victim, SYS_process_vm_writev);
}

static int attempt_environ(const struct ct_victim *victim)
{
    return open_of(victim, "environ", O_RDONLY);
}

static int attempt_maps(const struct ct_victim *victim)
{
    return open_of(victim, "maps", O_RDONLY);
}

static int attempt_comm(const struct ct_victim *victim)
{
    return open_of(victim, "comm", O_WRONLY);
}

static int attempt_links(const struct ct_victim *victim)
{
    char path[64];
    char target[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)victim->pid);
    return readlink(path, target, sizeof(target)) < 0 ? absent() : 0;
}

static int attempt_pidfd_getfd(const struct ct_victim *victim)
{
    long fd = syscall(SYS_pidfd_getfd, victim->pidfd, 0, 0);
    return fd < 0 ? absent() : close((int)fd);
}

static int attempt_advice(const struct ct_victim *victim)
{
    static char page[1];
    struct iovec area = {.iov_base = page, .iov_len = 1};
    return syscall(SYS_process_madvise, victim->pidfd, &area, 1L, MADV_COLD, 0L) < 0 ? absent() : 0;
}

static int attempt_compare(const struct ct_victim *victim)
{
    return syscall(SYS_kcmp, getpid(), victim->pid, KCMP_VM, 0L, 0L) < 0 ? absent() : 0;
}

static int attempt_perf(const struct ct_victim *victim)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_TASK_CLOCK,
                                   .disabled = 1};
    long fd = syscall(SYS_perf_event_open, &attr, victim->pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? absent() : close((int)fd);
}

static int attempt_tracefs(const struct ct_victim *victim)
{
    (void)victim;
    return open_in("tracefs", "kprobe_events", O_WRONLY | O_APPEND);
}

// A program without instructions, which no kernel takes.
static int load_nothing(__u32 type, __u32 attach_type)
{
    union bpf_attr attr = {.prog_type = type, .expected_attach_type = attach_type};
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0 ? absent() : 0;
}

static int attempt_bpf(const struct ct_victim *victim)
{
    (void)victim;
    return load_nothing(BPF_PROG_TYPE_KPROBE, 0);
}

// One that would be called for each task.
static int attempt_iterator(const struct ct_victim *victim)
{
    (void)victim;
    return load_nothing(BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER);
}

// A device, by a node of our own where nothing else can have replaced it.
static int open_device(const struct ct_victim *victim, mode_t mode, dev_t device, int flags)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/cloudtaser-self-test.%d", (int)victim->pid);
    (void)unlink(path);
    if (mknod(path, mode, device) != 0) {
        return absent();
    }
    int rc = open_only(path, flags);
    (void)unlink(path);
    return rc;
}

static int attempt_dev_mem(const struct ct_victim *victim)
{
    return open_device(victim, S_IFCHR | 0400, makedev(1, 1), O_RDONLY);
}

static int attempt_kcore(const struct ct_victim *victim)
{
    (void)victim;
    return open_only("/proc/kcore", O_RDONLY);
}

static int attempt_kexec(const struct ct_victim *victim)
{
    (void)victim;
    return syscall(SYS_kexec_load, 0L, KEXEC_SEGMENTS_TOO_MANY, NULL, 0L) < 0 ? absent() : 0;
}

// A file that is no image of anything.
static int junk_file(void)
{
    int fd = memfd_create("cloudtaser-self-test", MFD_CLOEXEC);
    char junk[128];
    memset(junk, '-', sizeof(junk));
    if (fd >= 0 && write(fd, junk, sizeof(junk)) != (ssize_t)sizeof(junk)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int attempt_kexec_file(const struct ct_victim *victim)
{
    CT_AUTO_FD fd = junk_file();
    (void)victim;
    return syscall(SYS_kexec_file_load, fd, -1, 0L, "", 0x4L) < 0 ? absent() : 0;
}

static int attempt_module(const struct ct_victim *victim)
{
    CT_AUTO_FD fd = junk_file();
    (void)victim;
    return syscall(SYS_finit_module, fd, "", 0) < 0 ? absent() : 0;
}

static int attempt_io_ports(const struct ct_victim *victim)
{
    (void)victim;
    return ioperm(0x80, 1, 1) != 0 ? absent() : 0;
}

static int attempt_debugfs(const struct ct_victim *victim)
{
    (void)victim;
    return open_in("debugfs", "kprobes/enabled", O_WRONLY);
}

static int attempt_setns(const struct ct_victim *victim)
{
    return setns(victim->pidfd, CLONE_NEWUTS) != 0 ? absent() : 0;
}

static int attempt_proc_write(const struct ct_victim *victim)
{
    return open_of(victim, "oom_score_adj", O_WRONLY);
}

static int attempt_binfmt(const struct ct_victim *victim)
{
    (void)victim;
    return open_in("binfmt_misc", "register", O_WRONLY);
}

// Writes what is there already.
static int write_same(const char *name)
{
    char value[256];
    CT_AUTO_FD proc = ct_fs_open("proc");
    CT_AUTO_FD fd = proc >= 0 ? openat(proc, name, O_RDWR | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, value, sizeof(value)) : -1;
    return n <= 0 || pwrite(fd, value, (size_t)n, 0) < 0 ? absent() : 0;
}

static int attempt_core_pattern(const struct ct_victim *victim)
{
    (void)victim;
    return write_same("sys/kernel/core_pattern");
}

static int attempt_hibernation(const struct ct_victim *victim)
{
    (void)victim;
    return open_in("sysfs", "power/state", O_WRONLY);
}

static int attempt_crash(const struct ct_victim *victim)
{
    (void)victim;
    return open_in("proc", "sysrq-trigger", O_WRONLY);
}

// The first device that lets its memory be mapped.
static int attempt_pci(const struct ct_victim *victim)
{
    CT_AUTO_FD fs = ct_fs_open("sysfs");
    int fd = fs >= 0 ? openat(fs, "bus/pci/devices", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *devices = fd >= 0 ? fdopendir(fd) : NULL;
    int rc = -ENOENT;
    (void)victim;
    for (struct dirent *e; devices != NULL && rc == -ENOENT && (e = readdir(devices)) != NULL;) {
        for (char number = '0'; e->d_name[0] != '.' && rc == -ENOENT && number < '6'; number++) {
            char path[300];
            (void)snprintf(path, sizeof(path), "%s/resource%c", e->d_name, number);
            rc = open_at(fd, path, O_RDWR);
        }
    }
    if (devices != NULL) {
        (void)closedir(devices);
    }
    return rc;
}

static int attempt_program(const struct ct_victim *victim)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", victim->program);
    return open_only(path, O_WRONLY);
}

// By a number that no device has: whether there is one is asked later.
static int attempt_block_device(const struct ct_victim *victim)
{
    int rc = open_device(victim, S_IFBLK | 0600, makedev(1, 0xfffff), O_WRONLY);
    return rc == -ENXIO ? 0 : rc;
}

// A ring of its own, which opens the victim's memory: no system call shows that.
static int attempt_io_uring(const struct ct_victim *victim)
{
    struct io_uring_params p = {0};
    char path[64];
    int ring = (int)syscall(SYS_io_uring_setup, 1, &p);
    if (ring < 0) {
        return absent();
    }
    size_t size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    char *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry =
        mmap(NULL, sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || (void *)entry == MAP_FAILED) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)victim->pid);
    *entry = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
                                   .fd = AT_FDCWD,
                                   .addr = (unsigned long)path,
                                   .open_flags = O_RDONLY | O_CLOEXEC};
    *(unsigned *)(void *)(queue + p.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(void *)(queue + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    return syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0L) < 0 ? absent()
                                                                                         : 0;
}

int ct_attempt_call(const struct ct_victim *victim)
{
    const struct timespec now = {0};
    siginfo_t info = {0};
    sigset_t answers;
    (void)victim;
    (void)sigemptyset(&answers);
    for (int i = 0; i < CT_GUARD_N_ANSWERS; i++) {
        (void)sigaddset(&answers, CT_GUARD_SIGNAL + i);
    }
    // Not to be ended by the answer of the tier `reactive`.
    (void)sigprocmask(SIG_BLOCK, &answers, NULL);
    if (prctl(CT_GUARD_MAGIC, CT_GUARD_QUERY, 0UL, 0UL, 0UL) != 0 && errno == ENOTCONN) {
        return 0;
    }
    int number = sigtimedwait(&answers, &info, &now);
    return number == CT_GUARD_SIGNAL && info.si_code == SI_KERNEL ? 0 : -ENOSYS;
}

// One that a process ignores.
static int attempt_kill(const struct ct_victim *victim)
{
    return kill(victim->agent, SIGWINCH) != 0 ? absent() : 0;
}

// The folder of its cgroup, from the root of the hierarchy as this process sees it; -ENOENT: it is in the root, or
// in no such hierarchy.
static int cgroup_path(pid_t pid, char *ret, size_t size)
{
    char name[64];
    char line[512];
    (void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
    CT_AUTO_FILE file = fopen(name, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0 && line[4] != '\0') {
            int n = snprintf(ret, size, "%s/cgroup.freeze", line + 4);
            return n > 0 && (size_t)n < size ? 0 : -ENOENT;
        }
    }
    return -ENOENT;
}

static int attempt_cgroup(const struct ct_victim *victim)
{
    char path[600];
    int rc = cgroup_path(victim->agent, path, sizeof(path));
    return rc == 0 ? open_in("cgroup2", path, O_WRONLY) : rc;
}

// A pin that holds nothing up; who put it there replaces it.
static int attempt_unpin(const struct ct_victim *victim)
{
    return victim->den < 0 ? -ENOENT : unlinkat(victim->den, "self-test", 0) != 0 ? absent() : 0;
}

static int attempt_objects(const struct ct_victim *victim)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/self-test-open", victim->den);
    union bpf_attr attr = {.pathname = (unsigned long)path};
    long fd = victim->den >= 0 ? syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr)) : -1;
    return fd >= 0 ? close((int)fd) : victim->den >= 0 ? absent() : -ENOENT;
}

// Without ftrace there is nothing to be switched off.
static int attempt_ftrace(const struct ct_victim *victim)
{
    (void)victim;
    return write_same("sys/kernel/ftrace_enabled");
}

static const struct ct_vector_info vectors[] = {
    {CT_V_PTRACE, "ptrace", "attach to it as a debugger", false, false, false, attempt_ptrace},
    {CT_V_TRACEME, "traceme", "be traced from the start", false, true, false, attempt_traceme},
    {CT_V_MEM_READ, "proc_mem_read", "read /proc/PID/mem", false, false, false, attempt_mem_read},
    {CT_V_MEM_WRITE, "proc_mem_write", "write /proc/PID/mem", false, false, false,
     attempt_mem_write},
    {CT_V_VM_READV, "process_vm_readv", "read its memory", false, false, false, attempt_vm_readv},
    {CT_V_VM_WRITEV, "process_vm_writev", "write its memory", false, false, false,
     attempt_vm_writev},
    {CT_V_ENVIRON, "proc_environ", "read /proc/PID/environ or auxv", false, false, false,
     attempt_environ},
    {CT_V_MAPS, "proc_maps", "read maps, pagemap, stack, syscall", false, false, false,
     attempt_maps},
    {CT_V_PROC_WRITE_NAME, "proc_comm", "rename it", false, false, false, attempt_comm},
    {CT_V_LINKS, "proc_links", "follow exe, root, cwd, fd", false, false, false, attempt_links},
    {CT_V_PIDFD_GETFD, "pidfd_getfd", "take one of its descriptors", false, false, false,
     attempt_pidfd_getfd},
    {CT_V_MEMORY_ADVICE, "process_madvise", "advise or move its pages", false, false, false,
     attempt_advice},
    {CT_V_COMPARE, "kcmp", "compare its kernel objects", false, false, false, attempt_compare},
    {CT_V_PERF, "perf_event_open", "sample its stack or registers", false, false, false,
     attempt_perf},
    {CT_V_TRACEFS, "tracefs", "probe by tracefs", true, false, false, attempt_tracefs},
    {CT_V_BPF_LOAD, "bpf_prog_load", "read by a BPF program", true, false, false, attempt_bpf},
    {CT_V_ITERATOR, "bpf_iterator", "read by a BPF iterator", true, false, false, attempt_iterator},
    {CT_V_IO_URING, "io_uring", "open its files by io_uring", false, false, true, attempt_io_uring},
    {CT_V_CORE_PATTERN, "core_pattern", "have cores given to a program", true, false, false,
     attempt_core_pattern},
    {CT_V_HIBERNATION, "hibernation", "write all memory to a disk", true, false, false,
     attempt_hibernation},
    {CT_V_DEV_MEM, "dev_mem", "read /dev/mem or a copy of it", true, false, false, attempt_dev_mem},
    {CT_V_KCORE, "proc_kcore", "read /proc/kcore", true, false, false, attempt_kcore},
    {CT_V_KEXEC, "kexec_load", "boot a kernel of its own", true, false, false, attempt_kexec},
    {CT_V_KEXEC_FILE, "kexec_file_load", "boot a kernel from a file", true, false, false,
     attempt_kexec_file},
    {CT_V_CRASH, "sysrq_trigger", "crash into a kernel that dumps", true, false, false,
     attempt_crash},
    {CT_V_MODULE, "module_load", "load a module", true, false, false, attempt_module},
    {CT_V_IO_PORTS, "io_ports", "use I/O ports or MSRs", true, false, false, attempt_io_ports},
    {CT_V_PCI, "pci_resource", "drive a device that reads memory", true, false, false, attempt_pci},
    {CT_V_DEBUGFS, "debugfs", "write into debugfs", true, false, false, attempt_debugfs},
    {CT_V_SETNS, "setns", "enter its namespaces", false, false, false, attempt_setns},
    {CT_V_PROGRAM, "program_write", "write into what it runs", false, false, false,
     attempt_program},
    {CT_V_PROC_WRITE, "proc_write", "write oom_score_adj and the like", false, false, false,
     attempt_proc_write},
    {CT_V_KILL, "agent_kill", "kill or stop the agent", false, false, false, attempt_kill},
    {CT_V_CGROUP, "agent_cgroup", "kill or freeze its cgroup", true, false, false, attempt_cgroup},
    {CT_V_UNPIN, "agent_pins", "remove its pins, unmount bpffs", true, false, false, attempt_unpin},
    {CT_V_OBJECTS, "agent_objects", "take hold of its maps and programs", true, false, false,
     attempt_objects},
    {CT_V_FTRACE, "ftrace_enabled", "switch ftrace off", true, false, false, attempt_ftrace},
    {CT_V_BINFMT, "binfmt_misc", "run something in its place", true, false, false, attempt_binfmt},
    {CT_V_BLOCK_DEVICE, "block_device", "write under a file system (--strict)", true, false, false,
     attempt_block_device},
};

const struct ct_vector_info *ct_vectors(size_t *ret_n)
{
    *ret_n = CT_ARRAY_LEN(vectors);
    return vectors;
}

const struct ct_vector_info *ct_vector_info(enum ct_vector vector)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(vectors); i++) {
        if (vectors[i].vector == vector) {
            return &vectors[i];
        }
    }
    return NULL;
}

const struct ct_vector_info *ct_vector_named(const char *name, size_t len)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(vectors); i++) {
        if (strlen(vectors[i].name) == len && memcmp(vectors[i].name, name, len) == 0) {
            return &vectors[i];
        }
    }
    return NULL;
}

static const char *const tier_names[CT_TIER_COUNT] = {"none",     "reactive", "kprobe",
                                                      "fmod_ret", "lsm",      "cgroup"};

const char *ct_tier_name(enum ct_tier tier)
{
    return tier < CT_TIER_COUNT ? tier_names[tier] : "unknown";
}

int ct_tier_from_name(const char *name)
{
    for (int tier = CT_TIER_REACTIVE; tier < CT_TIER_COUNT; tier++) {
        if (strcmp(name, tier_names[tier]) == 0) {
            return tier;
        }
    }
    return -1;
}
