// SPDX-License-Identifier: Apache-2.0
//
// How a container's program is started, as far as its command tells, and what that costs. What only
// the image knows - a script, the program behind an entrypoint - is the wrapper's to judge.
#ifndef CT_STARTS_H
#define CT_STARTS_H

#include "pod.h"

struct ct_starts {
    const char *launcher; // static; NULL: none, or one that the wrapper will follow
    const char *why;      // static: why it cannot be followed, in brackets behind a space, or ""
};

void ct_starts_judge(const struct ct_case *c, const struct ct_container *container,
                     struct ct_starts *ret);

#endif
