// SPDX-License-Identifier: Apache-2.0
//
// A launcher such as gosu starts the app as another user. Without CAP_SYS_PTRACE the files of /proc
// that tell of it open to that user alone: root may be that user where files are concerned, for a
// while (setfsuid(2)). Without CAP_KILL it is the same with signals.
#ifndef CT_ASSUME_H
#define CT_ASSUME_H

#include <stdbool.h>
#include <sys/types.h>

// Whose process is it?
struct ct_standing {
    uid_t uid; // effective
    gid_t gid;
    bool no_new_privs;
};

// False when /proc does not tell.
bool ct_standing_of(pid_t pid, struct ct_standing *ret);

// This thread alone becomes that user. Raw system calls: the C library would do it for all threads, and a child
// that shares memory has none of its own. False: it may not.
bool ct_standing_become(const struct ct_standing *standing);

struct ct_assumed {
    bool changed;
    uid_t uid; // as they were
    gid_t gid;
    int dumpable;
};

// This thread's file system ids become those of `pid`, where they differ and this process may. The
// kernel takes a change of ids as a reason to reset this process's dumpable flag: it is put back.
void ct_assume_begin(pid_t pid, struct ct_assumed *ret);
void ct_assume_end(struct ct_assumed *a);

// kill(2), and where that is not permitted as the user of `pid`, if this thread may become it. Not between
// the two above.
int ct_assume_kill(pid_t pid, int signal);

#endif
