// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app_proof.h"
#include "assume.h"
#include "chain.h"
#include "delivery.h"
#include "follow.h"
#include "image.h"
#include "inject.h"
#include "program.h"
#include "secmem.h"
#include "spawn.h"

static const struct ct_launched nothing = {
    .mem_fd = -1, .maps_fd = -1, .go_fd = -1, .report_fd = -1};

// A launch under way; what is in it is undone by launch_done().
struct launch {
    const struct ct_launch_spec *spec;
    struct ct_facts *facts;
    char path[PATH_MAX];
    char exe[PATH_MAX]; // what really runs: a script's interpreter, a link's target; "" if unknown
    struct ct_image image;
    struct ct_delivery delivery;
    struct ct_spawn spawn;
    struct ct_inject inject;
    struct ct_stack stack;
    struct ct_follow_verdict verdict;
    // While a launcher is followed, and afterwards.
    bool followed;
    struct ct_chain chain;
    uint64_t mask;           // of the process that is stopped: what it had blocked
    struct ct_secrets given; // those that the launcher handed on; names and values are spec's
};

static void drop_delivery(struct launch *l)
{
    ct_delivery_done(&l->delivery);
    ct_close_fd(&l->delivery.area.fd);
    l->delivery.area.fd = -1;
    ct_arena_free(l->given.item);
    l->given = (struct ct_secrets){0};
}

static void launch_done(struct launch *l)
{
    ct_image_done(&l->image);
    drop_delivery(l);
    ct_close_fd(&l->spawn.report_fd);
    ct_close_fd(&l->spawn.go_fd);
}

void ct_launch_abandon(struct ct_launched *app)
{
    if (app->followed && !app->over) {
        struct ct_chain rest = {.child = app->child, .task = {app->pid}, .n = app->pid > 0};
        ct_chain_kill(&rest);
    } else if (app->pid > 0) {
        ct_spawn_kill(app->pid);
    }
    ct_close_fd(&app->mem_fd);
    ct_close_fd(&app->maps_fd);
    ct_close_fd(&app->go_fd);
    ct_close_fd(&app->report_fd);
    *app = nothing;
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

// ---- a program at its exec stop

// A script's interpreter is what was not looked at before, and what a launcher started.
static int check_executable(struct launch *l, struct ct_err *err)
{
    char link[40];
    struct ct_standing standing;
    (void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)l->inject.pid);
    ssize_t n = readlink(link, l->exe, sizeof(l->exe) - 1);
    l->exe[n > 0 ? n : 0] = '\0';
    if (n < 0 && !l->followed) {
        // Without /proc only a script is left unseen: it was the program itself that was checked.
        memcpy(l->exe, l->path, sizeof(l->exe));
        return 0;
    }
    if (n < 0) {
        return 0; // judge() knows that it does not know
    }
    if (!l->followed || !ct_standing_of(l->inject.pid, &standing)) {
        return ct_program_check(link, l->exe, err);
    }
    return ct_program_check_started(link, l->exe, standing.uid, standing.gid, standing.no_new_privs,
                                    err);
}

static void judge(struct launch *l)
{
    l->verdict = (struct ct_follow_verdict){.why = ""};
    if (l->spec->secrets->n == 0 && !l->followed) {
        return;
    }
    if (l->exe[0] == '\0') {
        l->verdict.launcher = "a program that cannot be looked at";
        return;
    }
    const struct ct_follow_subject subject = {
        .pid = l->inject.pid,
        .exe = l->exe,
        .stack = &l->stack,
        .secrets = l->spec->secrets,
        .mode = l->spec->launcher,
    };
    ct_follow_judge(&subject, &l->verdict);
}

// What is this that is stopped, and is it to be followed?
static int arrive(struct launch *l, struct ct_err *err)
{
    // On to the exit of execve: its return value would overwrite a register later.
    int status = ct_inject_run(&l->inject, err);
    if (status == 0) {
        status = check_executable(l, err);
    }
    if (status == 0) {
        status = ct_inject_begin(&l->inject, err);
    }
    if (status == 0) {
        status = ct_stack_read(l->inject.pid, l->inject.stack, &l->stack, err);
    }
    if (status == 0) {
        status = ct_inject_locate(&l->inject, l->stack.vdso, err);
    }
    if (status == 0) {
        judge(l);
    }
    return status;
}

static int open_proc(pid_t pid, const char *file)
{
    char path[40];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

// The secrets whose variables arrived untouched, in pages that exist from now on.
static int make_given(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    const struct ct_secrets *all = l->spec->secrets;
    bool *given = ct_arena_calloc(all->n + 1, sizeof(*given));
    l->given.item = ct_arena_calloc(all->n + 1, sizeof(*l->given.item));
    if (given == NULL || l->given.item == NULL) {
        ct_arena_free(given);
        return ct_err_set(err, CT_ENOMEM, "no memory for the app's secrets");
    }
    ret->withheld =
        all->n - ct_delivery_given(l->inject.pid, &l->stack, all, l->image.placeholder, given);
    for (size_t i = 0; i < all->n; i++) {
        if (given[i]) {
            l->given.item[l->given.n++] = all->item[i];
        }
    }
    ct_arena_free(given);
    int status = ct_delivery_make(&l->given, &l->delivery, err);
    l->delivery.pass = true;
    return status;
}

static int deliver(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    int status = l->followed ? make_given(l, ret, err) : 0;
    if (status != 0) {
        return status;
    }
    if (l->verdict.launcher != NULL) {
        ct_app_proof_none(l->facts, "%s hands its environment on in the clear%s",
                          l->verdict.launcher, l->verdict.why);
    }
    status = l->followed ? ct_delivery_run_given(&l->delivery, &l->inject, &l->stack, &l->given,
                                                 l->image.placeholder, err)
                         : ct_delivery_run(&l->delivery, &l->inject, &l->stack, &l->image,
                                           l->spec->secrets, err);
    // This process's view goes at once: the proofs fork a process that is open to attack.
    ct_delivery_done(&l->delivery);
    return status;
}

// The files of /proc are opened before the app is closed to them: they stay usable afterwards.
static int prove(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    ret->mem_fd = open_proc(l->inject.pid, "mem");
    ret->maps_fd = open_proc(l->inject.pid, "maps");
    if (l->verdict.launcher == NULL) {
        ct_app_proof_memory(l->facts, &l->inject, &l->delivery, ret->mem_fd);
    }
    int status = l->spec->guarded ? ct_app_proof_guard(l->facts, &l->inject, err) : 0;
    return status != 0 ? status : ct_app_proof_dumpable(l->facts, &l->inject, err);
}

static int set_core(const struct launch *l, pid_t pid, struct ct_err *err)
{
    if (l->spec->core != NULL && prlimit(pid, RLIMIT_CORE, l->spec->core, NULL) != 0) {
        return ct_err_errno(err, "cannot restore the app's RLIMIT_CORE");
    }
    return 0;
}

// The app has arrived: everything up to its first instruction.
static int hand_over(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    pid_t pid = l->inject.pid;
    int status = deliver(l, ret, err);
    if (status == 0) {
        status = prove(l, ret, err);
    }
    if (status == 0) {
        status = ct_inject_end(&l->inject, err);
    }
    if (status == 0) {
        status = l->followed ? ct_chain_unhold(pid, l->mask, err)
                             : ct_spawn_unblock(pid, l->spec->signal_mask, err);
    }
    if (status == 0 && l->inject.stop_seen) {
        (void)kill(pid, SIGSTOP); // held back until now
    }
    return status;
}

// ---- a launcher

// It has inherited the memfd of the app's pages, as the app itself would have: that goes before its
// first instruction, and so do the pages.
static int take_secrets_away(struct launch *l, struct ct_err *err)
{
    long value = 0;
    int status = 0;
    if (l->delivery.area.fd >= 0) {
        const long closing[6] = {l->delivery.area.fd};
        status = ct_inject_call(&l->inject, SYS_close, closing, &value, err);
    }
    if (status == 0 && value != 0) {
        errno = (int)-value;
        status = ct_err_errno(err, "the launcher's secret memfd cannot be closed");
    }
    drop_delivery(l);
    return status;
}

static int begin_following(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    pid_t pid = l->inject.pid;
    int status = take_secrets_away(l, err);
    status = status == 0 ? set_core(l, pid, err) : status;
    status = status == 0 ? ct_inject_end(&l->inject, err) : status;
    if (status != 0) {
        return status;
    }
    if (l->spec->followed != NULL) {
        l->spec->followed(l->spec->cls, l->verdict.launcher, pid);
    }
    l->followed = true;
    ret->followed = true;
    ret->pid = -1; // whatever is to be killed now, the chain knows
    ret->child = pid;
    status = ct_chain_begin(&l->chain, pid, l->verdict.rule, l->spec->signal_mask,
                            l->inject.stop_seen, err);
    l->chain.late = l->spec->late;
    l->chain.cls = l->spec->cls;
    l->chain.late_ms = l->spec->late_ms;
    return status;
}

// At an exec of the chain's. *ret_arrived: it is the app, and everything is done for it.
static int follow_once(struct launch *l, pid_t pid, struct ct_launched *ret, bool *ret_arrived,
                       struct ct_err *err)
{
    l->inject = (struct ct_inject){.pid = pid};
    int status = ct_chain_hold(pid, &l->mask, err);
    status = status == 0 ? arrive(l, err) : status;
    if (status == 0 && l->verdict.follow) {
        status = ct_inject_end(&l->inject, err);
        return status != 0 ? status
                           : ct_chain_go(pid, l->verdict.rule, l->mask, l->inject.stop_seen, err);
    }
    *ret_arrived = status == 0;
    return status == 0 ? hand_over(l, ret, err) : status;
}

// As the process's user. One that is killed meanwhile, by its launcher or for the want of memory, leaves
// nothing behind: what its end means the launcher decides.
static int follow_as_its_user(struct launch *l, pid_t pid, struct ct_launched *ret,
                              bool *ret_arrived, struct ct_err *err)
{
    const struct ct_facts before = *l->facts;
    struct ct_assumed assumed;
    ct_assume_begin(pid, &assumed);
    int status = follow_once(l, pid, ret, ret_arrived, err);
    ct_assume_end(&assumed);
    ret->pid = status == 0 && *ret_arrived ? pid : -1;
    if (status == 0 || !ct_chain_lost(&l->chain, &l->inject)) {
        return status;
    }
    *l->facts = before;
    *ret_arrived = false;
    drop_delivery(l);
    ct_close_fd(&ret->mem_fd);
    ct_close_fd(&ret->maps_fd);
    ret->mem_fd = -1;
    ret->maps_fd = -1;
    return 0;
}

static int follow(struct launch *l, struct ct_launched *ret, struct ct_err *err)
{
    int status = begin_following(l, ret, err);
    bool arrived = false;
    while (status == 0 && !arrived) {
        pid_t pid = 0;
        status = ct_chain_wait(&l->chain, &pid, err);
        if (status == 0 && pid == 0) {
            ret->over = true;
            ret->ended = l->chain.ended;
            ret->exit_code = l->chain.exit_code;
            return 0;
        }
        if (status == 0) {
            status = follow_as_its_user(l, pid, ret, &arrived, err);
        }
    }
    if (status != 0) {
        ct_chain_kill(&l->chain);
        *ret = nothing;
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
    ret->child = l->spawn.pid;
    ret->traced = true;
    l->inject = (struct ct_inject){.pid = l->spawn.pid, .stop_seen = l->spawn.stop_seen};
    status = arrive(l, err);
    if (status == 0 && l->verdict.follow) {
        status = follow(l, ret, err);
    } else if (status == 0) {
        status = hand_over(l, ret, err);
        status = status == 0 ? set_core(l, ret->pid, err) : status;
    }
    if (l->inject.ended && !l->followed) {
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
    if (l->spec->guarded) {
        ct_app_proof_no_guard(l->facts, "unproven about the app, which may not be traced");
    }
    ret->pid = l->spawn.pid;
    ret->child = l->spawn.pid;
    ret->name = l->spec->argv[0];
    ret->go_fd = ct_steal_fd(&l->spawn.go_fd);
    ret->report_fd = ct_steal_fd(&l->spawn.report_fd);
    return set_core(l, ret->pid, err);
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
    *ret = nothing;
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
