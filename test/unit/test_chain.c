// SPDX-License-Identifier: Apache-2.0
//
// The launcher is this program under the name of one, started as "launcher DUTY"; what it comes to is
// this program again, as "app DUTY", whose exit code says how it went.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "chain_duties.h"
#include "expect.h"
#include "launch.h"
#include "secmem.h"

#define VALUE_LEN 24

// ---- the wrapper's side

struct fixture {
    struct ct_secrets secrets;
    struct ct_facts facts;
    struct ct_launched app;
    struct ct_err err;
    sigset_t mask;
    char sum[16];
    const char *environment[8];
    enum ct_launcher_mode mode;
    char followed[32];
    unsigned late;
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
    const char *environment[] = {"SECRET=vault:secret/data/x#k", f->sum, "PATH=/bin:/usr/bin",
                                 NULL};
    memcpy(f->environment, environment, sizeof(environment));
    sigemptyset(&f->mask);
    sigaddset(&f->mask, SIGUSR2);
    f->app.pid = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ct_launch_abandon(&f->app);
    ct_secrets_done(&f->secrets);
    while (waitpid(-1, NULL, __WALL) > 0) {
    }
    free(f);
    return 0;
}

static void note_followed(void *cls, const char *launcher, pid_t pid)
{
    struct fixture *f = cls;
    assert_true(pid > 0);
    (void)snprintf(f->followed, sizeof(f->followed), "%s", launcher);
}

static void note_late(void *cls)
{
    struct fixture *f = cls;
    f->late++;
}

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
        .signal_mask = &f->mask,
        .launcher = f->mode,
        .followed = note_followed,
        .late = note_late,
        .cls = f,
        .late_ms = SLOW_MS / 2,
    };
    return ct_launch_prepare(&spec, &f->facts, &f->app, &f->err);
}

static int prepare_duty(struct fixture *f, const char *duty)
{
    char tini[sizeof(folder) + 8];
    (void)snprintf(tini, sizeof(tini), "%s/tini", folder);
    const char *argv[] = {tini, "launcher", duty, NULL};
    return prepare(f, argv);
}

static const enum ct_check memory[] = {CT_CHECK_MEMFD_SECRET, CT_CHECK_MLOCK,
                                       CT_CHECK_MADV_DONTDUMP, CT_CHECK_PR_SET_DUMPABLE};

static void expect_facts(const struct fixture *f, enum ct_fact_state state, const char *words)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(memory); i++) {
        const struct ct_fact *fact = &f->facts.fact[memory[i]][CT_HOLDER_APP];
        if (fact->state != state || strstr(fact->reason, words) == NULL) {
            fail_msg("%s: %s", ct_check_info(memory[i])->name, fact->reason);
        }
    }
}

static int release_and_wait(struct fixture *f)
{
    int status = 0;
    expect_ok(ct_launch_release(&f->app, &f->err), &f->err);
    assert_int_equal(waitpid(f->app.child, &status, 0), f->app.child);
    f->app =
        (struct ct_launched){.pid = -1, .mem_fd = -1, .maps_fd = -1, .go_fd = -1, .report_fd = -1};
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_reaches_the_app(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *duty;
        bool child; // the app is the launcher's child
    } cases[] = {
        {"exec", false},   {"fork", true},   {"vfork", true},        {"helpers", false},
        {"thread", false}, {"second", true}, {"threads-fork", true},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        f->facts = (struct ct_facts){0};
        f->followed[0] = '\0';
        expect_ok(prepare_duty(f, cases[i].duty), &f->err);
        assert_string_equal(f->followed, "tini");
        assert_true(f->app.followed && f->app.traced && !f->app.over);
        assert_int_equal(f->app.withheld, 0);
        assert_int_equal(f->app.pid != f->app.child, cases[i].child);
        expect_facts(f, CT_FACT_PROVEN, "");
        int code = release_and_wait(f);
        if (code != APP_OK) {
            fail_msg("%s: the app ended with %d", cases[i].duty, code);
        }
    }
}

static void test_what_the_launcher_changed_stays(void **state)
{
    static const char *const duties[] = {"change", "clean"};
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(duties); i++) {
        f->facts = (struct ct_facts){0};
        expect_ok(prepare_duty(f, duties[i]), &f->err);
        assert_int_equal(f->app.withheld, 1);
        expect_facts(f, CT_FACT_PROVEN, "");
        assert_int_equal(release_and_wait(f), APP_OK);
    }
}

static void test_a_launcher_that_ends(void **state)
{
    static const struct {
        const char *duty;
        int code;
    } cases[] = {{"exit", LAUNCHER_EXIT}, {"die", 128 + SIGTERM}};
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        expect_ok(prepare_duty(f, cases[i].duty), &f->err);
        assert_true(f->app.over && f->app.ended);
        assert_int_equal(f->app.exit_code, cases[i].code);
        expect_facts(f, CT_FACT_UNTRIED, "");
        assert_int_equal(waitpid(-1, NULL, __WALL), -1);
    }
}

// Whether it is killed before or after its release: the launcher's word is the end of it.
static void test_an_app_that_its_launcher_kills(void **state)
{
    struct fixture *f = *state;
    unsigned held = 0;
    for (int i = 0; i < 20; i++) {
        f->facts = (struct ct_facts){0};
        expect_ok(prepare_duty(f, "kill"), &f->err);
        held += f->app.over;
        if (f->app.over) {
            expect_facts(f, CT_FACT_UNTRIED, "");
        } else {
            expect_ok(ct_launch_release(&f->app, &f->err), &f->err);
        }
        int status = 0;
        if (!f->app.ended) {
            assert_int_equal(waitpid(f->app.child, &status, 0), f->app.child);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), LAUNCHER_EXIT);
        } else {
            assert_int_equal(f->app.exit_code, LAUNCHER_EXIT);
        }
        f->app.followed = false; // nobody is left to be killed
        f->app.pid = -1;
    }
    assert_true(held > 0);
}

// Told once, however many signals come meanwhile.
static void test_one_that_takes_its_time(void **state)
{
    struct fixture *f = *state;
    expect_ok(prepare_duty(f, "helpers"), &f->err);
    assert_int_equal(f->late, 0);
    assert_int_equal(release_and_wait(f), APP_OK);
    expect_ok(prepare_duty(f, "slow"), &f->err);
    assert_int_equal(f->late, 1);
    assert_int_equal(release_and_wait(f), APP_OK);
}

static void test_too_many_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prepare_duty(f, "many"), -CT_ETOOBIG);
    assert_non_null(strstr(f->err.msg, "more than 128 processes"));
    assert_non_null(strstr(f->err.msg, "cloudtaser.io/launcher"));
    while (waitpid(-1, NULL, __WALL) > 0) { // they were killed: this ends
    }
}

static void test_an_app_that_is_abandoned_goes_with_its_launcher(void **state)
{
    static const char *const duties[] = {"exec", "fork", "threads-fork"};
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(duties); i++) {
        expect_ok(prepare_duty(f, duties[i]), &f->err);
        pid_t pids[] = {f->app.pid, f->app.child};
        ct_launch_abandon(&f->app);
        for (size_t p = 0; p < CT_ARRAY_LEN(pids); p++) {
            while (waitpid(pids[p], NULL, __WALL) > 0) {
            }
            assert_int_equal(kill(pids[p], 0), -1);
        }
    }
}

static void test_delivered_on_request(void **state)
{
    struct fixture *f = *state;
    f->mode = CT_LAUNCHER_DELIVER;
    expect_ok(prepare_duty(f, "fork"), &f->err);
    assert_false(f->app.followed);
    expect_facts(f, CT_FACT_FAILED, "tini hands its environment on in the clear");
    assert_int_equal(release_and_wait(f), 3); // the app has it, and is dumpable
}

static void test_shells(void **state)
{
    static const struct {
        const char *text;
        enum ct_launcher_mode mode;
        const char *why; // NULL: followed
        int code;
    } cases[] = {
        {"exec \"$0\" app value", CT_LAUNCHER_AUTO, NULL, APP_OK},
        {"ls / >/dev/null; exec \"$0\" app value", CT_LAUNCHER_AUTO, NULL, APP_OK},
        {"\"$0\" app value", CT_LAUNCHER_AUTO, NULL, APP_OK},
        {"cd / && \"$0\" app value; exit 9", CT_LAUNCHER_AUTO, NULL, 9},
        {"ls / >/dev/null; \"$0\" app value; exit 9", CT_LAUNCHER_AUTO, "as its children", 9},
        {"test \"$SECRET\" != " CT_LAUNCH_PLACEHOLDER "; exit $?", CT_LAUNCHER_AUTO,
         "uses a secret's variable", 0},
        {"exec \"$0\" app value", CT_LAUNCHER_DELIVER, "in the clear", 3},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        const char *argv[] = {"sh", "-c", cases[i].text, own_path, NULL};
        f->facts = (struct ct_facts){0};
        f->mode = cases[i].mode;
        expect_ok(prepare(f, argv), &f->err);
        assert_int_equal(f->app.followed, cases[i].why == NULL);
        expect_facts(f, cases[i].why == NULL ? CT_FACT_PROVEN : CT_FACT_FAILED,
                     cases[i].why != NULL ? cases[i].why : "");
        int code = release_and_wait(f);
        if (code != cases[i].code) {
            fail_msg("%s: %d", cases[i].text, code);
        }
    }
}

// Followed by order: what it starts gets placeholders, and the end is told.
static void test_a_shell_that_never_becomes_a_program(void **state)
{
    struct fixture *f = *state;
    const char *argv[] = {"sh", "-c", "env | grep -q ^SECRET=" CT_LAUNCH_PLACEHOLDER "; exit $?",
                          NULL};
    f->mode = CT_LAUNCHER_FOLLOW;
    expect_ok(prepare(f, argv), &f->err);
    assert_true(f->app.over && f->app.ended);
    assert_int_equal(f->app.exit_code, 0);
}

// Root's own: nothing is gained by it, so nothing is lost.
static void test_set_uid_without_effect(void **state)
{
    struct fixture *f = *state;
    char path[sizeof(folder) + 16];
    (void)snprintf(path, sizeof(path), "%s/set-uid", folder);
    assert_int_equal(chmod(path, 04755), 0);
    expect_ok(prepare_duty(f, "set-uid"), &f->err);
    assert_int_equal(chmod(path, 0755), 0);
    assert_true(f->app.traced);
}

static int copy_self(const char *name)
{
    char path[sizeof(folder) + 16];
    char command[sizeof(own_path) + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)snprintf(command, sizeof(command), "cp '%s' '%s'", own_path, path);
    return system(command);
}

static int group_setup(void **state)
{
    (void)state;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); // as the wrapper is one
    return mkdtemp(folder) == NULL || copy_self("tini") != 0 || copy_self("set-uid") != 0;
}

static int group_teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"tini", "set-uid"};
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        char path[sizeof(folder) + 16];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    ssize_t n = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);
    if (n < 0) {
        return 1;
    }
    own_path[n] = '\0';
    if (argc == 3 && strcmp(argv[1], "app") == 0) {
        return do_duty(app_duties, CT_ARRAY_LEN(app_duties), argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "launcher") == 0) {
        char *slash = strrchr(own_path, '/');
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - own_path), own_path);
        // Beside it lies a program that has no launcher's name.
        memcpy(slash, "/set-uid", sizeof("/set-uid"));
        // At once: a leak checker cannot work in a process that is traced.
        _exit(do_duty(launcher_duties, CT_ARRAY_LEN(launcher_duties), argv[2]));
    }
    const struct CMUnitTest tests[] = {
        TEST(test_reaches_the_app),
        TEST(test_what_the_launcher_changed_stays),
        TEST(test_a_launcher_that_ends),
        TEST(test_an_app_that_its_launcher_kills),
        TEST(test_one_that_takes_its_time),
        TEST(test_too_many_are_refused),
        TEST(test_an_app_that_is_abandoned_goes_with_its_launcher),
        TEST(test_delivered_on_request),
        TEST(test_shells),
        TEST(test_a_shell_that_never_becomes_a_program),
        TEST(test_set_uid_without_effect),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
