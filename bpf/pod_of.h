// SPDX-License-Identifier: Apache-2.0
//
// The name of a process's pod, by what the process has: the settings in its environment name the file of its
// service account's token, whose claims say it (docs/adr/0018).
#ifndef CT_POD_OF_H
#define CT_POD_OF_H

#include <sys/types.h>

#include "aside.h"
#include "pod_identity.h"

// Empty where it says nothing, or another pod's uid than `uid`, which the cgroup's path tells. Reads what the process
// chose, so a process of its own does that, for a second at most; while one of `aside` hangs, nothing is asked.
void ct_pod_of(struct ct_aside *aside, pid_t pid, const char *uid, struct ct_pod_identity *ret);

#endif
