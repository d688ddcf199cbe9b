// SPDX-License-Identifier: Apache-2.0
#include "row.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool row_is_text(const void *data, size_t len)
{
    return len >= sizeof(ROW_TEXT) - 1 && memcmp(data, ROW_TEXT, sizeof(ROW_TEXT) - 1) == 0;
}

enum row_result row_from_errno(const char *what)
{
    int number = errno;
    printf("%s: %s\n", what, strerror(number));
    if (number == EPERM || number == EACCES) {
        return ROW_REFUSED;
    }
    bool absent = number == ENOSYS || number == ENOENT || number == ENODEV || number == ENXIO;
    return absent ? ROW_ABSENT : ROW_LEAKED;
}

const char *row_path(const struct row_victim *victim, const char *name)
{
    static char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)victim->pid, name);
    return path;
}

bool row_is_named(const char *word)
{
    return strstr(program_invocation_short_name, word) != NULL;
}

void row_stay_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

enum row_result row_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    enum row_result result = n < 0 ? row_from_errno(path) : ROW_LEAKED;
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s PID ADDRESS FD\n", argv[0]);
        return 64;
    }
    const struct row_victim victim = {.pid = (pid_t)strtol(argv[1], NULL, 10),
                                      .address = strtoul(argv[2], NULL, 16),
                                      .fd = (int)strtol(argv[3], NULL, 10)};
    enum row_result result = row_attack(&victim);
    puts(result == ROW_LEAKED ? "leaked" : result == ROW_REFUSED ? "refused" : "not applicable");
    return result;
}
