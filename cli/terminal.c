// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ct_paint colours = {
    .good = "\033[32m", .bad = "\033[31m", .strong = "\033[1m", .end = "\033[0m"};
static const struct ct_paint plain = {.good = "", .bad = "", .strong = "", .end = ""};

const struct ct_paint *ct_paint_for(FILE *out)
{
    const char *refused = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    bool wanted = isatty(fileno(out)) == 1 && (refused == NULL || *refused == '\0') &&
                  terminal != NULL && strcmp(terminal, "dumb") != 0;
    return wanted ? &colours : &plain;
}

// U+0000 to U+001F, U+007F, and U+0080 to U+009F in UTF-8.
static size_t control_length(const char *text)
{
    unsigned char c = (unsigned char)text[0];
    unsigned char next = c != '\0' ? (unsigned char)text[1] : 0;
    if (c < ' ' || c == 0x7f) {
        return 1;
    }
    return c == 0xc2 && next >= 0x80 && next < 0xa0 ? 2 : 0;
}

void ct_terminal_text(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t control = control_length(text);
        (void)fputc(control > 0 ? '?' : *text, out);
        text += control > 0 ? control : 1;
    }
}
