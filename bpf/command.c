// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <stdio.h>

bool ct_agent_begin(const struct ct_option_table *table, int argc, char **argv, const char *version,
                    void *settings, int *ret)
{
    struct ct_err err = {0};
    int rc = ct_option_parse(table, argc, argv, settings, &err);
    *ret = rc < 0 ? EXIT_USAGE : EXIT_GOOD;
    if (rc == CT_OPTION_HELP) {
        ct_option_help(table, stdout);
    } else if (rc == CT_OPTION_VERSION) {
        (void)printf("cloudtaser-agent %s\n", version);
    } else if (rc < 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
    }
    return rc == CT_OPTION_RUN;
}
