// SPDX-License-Identifier: Apache-2.0
// Open a copy of /dev/mem, made with mknod(2); of /dev/kmem and /dev/port (row_dev_kmem, row_dev_port).
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char path[64];
    const char *called = program_invocation_short_name;
    unsigned minor_of = strstr(called, "kmem") != NULL ? 2 : strstr(called, "port") != NULL ? 4 : 1;
    (void)victim;
    snprintf(path, sizeof(path), "/tmp/%s", called);
    unlink(path);
    if (mknod(path, S_IFCHR | 0600, makedev(1, minor_of)) != 0) {
        return row_from_errno("mknod");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum row_result result = fd < 0 ? row_from_errno("open") : ROW_LEAKED;
    unlink(path);
    return result;
}
