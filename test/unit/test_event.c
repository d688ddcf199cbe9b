// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "event.h"
#include "vectors.h"

// What the event is written as; the caller's.
static json_t *written(const struct ct_event *event, const struct ct_event_about *about)
{
    char text[4096];
    CT_AUTO_FD fd = memfd_create("event", MFD_CLOEXEC);
    assert_true(fd >= 0);
    struct ct_lines out = {.fd = fd};
    assert_true(ct_event_write(event, about, &out));
    ssize_t len = pread(fd, text, sizeof(text), 0);
    assert_true(len > 0 && text[len - 1] == '\n');
    assert_null(memchr(text, '\n', (size_t)len - 1));
    json_t *json = json_loadb(text, (size_t)len, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char *at(const json_t *json, const char *object, const char *key)
{
    return json_string_value(json_object_get(json_object_get(json, object), key));
}

static void test_a_refusal(void **state)
{
    (void)state;
    const struct ct_event event = {.vector = CT_V_VM_READV,
                                   .action = CT_ACTION_DENIED,
                                   .tier = CT_TIER_LSM,
                                   .tgid = 10,
                                   .pid = 11,
                                   .uid = 1000,
                                   .parent = 9,
                                   .victim = 7,
                                   .cgroup = 1ULL << 40,
                                   .comm = "reader",
                                   .exe = "reader"};
    json_t *json = written(&event, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "vector")), "process_vm_readv");
    assert_string_equal(json_string_value(json_object_get(json, "action")), "denied");
    assert_string_equal(json_string_value(json_object_get(json, "tier")), "lsm");
    assert_string_equal(at(json, "attacker", "comm"), "reader");
    const json_t *attacker = json_object_get(json, "attacker");
    assert_int_equal(json_integer_value(json_object_get(attacker, "pid")), 10);
    assert_int_equal(json_integer_value(json_object_get(attacker, "cgroup")), 1LL << 40);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "victim"), "pid")),
                     7);
    json_decref(json);
}

// The attacker names itself, up to the last byte, and cannot forge a line by it.
static void test_names_are_the_attackers(void **state)
{
    (void)state;
    struct ct_event event = {.vector = 9999, .action = CT_ACTION_KILLED, .tier = 77};
    memcpy(event.comm, "\"},\n\x01\xff\xc3\\abcdefgh", sizeof(event.comm));
    memset(event.exe, 'x', sizeof(event.exe));
    json_t *json = written(&event, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "vector")), "unknown");
    assert_string_equal(json_string_value(json_object_get(json, "action")), "killed");
    assert_string_equal(json_string_value(json_object_get(json, "tier")), "unknown");
    assert_string_equal(at(json, "attacker", "comm"), "\"},????\\abcdefgh");
    assert_int_equal(strlen(at(json, "attacker", "exe")), sizeof(event.exe));
    json_decref(json);
}

// Nor keep a line from being written: paths of whatever bytes are, and what finds no room is left out.
static void test_paths_that_take_room(void **state)
{
    (void)state;
    static char program[512];
    const struct ct_event event = {.vector = CT_V_VM_READV, .tgid = 10};
    struct ct_event_about about = {.node = "node-1", .program = program};
    const char bytes[] = {'\n', 0x01, 0x7f, '"', '\\'};
    for (size_t i = 0; i < CT_ARRAY_LEN(bytes); i++) {
        memset(program, bytes[i], sizeof(program) - 1);
        memset(about.attacker.path, bytes[i], sizeof(about.attacker.path) - 1);
        memset(about.victim.path, bytes[i], sizeof(about.victim.path) - 1);
        memset(about.victim.pod, bytes[i], sizeof(about.victim.pod) - 1);
        memset(about.victim.container, bytes[i], sizeof(about.victim.container) - 1);
        memset(&about.victim_pod, bytes[i], sizeof(about.victim_pod));
        json_t *json = written(&event, &about);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(json, "attacker"), "pid")), 10);
        assert_string_equal(json_string_value(json_object_get(json, "node")), "node-1");
        assert_true(bytes[i] == '"' || bytes[i] == '\\' ||
                    at(json, "attacker", "program")[0] == '?');
        json_decref(json);
    }
}

// RFC 3339; and what is known beside the kernel's words.
static void test_when_and_where(void **state)
{
    (void)state;
    const struct ct_event event = {.vector = CT_V_MEM_READ, .time_ns = 1};
    struct ct_event_about about = {.node = "node-1", .program = "/usr/bin/thief"};
    memcpy(about.attacker.path, "/user.slice", sizeof("/user.slice"));
    memcpy(about.victim.pod, "uid-1", sizeof("uid-1"));
    memcpy(about.victim.container, "abc", sizeof("abc"));
    memcpy(about.victim_pod.space, "shop", sizeof("shop"));
    memset(about.victim_pod.pod, 'p', sizeof(about.victim_pod.pod)); // without an end
    json_t *json = written(&event, &about);
    const char *time = json_string_value(json_object_get(json, "time"));
    int year;
    int rest[6];
    assert_int_equal(sscanf(time, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &year, &rest[0], &rest[1],
                            &rest[2], &rest[3], &rest[4], &rest[5]),
                     7);
    assert_true(year > 2000);
    assert_int_equal(strlen(time), strlen("2000-01-01T00:00:00.000Z"));
    assert_string_equal(json_string_value(json_object_get(json, "kind")), "attack");
    assert_string_equal(json_string_value(json_object_get(json, "node")), "node-1");
    assert_string_equal(at(json, "attacker", "program"), "/usr/bin/thief");
    assert_string_equal(at(json, "attacker", "cgroup_path"), "/user.slice");
    assert_null(at(json, "attacker", "pod_uid"));
    assert_string_equal(at(json, "victim", "pod_uid"), "uid-1");
    assert_string_equal(at(json, "victim", "container"), "abc");
    assert_string_equal(at(json, "victim", "namespace"), "shop");
    assert_int_equal(strlen(at(json, "victim", "pod")), sizeof(about.victim_pod.pod));
    assert_null(at(json, "attacker", "pod"));
    json_decref(json);
}

// A reader that takes nothing holds nobody up for long, however much there is to tell, and no line is torn.
static void test_a_reader_that_sleeps(void **state)
{
    (void)state;
    int ends[2];
    char byte[4096] = {0};
    const struct ct_event event = {.vector = CT_V_MEM_READ};
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], byte, sizeof(byte)) > 0) {
    }
    struct ct_lines out = {.fd = ends[1]};
    uint64_t began = ct_clock_ms();
    for (int i = 0; i < 50; i++) {
        assert_false(ct_event_write(&event, NULL, &out));
        assert_false(ct_lines_put(&out, "{}\n", 3));
    }
    assert_in_range(ct_clock_ms() - began, 900, 2000);
    assert_int_equal(out.dropped, 100);
    assert_int_equal(read(ends[0], byte, sizeof(byte)), sizeof(byte));
    assert_true(ct_event_write(&event, NULL, &out));
    assert_int_equal(out.dropped, 100);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

// Nor does one that takes each line just in time.
static void test_a_reader_that_is_slow(void **state)
{
    (void)state;
    int ends[2];
    char byte[4096] = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], byte, sizeof(byte)) > 0) {
    }
    pid_t reader = fork();
    for (int i = 0; reader == 0 && i < 60; i++) {
        (void)usleep(200000);
        (void)!read(ends[0], byte, sizeof(byte));
    }
    if (reader == 0) {
        _exit(0);
    }
    struct ct_lines out = {.fd = ends[1]};
    uint64_t began = ct_clock_ms();
    unsigned taken = 0;
    for (int i = 0; i < 40; i++) {
        taken += ct_lines_put(&out, byte, 4000); // a page each
    }
    assert_in_range(ct_clock_ms() - began, 900, 2000);
    assert_in_range(taken, 1, 10);
    assert_int_equal(out.dropped, 40 - taken);
    (void)kill(reader, SIGKILL);
    (void)waitpid(reader, NULL, 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_the_table_of_vectors(void **state)
{
    (void)state;
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || vectors[i - 1].vector < vectors[i].vector);
        assert_ptr_equal(ct_vector_info(vectors[i].vector), &vectors[i]);
        assert_non_null(vectors[i].attempt);
    }
    assert_null(ct_vector_info((enum ct_vector)0));
}

static void test_the_names_of_tiers(void **state)
{
    (void)state;
    for (int tier = CT_TIER_REACTIVE; tier < CT_TIER_COUNT; tier++) {
        assert_int_equal(ct_tier_from_name(ct_tier_name((enum ct_tier)tier)), tier);
    }
    assert_int_equal(ct_tier_from_name("none"), -1);
    assert_int_equal(ct_tier_from_name(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refusal),
        cmocka_unit_test(test_names_are_the_attackers),
        cmocka_unit_test(test_paths_that_take_room),
        cmocka_unit_test(test_when_and_where),
        cmocka_unit_test(test_a_reader_that_sleeps),
        cmocka_unit_test(test_a_reader_that_is_slow),
        cmocka_unit_test(test_the_table_of_vectors),
        cmocka_unit_test(test_the_names_of_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
