// SPDX-License-Identifier: Apache-2.0
#include "assume.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

bool ct_standing_of(pid_t pid, struct ct_standing *ret)
{
    char path[40];
    char text[4096];
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0) {
        return false;
    }
    text[n] = '\0';
    // A process names itself, with line feeds escaped: the first such lines are the kernel's.
    const char *uids = strstr(text, "\nUid:");
    const char *gids = strstr(text, "\nGid:");
    unsigned uid;
    unsigned gid;
    if (uids == NULL || gids == NULL || sscanf(uids, "\nUid: %*u %u", &uid) != 1 ||
        sscanf(gids, "\nGid: %*u %u", &gid) != 1) {
        return false;
    }
    *ret = (struct ct_standing){uid, gid, strstr(text, "\nNoNewPrivs:\t1") != NULL};
    return true;
}

bool ct_standing_become(const struct ct_standing *s)
{
    return (s->gid == getegid() || syscall(SYS_setresgid, s->gid, s->gid, s->gid) == 0) &&
           (s->uid == geteuid() || syscall(SYS_setresuid, s->uid, s->uid, s->uid) == 0);
}

// Only 0 and 1 can be set; what the kernel itself calls 2 is as closed as 0.
static int get_dumpable(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? 1 : 0;
}

static void set_ids(uid_t uid, gid_t gid, int dumpable)
{
    (void)setfsgid(gid);
    (void)setfsuid(uid);
    (void)prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
}

void ct_assume_begin(pid_t pid, struct ct_assumed *ret)
{
    struct ct_standing s;
    *ret = (struct ct_assumed){.uid = geteuid(), .gid = getegid()};
    if (!ct_standing_of(pid, &s) || (s.uid == ret->uid && s.gid == ret->gid)) {
        return;
    }
    ret->dumpable = get_dumpable();
    ret->changed = true;
    set_ids(s.uid, s.gid, ret->dumpable);
}

void ct_assume_end(struct ct_assumed *a)
{
    if (a->changed) {
        set_ids(a->uid, a->gid, a->dumpable);
        a->changed = false;
    }
}

// The effective user of this thread alone: the C library would change that of all.
static bool set_effective(uid_t uid)
{
    return syscall(SYS_setresuid, -1, uid, -1) == 0;
}

int ct_assume_kill(pid_t pid, int signal)
{
    struct ct_standing s;
    int status = kill(pid, signal);
    if (status == 0 || errno != EPERM) {
        return status;
    }
    uid_t own = geteuid();
    int dumpable = get_dumpable();
    int refused = EPERM;
    if (ct_standing_of(pid, &s) && set_effective(s.uid)) {
        status = kill(pid, signal);
        refused = errno;
        (void)set_effective(own); // its real user still: always allowed
        (void)prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
    }
    errno = refused;
    return status;
}
