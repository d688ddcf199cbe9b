// SPDX-License-Identifier: Apache-2.0
// Open a copy of /dev/mem, made with mknod(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/tmp/row-dev-mem";
    (void)victim;
    unlink(path);
    if (mknod(path, S_IFCHR | 0600, makedev(1, 1)) != 0) {
        return row_from_errno("mknod");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum row_result result = fd < 0 ? row_from_errno("open") : ROW_LEAKED;
    unlink(path);
    return result;
}
