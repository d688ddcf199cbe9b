// SPDX-License-Identifier: Apache-2.0
// Read /proc/PID/environ.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char text[4096];
    int fd = open(row_path(victim, "environ"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    return n > 0 && memmem(text, (size_t)n, ROW_TEXT, strlen(ROW_TEXT)) != NULL ? ROW_LEAKED
                                                                                : ROW_REFUSED;
}
