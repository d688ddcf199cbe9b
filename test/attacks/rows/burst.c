// SPDX-License-Identifier: Apache-2.0
// Reads a victim's memory as often as COUNT says, as quickly as it can, and says how often that was refused.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *count = getenv("COUNT");
    unsigned long n = count != NULL ? strtoul(count, NULL, 10) : 0;
    unsigned long refused = 0;
    for (unsigned long i = 0; i < n; i++) {
        char text[64];
        struct iovec here = {text, sizeof(ROW_TEXT)};
        struct iovec there = {(void *)victim->address,
                              sizeof(ROW_TEXT)}; // NOLINT(performance-no-int-to-ptr)
        refused += process_vm_readv(victim->pid, &here, 1, &there, 1, 0) < 0 && errno == EPERM;
    }
    printf("burst %lu %lu\n", n, refused);
    fflush(stdout);
    return refused == n ? ROW_REFUSED : ROW_LEAKED;
}
