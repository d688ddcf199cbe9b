// SPDX-License-Identifier: Apache-2.0
// Have cores given to a program; what was there is put back.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/proc/sys/kernel/core_pattern";
    char before[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    (void)victim;
    if (fd < 0 || read(fd, before, sizeof(before) - 1) <= 0) {
        return row_from_errno(path);
    }
    close(fd);
    enum row_result result = row_write(path, "|/tmp/keep-core %p");
    return result == ROW_LEAKED ? row_write(path, before) : result;
}
