// SPDX-License-Identifier: Apache-2.0
// Read a file of its in /proc/PID, whose name is in the program's: row_proc_NAME, and row_task_NAME by its thread.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "row.h"

#define PAGE_BYTES 4096
#define PROC "row_proc_"
#define TASK "row_task_"
#define TRIES 100

// Where in it something is said of the victim's text.
static off_t place_in(const char *name, const struct row_victim *victim)
{
    if (strcmp(name, "mem") == 0) {
        return (off_t)victim->address;
    }
    return strcmp(name, "pagemap") == 0 ? (off_t)(victim->address / PAGE_BYTES * sizeof(long)) : 0;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *called = program_invocation_short_name;
    const char *name = called + sizeof(PROC) - 1;
    char inner[64];
    char text[64];
    ssize_t n = 0;
    bool by_thread = strncmp(called, TASK, sizeof(TASK) - 1) == 0;
    if (by_thread) {
        snprintf(inner, sizeof(inner), "task/%d/%s", (int)victim->pid, name);
    } else {
        snprintf(inner, sizeof(inner), "%s", name);
    }
    int fd = open(row_path(victim, inner), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    // Of one that runs the kernel tells no stack.
    for (int i = 0; n == 0 && i < TRIES; i++) {
        n = pread(fd, text, sizeof(long), place_in(name, victim));
        usleep(1000);
    }
    close(fd);
    return n > 0 ? ROW_LEAKED : row_from_errno("read");
}
