// SPDX-License-Identifier: Apache-2.0
//
// Programs that the operator lets do what is refused to everybody else: an EDR that reads processes, a network's agent
// that loads BPF programs. Whoever is root can make itself look like one (its file by ptrace or PR_SET_MM, its cgroup by
// a write), so where there is one nothing can be proven to be refused: its vectors count as open, the node's points for
// enforcement are gone, and no wrapper's canary gets its own.
#ifndef CT_EXEMPT_H
#define CT_EXEMPT_H

#include <stdint.h>

#include "cleanup.h"
#include "err.h"
#include "option.h"

// Where a node's cgroups are, unless the options say otherwise.
#define CT_CGROUP_ROOT "/sys/fs/cgroup"

// "VECTOR[+VECTOR]...:FILE[@CGROUP]". CT_EINVAL: no absolute paths, a vector that there is not or that is never exempt (what
// guards the agent), or an interpreter, which would do it for whoever has one.
CT_CHECKED int ct_exempt_check(const char *value, struct ct_err *err);

// Writes them into the map of exemptions in place of those that are there, once all are found; *ret_vectors: all that are open to somebody (bit N: vector N). `cgroup_root`: where
// cgroups are mounted. Errors: CT_EINVAL when a file is not a program, or not on a file system of the kernel's own, or exempt in
// two cgroups; CT_ESYSTEM with what cannot be found.
CT_CHECKED int ct_exempt_write(int map, const struct ct_option_list *exempts,
                               const char *cgroup_root, uint64_t *ret_vectors, struct ct_err *err);

#endif
