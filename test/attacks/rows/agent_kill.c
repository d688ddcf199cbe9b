// SPDX-License-Identifier: Apache-2.0
// Stop the agent.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ring.h"
#include "row.h"

static char state_of(pid_t pid)
{
    char path[64];
    char line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    char *end = file != NULL && fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    if (file != NULL) {
        fclose(file);
    }
    return end != NULL ? end[2] : '?';
}

enum row_result row_attack(const struct row_victim *victim)
{
    pid_t agent = row_agent().pid;
    (void)victim;
    if (kill(agent, SIGSTOP) != 0) {
        return row_from_errno("kill");
    }
    for (int i = 0; i < 100 && state_of(agent) != 'T'; i++) {
        usleep(20000);
    }
    bool stopped = state_of(agent) == 'T';
    (void)kill(agent, SIGCONT);
    return stopped ? ROW_LEAKED : ROW_REFUSED;
}
