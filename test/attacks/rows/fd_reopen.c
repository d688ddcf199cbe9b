// SPDX-License-Identifier: Apache-2.0
// Open a file of its own by /proc/PID/fd/N.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char name[32];
    char text[sizeof(ROW_TEXT)];
    snprintf(name, sizeof(name), "fd/%d", victim->fd);
    int fd = open(row_path(victim, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    ssize_t n = pread(fd, text, sizeof(text), 0);
    close(fd);
    return n > 0 && row_is_text(text, (size_t)n) ? ROW_LEAKED : ROW_REFUSED;
}
