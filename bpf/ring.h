// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What guards the guard, shared by the programs in the kernel and the agent as shared.h is: who the agent
// is, which objects are its own, where they are pinned, and whose turn it is while one set of programs
// replaces another. Changes here raise CT_GUARD_LAYOUT too.
#ifndef CT_BPF_RING_H
#define CT_BPF_RING_H

#include "shared.h"

// Its programs in the kernel are a generation: those of an upgrade stand beside the old ones, on the same maps,
// until they are proven. One that is not pinned is generation 0.
struct ct_ring {
    __u64 pins_inode;   // of the folder that holds the pins
    __u32 pins_device;  // of its file system, as the kernel writes it: major << 20 | minor
    __u32 first_mounts; // number of the first process's mount namespace
    __u32 generation;   // that enforces, counts and keeps the marks
    __u32 version;      // of the agent that put it there: major << 16 | minor << 8 | patch
};

// The self-test's attacker, and the generation that it tries: the programs of others let it pass.
struct ct_tester {
    __u32 tgid; // 0: none
    __u32 generation;
};

enum ct_own_kind { CT_OWN_MAP, CT_OWN_PROGRAM, CT_OWN_LINK };

struct ct_own_key {
    __u32 kind; // enum ct_own_kind
    __u32 id;   // the kernel's number of it
};

// What ct_claim is asked for, in its first argument.
enum ct_claim {
    CT_CLAIM_PART,  // a process of the agent's
    CT_CLAIM_AGENT, // the agent itself
};

// What it says.
enum ct_claim_answer {
    CT_CLAIM_DONE,
    CT_CLAIM_NO_ROOM,
    CT_CLAIM_REFUSED, // another is the agent, or the caller is no child of its
};

_Static_assert(sizeof(struct ct_ring) == 24, "no hidden padding");

#endif
