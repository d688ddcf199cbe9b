// SPDX-License-Identifier: Apache-2.0
//
// From what attacks and looks showed to facts: the rules are the same for wrapper and app. Every
// proof has its control; a failed control means unproven.
#ifndef CT_VERDICT_H
#define CT_VERDICT_H

#include "score.h"
#include "smaps.h"

// memfd_secret: `control` and `secret` are the attacks (enum ct_attack) that succeeded on an ordinary
// page and on the secret one.
void ct_verdict_pages(struct ct_facts *facts, enum ct_holder holder, unsigned control,
                      unsigned secret);

// The mappings that hold a secret page and an ordinary one.
struct ct_flags {
    bool found_secret, found_control;
    struct ct_mapping secret, control;
};

// Reads on until both are found.
void ct_flags_find(struct ct_smaps *maps, uintptr_t secret, uintptr_t control,
                   struct ct_flags *ret);

// mlock and madv_dontdump: the secret mapping must have the flag and the control must not. The
// reasons are those of the system calls that were refused, "" when none was.
void ct_verdict_flags(struct ct_facts *facts, enum ct_holder holder, const struct ct_flags *flags,
                      const char *lock_reason, const char *dontdump_reason);

// Records mlock and madv_dontdump as not provable for the want of a file in /proc.
void ct_verdict_no_proc(struct ct_facts *facts, enum ct_holder holder, const char *file);

// pr_set_dumpable: attacks `pid` without privileges. `set_errno` is what PR_SET_DUMPABLE gave;
// `cleared` what PR_GET_DUMPABLE said afterwards; `address` is readable in it.
void ct_verdict_dumpable(struct ct_facts *facts, enum ct_holder holder, pid_t pid,
                         uintptr_t address, int set_errno, bool cleared);

#endif
