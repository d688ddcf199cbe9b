// SPDX-License-Identifier: Apache-2.0
//
// Environments and command lines of every shape. The app is this program itself, started with "app":
// it sends a hash of all the words and variables that it sees.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "expect.h"
#include "launch.h"
#include "secmem.h"

#define LONG_VALUE (150u << 10) // more than execve(2) takes in one string
#define MANY 5000
#define WORDS 1000
#define HASH_FD 3

static char own_path[4096];

// FNV-1a over the strings and the ends of strings and list.
static uint64_t hash_strings(uint64_t hash, char *const *strings)
{
    for (size_t i = 0; strings[i] != NULL; i++) {
        const char *c = strings[i];
        do {
            hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        } while (*c++ != '\0');
    }
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t hash_both(char *const *argv, char *const *environment)
{
    return hash_strings(hash_strings(UINT64_C(0xcbf29ce484222325), argv), environment);
}

static int be_app(char **argv)
{
    uint64_t hash = hash_both(argv, environ);
    return write(HASH_FD, &hash, sizeof(hash)) == (ssize_t)sizeof(hash) ? 0 : 1;
}

static char *const *vector(const char *const *strings)
{
    return (char *const *)(uintptr_t)strings;
}

// Starts the app; what it sees must be `argv` and `expected`.
static void expect_seen(const char *const *argv, const char *const *environment,
                        const struct ct_secrets *secrets, const char *const *expected)
{
    sigset_t mask;
    sigemptyset(&mask);
    const struct ct_launch_spec spec = {.argv = vector(argv),
                                        .environment = vector(environment),
                                        .secrets = secrets,
                                        .signal_mask = &mask};
    struct ct_facts facts = {0};
    struct ct_launched app;
    struct ct_err err = {0};
    int seen[2];
    assert_int_equal(pipe(seen), 0);
    int receive = fcntl(seen[0], F_DUPFD_CLOEXEC, 20);
    int send = fcntl(seen[1], F_DUPFD_CLOEXEC, 20);
    (void)close(seen[0]);
    (void)close(seen[1]);
    assert_int_equal(dup2(send, HASH_FD), HASH_FD);
    (void)close(send);
    int status = ct_launch_prepare(&spec, &facts, &app, &err);
    (void)close(HASH_FD);
    expect_ok(status, &err);
    assert_int_equal(facts.fact[CT_CHECK_MEMFD_SECRET][CT_HOLDER_APP].state, CT_FACT_PROVEN);
    expect_ok(ct_launch_release(&app, &err), &err);
    uint64_t hash = 0;
    assert_int_equal(read(receive, &hash, sizeof(hash)), sizeof(hash));
    assert_true(hash == hash_both(vector(argv), vector(expected)));
    (void)close(receive);
    assert_int_equal(waitpid(app.pid, &status, 0), app.pid);
    app.pid = -1;
    ct_launch_abandon(&app);
    assert_int_equal(status, 0);
}

static struct ct_secret_variable variable(const char *name, const char *value)
{
    return (struct ct_secret_variable){(char *)(uintptr_t)name, (char *)(uintptr_t)value,
                                       strlen(value)};
}

static void test_values_and_names(void **state)
{
    (void)state;
    char *large = malloc(LONG_VALUE + 1);
    char *large_entry = malloc(LONG_VALUE + 8);
    memset(large, 'x', LONG_VALUE);
    large[LONG_VALUE] = '\0';
    (void)snprintf(large_entry, LONG_VALUE + 8, "LONG=%s", large);
    struct ct_secret_variable item[] = {
        variable("SECRET", "value"), variable("SEC", "prefix"),     variable("EMPTY", ""),
        variable("LINES", "a\nb\n"), variable("ODD", "=\t\"\\ '$"), variable("LONG", large),
    };
    const struct ct_secrets secrets = {item, CT_ARRAY_LEN(item)};
    static const char *const environment[] = {
        "SECRETS=of another",
        "SECRET=r",
        "EMPTY=r",
        "=odd",
        "no equals sign",
        "LONG=r",
        "SECRET=once more",
        "CLOUDTASER_CONFIG={}",
        "LINES=r",
        "ODD=r",
        "SE=shorter",
        NULL,
    };
    const char *const expected[] = {
        "SECRETS=of another",
        "SECRET=value",
        "EMPTY=",
        "=odd",
        "no equals sign",
        large_entry,
        "SECRET=value",
        "LINES=a\nb\n",
        "ODD==\t\"\\ '$",
        "SE=shorter",
        "SEC=prefix", // named by a secret alone: appended
        NULL,
    };
    const char *argv[] = {own_path, "app", "", "a b", "\n", NULL};
    expect_seen(argv, environment, &secrets, expected);
    free(large);
    free(large_entry);
}

static void test_none(void **state)
{
    (void)state;
    const struct ct_secrets secrets = {NULL, 0};
    static const char *const environment[] = {"CLOUDTASER_CONFIG={}", "CLOUDTASER_CONFIG=again",
                                              NULL};
    static const char *const expected[] = {NULL};
    const char *argv[] = {own_path, "app", NULL};
    expect_seen(argv, environment, &secrets, expected);
}

static void test_many(void **state)
{
    (void)state;
    static char entry[MANY][24];
    static char word[WORDS][16];
    static const char *environment[MANY + 1];
    static const char *expected[MANY + 1];
    static const char *argv[WORDS + 1];
    static struct ct_secret_variable item[MANY / 10];
    static char name[MANY / 10][16];
    static char value[MANY / 10][24];
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(entry[i], sizeof(entry[i]), "V%zu=%zu", i, i);
        environment[i] = entry[i];
        expected[i] = entry[i];
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(item); i++) {
        (void)snprintf(name[i], sizeof(name[i]), "V%zu", i * 10);
        (void)snprintf(value[i], sizeof(value[i]), "V%zu=secret", i * 10);
        item[i] = variable(name[i], value[i] + strlen(name[i]) + 1);
        expected[i * 10] = value[i];
    }
    for (size_t i = 0; i < WORDS; i++) {
        (void)snprintf(word[i], sizeof(word[i]), "word %zu", i);
        argv[i] = word[i];
    }
    argv[0] = own_path;
    argv[1] = "app";
    const struct ct_secrets secrets = {item, CT_ARRAY_LEN(item)};
    expect_seen(argv, environment, &secrets, expected);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "app") == 0) {
        return be_app(argv);
    }
    const struct ct_secmem_area *area = ct_arena_area();
    if (area == NULL || area->kind != CT_SECMEM_SECRET) {
        print_message("skipped: memfd_secret is not to be had here\n");
        return getenv("CT_MUST_RUN") != NULL ? 1 : 77;
    }
    if (readlink("/proc/self/exe", own_path, sizeof(own_path) - 1) <= 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_and_names),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
