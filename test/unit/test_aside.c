// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aside.h"
#include "clock.h"
#include "pod_of.h"

#define SOON_MS 1500
// {"kubernetes.io":{"namespace":"shop","pod":{"name":"web","uid":"uid-1"}}}
#define TOKEN                                                                                      \
    "e30.eyJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJwb2QiOnsibmFtZSI6IndlYiIsInVpZCI6InVp" \
    "ZC0xIn19fQ.c2ln"
#define CONFIG                                                                                     \
    "{\"version\":1,\"address\":\"https://v\",\"role\":\"r\",\"token-file\":\"/t\","               \
    "\"identity-file\":\"%s\"}"

// A file system whose server takes every question and answers none but the first.
struct mute {
    char folder[64];
    char file[80];
    pid_t server;
};

// fuse(4): what reads the questions has to greet the kernel before.
static _Noreturn void be_mute(int fd)
{
    static char question[1 << 17];
    struct {
        struct fuse_out_header head;
        struct fuse_init_out body;
    } answer = {.head = {.len = sizeof(answer)},
                .body = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION}};
    struct fuse_in_header head = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(fd, question, sizeof(question)) > 0) {
        memcpy(&head, question, sizeof(head));
        answer.head.unique = head.unique;
        if (head.opcode == FUSE_INIT &&
            write(fd, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
            break;
        }
    }
    _exit(1);
}

static bool begin_mute(struct mute *mute)
{
    char options[96];
    (void)snprintf(mute->folder, sizeof(mute->folder), "/tmp/ct-mute-XXXXXX");
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (fd < 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdtemp(mute->folder) == NULL ||
        mount("mute", mute->folder, "fuse", 0, options) != 0) {
        return false;
    }
    (void)snprintf(mute->file, sizeof(mute->file), "%s/file", mute->folder);
    mute->server = fork();
    if (mute->server == 0) {
        be_mute(fd);
    }
    (void)close(fd);
    return mute->server > 0;
}

// Whoever waits for it goes on then, with an error.
static void end_mute(struct mute *mute)
{
    (void)kill(mute->server, SIGKILL);
    (void)waitpid(mute->server, NULL, 0);
    (void)umount2(mute->folder, MNT_DETACH);
    (void)rmdir(mute->folder);
}

static void needs_mute(struct mute *mute)
{
    if (!begin_mute(mute)) {
        skip_for("FUSE");
    }
}

// ---- acts ----

static void open_file(const void *cls, void *ret)
{
    int fd = open((const char *)cls, O_RDONLY | O_CLOEXEC);
    *(int *)ret = fd < 0 ? -errno : fd;
}

// How many of the descriptors up to 255 are open.
static void count(const void *cls, void *ret)
{
    (void)cls;
    for (int fd = 0; fd < 256; fd++) {
        *(int *)ret += fcntl(fd, F_GETFD) >= 0;
    }
}

static void say_nothing(const void *cls, void *ret)
{
    (void)ret;
    _exit(*(const int *)cls);
}

// ---- tests ----

static void what_was_found_comes_back(void **state)
{
    (void)state;
    struct ct_aside aside = {0};
    int result = 4711;
    assert_true(ct_aside_run(&aside, -1, SOON_MS, open_file, "/proc/self/nothing", &result,
                             sizeof(result)));
    assert_int_equal(result, -ENOENT);
    result = 4711;
    assert_false(ct_aside_run(&aside, -1, SOON_MS, say_nothing, &result, &result, sizeof(result)));
    assert_int_equal(result, 0);
    assert_int_equal(ct_aside_hanging(&aside), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void it_holds_no_descriptors(void **state)
{
    (void)state;
    struct ct_aside aside = {0};
    int result = 0;
    int kept[] = {-1, 0, 2, 200};
    CT_AUTO_FD high = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 200);
    assert_true(high == 200);
    for (size_t i = 0; i < CT_ARRAY_LEN(kept); i++) {
        assert_true(ct_aside_run(&aside, kept[i], SOON_MS, count, NULL, &result, sizeof(result)));
        assert_int_equal(result, kept[i] < 0 ? 1 : 2); // and the one for the answer
    }
}

// That the stand-in is one: without it, whoever waits for the child waits for good.
static void who_hangs_is_left(void **state)
{
    (void)state;
    struct mute mute = {0};
    struct ct_aside aside = {0};
    char path[] = "/tmp/ct-aside-XXXXXX";
    int result = 0;
    needs_mute(&mute);
    pid_t plain = fork();
    if (plain == 0) {
        open_file(mute.file, &result);
        _exit(0);
    }
    (void)usleep(200000);
    (void)kill(plain, SIGKILL);
    assert_false(ct_aside_reap(plain, 300));

    int lock = mkostemp(path, O_CLOEXEC);
    assert_true(lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0);
    for (unsigned i = 1; i <= CT_ASIDE_MAX; i++) {
        uint64_t began = ct_clock_ms();
        assert_false(ct_aside_run(&aside, -1, 50, open_file, mute.file, &result, sizeof(result)));
        assert_true(ct_clock_ms() - began < SOON_MS);
        assert_int_equal(ct_aside_hanging(&aside), i);
    }
    assert_false(ct_aside_run(&aside, -1, SOON_MS, open_file, "/proc/self/nothing", &result,
                              sizeof(result)));
    // What they have inherited they have given up.
    (void)close(lock);
    lock = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    (void)close(lock);
    (void)unlink(path);

    end_mute(&mute);
    assert_true(ct_aside_reap(plain, SOON_MS));
    for (int i = 0; i < 100 && ct_aside_hanging(&aside) > 0; i++) {
        (void)usleep(10000);
    }
    assert_int_equal(ct_aside_hanging(&aside), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

// A wrapper whose settings name that file.
static pid_t start_wrapper(const char *file)
{
    char variable[512];
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {(char[]){"sleep"}, (char[]){"60"}, NULL};
        char *const variables[] = {variable, NULL};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)snprintf(variable, sizeof(variable), "CLOUDTASER_CONFIG=" CONFIG, file);
        (void)execve("/bin/sleep", argv, variables);
        _exit(127);
    }
    (void)usleep(200000); // until it has executed
    return pid;
}

static void end_wrapper(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void a_pods_name_is_not_waited_for(void **state)
{
    (void)state;
    struct mute mute = {0};
    struct ct_aside aside = {0};
    struct ct_pod_identity pod;
    char path[] = "/tmp/ct-token-XXXXXX";
    CT_AUTO_FD token = mkostemp(path, O_CLOEXEC);
    assert_int_equal(write(token, TOKEN, strlen(TOKEN)), strlen(TOKEN));
    pid_t good = start_wrapper(path);
    ct_pod_of(&aside, good, "uid-1", &pod);
    assert_string_equal(pod.pod, "web");
    ct_pod_of(&aside, good, "uid-2", &pod);
    assert_string_equal(pod.pod, "");

    needs_mute(&mute);
    pid_t bad = start_wrapper(mute.file);
    uint64_t began = ct_clock_ms();
    ct_pod_of(&aside, bad, "uid-1", &pod);
    assert_true(ct_clock_ms() - began < SOON_MS);
    assert_string_equal(pod.pod, "");
    assert_int_equal(ct_aside_hanging(&aside), 1);
    // No other is asked meanwhile, and then again.
    ct_pod_of(&aside, good, "uid-1", &pod);
    assert_string_equal(pod.pod, "");
    end_mute(&mute);
    for (int i = 0; i < 100 && ct_aside_hanging(&aside) > 0; i++) {
        (void)usleep(10000);
    }
    ct_pod_of(&aside, good, "uid-1", &pod);
    assert_string_equal(pod.pod, "web");
    end_wrapper(good);
    end_wrapper(bad);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_found_comes_back),
        cmocka_unit_test(it_holds_no_descriptors),
        cmocka_unit_test(who_hangs_is_left),
        cmocka_unit_test(a_pods_name_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
