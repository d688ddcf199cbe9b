// SPDX-License-Identifier: Apache-2.0
#include "canary.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"
#include "guard_call.h"
#include "guard_client.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#define PR_SET_PTRACER_ANY (-1UL)
#endif

#define PATIENCE_MS 10000
#define POLL_NS 200000L
// Its exit code: EXIT_TOLD | verdict << 3 | attack.
#define EXIT_TOLD 0x80

// What the attacker is to find, at the same address in all that were forked from this process.
static const long treasure = 0x74726561737572;

// What attackers tell, in memory that they share with the process that forks them: one may be killed.
struct notes {
    volatile int answer;       // to LEAVE
    volatile unsigned control; // bit N: attack N succeeds on what is unprotected
    volatile unsigned read;    // on the victim
    volatile int attack;       // under way on the victim; -1: none
    volatile long found;       // what it read there
};

struct stage {
    struct ct_canary_victim victim;
    bool own;          // the victim is the process that forks the attackers
    pid_t control;     // own: without a mark; else the victim
    uintptr_t address; // own: of the treasure
    struct notes *notes;
};

// ---- attacks; true: it succeeded. What a read finds goes to *found.

static bool by_vm_read(pid_t pid, uintptr_t address, volatile long *found)
{
    struct iovec local = {(void *)(uintptr_t)found, sizeof(*found)};
    struct iovec remote = {(void *)address, sizeof(*found)};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof(*found);
}

static bool by_mem(pid_t pid, uintptr_t address, volatile long *found)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && pread(fd, (void *)(uintptr_t)found, sizeof(*found), (off_t)address) ==
                          (ssize_t)sizeof(*found);
}

static bool by_getfd(pid_t pid, uintptr_t address, volatile long *found)
{
    (void)address;
    (void)found;
    CT_AUTO_FD process = (int)syscall(SYS_pidfd_open, pid, 0);
    CT_AUTO_FD stolen = process >= 0 ? (int)syscall(SYS_pidfd_getfd, process, STDIN_FILENO, 0) : -1;
    return stolen >= 0;
}

// The attacker's end lets it go again.
static bool by_seize(pid_t pid, uintptr_t address, volatile long *found)
{
    (void)address;
    (void)found;
    return ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
}

// Whoever reads memory begins with one of these. In the order of an attacker: a process has one tracer.
static const struct {
    const char *name;
    bool (*run)(pid_t pid, uintptr_t address, volatile long *found);
} attacks[] = {
    {"process_vm_readv", by_vm_read},
    {"/proc/PID/mem", by_mem},
    {"pidfd_getfd", by_getfd},
    {"PTRACE_SEIZE", by_seize},
};

_Static_assert(CT_ARRAY_LEN(attacks) <= 8, "an attack takes three bits of the exit code");

// ---- the processes

static void end_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) {
        _exit(1);
    }
}

static pid_t fork_raw(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static bool leave(struct notes *notes)
{
    notes->answer = ct_guard_ask(CT_GUARD_LEAVE, 0);
    return notes->answer == ENOTCONN;
}

// The app's equal attacks it with its own mark, which the guard lets pass, and again without it: there is no other
// difference. The canary's victim has an equal without a mark.
_Noreturn static void be_attacker(const struct stage *s, size_t first, pid_t parent)
{
    struct notes *notes = s->notes;
    uintptr_t address = s->own ? s->address : s->victim.address;
    volatile long ignored = 0;
    if (!s->own && !ct_standing_become(&s->victim.standing)) {
        _exit(1);
    }
    end_with(parent); // a change of user clears what was asked for before
    if (s->own && !leave(notes)) {
        _exit(0);
    }
    for (size_t i = first; i < CT_ARRAY_LEN(attacks); i++) {
        if (attacks[i].run(s->control, address, &ignored)) {
            notes->control |= 1U << i;
        }
    }
    if (!s->own && !leave(notes)) {
        _exit(0);
    }
    for (size_t i = first; i < CT_ARRAY_LEN(attacks); i++) {
        notes->attack = (int)i;
        if (attacks[i].run(s->victim.pid, address, &notes->found)) {
            notes->read |= 1U << i;
        }
        notes->attack = -1;
    }
    _exit(0);
}

// The victim's equal without a mark.
_Noreturn static void be_control(int report, pid_t parent)
{
    end_with(parent);
    int answer = ct_guard_ask(CT_GUARD_LEAVE, 0);
    if (write(report, &answer, sizeof(answer)) == (ssize_t)sizeof(answer)) {
        for (;;) {
            (void)pause();
        }
    }
    _exit(1);
}

static bool fork_control(struct stage *s)
{
    int report[2]; // the lowest descriptors there are: one of them is what is stolen
    int answer = 0;
    pid_t parent = getpid();
    if (pipe2(report, O_CLOEXEC) != 0) {
        return false;
    }
    s->control = fork_raw();
    if (s->control == 0) {
        be_control(report[1], parent);
    }
    (void)close(report[1]);
    if (s->control < 0 || read(report[0], &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
        return false;
    }
    s->notes->answer = answer;
    return true;
}

static void end_control(const struct stage *s)
{
    if (s->own && s->control > 0) {
        (void)kill(s->control, SIGKILL);
        (void)waitpid(s->control, NULL, __WALL);
    }
}

// *ret_killed gets the attacks for which attackers ended. False when an attacker came to another end.
static bool attack_all(const struct stage *s, unsigned *ret_killed)
{
    for (size_t first = 0; first < CT_ARRAY_LEN(attacks);) {
        int status = 0;
        pid_t parent = getpid();
        s->notes->attack = -1;
        pid_t pid = fork_raw();
        if (pid == 0) {
            be_attacker(s, first, parent);
        }
        if (pid < 0 || waitpid(pid, &status, __WALL) != pid) {
            return false;
        }
        if (WIFEXITED(status)) {
            return WEXITSTATUS(status) == 0;
        }
        if (s->notes->attack < 0 || WTERMSIG(status) != SIGKILL) {
            return false;
        }
        first = (size_t)s->notes->attack;
        *ret_killed |= 1U << first++;
    }
    return true;
}

static int lowest(unsigned set)
{
    return set != 0 ? __builtin_ctz(set) : 0;
}

static int tell(enum ct_canary_verdict verdict, int attack)
{
    return EXIT_TOLD | (int)verdict << 3 | attack;
}

static int judge(const struct stage *s, unsigned killed)
{
    const struct notes *notes = s->notes;
    long wanted = s->own ? treasure : 0;
    if (notes->answer != ENOTCONN) {
        return tell(notes->answer == EPERM ? CT_CANARY_FORBIDDEN : CT_CANARY_MUTE, 0);
    }
    if (notes->read != 0) {
        return tell(CT_CANARY_READ, lowest(notes->read));
    }
    killed &= notes->control;
    if (notes->found != 0 && (wanted == 0 || notes->found == wanted)) {
        return tell(CT_CANARY_READ, lowest(killed)); // the attacker was killed too late
    }
    if (notes->control == 0) {
        return tell(CT_CANARY_UNPROVEN, 0);
    }
    return killed != 0 ? tell(CT_CANARY_KILLED, lowest(killed)) : tell(CT_CANARY_DENIED, 0);
}

// The process that forks all others, and the victim where there is no other.
_Noreturn static void be_canary(const struct ct_canary_victim *victim, pid_t parent)
{
    struct stage s = {.victim = *victim, .own = victim->pid == 0, .control = victim->pid};
    unsigned killed = 0;
    end_with(parent);
    ct_attack_close_from(STDIN_FILENO);
    s.notes =
        mmap(NULL, sizeof(*s.notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s.notes == MAP_FAILED) {
        _exit(tell(CT_CANARY_BROKEN, 0));
    }
    bool good = true;
    if (s.own) {
        s.victim.pid = getpid();
        s.address = (uintptr_t)&treasure;
        // Or the kernel itself would refuse: of a process that is not dumpable, or by Yama, which lets
        // descendants be attacked alone.
        good = prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
        (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        good = good && fork_control(&s);
    }
    bool let_go = !s.own || s.notes->answer == ENOTCONN;
    good = good && (!let_go || attack_all(&s, &killed));
    end_control(&s);
    _exit(good ? judge(&s, killed) : tell(CT_CANARY_BROKEN, 0));
}

pid_t ct_canary_fork(const struct ct_canary_victim *victim)
{
    pid_t parent = getpid();
    pid_t pid = fork_raw();
    if (pid == 0) {
        be_canary(victim, parent);
    }
    return pid;
}

struct ct_canary_outcome ct_canary_outcome(int status)
{
    struct ct_canary_outcome outcome = {CT_CANARY_BROKEN, ""};
    if (!WIFEXITED(status) || (WEXITSTATUS(status) & EXIT_TOLD) == 0) {
        return outcome;
    }
    unsigned verdict = ((unsigned)WEXITSTATUS(status) & ~(unsigned)EXIT_TOLD) >> 3;
    unsigned attack = (unsigned)WEXITSTATUS(status) & 7U;
    if (verdict <= CT_CANARY_BROKEN && attack < CT_ARRAY_LEN(attacks)) {
        outcome = (struct ct_canary_outcome){(enum ct_canary_verdict)verdict, attacks[attack].name};
    }
    return outcome;
}

struct ct_canary_outcome ct_canary_run(const struct ct_canary_victim *victim)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    int status = 0;
    pid_t pid = ct_canary_fork(victim);
    if (pid < 0) {
        return (struct ct_canary_outcome){CT_CANARY_BROKEN, ""};
    }
    for (long waited_ns = 0; waited_ns < PATIENCE_MS * 1000000L; waited_ns += POLL_NS) {
        pid_t got = waitpid(pid, &status, WNOHANG | __WALL);
        if (got == pid || (got < 0 && errno != EINTR)) {
            return ct_canary_outcome(got == pid ? status : 0);
        }
        (void)nanosleep(&pause, NULL);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, __WALL);
    return (struct ct_canary_outcome){CT_CANARY_BROKEN, ""};
}

// Whether a verdict earns a check, and what is said of it where it does not.
struct consequence {
    bool earned[2]; // ebpf_connected, kprobes_active
    const char *before;
    bool names_attack;
    const char *after;
};

void ct_canary_record(struct ct_facts *facts, enum ct_holder holder,
                      const struct ct_canary_outcome *outcome)
{
    static const enum ct_check checks[] = {CT_CHECK_EBPF_CONNECTED, CT_CHECK_KPROBES_ACTIVE};
    static const struct consequence all[] = {
        [CT_CANARY_DENIED] = {{true, true}, "", false, ""},
        [CT_CANARY_KILLED] = {{true, false}, "attacks by ", true, " are killed, not refused"},
        [CT_CANARY_READ] = {{false, false},
                            "the guard answers, and a protected process is attacked by ",
                            true,
                            " all the same"},
        [CT_CANARY_UNPROVEN] = {{false, false},
                                "unproven: no attack succeeds on an unprotected process either",
                                false,
                                ""},
        [CT_CANARY_MUTE] = {{false, false}, "the guard does not answer", false, ""},
        [CT_CANARY_FORBIDDEN] =
            {{false, false},
             "the node's agent exempts somebody (--exempt), or something forbids "
             "the guard's call: no attack would prove that others are refused",
             false,
             ""},
        [CT_CANARY_BROKEN] = {{false, false}, "unproven: the canary came to no end", false, ""},
    };
    const struct consequence *c = &all[outcome->verdict];
    for (size_t i = 0; i < CT_ARRAY_LEN(checks); i++) {
        if (c->earned[i]) {
            ct_fact_proven(facts, checks[i], holder);
        } else {
            ct_fact_failed(facts, checks[i], holder, "%s%s%s", c->before,
                           c->names_attack ? outcome->attack : "", c->after);
        }
    }
}
