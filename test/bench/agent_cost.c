// SPDX-License-Identifier: Apache-2.0
// What system calls cost a process that nobody protects: prints NAME NANOSECONDS for one of each. In a
// virtual machine where a nanosecond is an instruction (QEMU: -icount shift=0) these count instructions.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *self;

static void do_getpid(void)
{
    (void)syscall(SYS_getpid);
}

static void do_open_close(void)
{
    int fd = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    (void)close(fd);
}

static void do_stat(void)
{
    struct stat st;
    (void)!stat("/bin/busybox", &st);
}

static int pair[2];

static void do_read_write(void)
{
    char byte = 0;
    (void)!write(pair[1], &byte, 1);
    (void)!read(pair[0], &byte, 1);
}

static void do_fork_exec(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl(self, self, "end", (char *)NULL);
        _exit(1);
    }
    (void)waitpid(pid, NULL, 0);
}

static const struct {
    const char *name;
    void (*once)(void);
    int times;
} costs[] = {
    {"getpid", do_getpid, 100000},    {"open_close", do_open_close, 5000},
    {"stat", do_stat, 5000},          {"read_write", do_read_write, 10000},
    {"fork_exec", do_fork_exec, 100},
};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "end") == 0) {
        return 0;
    }
    if (pipe2(pair, O_CLOEXEC) != 0) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
        costs[i].once();
        double start = now_ns();
        for (int n = 0; n < costs[i].times; n++) {
            costs[i].once();
        }
        printf("%s %.1f\n", costs[i].name, (now_ns() - start) / costs[i].times);
    }
    return 0;
}
