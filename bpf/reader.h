// SPDX-License-Identifier: Apache-2.0
//
// Programs that the operator lets read protected processes: an EDR, say. Whoever is root can make itself look like one
// (its file by ptrace or PR_SET_MM, its cgroup by a write), so where there is a reader nothing can be proven to be
// refused: the node's points for enforcement are gone, and no wrapper's canary gets its own.
#ifndef CT_READER_H
#define CT_READER_H

#include <stdint.h>

#include "cleanup.h"
#include "err.h"
#include "option.h"

// Where a node's cgroups are, unless the options say otherwise.
#define CT_CGROUP_ROOT "/sys/fs/cgroup"

// What is opened to a reader: bit N is vector N.
uint64_t ct_reader_vectors(void);

// "FILE" or "FILE@CGROUP". CT_EINVAL: no absolute paths, or an interpreter, which would be a reader for whoever has one.
CT_CHECKED int ct_reader_check(const char *value, struct ct_err *err);

// Writes them into the map of exemptions. `cgroup_root`: where cgroups are mounted. Errors: CT_EINVAL when a file is not a
// program, CT_ESYSTEM with what cannot be found.
CT_CHECKED int ct_reader_allow(int map, const struct ct_option_list *readers,
                               const char *cgroup_root, struct ct_err *err);

#endif
