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
