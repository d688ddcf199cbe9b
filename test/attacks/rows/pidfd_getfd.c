// SPDX-License-Identifier: Apache-2.0
// Take a descriptor of its by pidfd_getfd(2).
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char text[sizeof(ROW_TEXT)];
    int pidfd = (int)syscall(SYS_pidfd_open, victim->pid, 0);
    int fd = pidfd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, victim->fd, 0) : -1;
    if (fd < 0) {
        return row_from_errno("pidfd_getfd");
    }
    ssize_t n = pread(fd, text, sizeof(text), 0);
    close(fd);
    return n > 0 && row_is_text(text, (size_t)n) ? ROW_LEAKED : ROW_REFUSED;
}
