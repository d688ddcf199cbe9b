// SPDX-License-Identifier: Apache-2.0
//
// The app is this program itself, started with "app DUTY": its exit code says how it went.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "expect.h"
#include "launch.h"
#include "program.h"
#include "secmem.h"

#define VALUE_LEN 24
#define APP_OK 42

static char own_path[4096];
static char folder[] = "/tmp/ct-launch-XXXXXX";

// ---- the app's side

// The value's checksum is its name's suffix: the app can tell the right value without a copy of it.
static unsigned checksum(const char *s)
{
    unsigned sum = 0;
    for (; *s != '\0'; s++) {
        sum = sum * 31 + (unsigned char)*s;
    }
    return sum % 10000;
}

static int duty_getenv(void)
{
    const char *sum = getenv("SUM");
    const char *value = getenv("SECRET");
    if (value == NULL || sum == NULL || checksum(value) != (unsigned)atoi(sum)) {
        return 1;
    }
    if (getenv("CLOUDTASER_CONFIG") != NULL || getenv("KEPT") == NULL) {
        return 2;
    }
    return prctl(PR_GET_DUMPABLE) == 0 ? APP_OK : 3;
}

// Tells on fd 3 that it has read its variable, then waits for the end of fd 4.
static int duty_wait(void)
{
    char byte = 0;
    int status = duty_getenv();
    if (write(3, &byte, 1) != 1 || read(4, &byte, 1) < 0) {
        return 4;
    }
    return status;
}

static int duty_mask(void)
{
    sigset_t mask;
    if (sigprocmask(SIG_BLOCK, NULL, &mask) != 0) {
        return 1;
    }
    for (int i = 1; i < 32; i++) {
        if (sigismember(&mask, i) != (i == SIGUSR2)) {
            return 2;
        }
    }
    return APP_OK;
}

static int duty_child(void)
{
    struct sigaction action;
    return sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN ? APP_OK : 1;
}

static int duty_memlock(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == 8192 ? APP_OK : 1;
}

static int duty_exit(void)
{
    return APP_OK;
}

static int be_app(const char *duty)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } duties[] = {
        {"getenv", duty_getenv},   {"wait", duty_wait}, {"mask", duty_mask},
        {"memlock", duty_memlock}, {"exit", duty_exit}, {"child", duty_child},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(duties); i++) {
        if (strcmp(duties[i].name, duty) == 0) {
            return duties[i].run();
        }
    }
    return 99;
}

// ---- the wrapper's side

struct fixture {
    struct ct_secrets secrets;
    struct ct_facts facts;
    struct ct_launched app;
    struct ct_err err;
    sigset_t mask;
    char sum[16];
    const char *environment[8];
    bool plain;
    bool ignore_child;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->secrets.item = ct_arena_calloc(1, sizeof(*f->secrets.item));
    f->secrets.n = 1;
    struct ct_secret_variable *v = f->secrets.item;
    v->name = ct_arena_strdup("SECRET");
    v->value = ct_arena_calloc(1, VALUE_LEN + 1);
    v->value_len = VALUE_LEN;
    if (getrandom(v->value, VALUE_LEN, 0) != VALUE_LEN) {
        return -1;
    }
    for (size_t i = 0; i < VALUE_LEN; i++) {
        v->value[i] = (char)('a' + (unsigned char)v->value[i] % 26);
    }
    (void)snprintf(f->sum, sizeof(f->sum), "SUM=%u", checksum(v->value));
    const char *environment[] = {
        "KEPT=as it is",        "SECRET=${vault:secret/data/x#k}",
        "CLOUDTASER_CONFIG={}", f->sum,
        "PATH=/bin:/usr/bin",   NULL,
    };
    memcpy(f->environment, environment, sizeof(environment));
    sigemptyset(&f->mask);
    f->app.pid = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ct_launch_abandon(&f->app);
    ct_secrets_done(&f->secrets);
    free(f);
    return 0;
}

// Pointers to text that nobody changes, as execve(2) takes them.
static char *const *vector(const char *const *strings)
{
    return (char *const *)(uintptr_t)strings;
}

static int prepare(struct fixture *f, const char *const *argv)
{
    const struct ct_launch_spec spec = {
        .argv = vector(argv),
        .environment = vector(f->environment),
        .secrets = &f->secrets,
        .plain_environment = f->plain,
        .signal_mask = &f->mask,
        .ignore_child = f->ignore_child,
    };
    return ct_launch_prepare(&spec, &f->facts, &f->app, &f->err);
}

static int prepare_duty(struct fixture *f, const char *duty)
{
    const char *argv[] = {own_path, "app", duty, NULL};
    return prepare(f, argv);
}

static int end_of(struct fixture *f)
{
    int status = 0;
    assert_int_equal(waitpid(f->app.pid, &status, 0), f->app.pid);
    f->app.pid = -1;
    return status;
}

static int release_and_wait(struct fixture *f)
{
    expect_ok(ct_launch_release(&f->app, &f->err), &f->err);
    return end_of(f);
}

static const struct ct_fact *fact(const struct fixture *f, enum ct_check check)
{
    return &f->facts.fact[check][CT_HOLDER_APP];
}

static const enum ct_check memory[] = {CT_CHECK_MEMFD_SECRET, CT_CHECK_MLOCK,
                                       CT_CHECK_MADV_DONTDUMP, CT_CHECK_PR_SET_DUMPABLE};

static void expect_all_proven(const struct fixture *f)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(memory); i++) {
        if (fact(f, memory[i])->state != CT_FACT_PROVEN) {
            fail_msg("%s: %s", ct_check_info(memory[i])->name, fact(f, memory[i])->reason);
        }
    }
}

static void test_delivered_and_proven(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "getenv"), &f->err);
    assert_true(f->app.traced);
    assert_true(f->app.pid > 0);
    expect_all_proven(f);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
}

// Counts a string in everything of the app that can be read through the descriptors that were opened
// before it was closed to others.
static size_t copies_in_app(const struct ct_launched *app, const char *needle, size_t len)
{
    static char text[1 << 16];
    static char buffer[1 << 16];
    size_t copies = 0;
    ssize_t used = 0;
    for (ssize_t n;
         (n = pread(app->maps_fd, text + used, sizeof(text) - 1 - (size_t)used, used)) > 0;) {
        used += n;
    }
    text[used] = '\0';
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned long start, end;
        char can_read;
        if (sscanf(line, "%lx-%lx %c", &start, &end, &can_read) != 3 || can_read != 'r' ||
            end - start > (64ul << 20)) {
            continue;
        }
        for (unsigned long at = start; at < end; at += sizeof(buffer) - 64) {
            size_t want = end - at < sizeof(buffer) ? end - at : sizeof(buffer);
            ssize_t n = pread(app->mem_fd, buffer, want, (off_t)at);
            const char *p = buffer;
            while (n > 0 && (p = memmem(p, (size_t)(buffer + n - p), needle, len)) != NULL) {
                copies++;
                p++;
            }
        }
    }
    return copies;
}

static void test_no_copy_in_the_app(void **state)
{
    struct fixture *f = *state;
    const char *value = f->secrets.item[0].value;
    int ready[2], go[2];
    // The app expects its two descriptors at 3 and 4; they survive its exec.
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    int ready_end = fcntl(ready[1], F_DUPFD_CLOEXEC, 20);
    int go_end = fcntl(go[0], F_DUPFD_CLOEXEC, 20);
    int ready_read = fcntl(ready[0], F_DUPFD_CLOEXEC, 20);
    int go_write = fcntl(go[1], F_DUPFD_CLOEXEC, 20);
    for (int i = 0; i < 2; i++) {
        (void)close(ready[i]);
        (void)close(go[i]);
    }
    assert_int_equal(dup2(ready_end, 3), 3);
    assert_int_equal(dup2(go_end, 4), 4);
    (void)close(ready_end);
    (void)close(go_end);
    expect_ok(prepare_duty(f, "wait"), &f->err);
    (void)close(3);
    (void)close(4);
    // Controls: strings that are there are found by the same look.
    assert_true(copies_in_app(&f->app, "KEPT=as it is", 13) > 0);
    assert_true(copies_in_app(&f->app, "SECRET=" CT_LAUNCH_PLACEHOLDER, 24) > 0);
    assert_int_equal(copies_in_app(&f->app, value, VALUE_LEN), 0);
    expect_ok(ct_launch_release(&f->app, &f->err), &f->err);
    char byte;
    assert_int_equal(read(ready_read, &byte, 1), 1); // it has read its variable
    assert_true(copies_in_app(&f->app, "KEPT=as it is", 13) > 0);
    assert_int_equal(copies_in_app(&f->app, value, VALUE_LEN), 0);
    (void)close(go_write);
    (void)close(ready_read);
    assert_int_equal(WEXITSTATUS(end_of(f)), APP_OK);
}

static void test_abandoned_never_runs(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "exit"), &f->err);
    pid_t pid = f->app.pid;
    ct_launch_abandon(&f->app);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(waitpid(-1, NULL, __WALL), -1); // the proofs left no child behind either
    assert_int_equal(errno, ECHILD);
}

static void test_launcher_loses_its_points(void **state)
{
    struct fixture *f = *state;
    const char *argv[] = {"sh", "-c", "exit 42", NULL};
    expect_ok(prepare(f, argv), &f->err);
    for (size_t i = 0; i < CT_ARRAY_LEN(memory); i++) {
        assert_int_equal(fact(f, memory[i])->state, CT_FACT_FAILED);
        assert_non_null(
            strstr(fact(f, memory[i])->reason, "sh hands its environment on in the clear"));
    }
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
}

static void test_launcher_without_secrets_is_proven(void **state)
{
    struct fixture *f = *state;
    f->secrets.n = 0;
    const char *argv[] = {"sh", "-c", "exit 42", NULL};
    expect_ok(prepare(f, argv), &f->err);
    expect_all_proven(f);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
    f->secrets.n = 1;
}

static void test_signals_are_not_lost(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "exit"), &f->err);
    assert_int_equal(kill(f->app.pid, SIGTERM), 0);
    int status = release_and_wait(f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void test_a_stop_is_not_lost(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "exit"), &f->err);
    assert_int_equal(kill(f->app.pid, SIGSTOP), 0);
    expect_ok(ct_launch_release(&f->app, &f->err), &f->err);
    int status = 0;
    assert_int_equal(waitpid(f->app.pid, &status, WUNTRACED), f->app.pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(kill(f->app.pid, SIGCONT), 0);
    assert_int_equal(WEXITSTATUS(end_of(f)), APP_OK);
}

static void test_the_app_has_its_mask(void **state)
{
    struct fixture *f = *state;
    sigaddset(&f->mask, SIGUSR2);
    expect_ok(prepare_duty(f, "mask"), &f->err);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
}

static void test_the_app_ignores_what_it_must(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "child"), &f->err);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), 1);
    f->ignore_child = true;
    expect_ok(prepare_duty(f, "child"), &f->err);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
}

static void test_memlock_is_the_apps_own(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
    const struct rlimit low = {8192, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    int status = prepare_duty(f, "memlock");
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &old), 0);
    expect_ok(status, &f->err);
    expect_all_proven(f);
    assert_int_equal(WEXITSTATUS(release_and_wait(f)), APP_OK);
}

// ---- what is refused

static void make_file(const char *name, mode_t mode, const char *text, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%s", folder, name);
    CT_AUTO_FD fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
}

static void test_programs_that_cannot_be_started(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        mode_t mode;
        const char *text;
        int code;
        const char *part;
    } cases[] = {
        {"no-permission", 0644, "x", CT_ENOEXEC, "execute permission for this user"},
        {"no-program", 0755, "x", CT_ENOEXEC, "neither a program for this machine"},
        {"no-interpreter", 0755, "#!/no/such/thing\n", CT_ENOTFOUND, "interpreter that it names"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char path[256];
        make_file(cases[i].name, cases[i].mode, cases[i].text, path, sizeof(path));
        const char *argv[] = {path, NULL};
        expect_error(prepare(f, argv), &f->err, cases[i].code, cases[i].part);
        assert_non_null(strstr(f->err.msg, path));
        assert_int_equal(f->app.pid, 0);
    }
}

static void test_names_that_are_not_found(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        int code;
        const char *part;
    } cases[] = {
        {"no-such-program", CT_ENOTFOUND, "it is in no folder of PATH (/bin:/usr/bin)"},
        {"/no/such/program", CT_ENOTFOUND, "/no/such/program cannot be started"},
        {"/dev/null", CT_ENOEXEC, "(EACCES)"},
        {"/", CT_ENOEXEC, "(EACCES)"},
        {"/dev/null/x", CT_ENOTFOUND, "a part of its path is no folder"},
        {"", CT_ENOTFOUND, "no program was named"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const char *argv[] = {cases[i].name, NULL};
        expect_error(prepare(f, argv), &f->err, cases[i].code, cases[i].part);
    }
}

static void test_set_uid_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        mode_t mode;
        const char *part;
    } cases[] = {
        {04755, "is set-uid, which a program loses when secrets are delivered to it"},
        {02755, "is set-gid, which a program loses when secrets are delivered to it"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char path[256];
        make_file("privileged", cases[i].mode, "x", path, sizeof(path));
        const char *argv[] = {path, NULL};
        expect_error(prepare(f, argv), &f->err, CT_EDENIED, cases[i].part);
    }
}

static void test_a_set_uid_interpreter_is_refused(void **state)
{
    struct fixture *f = *state;
    char interpreter[256];
    char script[256];
    char command[600];
    char line[300];
    (void)snprintf(interpreter, sizeof(interpreter), "%s/interpreter", folder);
    (void)snprintf(command, sizeof(command), "cp /bin/cat %s", interpreter);
    assert_int_equal(system(command), 0);
    (void)snprintf(line, sizeof(line), "#!%s\n", interpreter);
    make_file("script", 0755, line, script, sizeof(script));
    const char *argv[] = {script, NULL};
    assert_int_equal(chmod(interpreter, 0755), 0);
    expect_ok(prepare(f, argv), &f->err); // the control
    ct_launch_abandon(&f->app);
    assert_int_equal(chmod(interpreter, 04755), 0);
    expect_error(prepare(f, argv), &f->err, CT_EDENIED, "is set-uid");
    assert_non_null(strstr(f->err.msg, interpreter));
    assert_int_equal(waitpid(-1, NULL, __WALL), -1);
}

static void test_file_capabilities_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct vfs_cap_data capability = {
        .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 1u << CAP_NET_RAW}},
    };
    char path[256];
    make_file("capable", 0755, "x", path, sizeof(path));
    const char *argv[] = {path, NULL};
    if (setxattr(path, "security.capability", &capability, sizeof(capability), 0) != 0) {
        assert_int_not_equal(geteuid(), 0); // only root may give them
        skip_for("root's rights");
    }
    expect_error(prepare(f, argv), &f->err, CT_EDENIED, "has file capabilities");
}

static int start(void)
{
    ssize_t n = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);
    return n > 0 && mkdtemp(folder) != NULL ? 0 : -1;
}

static void clean_up(void)
{
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    (void)!system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "app") == 0) {
        return be_app(argv[2]);
    }
    const struct ct_secmem_area *area = ct_arena_area();
    if (area == NULL || area->kind != CT_SECMEM_SECRET) {
        print_message("skipped: memfd_secret is not to be had here\n");
        return getenv("CT_MUST_RUN") != NULL ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_delivered_and_proven),
        TEST(test_no_copy_in_the_app),
        TEST(test_abandoned_never_runs),
        TEST(test_launcher_loses_its_points),
        TEST(test_launcher_without_secrets_is_proven),
        TEST(test_signals_are_not_lost),
        TEST(test_a_stop_is_not_lost),
        TEST(test_the_app_has_its_mask),
        TEST(test_the_app_ignores_what_it_must),
        TEST(test_memlock_is_the_apps_own),
        TEST(test_programs_that_cannot_be_started),
        TEST(test_names_that_are_not_found),
        TEST(test_set_uid_is_refused),
        TEST(test_a_set_uid_interpreter_is_refused),
        TEST(test_file_capabilities_are_refused),
    };
    if (start() != 0) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clean_up();
    return failed;
}
