// SPDX-License-Identifier: Apache-2.0
//
// Answers registrations: takes what the programs in the kernel tell of them, vets, answers, and writes a line of JSON
// for each decision. Not thread-safe; belongs to one loop.
#ifndef CT_REGISTRAR_H
#define CT_REGISTRAR_H

#include <stdint.h>

#include "guard.h"
#include "pod_identity.h"
#include "vet.h"

#define CT_MAX_TASKS 4096 // of a container, unless the options say otherwise

// One line of JSON with its newline; the callee's until it returns.
typedef void (*ct_registrar_line)(void *cls, const char *line, size_t len);

struct ct_registrar_options {
    struct ct_vet_options vet;
    unsigned max_tasks; // protected processes of one container
    ct_registrar_line line;
    void *cls;
};

// Decisions so far.
struct ct_registrar_counts {
    uint64_t accepted;   // first vettings
    uint64_t protected_; // second ones: wrappers that are protected
    uint64_t refused;
};

// A container that has registered, as far as it is known. Texts are "" where they are not.
struct ct_registered {
    uint64_t cgroup;
    struct ct_container container;
    struct ct_pod_identity pod; // its own word, as far as the uid is the cgroup's
};

struct ct_registrar;

// Borrows the guard, which has to outlive it; options are copied but for the patterns, which are borrowed. Errors:
// CT_ESYSTEM, CT_ENOMEM.
CT_CHECKED int ct_registrar_new(struct ct_guard *guard, const struct ct_registrar_options *options,
                                struct ct_registrar **ret, struct ct_err *err);
// Takes NULL. Processes that register from then on are told that no agent listens.
void ct_registrar_free(struct ct_registrar *registrar);
CT_DEFINE_AUTO(ct_registrar, ct_registrar_free);

// Readable when there is something for ct_registrar_handle(). Borrowed.
int ct_registrar_fd(const struct ct_registrar *registrar);

// Does all that there is to do, and tells the kernel that the agent listens: call it when the descriptor is readable,
// and each second. Errors: CT_ESYSTEM.
CT_CHECKED int ct_registrar_handle(struct ct_registrar *registrar, struct ct_err *err);

struct ct_registrar_counts ct_registrar_counts(const struct ct_registrar *registrar);

// The container whose cgroup has this number; NULL when none has registered. Until the next ct_registrar_handle().
const struct ct_registered *ct_registrar_container(const struct ct_registrar *registrar,
                                                   uint64_t cgroup);

// Takes the protection off a process, or off all of a cgroup, for good; *ret is how many processes that were. Written
// into the audit. Errors: CT_ENOTFOUND when there is none.
CT_CHECKED int ct_registrar_unprotect_pid(struct ct_registrar *registrar, pid_t pid, unsigned *ret,
                                          struct ct_err *err);
CT_CHECKED int ct_registrar_unprotect_cgroup(struct ct_registrar *registrar, uint64_t cgroup,
                                             unsigned *ret, struct ct_err *err);

#endif
