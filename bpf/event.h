// SPDX-License-Identifier: Apache-2.0
//
// An attack that was refused, as a line for machines.
#ifndef CT_EVENT_H
#define CT_EVENT_H

#include <stdio.h>

#include "shared.h"

// Writes one line of JSON: {"vector":"process_vm_readv","action":"denied","tier":"lsm",
// "attacker":{"pid":…,"uid":…,"comm":…,"exe":…,"cgroup":…,"parent":…},"victim":{"pid":…,"cgroup":…}}. What the
// attacker chose (its names) is escaped; a failure to write is left to the stream's state.
void ct_event_json(const struct ct_event *event, FILE *out);

#endif
