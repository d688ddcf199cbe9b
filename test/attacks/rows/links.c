// SPDX-License-Identifier: Apache-2.0
// Follow /proc/PID/root into its file system.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    int fd = open(row_path(victim, "root/"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    close(fd);
    return ROW_LEAKED;
}
