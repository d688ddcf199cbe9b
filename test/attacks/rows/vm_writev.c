// SPDX-License-Identifier: Apache-2.0
// Process_vm_writev(2).
#include <sys/uio.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char text[] = ROW_TEXT;
    struct iovec here = {text, sizeof(text)};
    struct iovec there = {(void *)victim->address, sizeof(text)};
    return process_vm_writev(victim->pid, &here, 1, &there, 1, 0) < 0
               ? row_from_errno("process_vm_writev")
               : ROW_LEAKED;
}
