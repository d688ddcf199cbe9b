// SPDX-License-Identifier: Apache-2.0
//
// What attacks on the agent itself share: whom and what they are aimed at, by the variables AGENT (its number) and PINS
// (the folder of its pins).
#ifndef CT_ROW_RING_H
#define CT_ROW_RING_H

#include <stdbool.h>
#include <sys/types.h>

struct row_agent {
    pid_t pid;
    const char *pins;
};

enum row_object { ROW_MAP, ROW_PROGRAM, ROW_LINK };

// Ends the program, with a word, when a variable is missing.
struct row_agent row_agent(void);

// The program's own name without "row_", by which those that share a source know what they are to do.
const char *row_name(void);

// Its state as proc_pid_stat(5) has it; '?': there is no such process.
char row_state(pid_t pid);
// Whether it comes into one of these states within two seconds.
bool row_becomes(pid_t pid, const char *states);

// "PINS/name" in a static buffer.
const char *row_pin(const char *name);

// A descriptor of what is pinned at a path; -1 with errno.
int row_open_pin(const char *path);
// A descriptor of the first of that kind that has this name (NULL: any; links have none), looked for by numbers; -1 with the
// first errno of those that could not be opened, and ENOENT when there was none of these.
int row_find(enum row_object kind, const char *name);
// A program for settings of the kernel in a cgroup that lets all pass, by the name of one of the agent's; -1 with errno.
int row_load_sysctl(void);

#endif
