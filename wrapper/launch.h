// SPDX-License-Identifier: Apache-2.0
//
// Starts the app so that its secrets never touch its environ or heap: the program is stopped at its
// exec, before its first instruction; its envp slots are pointed at strings in secret memory of its
// own; what was done is proven there; only then is it released. A launcher - a shell, tini, gosu - is
// followed, with placeholders, to the program that it is there for (chain.h, follow.h).
#ifndef CT_LAUNCH_H
#define CT_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "err.h"
#include "launcher.h"
#include "score.h"
#include "secrets.h"

// How the placeholder begins that stands for a secret. Behind it comes ":" and a random text, another at each
// start: a helper that makes a password of it, such as a database's set-up, must not make a known one.
#define CT_LAUNCH_PLACEHOLDER "cloudtaser:secret"

struct ct_launch_spec {
    char *const *argv;        // the app's command line, NULL-terminated, argv[0] looked up in PATH
    char *const *environment; // the wrapper's own; CLOUDTASER_CONFIG is left out for the app
    const struct ct_secrets *secrets;
    bool plain_environment;         // permitted to deliver in the clear where injection cannot
    const sigset_t *signal_mask;    // the mask the app is started with
    bool ignore_child;              // the app is started with SIGCHLD ignored
    const struct rlimit *core;      // RLIMIT_CORE of the app; NULL: this process's
    enum ct_launcher_mode launcher; // what is done about launchers
    bool guarded;                   // by the node's agent, which is to be proven about the app too
    // Called once, before a launcher that is followed runs. NULL: nobody wants to know.
    void (*followed)(void *cls, const char *launcher, pid_t pid);
    // Called once when none of it has become a program for late_ms. Likewise.
    void (*late)(void *cls);
    void *cls;
    unsigned late_ms;
};

struct ct_launched {
    pid_t pid;
    pid_t child; // this process's own, to be supervised: the app, or the launcher that waits for it
    bool followed;
    bool over;        // followed, and no program came of it: nothing is to be judged or released
    bool ended;       // over: the child ended …
    int exit_code;    // … with this, or 128+n
    size_t withheld;  // followed: secrets whose variables the launcher changed or removed
    bool traced;      // stopped at its exec, waiting for ct_launch_release()
    int mem_fd;       // /proc/APP/mem, opened while it was dumpable; -1 when not to be had
    int maps_fd;      // /proc/APP/maps, likewise
    int go_fd;        // not traced: waits before its exec for a byte here; else -1
    int report_fd;    // not traced: an exec that failed is told here; else -1
    const char *name; // not traced: the spec's argv[0], borrowed
};

// Starts the app up to its exec stop, delivers the secrets, attacks it and records the app's facts.
// Errors: CT_ENOTFOUND (exit 127) and CT_ENOEXEC (126) for the program itself; CT_EDENIED for set-uid,
// file capabilities, a 32-bit program, or tracing refused without plain_environment; nothing is left
// running after an error. Following a launcher takes as long as the launcher does; signals are
// forwarded to it meanwhile.
CT_CHECKED int ct_launch_prepare(const struct ct_launch_spec *spec, struct ct_facts *facts,
                                 struct ct_launched *ret, struct ct_err *err);
// Lets it run its first instruction; the tracer is detached. What was not traced only now execs, and
// can fail with CT_ENOTFOUND or CT_ENOEXEC.
CT_CHECKED int ct_launch_release(struct ct_launched *app, struct ct_err *err);
// Kills and reaps an app that was not released, with all of its launcher; closes descriptors.
void ct_launch_abandon(struct ct_launched *app);

#endif
