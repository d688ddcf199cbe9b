// SPDX-License-Identifier: Apache-2.0
//
// The name of a process's pod, by what the process has: the settings in its environment name the file of its
// service account's token, whose claims say it (docs/adr/0018).
#ifndef CT_POD_OF_H
#define CT_POD_OF_H

#include <sys/types.h>

#include "cleanup.h"
#include "pod_identity.h"

// Empty where it says nothing, or another pod's uid than `uid`, which the cgroup's path tells. Reads what the process
// chose, so a process of its own does that, for 200 ms at most.
void ct_pod_of(pid_t pid, const char *uid, struct ct_pod_identity *ret);

#endif
