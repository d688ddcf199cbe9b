// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "app_proof.h"
#include "delivery.h"
#include "image.h"
#include "inject.h"
#include "launcher.h"
#include "program.h"
#include "spawn.h"

#define LAUNCHER_ARGS 32 // of its arguments that a program is judged by

// A launch under way; what is in it is undone by launch_done().
struct launch {
    const struct ct_launch_spec *spec;
    struct ct_facts *facts;
    char path[PATH_MAX];
    char exe[PATH_MAX]; // what really runs: a script's interpreter, a link's target
    struct ct_image image;
    struct ct_delivery delivery;
    struct ct_spawn spawn;
    struct ct_inject inject;
    struct ct_stack stack;
    bool launcher; // hands its environment on: nothing about its memory counts
};

static void launch_done(struct launch *l)
{
    ct_image_done(&l->image);
    ct_delivery_done(&l->delivery);
    ct_close_fd(&l->spawn.report_fd);
    ct_close_fd(&l->spawn.go_fd);
}

void ct_launch_abandon(struct ct_launched *app)
{
    if (app->pid > 0) {
        ct_spawn_kill(app->pid);
    }
    ct_close_fd(&app->mem_fd);
    ct_close_fd(&app->maps_fd);
    ct_close_fd(&app->go_fd);
    ct_close_fd(&app->report_fd);
    *app = (struct ct_launched){.mem_fd = -1, .maps_fd = -1, .go_fd = -1, .report_fd = -1};
}

// Everything that needs no process yet.
static int make_ready(struct launch *l, struct ct_err *err)
{
    const struct ct_launch_spec *spec = l->spec;
    int status = ct_image_make(spec->argv, spec->environment, spec->secrets, &l->image, err);
    if (status == 0) {
        status = ct_program_find(spec->argv[0], ct_image_variable(&l->image, "PATH"), l->path,
                                 sizeof(l->path), err);
    }
    if (status == 0) {
        status = ct_program_check(l->path, l->path, err);
        status = status != 0 ? ct_err_wrap(err, "%s was not started", l->path) : 0;
    }
    return status != 0 ? status : ct_delivery_make(spec->secrets, &l->delivery, err);
}

// What a child that failed said, as an error.
static int told(const struct launch *l, const struct ct_spawn_report *report, int status,
                struct ct_err *err)
{
    if (report->errno_value != 0 && report->stage == CT_SPAWN_EXEC) {
        return ct_program_exec_error(l->path, report->errno_value, err);
    }
    return status;
}

static int fork_app(struct launch *l, bool traced, struct ct_err *err)
{
    l->spawn = (struct ct_spawn){
        .path = l->path,
        .argv = l->image.argv,
        .envp = l->image.envp,
        .signal_mask = l->spec->signal_mask,
        .ignore_child = l->spec->ignore_child,
        .inherit_fd = l->delivery.area.fd,
        .traced = traced,
        .go_fd = -1,
        .report_fd = -1,
    };
    return ct_spawn_fork(&l->spawn, err);
}

// ---- the app at its exec stop

// A script's interpreter is what was not looked at before.
static int check_executable(struct launch *l, struct ct_err *err)
{
    char link[40];
    (void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)l->spawn.pid);
    ssize_t n = readlink(link, l->exe, sizeof(l->exe) - 1);
    if (n < 0) {
        // Without /proc only a script is left unseen: it was the program itself that was checked.
        memcpy(l->exe, l->path, sizeof(l->exe));
        return 0;
    }
    l->exe[n] = '\0';
    return ct_program_check(link, l->exe, err);
}

static const char *find_launcher(const struct launch *l)
{
    char text[LAUNCHER_ARGS][CT_STACK_STRING_MAX];
    const char *argv[LAUNCHER_ARGS];
    size_t argc = ct_stack_argv(l->spawn.pid, &l->stack, text, LAUNCHER_ARGS);
    for (size_t i = 0; i < argc; i++) {
        argv[i] = text[i];
    }
    return ct_launcher_name(l->exe, argv, argc);
}

static int open_proc(pid_t pid, const char *file)
{
    char path[40];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int deliver(struct launch *l, struct ct_err *err)
{
    int status = ct_inject_begin(&l->inject, err);
    if (status == 0) {
        status = ct_stack_read(l->spawn.pid, l->inject.stack, &l->stack, err);
    }
    if (status == 0) {
        status = ct_inject_locate(&l->inject, l->stack.vdso, err);
    }
    if (status != 0) {
        return status;
    }
    const char *launcher = l->spec->secrets->n > 0 ? find_launcher(l) : NULL;
    if (launcher != NULL) {
        l->launcher = true;
        ct_app_proof_none(l->facts, "%s hands its environment on in the clear", launcher);
    }
    status = ct_delivery_run(&l->delivery, &l->inject, &l->stack, &l->image, l->spec->secrets, err);
    // This process's view goes at once: the proofs fork a process that is open to attack.
    ct_delivery_done(&l->delivery);
    return status;
}

// The files of /proc are opened before the app is closed to them: they stay usable afterwards.
static int prove(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    ret->mem_fd = open_proc(l->spawn.pid, "mem");
    ret->maps_fd = open_proc(l->spawn.pid, "maps");
    if (!l->launcher) {
        ct_app_proof_memory(l->facts, &l->inject, &l->delivery, ret->mem_fd);
    }
    return ct_app_proof_dumpable(l->facts, &l->inject, err);
}

static int at_exec_stop(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    l->inject = (struct ct_inject){.pid = l->spawn.pid, .stop_seen = l->spawn.stop_seen};
    // On to the exit of execve: its return value would overwrite a register later.
    int status = ct_inject_run(&l->inject, err);
    if (status == 0) {
        status = check_executable(l, err);
    }
    if (status == 0) {
        status = deliver(l, err);
    }
    if (status == 0) {
        status = prove(l, ret, err);
    }
    if (status == 0) {
        status = ct_inject_end(&l->inject, err);
    }
    if (status == 0) {
        status = ct_spawn_unblock(l->spawn.pid, l->spec->signal_mask, err);
    }
    if (status == 0 && l->inject.stop_seen) {
        (void)kill(l->spawn.pid, SIGSTOP); // held back until now
    }
    return status;
}

// ---- the two ways

// *ret_refused is the errno when this process may not trace; nothing is left then.
static int launch_traced(struct launch *l, struct ct_launched *ret, int *ret_refused,
                         struct ct_err *err)
{
    int status = fork_app(l, true, err);
    if (status != 0) {
        return status;
    }
    struct ct_spawn_report report;
    status = ct_spawn_run_to_exec(&l->spawn, &report, err);
    if (status != 0) {
        *ret_refused = report.stage == CT_SPAWN_TRACE ? report.errno_value : 0;
        return told(l, &report, status, err);
    }
    ret->pid = l->spawn.pid;
    ret->traced = true;
    status = at_exec_stop(l, ret, err);
    if (l->inject.ended) {
        ret->pid = -1; // nobody's any more: it must not be killed again
    }
    return status != 0 ? ct_err_wrap(err, "%s was not started", l->path) : 0;
}

// The secrets go where the kernel puts an environment. The child waits for ct_launch_release().
static int launch_plain(struct launch *l, int refused, struct ct_launched *ret, struct ct_err *err)
{
    for (size_t i = 0; i < l->image.env_count; i++) {
        if (l->image.secret[i] != 0) {
            size_t at = ct_delivery_offset(l->spec->secrets, l->image.secret[i] - 1);
            l->image.envp[i] = (char *)l->delivery.area.base + at;
        }
    }
    ct_close_fd(&l->spawn.report_fd);
    l->spawn.report_fd = -1;
    int status = fork_app(l, false, err);
    if (status != 0) {
        return status;
    }
    l->delivery.shared = l->delivery.area.kind == CT_SECMEM_SECRET;
    ct_app_proof_none(l->facts, "ptrace: %s, its secrets are in its environment",
                      ct_err_name(refused));
    ret->pid = l->spawn.pid;
    ret->name = l->spec->argv[0];
    ret->go_fd = ct_steal_fd(&l->spawn.go_fd);
    ret->report_fd = ct_steal_fd(&l->spawn.report_fd);
    return 0;
}

int ct_launch_prepare(const struct ct_launch_spec *spec, struct ct_facts *facts,
                      struct ct_launched *ret, struct ct_err *err)
{
    struct launch l = {
        .spec = spec,
        .facts = facts,
        .delivery = {.area = {.fd = -1}},
        .spawn = {.go_fd = -1, .report_fd = -1},
    };
    *ret = (struct ct_launched){.mem_fd = -1, .maps_fd = -1, .go_fd = -1, .report_fd = -1};
    int refused = 0;
    int status = make_ready(&l, err);
    if (status == 0) {
        status = launch_traced(&l, ret, &refused, err);
    }
    if (refused != 0 && spec->plain_environment) {
        status = launch_plain(&l, refused, ret, err);
    } else if (refused != 0) {
        status = ct_err_set(err, CT_EDENIED,
                            "%s was not started: this container may not use ptrace (%s), through "
                            "which secrets are delivered; allow it (seccomp, "
                            "kernel.yama.ptrace_scope 0 or 1) or permit plain-environment",
                            l.path, ct_err_name(refused));
    }
    if (status != 0) {
        ct_launch_abandon(ret);
    }
    launch_done(&l);
    return status;
}

int ct_launch_release(struct ct_launched *app, struct ct_err *err)
{
    if (app->traced) {
        // One that was killed meanwhile needs no release; how it ended is for the supervisor to tell.
        if (ptrace(PTRACE_DETACH, app->pid, NULL, NULL) != 0 && errno != ESRCH) {
            return ct_err_errno(err, "the app cannot be released (PTRACE_DETACH)");
        }
        app->traced = false;
        return 0;
    }
    struct ct_spawn_report report;
    int status = ct_spawn_go(app->pid, app->go_fd, app->report_fd, &report, err);
    if (status != 0 && report.errno_value != 0) {
        app->pid = -1; // reaped
        status = ct_program_exec_error(app->name, report.errno_value, err);
    }
    ct_close_fd(&app->go_fd);
    ct_close_fd(&app->report_fd);
    app->go_fd = -1;
    app->report_fd = -1;
    return status;
}
