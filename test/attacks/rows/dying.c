// SPDX-License-Identifier: Apache-2.0
// Kill it and read what it still has while it ends: its memory (row_dying), its descriptors (row_dying_fd). Under the name
// row_doomed it is the victim: one process after another, each of which waits for that.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "row.h"

#define WHO "/tmp/row-doomed"
#define SECONDS 15
#define LOTS (8L << 20) // bytes: they take a while to go
#define DELAYS 64
#define STEP 2000 // turns of a loop
#define TRIES 5000

static _Noreturn void be_doomed(void)
{
    char *text = mmap(NULL, LOTS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = memfd_create("doomed", MFD_CLOEXEC);
    int who = open(WHO, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (text == MAP_FAILED || fd < 0 || who < 0 ||
        write(fd, ROW_TEXT, sizeof(ROW_TEXT)) != (ssize_t)sizeof(ROW_TEXT)) {
        _exit(1);
    }
    memcpy(text, ROW_TEXT, sizeof(ROW_TEXT));
    printf("%d %lx %d\n", (int)getpid(), (unsigned long)text, fd);
    fflush(stdout);
    row_stay_on(1);
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            memset(text + 4096, 1, LOTS - 4096);
            pid_t self = getpid();
            (void)!pwrite(who, &self, sizeof(self), 0);
            for (;;) {
                pause();
            }
        }
        (void)waitpid(pid, NULL, 0);
    }
}

static pid_t next_doomed(int who, pid_t before)
{
    pid_t pid = before;
    while (pid == before) {
        (void)!pread(who, &pid, sizeof(pid), 0);
    }
    return pid;
}

static bool takes(int pidfd, const struct row_victim *victim, pid_t pid)
{
    char text[sizeof(ROW_TEXT)] = "";
    const struct iovec here = {.iov_base = text, .iov_len = sizeof(text)};
    const struct iovec there = {.iov_base = (void *)victim->address, .iov_len = sizeof(text)};
    if (!row_is_named("_fd")) {
        return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(text) &&
               row_is_text(text, sizeof(text));
    }
    long fd = syscall(SYS_pidfd_getfd, pidfd, victim->fd, 0);
    return fd >= 0 && pread((int)fd, text, sizeof(text), 0) == (ssize_t)sizeof(text) &&
           row_is_text(text, sizeof(text));
}

// Kills it, and after a while tries for as long as there is something. A process of its own: it may be killed for that.
static bool is_read_while_it_ends(const struct row_victim *victim, pid_t pid, int delay)
{
    int status = 0;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    pid_t attacker = fork();
    if (attacker == 0) {
        (void)kill(pid, SIGKILL);
        for (volatile int i = 0; i < delay * STEP; i++) {
        }
        for (int i = 0; i < TRIES; i++) {
            if (takes(pidfd, victim, pid)) {
                _exit(ROW_LEAKED);
            }
            if (errno == ESRCH || errno == EBADF) {
                break;
            }
        }
        _exit(ROW_REFUSED);
    }
    (void)waitpid(attacker, &status, 0);
    (void)close(pidfd);
    return WIFEXITED(status) && WEXITSTATUS(status) == ROW_LEAKED;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const time_t end = time(NULL) + SECONDS;
    unsigned killed = 0;
    unsigned leaked = 0;
    if (row_is_named("doomed")) {
        be_doomed();
    }
    int who = open(WHO, O_RDONLY | O_CLOEXEC);
    row_stay_on(0);
    for (pid_t pid = next_doomed(who, 0); time(NULL) < end; pid = next_doomed(who, pid)) {
        leaked += is_read_while_it_ends(victim, pid, (int)(killed % DELAYS));
        killed++;
    }
    printf("killed %u, of which %u were read\n", killed, leaked);
    return leaked > 0 ? ROW_LEAKED : ROW_REFUSED;
}
