// SPDX-License-Identifier: Apache-2.0
// Says what it finds itself to be, for the tests of the pod runner.
//   probe facts              identity, limits and what is refused, one NAME VALUE a line
//   probe write PATH TEXT    0, or 1 with errno's name
//   probe read PATH          the file
//   probe exit N             ends with that code
//   probe wait [ignore]      until SIGTERM, exit code 5; with `ignore` SIGTERM does nothing
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int facts(char **environment)
{
    struct rlimit memlock;
    char cwd[4096];
    getrlimit(RLIMIT_MEMLOCK, &memlock);
    printf("uid %d\ngid %d\npid %d\n", (int)getuid(), (int)getgid(), (int)getpid());
    printf("no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("memlock %llu\n", (unsigned long long)memlock.rlim_cur);
    printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
    printf("memfd_secret %s\n", syscall(447, 0) >= 0 ? "ok" : strerror(errno));
    printf("kcore %s\n", access("/proc/kcore", R_OK) == 0 ? "there" : strerror(errno));
    printf("keyctl %s\n", syscall(SYS_keyctl, 0, -3, 0) >= 0 ? "ok" : strerror(errno));
    printf("userns %s\n", unshare(CLONE_NEWUSER) == 0 ? "ok" : strerror(errno));
    for (; *environment != NULL; environment++) {
        printf("env %s\n", *environment);
    }
    return 0;
}

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (n != (ssize_t)strlen(text)) {
        printf("%s: %s\n", path, n < 0 ? strerror(errno) : "short write");
        return 1;
    }
    return close(fd) != 0;
}

static int get(const char *path)
{
    char data[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));
    if (n < 0) {
        printf("%s: %s\n", path, strerror(errno));
        return 1;
    }
    return write(STDOUT_FILENO, data, (size_t)n) != n;
}

static int wait_for_term(int ignore)
{
    sigset_t term;
    int got;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    printf("waiting\n");
    fflush(stdout);
    do {
        sigwait(&term, &got);
    } while (ignore);
    return 5;
}

int main(int argc, char **argv, char **environment)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "facts") == 0) {
        return facts(environment);
    }
    if (strcmp(what, "write") == 0 && argc == 4) {
        return put(argv[2], argv[3]);
    }
    if (strcmp(what, "read") == 0 && argc == 3) {
        return get(argv[2]);
    }
    if (strcmp(what, "exit") == 0 && argc == 3) {
        return atoi(argv[2]);
    }
    if (strcmp(what, "wait") == 0) {
        return wait_for_term(argc == 3);
    }
    return 2;
}
