// SPDX-License-Identifier: Apache-2.0
// Stop the agent by a signal, or set a limit of its: by which of the kernel's ways, is in the program's name.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"
#include "row.h"

// Each -1 with errno, or 0.
static long by_kill(pid_t agent, int number)
{
    return kill(agent, number);
}

static long by_tkill(pid_t agent, int number)
{
    return syscall(SYS_tkill, agent, number);
}

static long by_tgkill(pid_t agent, int number)
{
    return syscall(SYS_tgkill, agent, agent, number);
}

static long by_sigqueue(pid_t agent, int number)
{
    siginfo_t info = {.si_signo = number, .si_code = SI_QUEUE};
    return syscall(SYS_rt_sigqueueinfo, agent, number, &info);
}

static long by_tgsigqueue(pid_t agent, int number)
{
    siginfo_t info = {.si_signo = number, .si_code = SI_QUEUE};
    return syscall(SYS_rt_tgsigqueueinfo, agent, agent, number, &info);
}

static long by_pidfd(pid_t agent, int number)
{
    int fd = (int)syscall(SYS_pidfd_open, agent, 0);
    return fd < 0 ? -1 : syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
}

// Its folder in /proc is such a descriptor too.
static long by_proc(pid_t agent, int number)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d", (int)agent);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
}

// The kernel sends it what tells of input on a descriptor of ours.
static long by_owner(pid_t agent, int number)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[0], F_SETOWN, agent) != 0 ||
        fcntl(ends[0], F_SETSIG, number) != 0 || fcntl(ends[0], F_SETFL, O_ASYNC) != 0) {
        return -1;
    }
    bool sent = write(ends[1], "", 1) == 1;
    // Its end is told of too, and would stop the agent again.
    (void)fcntl(ends[0], F_SETFL, 0);
    return sent ? 0 : -1;
}

static const struct way {
    const char *name;
    long (*send)(pid_t agent, int number);
} ways[] = {
    {"agent_kill", by_kill},
    {"agent_kill_tkill", by_tkill},
    {"agent_kill_tgkill", by_tgkill},
    {"agent_kill_sigqueue", by_sigqueue},
    {"agent_kill_tgsigqueue", by_tgsigqueue},
    {"agent_kill_pidfd", by_pidfd},
    {"agent_kill_proc", by_proc},
    {"agent_kill_owner", by_owner},
};

static enum row_result stop(const struct way *way)
{
    pid_t agent = row_agent().pid;
    if (way->send(agent, SIGSTOP) != 0) {
        return row_from_errno(way->name);
    }
    bool stopped = row_becomes(agent, "T");
    // By the same way: others may be refused.
    (void)way->send(agent, SIGCONT);
    return stopped ? ROW_LEAKED : ROW_REFUSED;
}

static enum row_result limit(void)
{
    pid_t agent = row_agent().pid;
    struct rlimit old;
    struct rlimit now = {0};
    if (prlimit(agent, RLIMIT_NOFILE, NULL, &old) != 0) {
        return row_from_errno("prlimit");
    }
    const struct rlimit less = {.rlim_cur = old.rlim_cur - 1, .rlim_max = old.rlim_max};
    if (prlimit(agent, RLIMIT_NOFILE, &less, NULL) != 0) {
        return row_from_errno("prlimit");
    }
    (void)prlimit(agent, RLIMIT_NOFILE, &old, &now);
    return now.rlim_cur == less.rlim_cur ? ROW_LEAKED : ROW_REFUSED;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *name = row_name();
    (void)victim;
    if (strcmp(name, "agent_kill_limit") == 0) {
        return limit();
    }
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (strcmp(ways[i].name, name) == 0) {
            return stop(&ways[i]);
        }
    }
    errno = EINVAL;
    return row_from_errno(name);
}
