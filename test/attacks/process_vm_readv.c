// SPDX-License-Identifier: Apache-2.0
// process_vm_readv(2) of all that is mapped.
#include <sys/uio.h>

#include "attack.h"

#define VECTOR "process_vm_readv"

static ssize_t read_victim(void *cls, uint64_t address, void *buffer, size_t len)
{
    struct iovec local = {buffer, len};
    struct iovec remote = {(void *)(uintptr_t)address, len};
    return process_vm_readv(*(pid_t *)cls, &local, 1, &remote, 1, 0);
}

int main(int argc, char **argv)
{
    pid_t pid;
    struct attack_needle needle;
    struct attack_map map;
    struct attack_scan scan;
    if (!attack_arguments(argc, argv, &pid, &needle)) {
        return ATTACK_NOT_APPLICABLE;
    }
    if (!attack_map_load(pid, &map)) {
        return attack_tell_refused(VECTOR, "its maps cannot be read");
    }
    attack_scan(&map, &needle, read_victim, &pid, &scan);
    attack_map_done(&map);
    return attack_tell(VECTOR, &scan);
}
