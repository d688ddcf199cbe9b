// SPDX-License-Identifier: Apache-2.0
//
// Who may be protected: a signed wrapper that is the first process of a pod's container. Everything is
// asked of the kernel about the process itself; nothing that it says is believed.
#ifndef CT_VET_H
#define CT_VET_H

#include <stdbool.h>
#include <sys/types.h>

#include "aside.h"
#include "container.h"
#include "err.h"
#include "signature.h"

struct ct_vet_options {
    const char *cgroup_root; // where cgroups are mounted
    char *const
        *allow_cgroups; // patterns (fnmatch(3)) of paths that are taken beside those of pods
    size_t n_allow_cgroups;
    struct ct_trust trust;
    unsigned min_version; // as ct_version_parse() has it
};

// What was learned of a process, as far as it came to that.
struct ct_vetted {
    struct ct_cgroup_place place;
    struct ct_container container; // empty where a pattern let it in
    struct ct_process process;
    struct ct_signature signature;
};

// Where it runs. Cheap: nothing of the process's own choice is read. Errors: CT_EDENIED with the reason, CT_ENOTFOUND
// when it has ended, CT_ESYSTEM.
CT_CHECKED int ct_vet_place(const struct ct_vet_options *options, pid_t pid, struct ct_vetted *ret,
                            struct ct_err *err);

// What it is: not traced, one thread, its program signed and new enough. `first`: and no other process of its
// container is older. Needs ct_vet_place() before. Errors as there, and CT_EUNAVAIL when `aside` did not come to its
// program's end.
CT_CHECKED int ct_vet_program(const struct ct_vet_options *options, struct ct_aside *aside,
                              pid_t pid, bool first, struct ct_vetted *ret, struct ct_err *err);

#endif
