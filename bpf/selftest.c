// SPDX-License-Identifier: Apache-2.0
#include "selftest.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aside.h"
#include "ring.h"
#include "vectors.h"

// How an attacker's process ends.
#define EXIT_TRIED 0
#define EXIT_ABSENT 2
#define PATIENCE_MS 20000 // with an attacker, on however busy a machine

// A process that waits to be told to go on.
struct waiting {
    pid_t pid;
    int go; // write end of its pipe
};

// What is attacked, made anew for each run: the maker is marked, and what it forks inherits the mark as any child
// of a protected process does.
struct scene {
    const struct ct_selftest_ground *ground;
    pid_t maker;
    int orders;  // to the maker
    int answers; // from it
    struct ct_victim marked;
    struct ct_victim plain;
};

// A file, not empty, to be mapped by a victim.
static int make_program(void)
{
    int fd = memfd_create("cloudtaser-self-test", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, 1) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

// Ends with its parent, also with one that had ended before this was asked for; and has none of the descriptors of the
// agent's programs and maps, but only the `n` in `keep`.
static void begin_child(pid_t parent, const int *keep, size_t n)
{
    ct_aside_close_others(keep, n);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_TRIED);
    }
}

static void sleep_for_good(void)
{
    for (;;) {
        (void)pause();
    }
}

// Returns once it has mapped its program.
static pid_t fork_idle(int program)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        begin_child(parent, (const int[]){program, ends[1]}, 2);
        (void)mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, program, 0);
        (void)close(ends[1]);
        sleep_for_good();
    }
    (void)close(ends[1]);
    (void)!read(ends[0], &byte, 1);
    (void)close(ends[0]);
    return pid;
}

static _Noreturn void attack(ct_attempt attempt, const struct ct_victim *victim, int wait_fd)
{
    char byte;
    if (read(wait_fd, &byte, 1) != 1) {
        _exit(EXIT_TRIED);
    }
    _exit(attempt(victim) == 0 ? EXIT_TRIED : EXIT_ABSENT);
}

// Forks a process that attacks once a byte is written to *ret's pipe.
static int fork_attacker(ct_attempt attempt, const struct ct_victim *victim, struct waiting *ret)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t parent = getpid();
    ret->pid = fork();
    if (ret->pid == 0) {
        const struct ct_victim none = {.pidfd = -1, .program = -1, .den = -1};
        const struct ct_victim *v = victim != NULL ? victim : &none;
        begin_child(parent, (const int[]){ends[0], v->pidfd, v->program, v->den}, 4);
        attack(attempt, victim, ends[0]);
    }
    (void)close(ends[0]);
    ret->go = ends[1];
    if (ret->pid < 0) {
        (void)close(ret->go);
        return -1;
    }
    return 0;
}

// ---- the maker ----

// An order: attempt NULL asks for an idle process, else for an attacker on itself.
struct order {
    ct_attempt attempt;
};

static _Noreturn void make(int orders, int answers, int program)
{
    struct order order;
    while (read(orders, &order, sizeof(order)) == (ssize_t)sizeof(order)) {
        struct waiting made = {.pid = -1, .go = -1};
        int status = 0;
        char byte;
        if (order.attempt == NULL) {
            made.pid = fork_idle(program);
        } else if (fork_attacker(order.attempt, NULL, &made) != 0) {
            made.pid = -1;
        }
        if (write(answers, &made.pid, sizeof(made.pid)) != (ssize_t)sizeof(made.pid)) {
            break;
        }
        if (order.attempt == NULL || made.pid < 0) {
            continue;
        }
        // Its fellow has told the kernel whom to look at: now it goes.
        bool told = read(orders, &byte, 1) == 1 && write(made.go, &byte, 1) == 1;
        (void)close(made.go);
        status = told && waitpid(made.pid, &status, 0) == made.pid ? status : -1;
        if (write(answers, &status, sizeof(status)) != (ssize_t)sizeof(status)) {
            break;
        }
    }
    _exit(0);
}

static void end(pid_t pid)
{
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
}

static void close_victim(struct ct_victim *victim)
{
    if (victim->pidfd >= 0) {
        (void)close(victim->pidfd);
    }
    if (victim->program >= 0) {
        (void)close(victim->program);
    }
}

static void leave(struct scene *scene)
{
    close_victim(&scene->marked);
    close_victim(&scene->plain);
    end(scene->maker); // and what it made with it
    end(scene->plain.pid);
    if (scene->orders >= 0) {
        (void)close(scene->orders);
    }
    if (scene->answers >= 0) {
        (void)close(scene->answers);
    }
}

static pid_t ordered(const struct scene *scene, ct_attempt attempt)
{
    struct order order = {.attempt = attempt};
    pid_t pid = -1;
    bool made = write(scene->orders, &order, sizeof(order)) == (ssize_t)sizeof(order) &&
                read(scene->answers, &pid, sizeof(pid)) == (ssize_t)sizeof(pid);
    return made ? pid : -1;
}

static int begin_maker(struct scene *scene, struct ct_err *err)
{
    int orders[2];
    int answers[2];
    if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) {
        return ct_err_errno(err, "cannot make a pipe for the self-test");
    }
    scene->orders = orders[1];
    scene->answers = answers[0];
    pid_t parent = getpid();
    scene->maker = fork();
    if (scene->maker == 0) {
        begin_child(parent, (const int[]){orders[0], answers[1], scene->marked.program}, 3);
        make(orders[0], answers[1], scene->marked.program);
    }
    (void)close(orders[0]);
    (void)close(answers[1]);
    return scene->maker > 0 ? 0 : ct_err_errno(err, "cannot fork for the self-test");
}

static int enter(struct scene *scene, struct ct_err *err)
{
    scene->marked.program = make_program();
    scene->plain.program = make_program();
    int rc = begin_maker(scene, err);
    if (rc < 0) {
        return rc;
    }
    __u32 key = (__u32)scene->maker;
    const struct ct_mark mark = {.root = key};
    if (bpf_map_update_elem(scene->ground->marks, &key, &mark, BPF_ANY) != 0) {
        return errno == E2BIG
                   ? ct_err_set(err, CT_ETOOBIG,
                                "the map of protected processes is full: none more can be "
                                "protected, and the self-test has no victim")
                   : ct_err_errno(err, "cannot mark a process for the self-test");
    }
    scene->marked.pid = ordered(scene, NULL);
    scene->plain.pid = fork_idle(scene->plain.program);
    if (scene->marked.pid < 0 || scene->plain.pid < 0) {
        return ct_err_errno(err, "cannot fork for the self-test");
    }
    scene->marked.pidfd = (int)syscall(SYS_pidfd_open, scene->marked.pid, 0);
    scene->plain.pidfd = (int)syscall(SYS_pidfd_open, scene->plain.pid, 0);
    scene->marked.agent = scene->ground->agent;
    scene->plain.agent = scene->plain.pid;
    scene->marked.den = scene->ground->den;
    scene->plain.den = -1;
    return 0;
}

// ---- a try ----

static int watch(const struct scene *scene, pid_t tester)
{
    const struct ct_tester value = {.tgid = tester > 0 ? (__u32)tester : 0,
                                    .generation = scene->ground->generation};
    __u32 key = 0;
    return bpf_map_update_elem(scene->ground->tester, &key, &value, BPF_ANY);
}

static __u64 proof(const struct scene *scene, enum ct_tier tier, enum ct_vector vector)
{
    __u32 key = (__u32)tier * CT_V_COUNT + (__u32)vector;
    __u64 n = 0;
    return bpf_map_lookup_elem(scene->ground->proofs, &key, &n) == 0 ? n : 0;
}

static void proofs_of(const struct scene *scene, enum ct_vector vector, __u64 ret[CT_TIER_COUNT])
{
    for (int tier = 0; tier < CT_TIER_COUNT; tier++) {
        ret[tier] = proof(scene, (enum ct_tier)tier, vector);
    }
}

// An attacker that does not end, since somebody has stopped it, is ended: what it did not do is not refused.
static int status_of(pid_t attacker)
{
    int status = -1;
    CT_AUTO_FD ended = (int)syscall(SYS_pidfd_open, attacker, 0);
    struct pollfd wait = {.fd = ended, .events = POLLIN};
    if (poll(&wait, 1, PATIENCE_MS) == 0) {
        (void)kill(attacker, SIGKILL);
    }
    return waitpid(attacker, &status, 0) == attacker ? status : -1;
}

// Returns the attacker's wait status, or -1.
static int try_outside(const struct scene *scene, ct_attempt attempt,
                       const struct ct_victim *victim)
{
    struct waiting attacker;
    if (fork_attacker(attempt, victim, &attacker) != 0) {
        return -1;
    }
    bool went = watch(scene, attacker.pid) == 0 && write(attacker.go, "", 1) == 1;
    (void)close(attacker.go);
    int status = status_of(attacker.pid);
    return went ? status : -1;
}

static int try_inside(const struct scene *scene, ct_attempt attempt)
{
    pid_t pid = ordered(scene, attempt);
    int status = -1;
    bool went = pid > 0 && watch(scene, pid) == 0 && write(scene->orders, "", 1) == 1 &&
                read(scene->answers, &status, sizeof(status)) == (ssize_t)sizeof(status);
    return went ? status : -1;
}

static struct ct_result try_vector(const struct scene *scene, const struct ct_vector_info *info)
{
    struct ct_result result = {.outcome = CT_OUTCOME_OPEN, .tier = CT_TIER_NONE};
    __u64 before[CT_TIER_COUNT];
    __u64 after[CT_TIER_COUNT];
    proofs_of(scene, info->vector, before);
    int status = info->on_itself ? try_inside(scene, info->attempt)
                                 : try_outside(scene, info->attempt, &scene->marked);
    proofs_of(scene, info->vector, after);
    for (int tier = CT_TIER_COUNT - 1; tier > 0; tier--) {
        if (after[tier] != before[tier]) {
            result = (struct ct_result){CT_OUTCOME_REFUSED, (enum ct_tier)tier};
            break;
        }
    }
    bool absent = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ABSENT;
    if (info->vector == CT_V_CALL && absent) {
        result.outcome = CT_OUTCOME_OPEN;
        return result;
    }
    if (result.outcome != CT_OUTCOME_REFUSED) {
        result.outcome = absent ? CT_OUTCOME_ABSENT : CT_OUTCOME_OPEN;
        return result;
    }
    bool all_refused = info->kernel_wide || (info->call_wide && result.tier == CT_TIER_KPROBE);
    if (!all_refused && !info->on_itself) {
        (void)try_outside(scene, info->attempt, &scene->plain);
        proofs_of(scene, info->vector, before);
        if (before[result.tier] != after[result.tier]) {
            result.outcome = CT_OUTCOME_OVERDONE;
        }
    }
    return result;
}

// The guard's call: proven by a tier when its answer has come to the caller.
static struct ct_result try_call(const struct scene *scene)
{
    const struct ct_vector_info info = {
        .vector = CT_V_CALL, .kernel_wide = true, .attempt = ct_attempt_call};
    return try_vector(scene, &info);
}

int ct_selftest(const struct ct_selftest_ground *ground, __u64 wanted,
                struct ct_result ret[CT_V_COUNT], struct ct_err *err)
{
    struct scene scene = {.ground = ground,
                          .maker = -1,
                          .orders = -1,
                          .answers = -1,
                          .marked = {.pid = -1, .pidfd = -1, .program = -1},
                          .plain = {.pid = -1, .pidfd = -1, .program = -1}};
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    int rc = enter(&scene, err);
    if (rc == 0 && (wanted >> CT_V_CALL & 1) != 0) {
        ret[CT_V_CALL] = try_call(&scene);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if ((wanted >> vectors[i].vector & 1) != 0) {
            ret[vectors[i].vector] = try_vector(&scene, &vectors[i]);
        }
    }
    (void)watch(&scene, 0);
    leave(&scene);
    return rc;
}
