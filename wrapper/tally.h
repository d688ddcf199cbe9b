// SPDX-License-Identifier: Apache-2.0
//
// The facts while the app runs, when two threads learn new ones: that which supervises (the canary) and that which
// works beside it (a new token). Whatever changes the score is told by the log and the metrics.
#ifndef CT_TALLY_H
#define CT_TALLY_H

#include <stdint.h>

#include "score.h"

// Once, before the app is released. `facts` is borrowed until the process ends, and only changed here from
// then on. `min_score` and `require` are what the app was started by.
void ct_tally_begin(struct ct_facts *facts, int min_score, uint32_t require);

// A copy, to try something on.
void ct_tally_read(struct ct_facts *ret);

// Takes the facts of the checks in `set` (bit N: check N) from `news`. When the score has fallen, `fallen` is logged
// with it, and whether it is below what the app needed to start: it goes on all the same. When it has risen,
// `risen`.
void ct_tally_replace(uint32_t set, const struct ct_facts *news, const char *fallen,
                      const char *risen);

#endif
