// SPDX-License-Identifier: Apache-2.0
// Switch ftrace off, and with it every program that stands on it.
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    enum row_result result = row_write("/proc/sys/kernel/ftrace_enabled", "0");
    if (result == ROW_LEAKED) {
        (void)row_write("/proc/sys/kernel/ftrace_enabled", "1");
    }
    return result;
}
