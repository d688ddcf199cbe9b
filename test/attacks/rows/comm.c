// SPDX-License-Identifier: Apache-2.0
// Rename it, so that nobody finds it.
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    return row_write(row_path(victim, "comm"), "renamed");
}
