// SPDX-License-Identifier: Apache-2.0
//
// Time that passes, for waits and deadlines.
#ifndef CT_CLOCK_H
#define CT_CLOCK_H

#include <stdint.h>
#include <time.h>

// Milliseconds by CLOCK_MONOTONIC: no change of the date moves it. Thread-safe, and allowed in a signal handler
// and after fork(2) (signal-safety(7)).
static inline uint64_t ct_clock_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
