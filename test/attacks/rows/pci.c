// SPDX-License-Identifier: Apache-2.0
// Map the registers of a PCI device: what has them can have it read and write all of memory.
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    glob_t found;
    (void)victim;
    if (glob("/sys/bus/pci/devices/*/resource[0-5]", 0, NULL, &found) != 0) {
        return ROW_ABSENT;
    }
    enum row_result result = ROW_ABSENT;
    for (size_t i = 0; i < found.gl_pathc && result == ROW_ABSENT; i++) {
        int fd = open(found.gl_pathv[i], O_RDWR | O_CLOEXEC);
        void *map = MAP_FAILED;
        if (fd < 0) {
            result = row_from_errno(found.gl_pathv[i]);
            continue;
        }
        map = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        printf("%s: %s\n", found.gl_pathv[i], map != MAP_FAILED ? "mapped" : "not mapped");
        result = map != MAP_FAILED ? ROW_LEAKED : ROW_ABSENT;
        close(fd);
    }
    globfree(&found);
    return result;
}
