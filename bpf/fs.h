// SPDX-License-Identifier: Apache-2.0
//
// File systems of the kernel's own, reached without a mount in anybody's sight: what is not mounted here can be
// mounted by an attacker, and so has to be tried all the same.
#ifndef CT_FS_H
#define CT_FS_H

// A descriptor of the root of "debugfs", "tracefs", "cgroup2", "bpf", "proc", "sysfs", mounted for this descriptor alone
// (fsmount(2)); the caller's. -1 with errno: ENODEV where the kernel has no such thing.
int ct_fs_open(const char *type);

#endif
