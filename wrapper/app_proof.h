// SPDX-License-Identifier: Apache-2.0
//
// Proofs of the score about the app, at its exec stop, before its first instruction.
#ifndef CT_APP_PROOF_H
#define CT_APP_PROOF_H

#include "delivery.h"
#include "score.h"

// After delivery, while the app is still dumpable: attacks each of its secret pages by every means, with its
// stack as the control, and looks at the flags of both. `mem_fd` is its /proc/PID/mem, or -1.
void ct_app_proof_memory(struct ct_facts *facts, const struct ct_inject *in,
                         const struct ct_delivery *d, int mem_fd);

// Makes the app not dumpable, from inside, and attacks it without privileges. Records
// pr_set_dumpable. An error means that tracing itself failed.
CT_CHECKED int ct_app_proof_dumpable(struct ct_facts *facts, struct ct_inject *in,
                                     struct ct_err *err);

// While the app is still dumpable: has the canary attack it. Records ebpf_connected and kprobes_active. An error
// means that tracing itself failed.
CT_CHECKED int ct_app_proof_guard(struct ct_facts *facts, struct ct_inject *in, struct ct_err *err);

// Records that the app earns neither of these two.
void ct_app_proof_no_guard(struct ct_facts *facts, const char *reason);

// Records that the app earns none of the four memory checks.
void ct_app_proof_none(struct ct_facts *facts, const char *fmt, ...) CT_PRINTF(2, 3);

#endif
