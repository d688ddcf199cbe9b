// SPDX-License-Identifier: Apache-2.0
// Sample its registers and stack by perf_event_open(2). The program's name says how: row_perf of the process,
// _all of a whole processor, whoever runs there, and _interrupted the registers that an interrupt finds.
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

static bool is_named(const char *word)
{
    return strstr(program_invocation_short_name, word) != NULL;
}

enum row_result row_attack(const struct row_victim *victim)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
                                   .sample_regs_user = 1,
                                   .sample_stack_user = 1024,
                                   .sample_period = 1000000};
    if (is_named("interrupted")) {
        attr.sample_type = PERF_SAMPLE_REGS_INTR;
        attr.sample_regs_user = 0;
        attr.sample_stack_user = 0;
        attr.sample_regs_intr = 1;
    }
    bool all = is_named("all");
    return syscall(SYS_perf_event_open, &attr, all ? -1 : victim->pid, all ? 0 : -1, -1, 0) < 0
               ? row_from_errno("perf_event_open")
               : ROW_LEAKED;
}
