// SPDX-License-Identifier: Apache-2.0
// Attach as a debugger, and read a word.
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    if (ptrace(PTRACE_ATTACH, victim->pid, NULL, NULL) != 0) {
        return row_from_errno("PTRACE_ATTACH");
    }
    waitpid(victim->pid, NULL, 0);
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, victim->pid, (void *)victim->address, NULL);
    ptrace(PTRACE_DETACH, victim->pid, NULL, NULL);
    return memcmp(&word, ROW_TEXT, sizeof(word)) == 0 ? ROW_LEAKED : ROW_REFUSED;
}
