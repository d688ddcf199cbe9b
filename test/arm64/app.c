// SPDX-License-Identifier: Apache-2.0
//
// The app of the aarch64 tests. It tells what it sees of itself, whole secrets included: they are
// the test's.
//
//   app show NAME…             the variables, and where their values lie
//   app exit NUMBER            ends with this status
//   app kill NUMBER            ends by this signal
//   app wait                   until a signal ends it
//   app as UID PROGRAM ARG…    becomes this user, without privileges, and executes a program
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

// The mapping of an address: its file's name, and its VmFlags.
static void show_mapping(const char *name, uintptr_t at)
{
    char line[512];
    char path[128] = "";
    int inside = 0;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    while (smaps != NULL && fgets(line, sizeof(line), smaps) != NULL) {
        unsigned long start;
        unsigned long end;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %127[^\n]", &start, &end, path) >= 2) {
            inside = at >= start && at < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            printf("[app] %s lies in %s with%s", name, path, line + 8);
            break;
        }
    }
    if (smaps != NULL) {
        (void)fclose(smaps);
    }
}

static int show(char **names)
{
    printf("[app] user %u, dumpable %d, pages of %ld bytes\n", (unsigned)getuid(),
           prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), sysconf(_SC_PAGESIZE));
    for (; *names != NULL; names++) {
        const char *value = getenv(*names);
        printf("[app] %s=%s\n", *names, value != NULL ? value : "(unset)");
        show_mapping(*names, (uintptr_t)value);
    }
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    printf("[app] its own environ: %s\n", fd >= 0 ? "readable" : strerror(errno));
    return 0;
}

static int as_user(const char *uid, char **command)
{
    unsigned id = (unsigned)strtoul(uid, NULL, 10);
    if (setgroups(0, NULL) != 0 || setgid(id) != 0 || setuid(id) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        perror("app: cannot become another user");
        return 1;
    }
    (void)execv(command[0], command);
    perror(command[0]);
    return 1;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *argument = argc > 2 ? argv[2] : "";
    if (strcmp(what, "show") == 0) {
        return show(argv + 2);
    }
    if (strcmp(what, "exit") == 0) {
        return atoi(argument);
    }
    if (strcmp(what, "kill") == 0) {
        return raise(atoi(argument));
    }
    if (strcmp(what, "wait") == 0) {
        return pause();
    }
    if (strcmp(what, "as") == 0 && argc > 3) {
        return as_user(argument, argv + 3);
    }
    (void)fprintf(stderr, "app: what is \"%s\"?\n", what);
    return 2;
}
