// SPDX-License-Identifier: Apache-2.0
//
// The app's executable: where it is, and whether tracing would take privileges from it.
#ifndef CT_PROGRAM_H
#define CT_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

// Finds `name` as execvp(3) does: as it is when it holds a slash, else in the folders of `path` (the
// app's PATH; NULL for the system's default). CT_ENOTFOUND, CT_ENOEXEC.
CT_CHECKED int ct_program_find(const char *name, const char *path, char *out, size_t out_size,
                               struct ct_err *err);

// Refuses an executable with set-uid or set-gid bits or file capabilities: the kernel silently
// leaves them out when a program is traced at its exec. `shown` is the name for the message.
CT_CHECKED int ct_program_check(const char *path, const char *shown, struct ct_err *err);

// As above, for a program that was started while it was traced, as this effective user and group:
// refused only where it did lose something.
CT_CHECKED int ct_program_check_started(const char *path, const char *shown, uid_t uid, gid_t gid,
                                        bool no_new_privs, struct ct_err *err);

// The error for an execve of `path` that failed with errno_value.
int ct_program_exec_error(const char *path, int errno_value, struct ct_err *err);

#endif
