// SPDX-License-Identifier: Apache-2.0
// Write all of memory to a disk: by the kernel, as far as a word that it does not know, and by a program, as far as its
// device.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "row.h"

static enum row_result by_kernel(void)
{
    const char *path = "/sys/power/state";
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return row_from_errno(path);
    }
    ssize_t n = write(fd, "no-such-state", strlen("no-such-state"));
    return n < 0 && errno != EINVAL ? row_from_errno(path) : ROW_LEAKED;
}

static enum row_result by_program(void)
{
    int fd = open("/dev/snapshot", O_RDONLY | O_CLOEXEC);
    // Secret memory in use: there is no hibernation at all.
    bool off = fd < 0 && errno == EPERM;
    enum row_result result = fd < 0 ? row_from_errno("/dev/snapshot") : ROW_LEAKED;
    if (fd >= 0) {
        close(fd);
    }
    return off ? ROW_REFUSED : result;
}

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    enum row_result kernel = by_kernel();
    return by_program() == ROW_LEAKED ? ROW_LEAKED : kernel;
}
