// SPDX-License-Identifier: Apache-2.0
// /proc/PID/mem of all that is mapped.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "attack.h"

#define VECTOR "/proc/pid/mem"

static ssize_t read_victim(void *cls, uint64_t address, void *buffer, size_t len)
{
    return pread(*(int *)cls, buffer, len, (off_t)address);
}

int main(int argc, char **argv)
{
    pid_t pid;
    struct attack_needle needle;
    struct attack_map map;
    struct attack_scan scan;
    char path[64];
    if (!attack_arguments(argc, argv, &pid, &needle)) {
        return ATTACK_NOT_APPLICABLE;
    }
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !attack_map_load(pid, &map)) {
        return attack_tell_refused(VECTOR, "it cannot be opened");
    }
    attack_scan(&map, &needle, read_victim, &fd, &scan);
    attack_map_done(&map);
    close(fd);
    return attack_tell(VECTOR, &scan);
}
