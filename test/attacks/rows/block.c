// SPDX-License-Identifier: Apache-2.0
// Write to the disk below a mounted file system.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    int fd = open("/dev/nvme0n1", O_WRONLY | O_CLOEXEC);
    (void)victim;
    return fd < 0 ? row_from_errno("/dev/nvme0n1") : ROW_LEAKED;
}
