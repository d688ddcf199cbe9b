// SPDX-License-Identifier: Apache-2.0
//
// What `cloudtaser explain -o json` says about one pod.
#ifndef CT_CLI_EXPLAIN_JSON_H
#define CT_CLI_EXPLAIN_JSON_H

#include "decide.h"

// A new object, documented in docs/cli.md; NULL when memory is out.
json_t *ct_explain_json(const struct ct_manifest_pod *pod, const struct ct_verdict *verdict);
// Writes an array of such objects to standard output, in one object. CT_ENOMEM.
CT_CHECKED int ct_explain_json_write(json_t *pods, struct ct_err *err);

#endif
