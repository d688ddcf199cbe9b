// SPDX-License-Identifier: Apache-2.0
// Read /proc/kcore.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char header[64];
    int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
    (void)victim;
    return fd < 0 || read(fd, header, sizeof(header)) <= 0 ? row_from_errno("open") : ROW_LEAKED;
}
