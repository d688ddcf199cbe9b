// SPDX-License-Identifier: Apache-2.0
//
// The table of attacks: their numbers, names and what the self-test does for each.
#ifndef CT_VECTORS_H
#define CT_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cleanup.h"
#include "shared.h"

// What an attack is given: a marked process that does nothing, and a descriptor of it (pidfd).
struct ct_victim {
    pid_t pid;
    int pidfd;
    pid_t
        agent; // whom it would be an attack to end; beside the marked one a process like any other
    int program; // a file that it has mapped to run, open for reading
    int den;     // the folder of the pins, which holds what is to be tried; -1: none
};

// One harmless try of an attack, in a process of its own: whether it is refused is told by the refusal counter,
// never by what it returns. Returns 0, or -ENOSYS and -ENOENT where this kernel has no such thing.
typedef int (*ct_attempt)(const struct ct_victim *victim);

struct ct_vector_info {
    enum ct_vector vector;
    const char *name;  // "process_vm_readv"
    const char *title; // what the attacker does
    bool kernel_wide;  // no victim: whoever does it could reach any process
    bool on_itself;    // the attempt is the marked process's own
    bool call_wide;    // the tier kprobe does not know whose memory it is about, and refuses all
    ct_attempt attempt;
};

// No attack: calls the guard as a wrapper does (CT_V_CALL). -ENOSYS when its answer has not come.
CT_CHECKED int ct_attempt_call(const struct ct_victim *victim);

// All of them, by ascending number.
const struct ct_vector_info *ct_vectors(size_t *ret_n);
// NULL when there is none of that number.
const struct ct_vector_info *ct_vector_info(enum ct_vector vector);
// NULL when there is none of that name, of which `len` bytes count.
const struct ct_vector_info *ct_vector_named(const char *name, size_t len);
// -1 when there is no tier of that name; "none" is none.
int ct_tier_from_name(const char *name);
const char *ct_tier_name(enum ct_tier tier); // "lsm", "fmod_ret", "kprobe", "reactive", "none"

#endif
