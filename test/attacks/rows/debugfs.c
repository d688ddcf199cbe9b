// SPDX-License-Identifier: Apache-2.0
// Switch kprobes on and off in debugfs.
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    return row_write("/sys/kernel/debug/kprobes/enabled", "1");
}
