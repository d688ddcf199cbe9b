// SPDX-License-Identifier: Apache-2.0
// Load a kernel to boot (of no segments, which unloads what there is).
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    return syscall(SYS_kexec_load, 0L, 0L, NULL, 0L) < 0 ? row_from_errno("kexec_load")
                                                         : ROW_LEAKED;
}
