// SPDX-License-Identifier: Apache-2.0
//
// The app's process, from fork to its exec.
#ifndef CT_SPAWN_H
#define CT_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

// Where the child failed.
enum ct_spawn_stage { CT_SPAWN_TRACE, CT_SPAWN_EXEC };

struct ct_spawn_report {
    enum ct_spawn_stage stage;
    int errno_value;
};

struct ct_spawn {
    // Given; nothing of it may lie in the arena, which the child does not have.
    const char *path;
    char *const *argv;
    char *const *envp;
    const sigset_t *signal_mask; // what the app is started with
    bool ignore_child;           // SIGCHLD, likewise
    int inherit_fd;              // passed on over exec, when traced; -1 for none
    bool traced;                 // else: waits before its exec for a byte from go_fd
    // Made.
    pid_t pid;
    bool stop_seen; // a SIGSTOP was held back on the way to the exec
    int go_fd;      // -1 when traced
    int report_fd;  // the child's report when it fails; ends when it execs
};

// Forks the child. All signals are blocked in it: when traced until ct_spawn_unblock().
CT_CHECKED int ct_spawn_fork(struct ct_spawn *s, struct ct_err *err);

// Waits for the traced child to reach its exec. 0, or an error after which it is reaped; *ret_report
// has an errno_value when the child told why it failed, else 0.
CT_CHECKED int ct_spawn_run_to_exec(struct ct_spawn *s, struct ct_spawn_report *ret_report,
                                    struct ct_err *err);

// Gives a traced, stopped process its own signal mask; what was sent meanwhile comes when it runs.
CT_CHECKED int ct_spawn_unblock(pid_t pid, const sigset_t *signal_mask, struct ct_err *err);

// Lets an untraced child exec and waits for that. As ct_spawn_run_to_exec().
CT_CHECKED int ct_spawn_go(pid_t pid, int go_fd, int report_fd, struct ct_spawn_report *ret_report,
                           struct ct_err *err);

// Sends SIGKILL to a child and to all its descendants, as /proc tells of them. Reaps nobody.
void ct_spawn_kill_tree(pid_t pid);

// Sends it to the descendants alone.
void ct_spawn_kill_descendants(pid_t pid);

// Kills and reaps.
void ct_spawn_kill(pid_t pid);

#endif
