// SPDX-License-Identifier: Apache-2.0
// Sample its registers and stack by perf_event_open(2).
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
                                   .sample_regs_user = 1,
                                   .sample_stack_user = 1024,
                                   .sample_period = 1000000};
    return syscall(SYS_perf_event_open, &attr, victim->pid, -1, -1, 0) < 0
               ? row_from_errno("perf_event_open")
               : ROW_LEAKED;
}
