// SPDX-License-Identifier: Apache-2.0
// Write coredump_filter, so that a core holds more.
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    return row_write(row_path(victim, "coredump_filter"), "0x7f");
}
