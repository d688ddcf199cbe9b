// SPDX-License-Identifier: Apache-2.0
//
// The self-test in a process of its own: it keeps the rights that an attacker has, which the agent drops, and
// takes as long as it takes while the agent goes on.
#ifndef CT_PROVER_H
#define CT_PROVER_H

#include "guard.h"

struct ct_prover;

// Forks it from a process with one thread. It ends with its parent, or with ct_prover_free().
CT_CHECKED int ct_prover_new(struct ct_guard *guard, struct ct_prover **ret, struct ct_err *err);
void ct_prover_free(struct ct_prover *prover); // takes NULL
CT_DEFINE_AUTO(ct_prover, ct_prover_free);

// Asks for one self-test; while one is under way that is the one. Errors: -CT_ESYSTEM, it has ended.
CT_CHECKED int ct_prover_ask(struct ct_prover *prover, struct ct_err *err);

// Readable when there is an answer. Borrowed.
int ct_prover_fd(const struct ct_prover *prover);

// Whether an answer is waited for.
bool ct_prover_is_busy(const struct ct_prover *prover);

// What the self-test has shown. Errors: those of ct_selftest(), in its words; -CT_ESYSTEM when it has ended.
CT_CHECKED int ct_prover_take(struct ct_prover *prover, struct ct_result ret[CT_V_COUNT],
                              double *ret_seconds, struct ct_err *err);

// Processor time that all self-tests so far have taken, with their processes.
double ct_prover_cpu_seconds(const struct ct_prover *prover);

#endif
