// SPDX-License-Identifier: Apache-2.0
//
// `cloudtaser-agent probe`: what this kernel offers, as a person or a machine reads it.
#ifndef CT_PROBE_H
#define CT_PROBE_H

#include <stdio.h>

#include "guard.h"
#include "label.h"

// The table of vectors with the tier that refuses each, the sums, the points that the node can bring, and what
// to change to get more. Errors: -CT_ESYSTEM when it cannot be written.
CT_CHECKED int ct_probe_text(const struct ct_guard *guard, FILE *out, struct ct_err *err);

// The same as one JSON object: {"kernel":…,"points":…,"max":35,"registration":"lsm","tiers":{"lsm":25,…},
// "vectors":[{"vector":1,"name":"ptrace","outcome":"refused","tier":"lsm"},…]}.
CT_CHECKED int ct_probe_json(const struct ct_guard *guard, FILE *out, struct ct_err *err);

// What of it the cluster is told.
void ct_probe_facts(const struct ct_guard *guard, struct ct_node_facts *ret);
// The same of a node where nothing is enforced, and never was since it booted.
void ct_probe_nothing(struct ct_node_facts *ret);

#endif
