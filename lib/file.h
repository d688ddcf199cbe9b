// SPDX-License-Identifier: Apache-2.0
//
// Small files, read whole and bounded. Everything is opened O_CLOEXEC.
#ifndef CT_FILE_H
#define CT_FILE_H

#include "buf.h"
#include "err.h"

// Replaces `out`'s content by the file's, at most out->max bytes. Regular files only.
// CT_ENOTFOUND, CT_ETOOBIG, CT_ESYSTEM; the sentence names the path.
CT_CHECKED int ct_file_read(const char *path, struct ct_buf *out, struct ct_err *err);

#endif
