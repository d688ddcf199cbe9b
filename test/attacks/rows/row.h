// SPDX-License-Identifier: Apache-2.0
//
// What the attack programs on a node share: the victim that they are given, and one way to tell what
// came of it. Each program is one row of the list of attack vectors, and does for real what an attacker would.
//
// usage: row_NAME PID ADDRESS FD    exit 0: refused, 1: leaked, 2: not applicable on this kernel
#ifndef CT_ROW_H
#define CT_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum row_result { ROW_REFUSED = 0, ROW_LEAKED = 1, ROW_ABSENT = 2 };

// What `row_victim` holds: in its memory at an address, in its environment, in a file that only a descriptor of
// its leads to.
#define ROW_TEXT "what-only-the-victim-may-know"

// A file that it has mapped to run.
#define ROW_LIBRARY "/tmp/row-library"

struct row_victim {
    pid_t pid;
    unsigned long address;
    int fd;
};

// The attack itself, once for each program. Its own sentences go to row_tell().
enum row_result row_attack(const struct row_victim *victim);

// Whether the bytes are the victim's text.
bool row_is_text(const void *data, size_t len);

// REFUSED for EPERM and EACCES, ABSENT for ENOSYS, ENOENT, ENODEV and ENXIO; any other errno is neither, and counts as
// leaked: the attack has come further than it may.
enum row_result row_from_errno(const char *what);

// "/proc/PID/name" in a static buffer.
const char *row_path(const struct row_victim *victim, const char *name);

// Whether the program's own name has this in it: those that share a source know what they are to do by it.
bool row_is_named(const char *word);

// The calling thread runs on that processor alone, where there is one.
void row_stay_on(int processor);

// Opens a file for writing and writes text to it: LEAKED when that goes.
enum row_result row_write(const char *path, const char *text);

#endif
