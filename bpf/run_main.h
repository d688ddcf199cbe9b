// SPDX-License-Identifier: Apache-2.0
//
// The commands that concern the node for good: `cloudtaser-agent run` and `uninstall`.
#ifndef CT_RUN_MAIN_H
#define CT_RUN_MAIN_H

#include "option.h"

// The options of `run`.
extern const struct ct_option_table ct_agent_options;

// They return the exit status. `version` is the program's own, "1.2.3".
int ct_run_main(int argc, char **argv, const char *version);
int ct_uninstall_main(int argc, char **argv, const char *version);

#endif
