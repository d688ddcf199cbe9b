// SPDX-License-Identifier: Apache-2.0
// Write a PCI device's configuration, which says what memory it may use, in sysfs; in procfs (row_pci_proc). It is
// what is there already.
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "row.h"

#define COMMAND_REGISTER 4

enum row_result row_attack(const struct row_victim *victim)
{
    bool procfs = strstr(program_invocation_short_name, "proc") != NULL;
    char value[2];
    glob_t found;
    (void)victim;
    if (glob(procfs ? "/proc/bus/pci/*/*.*" : "/sys/bus/pci/devices/*/config", 0, NULL, &found) !=
        0) {
        return ROW_ABSENT;
    }
    int fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    bool written = fd >= 0 &&
                   pread(fd, value, sizeof(value), COMMAND_REGISTER) == (ssize_t)sizeof(value) &&
                   pwrite(fd, value, sizeof(value), COMMAND_REGISTER) == (ssize_t)sizeof(value);
    enum row_result result = written ? ROW_LEAKED : row_from_errno(found.gl_pathv[0]);
    if (fd >= 0) {
        close(fd);
    }
    globfree(&found);
    return result;
}
