// SPDX-License-Identifier: Apache-2.0
//
// A process's mappings as /proc/PID/smaps tells them (proc_pid_smaps(5)), read through a buffer on
// the stack: what reads memory maps to find residue must not allocate.
#ifndef CT_SMAPS_H
#define CT_SMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"

struct ct_mapping {
    uintptr_t start, end;
    bool readable, writable;
    bool special;   // [vvar], [vdso], [vsyscall]: the kernel's own pages
    bool secret;    // pages of a memfd_secret(2)
    bool dirty;     // holds pages that this process wrote to
    bool locked;    // VmFlags: lo
    bool dont_dump; // VmFlags: dd
};

struct ct_smaps {
    int fd;
    bool end;
    size_t at, len;
    char text[8192];
};

// Opens the maps of a process; pid 0 is this one. Returns 0 or a negated errno.
CT_CHECKED int ct_smaps_open(struct ct_smaps *s, pid_t pid);
// The next mapping; false behind the last one.
CT_CHECKED bool ct_smaps_next(struct ct_smaps *s, struct ct_mapping *ret);
void ct_smaps_close(struct ct_smaps *s);

#endif
