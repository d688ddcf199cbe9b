// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser-agent: the node's enforcement by eBPF.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "control.h"
#include "event.h"
#include "guard.h"
#include "guard_settings.h"
#include "probe.h"
#include "registrar_settings.h"
#include "retire.h"
#include "rights.h"
#include "run_main.h"
#include "tell.h"

#define EXIT_NOT_FOUND 127

#define POLL_MS 100

// Tests build one that calls itself later, to try upgrades by.
#ifndef AGENT_VERSION
#define AGENT_VERSION CT_VERSION
#endif

enum output { OUTPUT_TEXT, OUTPUT_JSON };

struct settings {
    struct ct_guard_settings guard;
    int output;
    char *control;
    struct ct_registrar_settings registrar;
};

static const char *const outputs[] = {"text", "json", NULL};

static const struct ct_option probe_options[] = {
    CT_GUARD_OPTIONS(struct settings, guard),
    {.name = "output",
     .kind = CT_OPTION_CHOICE,
     .offset = offsetof(struct settings, output),
     .fallback = "text",
     .argument = "FORMAT",
     .help = "How the result is written.",
     .choices = outputs,
     .letter = 'o'},
};

static const struct ct_option_table probe_table = {
    .program = "cloudtaser-agent probe",
    .summary = "Try each attack vector on this kernel, harmlessly, and tell what refuses it.",
    .options = probe_options,
    .n = CT_ARRAY_LEN(probe_options),
};

static int new_guard(const struct settings *settings, struct ct_guard **ret, struct ct_err *err)
{
    struct ct_guard_options options = ct_guard_settle(&settings->guard);
    if (settings->registrar.cgroup_root != NULL) {
        options.cgroup_root = settings->registrar.cgroup_root;
    }
    // What would be proven is this container's root of the cgroups, and not the node's.
    if (ct_rights_see_cgroups(err) < 0) {
        options.tiers &= ~(1U << CT_TIER_CGROUP);
        (void)fprintf(stderr, "cloudtaser-agent: no programs of the root cgroup: %s\n", err->msg);
        *err = (struct ct_err){0};
    }
    return ct_guard_new(&options, ret, err);
}

static int probe(const struct settings *settings)
{
    struct ct_err err = {0};
    CT_AUTO(ct_guard) *guard = NULL;
    int rc = new_guard(settings, &guard, &err);
    if (rc == 0) {
        rc = settings->output == OUTPUT_JSON ? ct_probe_json(guard, stdout, &err)
                                             : ct_probe_text(guard, stdout, &err);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
    }
    return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}

static const struct ct_option guard_options[] = {
    CT_GUARD_OPTIONS(struct settings, guard),
    {.name = "control",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, control),
     .argument = "NAME",
     .help = "Take the orders of `cloudtaser-agent unprotect` at this control socket."},
    CT_REGISTRAR_OPTIONS(struct settings, registrar),
};

static const struct ct_option_table guard_table = {
    .program = "cloudtaser-agent guard",
    .summary =
        "Run a program protected, and write a line of JSON for each attack on it to standard "
        "error. With --allow-cgroup it has to register itself, as a wrapper does.",
    .operands = "-- COMMAND [ARGUMENT]...",
    .options = guard_options,
    .n = CT_ARRAY_LEN(guard_options),
};

static void tell(void *cls, const struct ct_event *event)
{
    (void)ct_event_write(event, NULL, cls);
}

static void write_line(void *cls, const char *line, size_t len)
{
    (void)cls;
    (void)fwrite(line, 1, len, stderr);
}

// A program that nobody marks. Returns its pid.
static pid_t start(char *const argv[])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent) {
            (void)execvp(argv[0], argv);
        }
        _exit(EXIT_NOT_FOUND);
    }
    return pid;
}

static int new_registrar(const struct settings *settings, struct ct_guard *guard,
                         struct ct_registrar **ret, struct ct_err *err)
{
    struct ct_registrar_options options;
    int rc = ct_registrar_settle(&settings->registrar, &options, err);
    options.line = write_line;
    return rc == 0 ? ct_registrar_new(guard, &options, ret, err) : rc;
}

// What the command has; registrar and control may be NULL.
struct command {
    struct ct_guard *guard;
    struct ct_registrar *registrar;
    struct ct_control *control;
};

static int answer(const struct command *command, struct ct_err *err)
{
    struct pollfd asked[] = {
        {.fd = ct_registrar_fd(command->registrar), .events = POLLIN},
        {.fd = command->control != NULL ? ct_control_fd(command->control) : -1, .events = POLLIN},
    };
    (void)poll(asked, CT_ARRAY_LEN(asked), POLL_MS);
    if (command->control != NULL) {
        ct_control_handle(command->control, command->registrar);
    }
    return ct_registrar_handle(command->registrar, err);
}

// Enforces until the program has ended.
static int watch(const struct command *command, pid_t pid, int *status, struct ct_err *err)
{
    struct ct_lines lines = {.fd = STDERR_FILENO};
    int rc = 0;
    while (rc == 0 && waitpid(pid, status, WNOHANG) == 0) {
        rc = command->registrar != NULL ? answer(command, err) : 0;
        rc = rc == 0 ? ct_guard_poll(command->guard, command->registrar != NULL ? 0 : POLL_MS, tell,
                                     &lines, err)
                     : rc;
    }
    return rc;
}

static int start_registering(const struct settings *settings, struct command *command,
                             char *const argv[], pid_t *ret, struct ct_err *err)
{
    int rc = new_registrar(settings, command->guard, &command->registrar, err);
    if (rc == 0 && settings->control != NULL) {
        rc = ct_control_new(settings->control, &command->control, err);
    }
    *ret = rc == 0 ? start(argv) : -1;
    return rc == 0 && *ret < 0 ? ct_err_errno(err, "cannot fork") : rc;
}

// The program's status.
static int guard_command(const struct settings *settings, char *const argv[])
{
    struct ct_err err = {0};
    struct command command = {0};
    struct ct_spawned spawned = {0};
    int status = 0;
    int rc = new_guard(settings, &command.guard, &err);
    if (rc == 0 && settings->registrar.allow_cgroups.n > 0) {
        rc = start_registering(settings, &command, argv, &spawned.keeper, &err);
    } else if (rc == 0) {
        rc = ct_guard_spawn(command.guard, argv, &spawned, &err);
    }
    rc = rc == 0 ? watch(&command, spawned.keeper, &status, &err) : rc;
    ct_control_free(command.control);
    ct_registrar_free(command.registrar);
    ct_guard_free(command.guard);
    if (rc < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
        return EXIT_FAILED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

static int run_probe(int argc, char **argv)
{
    struct settings settings = {0};
    int status;
    if (ct_agent_begin(&probe_table, argc, argv, AGENT_VERSION, &settings, &status)) {
        status = probe(&settings);
        ct_option_free(&probe_table, &settings);
    }
    return status;
}

static int run_guard(int argc, char **argv)
{
    struct settings settings = {0};
    int status;
    int end = 1;
    while (end < argc && strcmp(argv[end], "--") != 0) {
        end++;
    }
    if (!ct_agent_begin(&guard_table, end, argv, AGENT_VERSION, &settings, &status)) {
        return status;
    }
    if (end + 1 < argc) {
        status = guard_command(&settings, argv + end + 1);
    } else {
        (void)fputs("cloudtaser-agent guard: no command behind --\n", stderr);
        status = EXIT_USAGE;
    }
    ct_option_free(&guard_table, &settings);
    return status;
}

static int usage(FILE *out, int status)
{
    (void)fputs("Usage: cloudtaser-agent COMMAND [OPTION]...\n\n"
                "Enforcement on the node, by eBPF.\n\nCommands:\n"
                "  run        enforce on this node, until the end of the program and beyond\n"
                "  uninstall  end that: remove all that is pinned\n"
                "  probe      try each attack vector on this kernel, and tell what refuses it\n"
                "  guard      run a program protected, and tell of the attacks on it\n"
                "  unprotect  take the protection off a process or a container\n"
                "  retire     before the chart goes: have every node's agent uninstall\n"
                "\n`cloudtaser-agent COMMAND --help` tells its options, `--version` the version.\n",
                out);
    return status;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "probe") == 0) {
        return run_probe(argc - 1, argv + 1);
    }
    if (strcmp(command, "guard") == 0) {
        return run_guard(argc - 1, argv + 1);
    }
    if (strcmp(command, "run") == 0) {
        return ct_run_main(argc - 1, argv + 1, AGENT_VERSION);
    }
    if (strcmp(command, "uninstall") == 0) {
        return ct_uninstall_main(argc - 1, argv + 1, AGENT_VERSION);
    }
    if (strcmp(command, "unprotect") == 0) {
        return ct_unprotect_main(argc - 1, argv + 1);
    }
    if (strcmp(command, "retire") == 0) {
        return ct_retire_main(argc - 1, argv + 1);
    }
    if (strcmp(command, "tell") == 0) { // the agent's own
        return ct_tell_main(argc - 1, argv + 1);
    }
    if (strcmp(command, "--version") == 0) {
        (void)printf("cloudtaser-agent %s\n", AGENT_VERSION);
        return EXIT_GOOD;
    }
    bool asked = strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0;
    return asked ? usage(stdout, EXIT_GOOD) : usage(stderr, EXIT_USAGE);
}
