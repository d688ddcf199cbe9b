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
#include "option.h"
#include "selftest.h"
#include "ring.h"
#include "shared.h"

struct ct_guard;

struct ct_guard_options {
    unsigned tiers; // bit N: tier N may be used
    bool strict;
    // Where to pin what enforces, so that it outlives the process: a folder in a BPF file system. NULL: it ends with
    // the process.
    const char *pin_dir;
    unsigned version;     // major << 16 | minor << 8 | patch
    bool allow_downgrade; // replace a later version, or one that refuses more
    // To whom vectors are open, as exempt.h has it, and where cgroups are mounted; NULL: nobody. Not with strict.
    const struct ct_option_list *exempts;
    const char *cgroup_root;
};

#define CT_GUARD_PINS "/sys/fs/bpf/cloudtaser"

#define CT_TIERS_ALL                                                                               \
    (1U << CT_TIER_CGROUP | 1U << CT_TIER_LSM | 1U << CT_TIER_FMOD_RET | 1U << CT_TIER_KPROBE |    \
     1U << CT_TIER_REACTIVE)

// Loads and attaches; *ret enforces from then on, until it is freed: or, pinned, until
// ct_guard_uninstall(). What was pinned before goes on until the new programs are proven on the same maps, and
// stays when they refuse less. What a tier cannot do here is no
// error: ct_guard_tier_trouble() says why. Errors: -CT_ESYSTEM with what the kernel lacks for any of it (BTF,
// the right to load programs); with pins those of ct_pins_open(), and -CT_EDENIED when what is pinned is later or
// better.
CT_CHECKED int ct_guard_new(const struct ct_guard_options *options, struct ct_guard **ret,
                            struct ct_err *err);

// Takes NULL. Enforcement ends, but for what is pinned.
void ct_guard_free(struct ct_guard *guard);

CT_DEFINE_AUTO(ct_guard, ct_guard_free);

// Tries every vector once more, whatever ct_guard_result() said. Errors: those of ct_selftest().
CT_CHECKED int ct_guard_prove(struct ct_guard *guard, struct ct_err *err);
// The same for who keeps the results elsewhere: a process that the guard was forked to.
CT_CHECKED int ct_guard_try(const struct ct_guard *guard, struct ct_result ret[CT_V_COUNT],
                            struct ct_err *err);
// In such a process, which then does nothing else: frees what it does not need for that, for it is copied at each fork.
void ct_guard_lighten(struct ct_guard *guard);
void ct_guard_take_results(struct ct_guard *guard, const struct ct_result results[CT_V_COUNT]);

// Makes the calling process one of the agent's: protected, and not to be ended by others.
CT_CHECKED int ct_guard_claim(const struct ct_guard *guard, enum ct_claim claim,
                              struct ct_err *err);

// A descriptor of a map, borrowed; -1 when there is none of that name.
int ct_guard_map(const struct ct_guard *guard, const char *name);

// What became of the pins, for the log.
struct ct_guard_pinned {
    __u32 generation; // 0: not pinned at all
    __u32 replaced;   // the generation before; 0: there was none
    __u32 version;    // of the agent before
    unsigned links;
    unsigned unpinned; // programs whose links this kernel does not pin: they end with the process
};
struct ct_guard_pinned ct_guard_pinned(const struct ct_guard *guard);

// What ct_guard_uninstall() has removed.
struct ct_removed {
    unsigned links;
    unsigned programs; // of the root cgroup
    unsigned maps;
    bool folder; // false: it is not empty, or was not there
    bool over;   // false: the kernel has not freed all programs yet, and these still refuse
};

// Ends enforcement: removes what is pinned in a folder, and the folder, and waits for the kernel to free it, a minute at most. Errors: those of ct_pins_open(), but what does
// not make sense is removed as well; -CT_EDENIED while the agent lives; -CT_ESYSTEM when something could not be removed.
CT_CHECKED int ct_guard_uninstall(const char *pin_dir, struct ct_removed *ret, struct ct_err *err);

// Whether what an agent before has pinned there, or in the usual place, may enforce; it is when that cannot be told.
bool ct_guard_may_enforce(const char *pin_dir);

// What the last proof has shown.
struct ct_result ct_guard_result(const struct ct_guard *guard, enum ct_vector vector);

// What the operator has opened to somebody: bit N, vector N. 0: nobody is exempt from anything.
__u64 ct_guard_exempt(const struct ct_guard *guard);

// Which tiers may be used (bit N: tier N).
unsigned ct_guard_tiers(const struct ct_guard *guard);

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

// To be waited for together with others: readable when there are refusals to poll. -1: none.
int ct_guard_events_fd(struct ct_guard *guard);

// Waits up to timeout_ms for refusals and tells of those that there are. Errors: -CT_ESYSTEM.
CT_CHECKED int ct_guard_poll(struct ct_guard *guard, int timeout_ms, ct_guard_tell tell, void *cls,
                             struct ct_err *err);

// How many programs are attached.
unsigned ct_guard_attached(const struct ct_guard *guard);

#endif
