// SPDX-License-Identifier: Apache-2.0
// Open what it has mapped by /proc/PID/map_files, also what has no name any more.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "row.h"

static bool holds_text(int folder, const char *name)
{
    char text[sizeof(ROW_TEXT)];
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = number;
    return n > 0 && row_is_text(text, (size_t)n);
}

enum row_result row_attack(const struct row_victim *victim)
{
    DIR *folder = opendir(row_path(victim, "map_files"));
    bool found = false;
    errno = folder != NULL ? 0 : errno;
    for (struct dirent *e; folder != NULL && !found && (e = readdir(folder)) != NULL;) {
        found = e->d_name[0] != '.' && holds_text(dirfd(folder), e->d_name);
    }
    return found ? ROW_LEAKED : row_from_errno("map_files");
}
