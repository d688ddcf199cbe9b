// SPDX-License-Identifier: Apache-2.0
//
// Drivers that hand devices to programs, and with a device that reads memory by itself all of it: which of their major
// numbers are refused. A driver gets its number when it is loaded, and every kernel gives another.
#ifndef CT_DEVICES_H
#define CT_DEVICES_H

#include <stdbool.h>
#include <stdio.h>

#include "shared.h"

// The major number that a character device's driver has in /proc/devices (proc(5)); 0: there is none of that name.
__u32 ct_devices_major(FILE *devices, const char *driver);

// Writes into the map ct_majors whom to watch on this node: uio, and vfio where it would go without an IOMMU or with
// `strict`. With an IOMMU a device sees what its program does, and no more.
void ct_devices_watch(int map, bool strict);

// Whether a kernel is loaded that takes over when this one panics, and has its memory: by a crash whoever is root gets
// hold of that. None can be loaded while the agent runs, nor this one unloaded.
bool ct_devices_has_crash_kernel(void);

#endif
