// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "label.h"

#define MINUTE 60000U

static const struct ct_node_facts all = {.points = 35,
                                         .enforcement = CT_TIER_LSM,
                                         .memfd_secret = 1,
                                         .vectors = 26,
                                         .kernel = "6.12.41+deb13-cloud-amd64"};
static const struct ct_node_facts lost = {.points = 15,
                                          .enforcement = CT_TIER_NONE,
                                          .memfd_secret = 1,
                                          .vectors = 3,
                                          .kernel = "6.12.41+deb13-cloud-amd64"};

static void test_what_affinity_uses_moves_down_slowly(void **state)
{
    (void)state;
    struct ct_label label = {.hold_ms = 10 * MINUTE};
    assert_true(ct_label_take(&label, &lost, 1));
    assert_int_equal(label.told.points, 15);
    // Up at once.
    assert_true(ct_label_take(&label, &all, MINUTE));
    assert_int_equal(label.told.points, 35);
    assert_false(ct_label_take(&label, &all, 2 * MINUTE));
    // Down: what affinity does not use is told at once, the rest not before it has lasted.
    assert_true(ct_label_take(&label, &lost, 3 * MINUTE));
    assert_int_equal(label.told.points, 35);
    assert_int_equal(label.told.enforcement, CT_TIER_LSM);
    assert_int_equal(label.told.vectors, 3);
    assert_false(ct_label_take(&label, &lost, 13 * MINUTE - 1));
    assert_int_equal(label.told.points, 35);
    assert_true(ct_label_take(&label, &lost, 13 * MINUTE));
    assert_int_equal(label.told.points, 15);
    assert_int_equal(label.told.enforcement, CT_TIER_NONE);
}

static void test_a_loss_that_is_over_begins_afresh(void **state)
{
    (void)state;
    struct ct_label label = {.hold_ms = 10 * MINUTE};
    (void)ct_label_take(&label, &all, 1);
    (void)ct_label_take(&label, &lost, MINUTE);
    (void)ct_label_take(&label, &all, 9 * MINUTE);
    (void)ct_label_take(&label, &lost, 10 * MINUTE);
    (void)ct_label_take(&label, &lost, 19 * MINUTE);
    assert_int_equal(label.told.points, 35);
    (void)ct_label_take(&label, &lost, 20 * MINUTE);
    assert_int_equal(label.told.points, 15);
}

static void test_the_first_start_since_the_node_booted_has_nothing_to_lose(void **state)
{
    (void)state;
    struct ct_label label = {.hold_ms = 10 * MINUTE};
    struct ct_node_facts first = lost;
    first.first = 1;
    (void)ct_label_take(&label, &all, 1);
    (void)ct_label_take(&label, &lost, MINUTE); // a loss that lasts
    assert_int_equal(label.told.points, 35);
    assert_true(ct_label_take(&label, &first, 2 * MINUTE));
    assert_int_equal(label.told.points, 15);
    assert_int_equal(label.told.enforcement, CT_TIER_NONE);
    assert_false(ct_label_take(&label, &first, 3 * MINUTE));
    // A loss from then on is one.
    assert_true(ct_label_take(&label, &all, 4 * MINUTE));
    assert_true(ct_label_take(&label, &lost, 11 * MINUTE));
    assert_int_equal(label.told.points, 35);
    (void)ct_label_take(&label, &lost, 21 * MINUTE);
    assert_int_equal(label.told.points, 15);
}

static void test_no_hold(void **state)
{
    (void)state;
    struct ct_label label = {0};
    (void)ct_label_take(&label, &all, 1);
    assert_true(ct_label_take(&label, &lost, 2));
    assert_int_equal(label.told.points, 15);
    assert_int_equal(label.told.enforcement, CT_TIER_NONE);
}

static json_t *written(const struct ct_node_facts *facts)
{
    CT_AUTO_BUF text = {.max = 4096};
    json_t *node = NULL;
    struct ct_err err = {0};
    ct_label_write(facts, "worker-1.example", &text);
    assert_false(text.failed);
    expect_ok(ct_json_parse(text.data, text.len, "the labels", &node, &err), &err);
    return node;
}

static void expect_label(const json_t *node, const char *name, const char *value)
{
    char key[128];
    (void)snprintf(key, sizeof(key), "cloudtaser.node-restriction.kubernetes.io/%s", name);
    const char *found = ct_json_str(ct_json_at(node, "metadata", "labels", NULL), key);
    assert_non_null(found);
    assert_string_equal(found, value);
}

static void test_what_is_written(void **state)
{
    (void)state;
    CT_AUTO_JSON node = written(&all);
    assert_string_equal(ct_json_str(node, "kind"), "Node");
    assert_string_equal(ct_json_str(json_object_get(node, "metadata"), "name"), "worker-1.example");
    assert_int_equal(json_object_size(ct_json_at(node, "metadata", "labels", NULL)), 5);
    expect_label(node, "protection-points", "35");
    expect_label(node, "enforcement", "lsm");
    expect_label(node, "memfd-secret", "true");
    expect_label(node, "kernel", "6.12.41_deb13-cloud-amd64");
    expect_label(node, "vectors", "26");
    CT_AUTO_JSON other = written(&lost);
    expect_label(other, "enforcement", "none");
    CT_AUTO_JSON none = written(NULL);
    assert_null(ct_json_at(none, "metadata", "labels", NULL));
    assert_string_equal(ct_json_str(json_object_get(none, "metadata"), "name"), "worker-1.example");
}

static void test_kernels_become_values_of_labels(void **state)
{
    static const char *const cases[][2] = {
        {"6.1.0-44-amd64", "6.1.0-44-amd64"},
        {"", ""},
        {"+++", ""},
        {"-6.1\"},{~", "6.1"},
        {"0123456789012345678901234567890123456789012345678901234567890.-",
         "0123456789012345678901234567890123456789012345678901234567890"},
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_node_facts facts = all;
        (void)snprintf(facts.kernel, sizeof(facts.kernel), "%s", cases[i][0]);
        CT_AUTO_JSON node = written(&facts);
        expect_label(node, "kernel", cases[i][1]);
    }
}

// An agent that starts finds what its predecessor told, and takes nothing away at once.
static void test_there_and_back(void **state)
{
    (void)state;
    CT_AUTO_JSON node = written(&all);
    struct ct_label label = {.hold_ms = 10 * MINUTE};
    ct_label_read(&label, node);
    assert_true(label.known);
    assert_true(ct_label_take(&label, &lost, 1)); // the count of vectors
    assert_int_equal(label.told.points, 35);
    assert_int_equal(label.told.enforcement, CT_TIER_LSM);
    assert_int_equal(label.told.memfd_secret, 1);
    (void)ct_label_take(&label, &lost, 1 + 10 * MINUTE);
    assert_int_equal(label.told.points, 15);
}

static void test_labels_of_nobody(void **state)
{
#define POINTS "\"cloudtaser.node-restriction.kubernetes.io/protection-points\":"
    static const char *const cases[] = {
        "{}",
        "{\"metadata\":{\"labels\":{}}}",
        "{\"metadata\":{\"labels\":{" POINTS "\"\"}}}",
        "{\"metadata\":{\"labels\":{" POINTS "\"-1\"}}}",
        "{\"metadata\":{\"labels\":{" POINTS "\"106\"}}}",
        "{\"metadata\":{\"labels\":{" POINTS "35}}}",
        "{\"metadata\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_JSON node = NULL;
        struct ct_err err = {0};
        struct ct_label label = {.hold_ms = 10 * MINUTE, .known = true, .told = all};
        expect_ok(ct_json_parse(cases[i], strlen(cases[i]), "the node", &node, &err), &err);
        ct_label_read(&label, node);
        assert_false(label.known);
        assert_true(ct_label_take(&label, &lost, 1));
        assert_int_equal(label.told.points, 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_affinity_uses_moves_down_slowly),
        cmocka_unit_test(test_a_loss_that_is_over_begins_afresh),
        cmocka_unit_test(test_the_first_start_since_the_node_booted_has_nothing_to_lose),
        cmocka_unit_test(test_no_hold),
        cmocka_unit_test(test_what_is_written),
        cmocka_unit_test(test_kernels_become_values_of_labels),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_labels_of_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
