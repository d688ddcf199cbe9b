// SPDX-License-Identifier: Apache-2.0
// Compare its kernel objects with one of one's own.
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    return syscall(SYS_kcmp, getpid(), victim->pid, KCMP_VM, 0L, 0L) < 0 ? row_from_errno("kcmp")
                                                                         : ROW_LEAKED;
}
