// SPDX-License-Identifier: Apache-2.0
// Write a register of the processor by a copy of /dev/cpu/0/msr, made with mknod(2): what is there already.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "row.h"

#define MSR_MAJOR 202
#define PAGE_ATTRIBUTES 0x277 // IA32_PAT

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/tmp/row-msr";
    char value[8];
    (void)victim;
    unlink(path);
    if (mknod(path, S_IFCHR | 0600, makedev(MSR_MAJOR, 0)) != 0) {
        return row_from_errno("mknod");
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool written = fd >= 0 &&
                   pread(fd, value, sizeof(value), PAGE_ATTRIBUTES) == (ssize_t)sizeof(value) &&
                   pwrite(fd, value, sizeof(value), PAGE_ATTRIBUTES) == (ssize_t)sizeof(value);
    enum row_result result = written ? ROW_LEAKED : row_from_errno("msr");
    if (fd >= 0) {
        close(fd);
    }
    unlink(path);
    return result;
}
