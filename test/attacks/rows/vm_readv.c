// SPDX-License-Identifier: Apache-2.0
// Process_vm_readv(2).
#include <sys/uio.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char text[sizeof(ROW_TEXT)];
    struct iovec here = {text, sizeof(text)};
    struct iovec there = {(void *)victim->address, sizeof(text)};
    ssize_t n = process_vm_readv(victim->pid, &here, 1, &there, 1, 0);
    return n < 0                          ? row_from_errno("process_vm_readv")
           : row_is_text(text, (size_t)n) ? ROW_LEAKED
                                          : ROW_REFUSED;
}
