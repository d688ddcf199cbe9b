// SPDX-License-Identifier: Apache-2.0
// Follow /proc/PID/root into its file system; cwd and exe (row_links_cwd, row_links_exe), and read where exe leads to
// (row_links_readlink).
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char target[64];
    const char *name = row_is_named("cwd") ? "cwd/" : row_is_named("exe") ? "exe" : "root/";
    if (row_is_named("readlink")) {
        return readlink(row_path(victim, "exe"), target, sizeof(target)) < 0
                   ? row_from_errno("readlink")
                   : ROW_LEAKED;
    }
    int fd = open(row_path(victim, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno("open");
    }
    close(fd);
    return ROW_LEAKED;
}
