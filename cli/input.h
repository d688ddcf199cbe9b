// SPDX-License-Identifier: Apache-2.0
//
// What a command reads: a file, a pipe, or standard input.
#ifndef CT_CLI_INPUT_H
#define CT_CLI_INPUT_H

#include "buf.h"
#include "err.h"

// Reads `path`, or standard input for "-", to its end into `out` (at most out->max bytes). Waits as
// long as a pipe's other side takes. CT_ENOTFOUND, CT_ETOOBIG, CT_ESYSTEM, CT_ENOMEM.
CT_CHECKED int ct_input_read(const char *path, struct ct_buf *out, struct ct_err *err);

// How `path` is called in sentences: "standard input" for "-".
const char *ct_input_name(const char *path);

#endif
