// SPDX-License-Identifier: Apache-2.0
// Attacks a victim again and again (UNTIL=FILE row_again PID ADDRESS FD), by its memory and by its environment, until
// FILE is there; then says how often, and how often it got something.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "row.h"

#define LOOK_EVERY 64

enum row_result row_attack(const struct row_victim *victim)
{
    const char *until = getenv("UNTIL");
    unsigned long tries = 0;
    unsigned long hits = 0;
    while (until != NULL && (tries % LOOK_EVERY != 0 || access(until, F_OK) != 0)) {
        char text[64];
        struct iovec here = {text, sizeof(ROW_TEXT)};
        struct iovec there = {(void *)victim->address,
                              sizeof(ROW_TEXT)}; // NOLINT(performance-no-int-to-ptr)
        ssize_t n = process_vm_readv(victim->pid, &here, 1, &there, 1, 0);
        hits += n > 0 && row_is_text(text, (size_t)n) ? 1 : 0;
        int fd = open(row_path(victim, "environ"), O_RDONLY | O_CLOEXEC);
        hits += fd >= 0 ? 1 : 0;
        if (fd >= 0) {
            close(fd);
        }
        tries++;
    }
    printf("again %lu %lu\n", tries, hits);
    fflush(stdout);
    return hits != 0 ? ROW_LEAKED : ROW_REFUSED;
}
