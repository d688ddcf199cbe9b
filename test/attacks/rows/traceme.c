// SPDX-License-Identifier: Apache-2.0
// Be traced from the start by one's parent, who need not ask then: a protected process does what its attacker has prepared.
#include <sys/ptrace.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 ? row_from_errno("PTRACE_TRACEME")
                                                      : ROW_LEAKED;
}
