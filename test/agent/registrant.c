// SPDX-License-Identifier: Apache-2.0
// What a wrapper says to the guard, without the wrapper: registers, executes itself, registers again, and then tries what a
// wrapper and its children may do to each other. Prints "NAME ANSWER" lines.
//   registrant enter [PROGRAM...]   registers; then runs PROGRAM as a released child, or the dealings
//   registrant threads              registers with a second thread
//   registrant traced               registers while a child of it traces it
//   registrant race PROGRAM...      asks, and executes PROGRAM before the answer
//   registrant exec PROGRAM...      registers, and executes PROGRAM where it should execute itself
//   registrant query                one look
//   registrant query-32             the same by i386's entry
//   registrant later                prints `PID ADDRESS` of a text, and registers when a byte comes, at each of its starts
//   registrant nag NUMBER           so many children ask, one after the other; prints the last one's answer
//   registrant hold NAME            has the abstract socket of that name, and says so
//   registrant once                 asks once, and waits for the answer
//   registrant vetted [PROGRAM...]  registers; then waits for its standard input to end, and executes PROGRAM
//   registrant crowd                registers; then 20 children, threads, and execs by threads
//   registrant ends PROGRAM...      registers; then processes whose two threads end at once, and PROGRAM as a released child
//   registrant flood N              N children that ask once each, as quickly as they may, and stay; says how many were heard
//   registrant measured PROGRAM...  has its stack sampled, and so that of PROGRAM, which it starts
//   registrant many NUMBER          registers; then so many children, how many of them are protected, and one when they have
//                                   ended; waits for its standard input to end
//   registrant often                40 processes ask within a second: how many are heard; and one a second later
//   registrant impostor FILE        registers, and would have FILE seen as its program
#include "registrant.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/guard_call.h"

#define TIMEOUT_NS 10000000000L
#define STEP_NS 2000000L
#define STEP_MOST_NS 50000000L
#define ANSWER_KILLED (-1)
#define PATIENCE_SECONDS 30

#define I386_PRCTL 172

static volatile int word = 4711;
// At the same address in each of its lives.
static char text[] = "what-the-wrapper-may-know";

static int by_signal(const sigset_t *answers)
{
    static const int errnos[] = {
#define CT_ANSWER(place, name, value, meaning) [place] = (value),
        CT_GUARD_ANSWERS(CT_ANSWER)
#undef CT_ANSWER
    };
    const struct timespec now = {0};
    siginfo_t info = {0};
    int number = sigtimedwait(answers, &info, &now);
    return number > 0 && info.si_code == SI_KERNEL ? errnos[number - CT_GUARD_SIGNAL] : EINVAL;
}

static void block_answers(sigset_t *ret)
{
    sigemptyset(ret);
    for (int i = 0; i < CT_GUARD_N_ANSWERS; i++) {
        sigaddset(ret, CT_GUARD_SIGNAL + i);
    }
    sigprocmask(SIG_BLOCK, ret, NULL);
}

int ask(unsigned long operation, unsigned long argument)
{
    sigset_t answers;
    block_answers(&answers);
    if (prctl(CT_GUARD_MAGIC, operation, argument, 0UL, 0UL) == 0) {
        return 0;
    }
    return errno == EINVAL ? by_signal(&answers) : errno;
}

static const char *name_of(int answer)
{
    switch (answer) {
#define CT_ANSWER(place, name, value, meaning)                                                     \
    case value:                                                                                    \
        return #name;
        CT_GUARD_ANSWERS(CT_ANSWER)
#undef CT_ANSWER
    case 0:
        return "0";
    case EINVAL:
        return "EINVAL";
    case ANSWER_KILLED:
        return "KILLED";
    default:
        return strerror(answer);
    }
}

void say(const char *what, int answer)
{
    printf("%s %s\n", what, name_of(answer));
    fflush(stdout);
}

static int await(void)
{
    int answer = ask(CT_GUARD_QUERY, 0);
    for (long waited = 0; waited < TIMEOUT_NS && answer == EINPROGRESS;) {
        long step = waited / 8 < STEP_NS        ? STEP_NS
                    : waited / 8 > STEP_MOST_NS ? STEP_MOST_NS
                                                : waited / 8;
        nanosleep(&(const struct timespec){.tv_nsec = step}, NULL);
        waited += step;
        answer = ask(CT_GUARD_QUERY, 0);
    }
    return answer;
}

// Asks once, and waits for the answer.
int once(void)
{
    int answer = ask(CT_GUARD_QUERY, 0);
    if (answer == ENOTCONN || answer == ESTALE) {
        answer = ask(CT_GUARD_REGISTER, (unsigned long)getpid() << 32 | (unsigned)time(NULL));
    }
    return answer == EINPROGRESS ? await() : answer;
}

// ---- what a wrapper and its children do ----

static int read_word(pid_t pid)
{
    int value = 0;
    struct iovec here = {.iov_base = &value, .iov_len = sizeof(value)};
    struct iovec there = {.iov_base = (void *)(unsigned long)&word, .iov_len = sizeof(value)};
    ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return n == (ssize_t)sizeof(value) && value == word ? 0 : errno;
}

// What a child of this process's comes to with it: its exit status, or that it was killed.
int by_child(int (*act)(pid_t parent))
{
    int status = 0;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        _exit(act(parent));
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : ANSWER_KILLED;
}

static int leave_and_ask(pid_t parent)
{
    (void)parent;
    return ask(CT_GUARD_LEAVE, 0);
}

static int leave_and_read(pid_t parent)
{
    int answer = ask(CT_GUARD_LEAVE, 0);
    return answer == ENOTCONN ? read_word(parent) : answer;
}

static int leave_in_a_grandchild(pid_t parent)
{
    (void)parent;
    return by_child(leave_and_ask);
}

static int release_stranger(pid_t parent)
{
    (void)parent;
    return ask(CT_GUARD_RELEASE, (unsigned long)getpid());
}

static pid_t idle_child(char *const program[])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) { // killed before this one had its say
            _exit(0);
        }
        if (program[0] != NULL) {
            execvp(program[0], program);
            _exit(127);
        }
        for (;;) {
            pause();
        }
    }
    return pid;
}

void *idle(void *cls)
{
    for (;;) {
        pause();
    }
    return cls;
}

static void deal(void)
{
    char *const none[] = {NULL};
    say("child-reads-wrapper", by_child(read_word));
    say("child-leaves", by_child(leave_and_ask));
    say("outsider-reads-wrapper", by_child(leave_and_read));
    say("grandchild-leaves", by_child(leave_in_a_grandchild));
    say("child-releases", by_child(release_stranger));
    pid_t pid = idle_child(none);
    say("wrapper-reads-held", read_word(pid));
    say("release-foreign", ask(CT_GUARD_RELEASE, 1));
    say("release", ask(CT_GUARD_RELEASE, (unsigned long)pid));
    say("release-again", ask(CT_GUARD_RELEASE, (unsigned long)pid));
    fflush(stdout);
    int killed = by_child(read_word);
    say("child-reads-wrapper-again", killed);
    // Last: in the tier that kills, this is the end.
    say("wrapper-reads-released", read_word(pid));
    kill(pid, SIGKILL);
}

int run(char *const program[])
{
    int status = 0;
    pid_t pid = idle_child(program);
    const struct timespec started = {.tv_nsec = 100000000L};
    nanosleep(&started, NULL);
    say("release", ask(CT_GUARD_RELEASE, (unsigned long)pid));
    waitpid(pid, &status, 0);
    return 0;
}

// Until it is protected, or refused. An agent to which a busy machine gives no time is not heard of for a while.
bool registers(char **argv)
{
    const struct timespec second = {.tv_sec = 1};
    int answer = once();
    for (int i = 0; answer == EHOSTDOWN && i < PATIENCE_SECONDS; i++) {
        nanosleep(&second, NULL);
        answer = once();
    }
    say("answer", answer);
    if (answer == EALREADY) {
        execv("/proc/self/exe", argv);
    }
    return answer == EISCONN;
}

static int enter(char **argv)
{
    if (!registers(argv)) {
        return 1;
    }
    if (argv[2] != NULL) {
        return run(argv + 2);
    }
    deal();
    return 0;
}

static int vetted(char **argv)
{
    char byte;
    if (!registers(argv)) {
        return 1;
    }
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    if (argv[2] != NULL) {
        execvp(argv[2], argv + 2);
    }
    return 0;
}

// A thread takes the group's first one's place, whether that one lives (odd) or has ended (even).
static void *execute_elsewhere(void *cls)
{
    const struct timespec later = {.tv_nsec = 5000000L};
    nanosleep(&later, NULL);
    // The first one may have ended: then it has no program any more.
    execl("/proc/thread-self/exe", "registrant", "query", NULL);
    _exit(2);
    return cls;
}

static void change_threads(int number)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, i == 0 ? execute_elsewhere : idle, NULL) != 0) {
            _exit(2);
        }
    }
    if (number % 2 == 0) {
        pthread_exit(NULL);
    }
    idle(NULL);
}

static int crowd(char **argv)
{
    if (!registers(argv)) {
        return 1;
    }
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            change_threads(i);
        }
    }
    while (wait(NULL) > 0) {
    }
    say("crowd", 0);
    return 0;
}

// ---- what is refused ----

static int with_threads(char **argv)
{
    (void)argv;
    pthread_t thread;
    if (pthread_create(&thread, NULL, idle, NULL) != 0) {
        return 2;
    }
    say("answer", once());
    return 0;
}

static int traced(char **argv)
{
    (void)argv;
    int ready[2];
    char byte;
    pid_t parent = getpid();
    prctl(PR_SET_PTRACER, -1L, 0, 0, 0);
    if (pipe(ready) != 0) {
        return 2;
    }
    pid_t tracer = fork();
    if (tracer == 0) {
        long rc = ptrace(PTRACE_SEIZE, parent, NULL, NULL);
        if (rc != 0 || write(ready[1], "", 1) != 1) {
            _exit(1);
        }
        pause();
    }
    if (read(ready[0], &byte, 1) == 1) {
        say("answer", once());
    }
    kill(tracer, SIGKILL);
    return 0;
}

static int impostor(char **argv)
{
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    say("answer", once());
    say("exe-file",
        prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, (unsigned long)fd, 0UL, 0UL) == 0 ? 0 : errno);
    return 0;
}

static int race(char **argv)
{
    say("asked", ask(CT_GUARD_REGISTER, 1));
    execvp(argv[2], argv + 2);
    return 127;
}

static int execute(char **argv)
{
    say("answer", once());
    execvp(argv[2], argv + 2);
    return 127;
}

static int query(char **argv)
{
    const struct timespec later = {.tv_nsec = 300000000L};
    (void)argv;
    nanosleep(&later, NULL);
    say("query", ask(CT_GUARD_QUERY, 0));
    return 0;
}

#ifdef __x86_64__
static int query_32(char **argv)
{
    sigset_t answers;
    long result = I386_PRCTL;
    (void)argv;
    block_answers(&answers);
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"((unsigned long)CT_GUARD_MAGIC), "c"((unsigned long)CT_GUARD_QUERY),
                       "d"(0UL), "S"(0UL), "D"(0UL)
                     : "r8", "r9", "r10", "r11", "cc", "memory");
    int error = -(int)result;
    say("query", error == EINVAL ? by_signal(&answers) : error);
    return 0;
}
#endif

static int later(char **argv)
{
    char byte;
    printf("%d %lx\n", (int)getpid(), (unsigned long)text);
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1 || !registers(argv)) {
        return 1;
    }
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return 0;
}

static int hold(char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strnlen(argv[2], sizeof(address.sun_path) - 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, argv[2], len);
    len += offsetof(struct sockaddr_un, sun_path) + 1;
    say("hold", bind(fd, (struct sockaddr *)&address, (socklen_t)len) == 0 ? 0 : errno);
    pause();
    return 0;
}

static int ask_once(char **argv)
{
    (void)argv;
    say("answer", once());
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*act)(char **argv);
        int least; // arguments
    } modes[] = {
        {"enter", enter, 2},       {"vetted", vetted, 2},
        {"crowd", crowd, 2},       {"threads", with_threads, 2},
        {"traced", traced, 2},     {"query", query, 2},
        {"once", ask_once, 2},     {"race", race, 3},
        {"exec", execute, 3},      {"impostor", impostor, 3},
        {"later", later, 2},       {"flood", flood, 3},
        {"nag", nag, 3},           {"hold", hold, 3},
        {"ends", ends, 3},         {"measured", measured, 3},
        {"many", many, 3},         {"often", often, 2},
#ifdef __x86_64__
        {"query-32", query_32, 2},
#endif
    };
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0 && argc >= modes[i].least) {
            return modes[i].act(argv);
        }
    }
    fputs("usage: registrant MODE [ARGUMENT...]\n", stderr);
    return 2;
}
