// SPDX-License-Identifier: Apache-2.0
// Attach to its children before anything knows of them: each as soon as there is a process of the next number. Whoever is
// attached once may read for good. Under the name row_storm it is the victim: it makes such children all the while.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "row.h"

#define SECONDS 10
#define AHEAD 4 // numbers that others may have taken

static _Noreturn void storm(void)
{
    char *text = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED) {
        _exit(1);
    }
    memcpy(text, ROW_TEXT, sizeof(ROW_TEXT));
    printf("%d %lx 0\n", (int)getpid(), (unsigned long)text);
    fflush(stdout);
    row_stay_on(1);
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            // For as long as it takes to be stopped.
            usleep(1000);
            _exit(0);
        }
        (void)waitpid(pid, NULL, 0);
    }
}

// What it reads by being attached, which nobody asks about again.
static bool reads(pid_t pid, unsigned long address)
{
    long words[4] = {0};
    int status;
    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0 || waitpid(pid, &status, __WALL) != pid ||
        !WIFSTOPPED(status)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        words[i] = ptrace(PTRACE_PEEKDATA, pid, address + i * sizeof(long), NULL);
    }
    (void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return row_is_text(words, sizeof(words));
}

static pid_t newest(void)
{
    long last = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    if (file == NULL || fscanf(file, "%*s %*s %*s %*s %ld", &last) != 1) {
        last = 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (pid_t)last;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const time_t end = time(NULL) + SECONDS;
    unsigned long tries = 0;
    unsigned refused = 0;
    unsigned attached = 0;
    unsigned read = 0;
    if (strcmp(program_invocation_short_name, "row_storm") == 0) {
        storm();
    }
    row_stay_on(0);
    pid_t next = newest() + 1;
    while (time(NULL) < end) {
        for (pid_t pid = next; pid < next + AHEAD; pid++) {
            tries++;
            if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0) {
                attached++;
                read += reads(pid, victim->address);
            } else if (errno == ESRCH) {
                continue;
            } else {
                refused++;
            }
            next = pid + 1;
            break;
        }
        // It may have gone ahead, or begun anew.
        if (tries % 4096 == 0) {
            next = newest() + 1;
        }
    }
    printf("%lu tries: attached to %u, refused %u, read %u\n", tries, attached, refused, read);
    return read > 0 ? ROW_LEAKED : ROW_REFUSED;
}
