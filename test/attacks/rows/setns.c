// SPDX-License-Identifier: Apache-2.0
// Enter its namespaces by a pidfd.
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    int pidfd = (int)syscall(SYS_pidfd_open, victim->pid, 0);
    return setns(pidfd, CLONE_NEWUTS) != 0 ? row_from_errno("setns") : ROW_LEAKED;
}
