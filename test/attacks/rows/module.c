// SPDX-License-Identifier: Apache-2.0
// Load a module; one that is none, so that it ends with ENOEXEC.
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    // At least the size of an ELF header, or it is refused before anybody is asked.
    char junk[128];
    int fd = memfd_create("junk", MFD_CLOEXEC);
    (void)victim;
    memset(junk, '-', sizeof(junk));
    if (write(fd, junk, sizeof(junk)) != (ssize_t)sizeof(junk)) {
        return ROW_ABSENT;
    }
    (void)syscall(SYS_init_module, junk, sizeof(junk), "");
    enum row_result by_memory = row_from_errno("init_module");
    (void)syscall(SYS_finit_module, fd, "", 0);
    enum row_result by_file = row_from_errno("finit_module");
    return by_memory == ROW_REFUSED ? by_file : by_memory;
}
