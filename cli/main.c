// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser: the command line of operators and developers.
#include <string.h>

#include "command.h"
#include "ct_version.h"
#include "mutate.h"
#include "text.h"

static void usage(FILE *out)
{
    (void)fputs("Usage: cloudtaser COMMAND [OPTION]...\n\n"
                "Secrets for applications on Kubernetes, seen from a terminal.\n\nCommands:\n",
                out);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)fprintf(out, "  %-12s%s\n", ct_commands[i].name, ct_commands[i].summary);
    }
    (void)fputs("\n`cloudtaser COMMAND --help` tells its options; `cloudtaser --version` the "
                "version.\n",
                out);
}

static const struct ct_command *find(const char *name)
{
    for (size_t i = 0; i < ct_n_commands; i++) {
        if (strcmp(ct_commands[i].name, name) == 0) {
            return &ct_commands[i];
        }
    }
    return NULL;
}

static int unknown(const char *name)
{
    struct ct_shown shown;
    const char *nearest = ct_command_nearest(name);
    (void)fprintf(stderr, "cloudtaser: there is no command \"%s\"",
                  ct_text_show(&shown, name, strlen(name)));
    if (nearest != NULL) {
        (void)fprintf(stderr, "; did you mean \"%s\"?\n", nearest);
    } else {
        (void)fputs("; `cloudtaser --help` lists them\n", stderr);
    }
    return CT_EXIT_USAGE;
}

// What could not be written was not done: a full disk must not look like success.
static int finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("cloudtaser: cannot write to standard output");
        return status == CT_EXIT_GOOD ? CT_EXIT_REFUSED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    ct_mutate_init();
    if (argc < 2) {
        usage(stderr);
        return CT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        const struct ct_command *asked = argc > 2 ? find(argv[2]) : NULL;
        if (asked != NULL) {
            ct_option_help(asked->table(), stdout);
        } else {
            usage(stdout);
        }
        return finish(CT_EXIT_GOOD);
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("cloudtaser %s\n", CT_VERSION);
        return finish(CT_EXIT_GOOD);
    }
    const struct ct_command *command = find(argv[1]);
    if (command == NULL) {
        return unknown(argv[1]);
    }
    return finish(command->run(argc - 1, argv + 1));
}
