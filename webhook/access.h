// SPDX-License-Identifier: Apache-2.0
//
// The access log: a line for each admission request, with what was decided. In JSON its facts are
// fields of their own; in text it is a sentence for people.
#ifndef CT_WEBHOOK_ACCESS_H
#define CT_WEBHOOK_ACCESS_H

#include <stdint.h>

#include "mutate.h"

// One that was decided, in so many nanoseconds. In text, pods that did not opt in are told at the
// level of debugging alone.
void ct_access_decided(const struct ct_decision *decision, uint64_t ns);

// One that was answered with an HTTP status in the place of a decision; `decision` is what is known of it,
// `reason` the metrics' word for it.
void ct_access_failed(const struct ct_decision *decision, unsigned status, const char *reason,
                      const char *sentence, uint64_t ns);

#endif
