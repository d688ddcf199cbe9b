// SPDX-License-Identifier: Apache-2.0
//
// What may never come back is done aside, by a child: who waits for a file system that some process serves and does not
// answer is not even ended by SIGKILL. Not thread-safe.
#ifndef CT_ASIDE_H
#define CT_ASIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cleanup.h"

#define CT_ASIDE_MAX 8 // children that hang, at a time

// Zeroed at first. What still hangs at the end holds nothing of its parent's.
struct ct_aside {
    pid_t hanging[CT_ASIDE_MAX]; // 0: none
};

// Writes all of what it finds to *ret. It runs in the child.
typedef void (*ct_aside_act)(const void *cls, void *ret);

// Has act() done by a child, whose only descriptors are `keep` (-1: none) and what it opens, and copies back the `size`
// bytes at ret, PIPE_BUF at most. False, and ret is zeros: nothing came within patience_ms, there was no child to be had,
// or CT_ASIDE_MAX of them hang.
CT_CHECKED bool ct_aside_run(struct ct_aside *aside, int keep, int patience_ms, ct_aside_act act,
                             const void *cls, void *ret, size_t size);

// Closes all descriptors of this process but those `n` (-1: none), in whatever order.
void ct_aside_close_others(const int *keep, size_t n);

// How many hang. Those that have ended meanwhile are reaped.
unsigned ct_aside_hanging(struct ct_aside *aside);

// Waits so long for a child to end. False: it has not. (ECHILD counts as ended.)
bool ct_aside_reap(pid_t child, int patience_ms);

#endif
