// SPDX-License-Identifier: Apache-2.0
//
// Proofs of the score about the wrapper's own memory. Each has a positive control - the same attack
// succeeds on an unprotected page or process - and a failed control means unproven: no points.
#ifndef CT_PROOF_H
#define CT_PROOF_H

#include "err.h"
#include "score.h"

// Attacks the arena and this process; records memfd_secret, mlock, madv_dontdump and
// pr_set_dumpable for CT_HOLDER_WRAPPER. Says which checks need /proc when there is none.
void ct_proof_wrapper(struct ct_facts *facts);

// Looks for `token` in everything readable outside of the arena, after a planted copy was found there
// and wiped; records token_protected for CT_HOLDER_WRAPPER. Attacks the token's own page too: if that
// succeeds, memfd_secret is lost.
void ct_proof_token(struct ct_facts *facts, const char *token, size_t len);

#endif
