// SPDX-License-Identifier: Apache-2.0
//
// Inside of option.h.
#ifndef CT_OPTION_INTERNAL_H
#define CT_OPTION_INTERNAL_H

#include "option.h"

// "90s" of 90000: the largest unit that divides it.
void ct_option_duration_text(int ms, char *out, size_t size);

#endif
