// SPDX-License-Identifier: Apache-2.0
// Take the file system of the pins away, by itself or with what it is mounted on.
#include <sys/mount.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    if (umount2("/sys/fs/bpf", MNT_DETACH) == 0) {
        return ROW_LEAKED;
    }
    return umount2("/sys", MNT_DETACH) == 0 ? ROW_LEAKED : row_from_errno("umount");
}
