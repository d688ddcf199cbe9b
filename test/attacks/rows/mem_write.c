// SPDX-License-Identifier: Apache-2.0
// Write /proc/PID/mem, which no page protection stops.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    int fd = open(row_path(victim, "mem"), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    // What is there already, so that it does not matter.
    ssize_t n = pwrite(fd, ROW_TEXT, sizeof(ROW_TEXT), (off_t)victim->address);
    close(fd);
    return n > 0 ? ROW_LEAKED : row_from_errno("pwrite");
}
