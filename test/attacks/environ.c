// SPDX-License-Identifier: Apache-2.0
// /proc/PID/environ: what the kernel shows of a process's environment.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attack.h"

#define VECTOR "/proc/pid/environ"

int main(int argc, char **argv)
{
    pid_t pid;
    struct attack_needle needle;
    char path[64];
    static char text[1 << 20];
    size_t len = 0;
    if (!attack_arguments(argc, argv, &pid, &needle)) {
        return ATTACK_NOT_APPLICABLE;
    }
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return attack_tell_refused(VECTOR, "it cannot be opened");
    }
    ssize_t n = 1;
    while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0) {
        len += (size_t)n;
    }
    int cause = errno;
    close(fd);
    if (attack_find(&needle, text, len) != NULL) {
        printf(VECTOR ": LEAKED: the needle stands in it\n");
        return ATTACK_LEAKED;
    }
    if (n < 0) {
        errno = cause;
        return attack_tell_refused(VECTOR, "it cannot be read");
    }
    printf(VECTOR ": not found in %zu bytes\n", len);
    return ATTACK_REFUSED;
}
