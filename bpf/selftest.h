// SPDX-License-Identifier: Apache-2.0
//
// Proves what the agent claims: a helper attacks a marked victim in each way, and a vector is proven by a tier
// when that tier's own counter of refusals moved for the helper's pid. The same attack on a victim
// without a mark must pass, or what refuses is not what is claimed.
#ifndef CT_SELFTEST_H
#define CT_SELFTEST_H

#include "err.h"
#include "shared.h"

// What it works by; borrowed.
struct ct_selftest_ground {
    int marks; // maps
    int tester;
    int proofs;
    int den;     // the folder of the pins, which holds "self-test" and "self-test-open"; -1: none
    pid_t agent; // whom it may try to end
    __u32 generation; // whose programs are tried
};

enum ct_outcome {
    CT_OUTCOME_UNTRIED,
    CT_OUTCOME_OPEN,     // let through, or refused by something else
    CT_OUTCOME_ABSENT,   // this kernel has no such thing
    CT_OUTCOME_OVERDONE, // the unprotected control was refused too
    CT_OUTCOME_EXEMPT,   // refused, but to whom the operator exempts: it counts as open
    CT_OUTCOME_REFUSED,  // proven: see the tier
};

struct ct_result {
    enum ct_outcome outcome;
    enum ct_tier tier; // with CT_OUTCOME_REFUSED: the one that refused
};

// Tries every vector of `wanted` (bit N: vector N) once and fills ret[N]. Takes some 10 ms; forks, so call it
// from a process with one thread. Needs the capabilities of the attacks (root). Errors: -CT_ESYSTEM when
// victim or helper cannot be made.
CT_CHECKED int ct_selftest(const struct ct_selftest_ground *ground, __u64 wanted,
                           struct ct_result ret[CT_V_COUNT], struct ct_err *err);

#endif
