// SPDX-License-Identifier: Apache-2.0
// Load a kernel from a file; one that is no kernel, so that it ends with ENOEXEC.
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    char junk[4096];
    int fd = memfd_create("junk", MFD_CLOEXEC);
    (void)victim;
    memset(junk, '-', sizeof(junk));
    if (write(fd, junk, sizeof(junk)) != (ssize_t)sizeof(junk)) {
        return ROW_ABSENT;
    }
    // 4: KEXEC_FILE_NO_INITRAMFS.
    return syscall(SYS_kexec_file_load, fd, -1, 1L, "", 4L) < 0 ? row_from_errno("kexec_file_load")
                                                                : ROW_LEAKED;
}
