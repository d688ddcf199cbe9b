// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "pod_event.h"

#define NOW 1700000000

static const struct ct_pod_ref web = {.namespace = "shop",
                                      .name = "web-0",
                                      .uid = "11111111-2222-3333-4444-555555555555",
                                      .container = "app"};

static struct ct_event attack(enum ct_vector vector)
{
    struct ct_event event = {.vector = vector,
                             .action = CT_ACTION_DENIED,
                             .tgid = 4711,
                             .uid = 0,
                             .comm = "gdb",
                             .exe = "gdb"};
    return event;
}

static void test_the_first_is_told_at_once_and_the_rest_together(void **state)
{
    (void)state;
    CT_AUTO(ct_pod_gatherer) *gatherer = ct_pod_gatherer_new();
    const struct ct_event event = attack(CT_V_PTRACE);
    struct ct_pod_event told;
    assert_true(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    assert_int_equal(told.count, 1);
    for (int i = 1; i <= 1000; i++) {
        assert_false(ct_pod_gatherer_add(gatherer, &web, &event, NOW + i / 100, &told));
    }
    assert_false(ct_pod_gatherer_due(gatherer, NOW + CT_POD_EVENT_WINDOW_S - 1, false, &told));
    assert_true(ct_pod_gatherer_due(gatherer, NOW + CT_POD_EVENT_WINDOW_S, false, &told));
    assert_int_equal(told.count, 1000);
    assert_int_equal(told.first_s, NOW);
    assert_int_equal(told.last_s, NOW + 10);
    assert_false(ct_pod_gatherer_due(gatherer, NOW + CT_POD_EVENT_WINDOW_S, false, &told));
    assert_int_equal(ct_pod_gatherer_lost(gatherer), 0);
    // After a quiet minute the next one is a first one again.
    assert_false(ct_pod_gatherer_due(gatherer, NOW + 2 * CT_POD_EVENT_WINDOW_S, false, &told));
    assert_true(
        ct_pod_gatherer_add(gatherer, &web, &event, NOW + 2 * CT_POD_EVENT_WINDOW_S, &told));
    assert_int_equal(told.count, 1);
}

static void test_pods_and_vectors_are_told_apart(void **state)
{
    (void)state;
    CT_AUTO(ct_pod_gatherer) *gatherer = ct_pod_gatherer_new();
    struct ct_event event = attack(CT_V_PTRACE);
    struct ct_pod_ref other = web;
    struct ct_pod_event told;
    other.uid[0] = '9';
    assert_true(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    assert_true(ct_pod_gatherer_add(gatherer, &other, &event, NOW, &told));
    event.action = CT_ACTION_KILLED;
    assert_true(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    event.vector = CT_V_SETNS;
    assert_true(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    assert_int_equal(told.last.vector, CT_V_SETNS);
}

// However many pods are attacked: so many Events a minute, and what is beyond is counted.
static void test_bounds(void **state)
{
    (void)state;
    CT_AUTO(ct_pod_gatherer) *gatherer = ct_pod_gatherer_new();
    const struct ct_event event = attack(CT_V_PTRACE);
    struct ct_pod_ref pod = web;
    struct ct_pod_event told;
    unsigned at_once = 0;
    for (int i = 0; i < CT_POD_EVENTS + 44; i++) {
        (void)snprintf(pod.uid, sizeof(pod.uid), "pod-%d", i);
        at_once += ct_pod_gatherer_add(gatherer, &pod, &event, NOW, &told);
    }
    assert_int_equal(at_once, CT_POD_EVENTS_A_MINUTE);
    assert_int_equal(ct_pod_gatherer_lost(gatherer), 44);
    // The others wait, and come in the minutes that follow: none twice, none forgotten.
    unsigned later = 0;
    for (int minute = 1; minute < 10; minute++) {
        unsigned now = 0;
        while (ct_pod_gatherer_due(gatherer, NOW + 60 * minute, false, &told)) {
            assert_int_equal(told.count, 1);
            now++;
        }
        assert_true(now <= CT_POD_EVENTS_A_MINUTE);
        later += now;
    }
    assert_int_equal(at_once + later, CT_POD_EVENTS);
}

static void test_at_the_end_all_is_told(void **state)
{
    (void)state;
    CT_AUTO(ct_pod_gatherer) *gatherer = ct_pod_gatherer_new();
    const struct ct_event event = attack(CT_V_PTRACE);
    struct ct_pod_event told;
    assert_true(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    assert_false(ct_pod_gatherer_add(gatherer, &web, &event, NOW, &told));
    assert_true(ct_pod_gatherer_due(gatherer, NOW + 1, true, &told));
    assert_int_equal(told.count, 1);
}

static json_t *written(const struct ct_pod_event *event)
{
    CT_AUTO_BUF text = {.max = 8192};
    struct ct_err err = {0};
    json_t *json = NULL;
    ct_pod_event_write(event, "worker-1", 0xabc, &text);
    assert_false(text.failed);
    expect_ok(ct_json_parse(text.data, text.len, "the Event", &json, &err), &err);
    return json;
}

static void expect_text(const json_t *json, const char *key, const char *value)
{
    const char *text = ct_json_str(json, key);
    assert_non_null(text);
    assert_string_equal(text, value);
}

static void test_what_is_written(void **state)
{
    (void)state;
    const struct ct_pod_event event = {
        .pod = web, .last = attack(CT_V_VM_READV), .count = 17, .first_s = NOW, .last_s = NOW + 61};
    CT_AUTO_JSON json = written(&event);
    expect_text(json, "reason", "AttackBlocked");
    expect_text(json, "type", "Warning");
    expect_text(json, "firstTimestamp", "2023-11-14T22:13:20Z");
    expect_text(json, "lastTimestamp", "2023-11-14T22:14:21Z");
    expect_text(json, "reportingInstance", "worker-1");
    expect_text(json, "message",
                "Denied process_vm_readv (read its memory) on container app, by pid 4711 of uid 0: "
                "command gdb, executable gdb");
    assert_int_equal(json_integer_value(json_object_get(json, "count")), 17);
    const json_t *object = json_object_get(json, "involvedObject");
    expect_text(object, "kind", "Pod");
    expect_text(object, "namespace", "shop");
    expect_text(object, "name", "web-0");
    expect_text(object, "uid", web.uid);
    expect_text(json_object_get(json, "metadata"), "name", "web-0.0000000000000abc");
    expect_text(json_object_get(json, "metadata"), "namespace", "shop");
}

// The attacker chooses its names, up to the last byte; a pod's name may be as long as an Event's.
static void test_names_are_the_attackers(void **state)
{
    (void)state;
    struct ct_pod_event event = {.pod = web, .last = attack(CT_V_PTRACE), .count = UINT64_MAX};
    event.pod.container[0] = '\0';
    memset(event.pod.name, 'n', sizeof(event.pod.name) - 1);
    event.last.action = CT_ACTION_KILLED;
    memcpy(event.last.comm, "\"},\n\x01\xff\xc3\\abcdefgh", sizeof(event.last.comm));
    memset(event.last.exe, 'x', sizeof(event.last.exe));
    CT_AUTO_JSON json = written(&event);
    const char *message = ct_json_str(json, "message");
    assert_non_null(strstr(message, "Killed the attacker at ptrace ("));
    assert_non_null(strstr(message, "command \"},????\\abcdefgh, executable xxxx"));
    assert_int_equal(json_integer_value(json_object_get(json, "count")), INT32_MAX);
    assert_true(strlen(ct_json_str(json_object_get(json, "metadata"), "name")) <= 253);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_is_told_at_once_and_the_rest_together),
        cmocka_unit_test(test_pods_and_vectors_are_told_apart),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_at_the_end_all_is_told),
        cmocka_unit_test(test_what_is_written),
        cmocka_unit_test(test_names_are_the_attackers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
