// SPDX-License-Identifier: Apache-2.0
//
// File systems: those of the kernel's own, reached without a mount in anybody's sight, since what is not mounted here can be
// mounted by an attacker, and so has to be tried all the same; and which one a file is on.
#ifndef CT_FS_H
#define CT_FS_H

#include <stdbool.h>
#include <sys/types.h>

// A descriptor of the root of "debugfs", "tracefs", "cgroup2", "bpf", "proc", "sysfs", mounted for this descriptor alone
// (fsmount(2)); the caller's. -1 with errno: ENODEV where the kernel has no such thing.
int ct_fs_open(const char *type);

// What an open file is on.
struct ct_fs_mount {
    char type[32];   // "ext4"
    unsigned device; // as the kernel writes it: major << 20 | minor
};

// By the mounts of a process's namespace (proc(5)). False when the file is not on one of them. The file system itself is asked
// nothing: one that does not answer would hold the caller up.
bool ct_fs_mount_of(int fd, pid_t pid, struct ct_fs_mount *ret);

// Whether the kernel has such a file system's content from a disk or from memory. What a process of the node's serves (FUSE, a
// network) could be one thing for the agent and another for the processor.
bool ct_fs_is_kernels_own(const char *type);

#endif
