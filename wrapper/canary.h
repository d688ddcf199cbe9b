// SPDX-License-Identifier: Apache-2.0
//
// The canary: it shows whether the guard in the kernel enforces what it answers. A process that gave its mark up
// attacks one that has it, in all other ways its equal, by each means that the container allows. Each attack
// has its control: it succeeds on a process without a mark (or, on the app, while the attacker still
// has its own), or it proves nothing and is left out. All of it happens in forked children, which end with it.
#ifndef CT_CANARY_H
#define CT_CANARY_H

#include <stdint.h>
#include <sys/types.h>

#include "assume.h"
#include "score.h"

// Whom it attacks.
struct ct_canary_victim {
    pid_t pid; // 0: a child of the calling process, made for that; others are left out below
    uintptr_t address;           // of a word that is readable in it
    struct ct_standing standing; // whose it is
};

enum ct_canary_verdict {
    CT_CANARY_DENIED,   // each attack was refused, and the attacker lived on
    CT_CANARY_KILLED,   // or ended for it, with nothing read
    CT_CANARY_READ,     // an attack succeeded
    CT_CANARY_UNPROVEN, // no attack succeeds on what is unprotected either
    CT_CANARY_MUTE,     // the guard does not let the attacker go: nobody is there, or not the guard
    CT_CANARY_FORBIDDEN, // nor does it where the operator exempts somebody: nothing would be proven
    CT_CANARY_BROKEN,    // it came to no end; worth another try
};

struct ct_canary_outcome {
    enum ct_canary_verdict verdict;
    const char *attack; // READ, KILLED: by which; static
};

// Forks the canary, of which all processes end with the calling thread. Returns its pid, -1 with errno. Uses no lock
// and no memory of the heap.
pid_t ct_canary_fork(const struct ct_canary_victim *victim);

// What its wait status tells.
struct ct_canary_outcome ct_canary_outcome(int status);

// Forks it and waits for it, 10 s at most.
struct ct_canary_outcome ct_canary_run(const struct ct_canary_victim *victim);

// Records ebpf_connected and kprobes_active of one holder.
void ct_canary_record(struct ct_facts *facts, enum ct_holder holder,
                      const struct ct_canary_outcome *outcome);

#endif
