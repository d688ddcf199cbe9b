// SPDX-License-Identifier: Apache-2.0
//
// The programs in the kernel as one thing: loaded as far as this kernel has them, attached by the best tier
// that proves itself for each vector. Not thread-safe; a guard belongs to one thread.
#ifndef CT_GUARD_H
#define CT_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "cleanup.h"
#include "err.h"
#include "selftest.h"
#include "shared.h"

struct ct_guard;

struct ct_guard_options {
    unsigned tiers; // bit N: tier N may be used
    bool strict;
};

#define CT_TIERS_ALL                                                                               \
    (1U << CT_TIER_LSM | 1U << CT_TIER_FMOD_RET | 1U << CT_TIER_KPROBE | 1U << CT_TIER_REACTIVE)

// Loads and attaches; *ret enforces from then on, until it is freed. What a tier cannot do here is no
// error: ct_guard_tier_trouble() says why. Errors: -CT_ESYSTEM with what the kernel lacks for any of it (BTF,
// the right to load programs).
CT_CHECKED int ct_guard_new(const struct ct_guard_options *options, struct ct_guard **ret,
                            struct ct_err *err);

// Takes NULL. Enforcement ends.
void ct_guard_free(struct ct_guard *guard);

CT_DEFINE_AUTO(ct_guard, ct_guard_free);

// Tries every vector once more. Errors: those of ct_selftest().
CT_CHECKED int ct_guard_prove(struct ct_guard *guard, struct ct_err *err);

// What the last proof has shown.
struct ct_result ct_guard_result(const struct ct_guard *guard, enum ct_vector vector);

// Why a tier could not be loaded here; "" when it could or was not wanted. Lives as long as the guard.
const char *ct_guard_tier_trouble(const struct ct_guard *guard, enum ct_tier tier);

// A program that runs protected, and the process between it and the caller.
struct ct_spawned {
    pid_t pid;
    // The caller's child: ends as the program does, 128+n for a signal; 127 when it is not found.
    pid_t keeper;
};

// Runs argv[0], found as execvp(3) does, protected together with all that descends from it. The
// caller waits for ret->keeper. Errors: -CT_ESYSTEM.
CT_CHECKED int ct_guard_spawn(struct ct_guard *guard, char *const argv[], struct ct_spawned *ret,
                              struct ct_err *err);

// Told of each refusal. `event` is the callee's until it returns.
typedef void (*ct_guard_tell)(void *cls, const struct ct_event *event);

// Waits up to timeout_ms for refusals and tells of those that there are. Errors: -CT_ESYSTEM.
CT_CHECKED int ct_guard_poll(struct ct_guard *guard, int timeout_ms, ct_guard_tell tell, void *cls,
                             struct ct_err *err);

// The descriptor of one of its maps, by the name in bpf/*.bpf.h; borrowed.
int ct_guard_map(const struct ct_guard *guard, const char *name);

// How many programs are attached.
unsigned ct_guard_attached(const struct ct_guard *guard);

#endif
