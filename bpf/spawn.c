// SPDX-License-Identifier: Apache-2.0
//
// ct_guard_spawn(): a program that runs protected.
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard_internal.h"

#define EXIT_NOT_FOUND 127

// Runs in the process that is marked: what it forks inherits the mark and is numbered.
static _Noreturn void spawn(int ready, int answer, char *const argv[])
{
    char byte;
    pid_t pid = -1;
    int status = 0;
    if (read(ready, &byte, 1) == 1 && (pid = fork()) == 0) {
        (void)execvp(argv[0], argv);
        _exit(EXIT_NOT_FOUND);
    }
    if (write(answer, &pid, sizeof(pid)) != (ssize_t)sizeof(pid) ||
        waitpid(pid, &status, 0) != pid) {
        _exit(EXIT_NOT_FOUND);
    }
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static int mark(struct ct_guard *guard, pid_t pid, struct ct_err *err)
{
    __u32 key = (__u32)pid;
    const struct ct_mark value = {.root = key};
    return bpf_map_update_elem(ct_guard_map(guard, "ct_marks"), &key, &value, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot mark process %d", (int)pid);
}

int ct_guard_spawn(struct ct_guard *guard, char *const argv[], struct ct_spawned *ret,
                   struct ct_err *err)
{
    int ready[2];
    int answer[2];
    if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) {
        return ct_err_errno(err, "cannot make a pipe");
    }
    pid_t parent = getpid();
    ret->keeper = fork();
    if (ret->keeper == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(EXIT_NOT_FOUND);
        }
        (void)close(ready[1]);
        (void)close(answer[0]);
        spawn(ready[0], answer[1], argv);
    }
    (void)close(ready[0]);
    (void)close(answer[1]);
    int rc = ret->keeper > 0 ? mark(guard, ret->keeper, err) : ct_err_errno(err, "cannot fork");
    if (rc == 0 && (write(ready[1], "", 1) != 1 ||
                    read(answer[0], &ret->pid, sizeof(ret->pid)) != (ssize_t)sizeof(ret->pid))) {
        rc = ct_err_errno(err, "cannot start %s", argv[0]);
    }
    (void)close(ready[1]);
    (void)close(answer[0]);
    return rc;
}
