// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser: the command line of operators and developers.
#include <errno.h>
#include <fcntl.h>
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

// A standard descriptor that was closed would be given to the next file or connection that is opened,
// and output would go there. What stands in can neither be read nor written as it should, so that
// either is an error as before; what this process becomes does not inherit it.
static bool fill_standard(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < (int)CT_ARRAY_LEN(modes); fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", modes[fd] | O_CLOEXEC) != fd) {
            return false;
        }
    }
    return true;
}

static int help(const char *name)
{
    const struct ct_command *asked = name != NULL ? find(name) : NULL;
    if (name != NULL && asked == NULL) {
        return unknown(name);
    }
    if (asked != NULL) {
        ct_option_help(asked->table(), stdout);
    } else {
        usage(stdout);
    }
    return CT_EXIT_GOOD;
}

int main(int argc, char **argv)
{
    if (!fill_standard()) {
        perror("cloudtaser: cannot open /dev/null");
        return CT_EXIT_REFUSED;
    }
    ct_mutate_init();
    if (argc < 2) {
        usage(stderr);
        return CT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        return finish(help(argv[2]));
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
