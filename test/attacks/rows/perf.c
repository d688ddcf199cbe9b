// SPDX-License-Identifier: Apache-2.0
// Sample its registers and stack by perf_event_open(2). The program's name says how: row_perf of the process by a clock,
// _interrupted the registers that an interrupt finds, _uprobe where its program comes by, _kprobe where the kernel
// does; _all of a whole processor, whoever runs there, _cgroup of all that runs in a cgroup. row_perf_plain is no
// attack: it has hardware count for a whole processor, as perf(1) does for its energy, and counts as leaked when that goes.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

#define PROGRAM "/bin/row_victim"
#define FUNCTION "ksys_write"

// The number of a kind of events that the kernel has given it at its start; 0 with errno: there is none.
static unsigned type_of(const char *kind)
{
    char path[64];
    char text[16] = "";
    snprintf(path, sizeof(path), "/sys/bus/event_source/devices/%s/type", kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0) {
        return 0;
    }
    close(fd);
    return (unsigned)strtoul(text, NULL, 10);
}

// Where in its file a program's first instruction is; 0: not found.
static unsigned long start_of(const char *path)
{
    Elf64_Ehdr head;
    Elf64_Phdr part;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned long start = 0;
    bool good = fd >= 0 && pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head);
    for (unsigned i = 0; good && start == 0 && i < head.e_phnum; i++) {
        off_t at = (off_t)(head.e_phoff + i * sizeof(part));
        good = pread(fd, &part, sizeof(part), at) == (ssize_t)sizeof(part);
        if (part.p_type == PT_LOAD && head.e_entry - part.p_vaddr < part.p_filesz) {
            start = head.e_entry - part.p_vaddr + part.p_offset;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return start;
}

static struct perf_event_attr what(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
                                   .sample_regs_user = 1,
                                   .sample_stack_user = 1024,
                                   .sample_period = 1000000};
    if (row_is_named("interrupted")) {
        attr.sample_type = PERF_SAMPLE_REGS_INTR;
        attr.sample_regs_user = 0;
        attr.sample_stack_user = 0;
        attr.sample_regs_intr = 1;
    } else if (row_is_named("uprobe")) {
        attr.type = type_of("uprobe");
        attr.config = 0;
        attr.sample_period = 1;
        attr.uprobe_path = (unsigned long)PROGRAM;
        attr.probe_offset = start_of(PROGRAM);
    } else if (row_is_named("kprobe")) {
        attr.type = type_of("kprobe");
        attr.config = 0;
        attr.sample_period = 1;
        attr.kprobe_func = (unsigned long)FUNCTION;
    }
    return attr;
}

static enum row_result of_cgroup(const struct perf_event_attr *attr)
{
    int cgroup = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (syscall(SYS_perf_event_open, attr, cgroup, 0, -1, PERF_FLAG_PID_CGROUP) >= 0) {
        return ROW_LEAKED;
    }
    // A kernel that counts no cgroups.
    return errno == EINVAL ? ROW_ABSENT : row_from_errno("perf_event_open");
}

// By the unit of hardware that virtual machines have too: the time stamp counter.
static enum row_result count_plainly(void)
{
    struct perf_event_attr attr = {.type = type_of("msr"), .size = sizeof(attr)};
    if (attr.type == 0) {
        return ROW_ABSENT;
    }
    return syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0) < 0 ? row_from_errno("perf_event_open")
                                                                 : ROW_LEAKED;
}

enum row_result row_attack(const struct row_victim *victim)
{
    if (row_is_named("plain")) {
        return count_plainly();
    }
    const struct perf_event_attr attr = what();
    bool all = row_is_named("all");
    if (attr.type == 0) {
        return row_from_errno("type");
    }
    if (row_is_named("cgroup")) {
        return of_cgroup(&attr);
    }
    return syscall(SYS_perf_event_open, &attr, all ? -1 : victim->pid, all ? 0 : -1, -1, 0) < 0
               ? row_from_errno("perf_event_open")
               : ROW_LEAKED;
}
