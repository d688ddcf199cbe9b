// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "control.h"
#include "text.h"

struct settings {
    int pid;
    char *cgroup;
    char *control;
};

static int check_number(const char *value, struct ct_err *err)
{
    unsigned long number;
    return ct_text_number(value, strlen(value), ~0UL >> 1, &number) && number > 0
               ? 0
               : ct_err_set(err, CT_EINVAL, "\"%s\" is no cgroup's number", value);
}

static const struct ct_option options[] = {
    {.name = "pid",
     .kind = CT_OPTION_INT,
     .offset = offsetof(struct settings, pid),
     .fallback = "0",
     .argument = "PID",
     .help = "The process, as the agent's log numbers it.",
     .max = 4194304},
    {.name = "cgroup",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, cgroup),
     .argument = "NUMBER",
     .help = "All processes of this cgroup, as the agent's log numbers it.",
     .check = check_number},
    {.name = "control",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, control),
     .fallback = CT_CONTROL_NAME,
     .argument = "NAME",
     .help = "The agent's control socket."},
};

static const struct ct_option_table table = {
    .program = "cloudtaser-agent unprotect",
    .summary = "Take the protection off a process or a container, so that it can be looked into. "
               "Its wrapper's score falls, and the agent's log says who lost what.",
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

static int unprotect(const struct settings *settings)
{
    struct ct_err err = {0};
    unsigned long cgroup = 0;
    unsigned n = 0;
    if ((settings->pid != 0) == (settings->cgroup != NULL)) {
        (void)fputs("cloudtaser-agent unprotect: say either --pid or --cgroup\n", stderr);
        return EXIT_USAGE;
    }
    if (settings->cgroup != NULL) {
        (void)ct_text_number(settings->cgroup, strlen(settings->cgroup), ~0UL >> 1, &cgroup);
    }
    if (ct_control_unprotect(settings->control, settings->pid, cgroup, &n, &err) < 0) {
        (void)fprintf(stderr, "cloudtaser-agent unprotect: %s\n", err.msg);
        return EXIT_FAILED;
    }
    (void)printf("%u processes are not protected any more\n", n);
    return EXIT_GOOD;
}

int ct_unprotect_main(int argc, char **argv)
{
    struct settings settings = {0};
    int status;
    if (ct_agent_begin(&table, argc, argv, CT_VERSION, &settings, &status)) {
        status = unprotect(&settings);
        ct_option_free(&table, &settings);
    }
    return status;
}
