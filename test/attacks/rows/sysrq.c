// SPDX-License-Identifier: Apache-2.0
// Crash the machine into a kernel that was loaded to dump its memory: as far as a descriptor that one letter would do it by.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/proc/sysrq-trigger";
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    (void)victim;
    return fd < 0 ? row_from_errno(path) : ROW_LEAKED;
}
