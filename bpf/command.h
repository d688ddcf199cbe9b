// SPDX-License-Identifier: Apache-2.0
//
// What the commands of `cloudtaser-agent` have in common.
#ifndef CT_AGENT_COMMAND_H
#define CT_AGENT_COMMAND_H

#include <stdbool.h>

#include "ct_version.h"
#include "option.h"

// Exit statuses.
#define EXIT_GOOD 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

// Options, --help and --version, which says `version`; a bad option's sentence goes to standard error. True: go on.
// False: *ret is the exit status, and nothing needs freeing.
bool ct_agent_begin(const struct ct_option_table *table, int argc, char **argv, const char *version,
                    void *settings, int *ret);

#endif
