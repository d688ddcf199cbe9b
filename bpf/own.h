// SPDX-License-Identifier: Apache-2.0
//
// The programs of an agent, as it has written them down in its pinned map ct_own.
#ifndef CT_OWN_H
#define CT_OWN_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"

#define CT_OWN_PROGRAMS 512

struct ct_own_programs {
    __u32 ids[CT_OWN_PROGRAMS];
    size_t n;
};

// A descriptor of that map; -1: there is none at these pins.
int ct_own_open(const char *pin_dir);

void ct_own_list(int own, struct ct_own_programs *ret);

// Waits until the kernel has freed these programs: it takes them off in its own time, and they refuse until then. False:
// it had not within so long.
CT_CHECKED bool ct_own_wait(const struct ct_own_programs *programs, int patience_ms);

#endif
