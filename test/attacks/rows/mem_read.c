// SPDX-License-Identifier: Apache-2.0
// Read /proc/PID/mem.
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char text[sizeof(ROW_TEXT)];
    int fd = open(row_path(victim, "mem"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    ssize_t n = pread(fd, text, sizeof(text), (off_t)victim->address);
    close(fd);
    return n > 0 && row_is_text(text, (size_t)n) ? ROW_LEAKED : row_from_errno("pread");
}
