// SPDX-License-Identifier: Apache-2.0
// Become the agent: take hold of the program by which the agent says that it is one, by its number, and run it. To have it
// in hand is enough. With WAIT (a file) it looks for the program until there is one, and runs it once that file is there:
// for root that took it before anything was enforced.
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"
#include "row.h"

#define CLAIM_AGENT 1 // of enum ct_claim, bpf/ring.h
#define WAIT_STEPS 15000

static int claim(int program)
{
    const unsigned long long context[] = {CLAIM_AGENT, 0, 0, 0};
    union bpf_attr attr = {.test = {.prog_fd = (unsigned)program,
                                    .ctx_in = (unsigned long)context,
                                    .ctx_size_in = sizeof(context)}};
    long rc = syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr));
    printf("claim: %s, %u\n", rc == 0 ? "run" : strerror(errno), attr.test.retval);
    return rc == 0 && attr.test.retval == 0 ? 0 : -1;
}

static void pause_a_little(void)
{
    const struct timespec step = {.tv_nsec = 20000000L};
    nanosleep(&step, NULL);
}

static enum row_result claim_later(const char *file)
{
    int program = -1;
    for (int i = 0; i < WAIT_STEPS && program < 0; i++) {
        program = row_find(ROW_PROGRAM, "ct_claim");
        pause_a_little();
    }
    if (program < 0) {
        return row_from_errno("bpf");
    }
    puts("in hand");
    for (int i = 0; i < WAIT_STEPS && access(file, F_OK) != 0; i++) {
        pause_a_little();
    }
    return claim(program) == 0 ? ROW_LEAKED : ROW_REFUSED;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *wait = getenv("WAIT");
    (void)victim;
    if (wait != NULL) {
        return claim_later(wait);
    }
    int program = row_find(ROW_PROGRAM, "ct_claim");
    if (program < 0) {
        return row_from_errno("bpf");
    }
    (void)claim(program);
    return ROW_LEAKED;
}
