// SPDX-License-Identifier: Apache-2.0
// Remove one of the agent's pins, by a new name and by none.
#include <stdio.h>
#include <unistd.h>

#include "ring.h"
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char aside[256];
    (void)victim;
    snprintf(aside, sizeof(aside), "%s", row_pin("maps/aside"));
    if (rename(row_pin("maps/ct_pids"), aside) == 0) {
        return unlink(aside) == 0 ? ROW_LEAKED : ROW_REFUSED;
    }
    return unlink(row_pin("maps/ct_pids")) == 0 ? ROW_LEAKED : row_from_errno("unlink");
}
