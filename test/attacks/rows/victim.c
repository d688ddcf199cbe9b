// SPDX-License-Identifier: Apache-2.0
// What is attacked: prints `PID ADDRESS FD` of the text that it holds in its memory and in a file, and then makes
// system calls for good, one of them with the text's address.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "row.h"

static bool is_whole(int fd)
{
    return fd >= 0 && lseek(fd, 0, SEEK_END) == (off_t)sizeof(ROW_TEXT);
}

// Another protected container's victim may run it already: for this one to write it would be an attack.
static bool map_library(void)
{
    int fd = open(ROW_LIBRARY, O_RDONLY | O_CLOEXEC);
    if (!is_whole(fd)) {
        (void)close(fd);
        fd = open(ROW_LIBRARY, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
        (void)!write(fd, ROW_TEXT, sizeof(ROW_TEXT));
    }
    bool mapped = is_whole(fd) && mmap(NULL, sizeof(ROW_TEXT), PROT_READ | PROT_EXEC, MAP_PRIVATE,
                                       fd, 0) != MAP_FAILED;
    return close(fd) == 0 && mapped;
}

int main(void)
{
    // Where attackers of 32 bits reach it too.
    char *text =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int fd = memfd_create("victim", MFD_CLOEXEC);
    if (text == MAP_FAILED || fd < 0) {
        return 1;
    }
    memcpy(text, ROW_TEXT, sizeof(ROW_TEXT));
    if (write(fd, ROW_TEXT, sizeof(ROW_TEXT)) != (ssize_t)sizeof(ROW_TEXT)) {
        return 1;
    }
    if (!map_library()) {
        return 1;
    }
    printf("%d %lx %d\n", (int)getpid(), (unsigned long)text, fd);
    fflush(stdout);
    for (;;) {
        // Goes nowhere: the number is no descriptor.
        (void)!write(-1, text, sizeof(ROW_TEXT));
        // What a cgroup's programs are asked about.
        (void)close(open("/dev/null", O_RDONLY | O_CLOEXEC));
        (void)close(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        usleep(5000);
    }
}
