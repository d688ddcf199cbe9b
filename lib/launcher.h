// SPDX-License-Identifier: Apache-2.0
//
// Programs that hand their environment on: a shell, a script's interpreter line, tini, gosu, env …
// When such a program starts another one the kernel copies the strings of its environment into the
// new program's ordinary stack, in the clear, which undoes what secret memory gave.
#ifndef CT_LAUNCHER_H
#define CT_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>

// Is this program (by the base name of its executable and its arguments; argv[0..argc)) a launcher?
// A multi-call binary (busybox, toybox, coreutils) is judged by the applet that argv names.
// Returns the launcher's name from the table, or NULL.
const char *ct_launcher_name(const char *exe_path, const char *const *argv, size_t argc);

#endif
