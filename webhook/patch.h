// SPDX-License-Identifier: Apache-2.0
//
// A JSON Patch (RFC 6902), written as text operation by operation.
#ifndef CT_WEBHOOK_PATCH_H
#define CT_WEBHOOK_PATCH_H

#include <stddef.h>

#include "buf.h"

// Zero-initialise with .text.max set. Failures show in text.failed.
struct ct_patch {
    struct ct_buf text; // "[{…},{…}" until ct_patch_finish()
    size_t n;
};

void ct_patch_done(struct ct_patch *p);
#define CT_AUTO_PATCH __attribute__((cleanup(ct_patch_done))) struct ct_patch

// Starts an operation; its value is to be appended to ->text, as JSON, and ct_patch_end() called. The
// path is printf-formatted and must need no escaping (see ct_buf_add_pointer() for those that do).
void ct_patch_begin(struct ct_patch *p, const char *op, const char *path_fmt, ...) CT_PRINTF(3, 4);
void ct_patch_end(struct ct_patch *p);

// A whole operation with a value that is JSON already.
void ct_patch_add(struct ct_patch *p, const char *value, const char *path_fmt, ...) CT_PRINTF(3, 4);
// Moves a value from one place to another.
void ct_patch_move(struct ct_patch *p, const char *from, const char *path);

// Closes the list; an empty patch stays empty (length 0).
void ct_patch_finish(struct ct_patch *p);

#endif
