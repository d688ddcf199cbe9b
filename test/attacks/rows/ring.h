// SPDX-License-Identifier: Apache-2.0
//
// What attacks on the agent itself share: whom and what they are aimed at, by the variables AGENT (its number) and PINS
// (the folder of its pins).
#ifndef CT_ROW_RING_H
#define CT_ROW_RING_H

#include <sys/types.h>

struct row_agent {
    pid_t pid;
    const char *pins;
};

// Ends the program, with a word, when a variable is missing.
struct row_agent row_agent(void);

// "PINS/name" in a static buffer.
const char *row_pin(const char *name);

// A descriptor of what is pinned at a path, or of the map of this number; -1 with errno.
int row_open_pin(const char *path);
int row_open_map(unsigned id);
// The first map of this name; 0: there is none, or one could not be looked at.
unsigned row_find_map(const char *name);

#endif
