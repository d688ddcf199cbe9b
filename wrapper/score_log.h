// SPDX-License-Identifier: Apache-2.0
//
// How the score is told on stderr, and what it means for the app: may it run?
#ifndef CT_SCORE_LOG_H
#define CT_SCORE_LOG_H

#include <stdint.h>

#include "err.h"
#include "score.h"

// Text: one line for the sum and one for each check, to the letter of the specification. JSON: one
// object that holds all of it.
void ct_score_log(const struct ct_score *score);

// Could a score of `min` and the checks of `require` (bits 1 << enum ct_check) still be reached, once
// everything that was not tried yet is proven? CT_EDENIED names each check that stands in the way,
// with its reason.
CT_CHECKED int ct_score_reachable(const struct ct_facts *facts, int min, uint32_t require,
                                  struct ct_err *err);

// Is it reached? CT_EDENIED likewise.
CT_CHECKED int ct_score_reached(const struct ct_score *score, int min, uint32_t require,
                                struct ct_err *err);

#endif
