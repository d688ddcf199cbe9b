// SPDX-License-Identifier: Apache-2.0
//
// Colours, where a person looks: on a terminal, and never with NO_COLOR (https://no-color.org).
#ifndef CT_CLI_TERMINAL_H
#define CT_CLI_TERMINAL_H

#include <stdio.h>

// Escape sequences, or empty texts. Static.
struct ct_paint {
    const char *good;
    const char *bad;
    const char *strong;
    const char *end;
};

// Looks at the environment (NO_COLOR, TERM): not thread-safe (getenv(3)).
const struct ct_paint *ct_paint_for(FILE *out);

// Writes a text that a stranger may have had a hand in: control characters, which could change what a
// terminal shows, become '?'.
void ct_terminal_text(FILE *out, const char *text);

#endif
