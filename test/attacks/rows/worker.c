// SPDX-License-Identifier: Apache-2.0
// A victim with a thread that it has not forked: a worker of io_uring's, which waits for a pipe in which nothing ever is.
// Prints that thread's number, the text's address and a descriptor as a victim does, and then its own number. Where workers
// are no threads of the process (before Linux 5.12) the first number is its own.
#include <dirent.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

#define NOBODY 65534

// Submits a read that is a worker's from the start.
static int begin_to_read(int fd)
{
    static char byte;
    struct io_uring_params p = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &p);
    if (ring < 0) {
        return -1;
    }
    char *queue = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned),
                       PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry =
        mmap(NULL, sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || (void *)entry == MAP_FAILED) {
        return -1;
    }
    *entry = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                   .flags = IOSQE_ASYNC,
                                   .fd = fd,
                                   .addr = (unsigned long)&byte,
                                   .len = 1};
    *(unsigned *)(void *)(queue + p.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(void *)(queue + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    return syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1 ? 0 : -1;
}

static pid_t other_thread(void)
{
    DIR *threads = opendir("/proc/self/task");
    pid_t found = getpid();
    for (struct dirent *e; threads != NULL && (e = readdir(threads)) != NULL;) {
        pid_t id = (pid_t)strtol(e->d_name, NULL, 10);
        found = id > 0 && id != getpid() ? id : found;
    }
    if (threads != NULL) {
        closedir(threads);
    }
    return found;
}

int main(void)
{
    static char text[] = ROW_TEXT;
    int ends[2];
    // Where the kernel has no better tier, root has no rings.
    if (pipe(ends) != 0 || setuid(NOBODY) != 0 || begin_to_read(ends[0]) != 0) {
        perror("row_worker");
        return 1;
    }
    usleep(500000);
    printf("%d %lx %d %d\n", (int)other_thread(), (unsigned long)text, ends[0], (int)getpid());
    fflush(stdout);
    for (;;) {
        pause();
    }
}
