// SPDX-License-Identifier: Apache-2.0
// Have tracefs fetch what a system call's argument points to.
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/sys/kernel/tracing/kprobe_events";
    if (access(path, F_OK) != 0) {
        path = "/sys/kernel/debug/tracing/kprobe_events";
    }
    (void)victim;
    enum row_result result = row_write(path, "p:ct_row ksys_write text=+u0(%si):string");
    if (result == ROW_LEAKED) {
        (void)row_write(path, "-:ct_row");
    }
    return result;
}
