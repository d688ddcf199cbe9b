// SPDX-License-Identifier: Apache-2.0
//
// JSON Patch (RFC 6902), as far as the webhook writes it: add, replace, move.
#ifndef CT_CLI_APPLY_H
#define CT_CLI_APPLY_H

#include <jansson.h>

#include "err.h"

// Changes `document` (an object) by the operations of `patch`, an array; values are copied.
// CT_EPROTO when an operation is none of these or its path leads nowhere; the document may be
// half-changed then. CT_ENOMEM.
CT_CHECKED int ct_apply_patch(json_t *document, const json_t *patch, struct ct_err *err);

#endif
