// SPDX-License-Identifier: Apache-2.0
//
// How the running kernel writes calls of the helpers that read memory, in the programs that it has verified: as offsets,
// others in each build of a kernel. Internal to ct_guard.
#ifndef CT_LEARN_H
#define CT_LEARN_H

#include <bpf/libbpf.h>

#include "err.h"
#include "shared.h"

// Of the base's program that calls all of them; 0 behind the last. What was loaded has to be the caller's own.
CT_CHECKED int ct_learn_reading(struct bpf_object *base, __s32 ret[CT_READING_CALLS],
                                struct ct_err *err);

#endif
