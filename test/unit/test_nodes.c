// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "chaos.h"
#include "nodes.h"
#include "scratch.h"

#define L CT_NODE_LABEL_PREFIX
#define NODE(name, labels, kernel)                                                                 \
    "{\"kind\":\"Node\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels "}},"             \
    "\"status\":{\"nodeInfo\":{\"kernelVersion\":\"" kernel "\"}}}"
#define LIST(items) "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[" items "]}"

static struct ct_nodes *parse(const char *text)
{
    struct ct_nodes *nodes = NULL;
    struct ct_err err = {0};
    expect_ok(ct_nodes_parse(text, strlen(text), &nodes, &err), &err);
    return nodes;
}

static void shares_by_label_and_kernel(void **state)
{
    (void)state;
    static const struct {
        const char *labels;
        const char *kernel;
        int points, without_agent;
        bool agent, memfd, ebpf, kprobes;
    } cases[] = {
        {"", "6.8.0-40-generic", 15, 15, false, true, false, false},
        {"", "6.5", 15, 15, false, true, false, false},
        {"", "6.4.99", 0, 0, false, false, false, false},
        {"", "5.10.0", 0, 0, false, false, false, false},
        {"", "garbage", 0, 0, false, false, false, false},
        {"", "10.0.0", 15, 15, false, true, false, false},
        {"\"" L "protection-points\":\"35\",\"" L "enforcement\":\"lsm\",\"" L
         "memfd-secret\":\"true\"",
         "5.15.0", 35, 0, true, true, true, true},
        {"\"" L "protection-points\":\"25\",\"" L "enforcement\":\"reactive\",\"" L
         "memfd-secret\":\"true\"",
         "6.8.0", 25, 15, true, true, true, false},
        {"\"" L "protection-points\":\"0\",\"" L "enforcement\":\"none\",\"" L
         "memfd-secret\":\"false\"",
         "6.8.0", 0, 0, true, false, false, false},
        {"\"" L "protection-points\":\"36\",\"" L "enforcement\":\"lsm\"", "6.1.0", 0, 0, true,
         false, false, false},
        {"\"" L "protection-points\":\"-1\",\"" L "enforcement\":\"lsm\"", "6.1.0", 0, 0, true,
         false, false, false},
        {"\"" L "protection-points\":\"\",\"" L "enforcement\":\"lsm\"", "6.1.0", 0, 0, true, false,
         false, false},
        {"\"" L "protection-points\":\" 5\"", "6.8.0", 0, 15, true, false, false, false},
        {"\"" L "kernel\":\"6.8\"", "6.8.0", 0, 15, true, false, false, false},
        {"\"protection-points\":\"35\"", "5.10.0", 0, 0, false, false, false, false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char text[1024];
        (void)snprintf(text, sizeof(text), LIST(NODE("n", "%s", "%s")), cases[i].labels,
                       cases[i].kernel);
        CT_AUTO(ct_nodes) *nodes = parse(text);
        const struct ct_node_share *share = &ct_nodes_at(nodes, 0)->share;
        if (share->points != cases[i].points || share->without_agent != cases[i].without_agent ||
            share->agent != cases[i].agent || share->memfd_secret != cases[i].memfd ||
            share->ebpf != cases[i].ebpf || share->kprobes != cases[i].kprobes) {
            fail_msg("%s %s: %d %d %d %d %d %d", cases[i].labels, cases[i].kernel, share->points,
                     share->without_agent, share->agent, share->memfd_secret, share->ebpf,
                     share->kprobes);
        }
    }
}

static void reduces_a_list(void **state)
{
    (void)state;
    static const char text[] = LIST(
        NODE("b", "\"zone\":\"x\",\"arch\":\"amd64\",\"same\":\"x\"",
             "6.8.0") "," //
                      "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"unschedulable\":true,\"taints\":["
                      "{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"},"
                      "{\"key\":\"p\",\"effect\":\"PreferNoSchedule\"},"
                      "{\"key\":\"e\",\"effect\":\"NoExecute\"}]}}");
    CT_AUTO(ct_nodes) *nodes = parse(text);
    assert_int_equal(ct_nodes_count(nodes), 2);
    assert_null(ct_nodes_at(nodes, 2));
    const struct ct_node *a = ct_nodes_at(nodes, 0);
    const struct ct_node *b = ct_nodes_find(nodes, "b");
    assert_string_equal(a->name, "a");
    assert_string_equal(a->kernel, "");
    assert_true(a->unschedulable);
    assert_int_equal(a->n_taints, 2);
    assert_string_equal(a->taints[0].value, "v");
    assert_int_equal(a->taints[0].effect, CT_TAINT_NO_SCHEDULE);
    assert_string_equal(a->taints[1].key, "e");
    assert_int_equal(a->taints[1].effect, CT_TAINT_NO_EXECUTE);
    assert_null(ct_node_label(a, "zone"));
    assert_string_equal(ct_node_label(b, "zone"), "x");
    assert_string_equal(ct_node_label(b, "arch"), "amd64");
    assert_null(ct_node_label(b, "nope"));
    assert_null(ct_nodes_find(nodes, "c"));
    struct ct_nodes_stats stats;
    ct_nodes_stats(nodes, &stats);
    assert_int_equal(stats.nodes, 2);
    assert_int_equal(stats.agents, 0);
    assert_int_equal(stats.unschedulable, 1);
    assert_int_equal(stats.by_points[0], 1);
    assert_int_equal(stats.by_points[15], 1);
}

static void counts_references(void **state)
{
    (void)state;
    CT_AUTO(ct_nodes) *nodes = parse(LIST(NODE("a", "", "6.8.0")));
    struct ct_nodes *second = ct_nodes_ref(nodes);
    assert_ptr_equal(second, nodes);
    ct_nodes_free(second);
    assert_int_equal(ct_nodes_count(nodes), 1);
    assert_null(ct_nodes_ref(NULL));
    assert_int_equal(ct_nodes_count(NULL), 0);
    assert_null(ct_nodes_find(NULL, "a"));
}

static void refuses_what_is_no_node_list(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "the node list"},
        {"[]", "no v1 List"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"List\"}", "no v1 List"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"items\":[]}", "PodList"},
        {"{\"apiVersion\":\"v2\",\"kind\":\"List\",\"items\":[]}", "v2"},
        {LIST("1"), "item 0"},
        {LIST("{\"kind\":\"Node\"}"), "item 0"},
        {LIST(NODE("a", "", "6") ",{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"}}"), "item 1"},
        {LIST(NODE("a", "", "6") "," NODE("a", "", "6")), "node a is in the node list twice"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_nodes *nodes = NULL;
        struct ct_err err = {0};
        int r = ct_nodes_parse(cases[i].text, strlen(cases[i].text), &nodes, &err);
        expect_error(r, &err, CT_EINVAL, cases[i].part);
        assert_null(nodes);
    }
}

// The later part counts, what is gone is gone, and the parts may go too.
static void merges_parts(void **state)
{
    (void)state;
    struct ct_err err = {0};
    struct ct_nodes *merged = NULL;
    struct ct_nodes *first = parse(LIST(NODE("a", "\"zone\":\"x\"", "6.8.0") "," NODE(
        "c", "", "5.10.0") "," NODE("d", "\"zone\":\"x\"", "6.8.0")));
    struct ct_nodes *second = parse(LIST(
        "{\"kind\":\"Node\",\"metadata\":{\"name\":\"c\",\"labels\":{\"zone\":\"y\"}},\"spec\":{"
        "\"unschedulable\":true,\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":"
        "\"NoExecute\"}]}}," NODE("b", "", "6.9.0")));
    struct ct_nodes *gone = parse(LIST(NODE("a", "", "") "," NODE("never-there", "", "")));
    struct ct_nodes *back = parse(LIST(NODE("never-there", "", "6.6.6")));
    ct_nodes_mark_gone(gone);
    const struct ct_nodes *const parts[] = {first, NULL, second, gone, back};
    expect_ok(ct_nodes_merge(parts, CT_ARRAY_LEN(parts), &merged, &err), &err);
    ct_nodes_free(first);
    ct_nodes_free(second);
    ct_nodes_free(gone);
    ct_nodes_free(back);
    assert_int_equal(ct_nodes_count(merged), 4);
    assert_null(ct_nodes_find(merged, "a"));
    assert_string_equal(ct_nodes_find(merged, "b")->kernel, "6.9.0");
    assert_string_equal(ct_nodes_find(merged, "never-there")->kernel, "6.6.6");
    const struct ct_node *c = ct_nodes_find(merged, "c");
    assert_string_equal(ct_node_label(c, "zone"), "y");
    assert_true(c->unschedulable && c->n_taints == 1);
    assert_string_equal(c->taints[0].value, "v");
    assert_int_equal(c->taints[0].effect, CT_TAINT_NO_EXECUTE);
    const struct ct_node *d = ct_nodes_find(merged, "d");
    assert_int_equal(d->share.points, 15);
    assert_true(ct_node_equal(d, d));
    assert_false(ct_node_equal(c, d));
    ct_nodes_free(merged);
    expect_ok(ct_nodes_merge(NULL, 0, &merged, &err), &err);
    assert_int_equal(ct_nodes_count(merged), 0);
    ct_nodes_free(merged);
}

static void tells_nodes_apart(void **state)
{
    (void)state;
    static const char *const others[] = {
        NODE("other", "\"zone\":\"x\"", "6.8.0"),
        NODE("a", "\"zone\":\"y\"", "6.8.0"),
        NODE("a", "\"area\":\"x\"", "6.8.0"),
        NODE("a", "", "6.8.0"),
        NODE("a", "\"zone\":\"x\"", "6.9.0"),
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"zone\":\"x\"}},\"spec\":{\"unschedulable\":"
        "true},"
        "\"status\":{\"nodeInfo\":{\"kernelVersion\":\"6.8.0\"}}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"zone\":\"x\"}},\"spec\":{\"taints\":[{\"key\":"
        "\"k\",\"effect\":\"NoSchedule\"}]},\"status\":{\"nodeInfo\":{\"kernelVersion\":\"6.8.0\"}}"
        "}",
    };
    struct ct_nodes *one = parse(LIST(NODE("a", "\"zone\":\"x\"", "6.8.0")));
    struct ct_nodes *same = parse(
        LIST("{\"metadata\":{\"name\":\"a\",\"labels\":{\"zone\":\"x\"},\"resourceVersion\":\"9\"},"
             "\"status\":{\"nodeInfo\":{\"kernelVersion\":\"6.8.0\"},\"images\":[{}]}}"));
    assert_true(ct_node_equal(ct_nodes_at(one, 0), ct_nodes_at(same, 0)));
    for (size_t i = 0; i < CT_ARRAY_LEN(others); i++) {
        char text[1024];
        (void)snprintf(text, sizeof(text), LIST("%s"), others[i]);
        struct ct_nodes *other = parse(text);
        assert_false(ct_node_equal(ct_nodes_at(one, 0), ct_nodes_at(other, 0)));
        ct_nodes_free(other);
    }
    ct_nodes_free(one);
    ct_nodes_free(same);
}

// More texts than the table of texts begins with.
static void merges_many(void **state)
{
    (void)state;
    struct ct_err err = {0};
    const struct ct_nodes *parts[300];
    struct ct_nodes *merged = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(parts); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text),
                       LIST("{\"metadata\":{\"name\":\"n%zu\",\"labels\":{"
                            "\"serial\":\"s%zu\",\"zone\":\"z\"}}}"),
                       i, i);
        parts[i] = parse(text);
    }
    bool struck = true;
    for (size_t nth = 1; struck; nth++) {
        chaos_start(nth);
        int r = ct_nodes_merge(parts, CT_ARRAY_LEN(parts), &merged, &err);
        struck = chaos_stop();
        assert_true(struck == (r == -CT_ENOMEM));
    }
    assert_int_equal(ct_nodes_count(merged), 300);
    assert_string_equal(ct_node_label(ct_nodes_find(merged, "n217"), "serial"), "s217");
    ct_nodes_free(merged);
    for (size_t i = 0; i < CT_ARRAY_LEN(parts); i++) {
        ct_nodes_free((struct ct_nodes *)(uintptr_t)parts[i]);
    }
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char text[] = LIST(NODE("b", "\"zone\":\"x\"", "6.8.0") "," NODE("a", "", ""));
    bool struck = true;
    for (size_t nth = 1; struck; nth++) {
        struct ct_nodes *nodes = NULL;
        struct ct_err err = {0};
        chaos_start(nth);
        int r = ct_nodes_parse(text, strlen(text), &nodes, &err);
        struck = chaos_stop();
        assert_true(r == 0 ? nodes != NULL : r == -CT_ENOMEM && nodes == NULL);
        assert_true(r == 0 || err.msg[0] != '\0');
        assert_true(struck == (r != 0));
        ct_nodes_free(nodes);
    }
}

static void reads_kernel_versions(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        bool enough;
    } cases[] = {{"6.5", true}, {"6.5.0-x", true},  {"6.10", true},  {"7", false},
                 {"6", false},  {"6.4", false},     {"5.99", false}, {"v6.8", false},
                 {"", false},   {"99999.1", false}, {"6-5", false},  {"6.x", false}};
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_kernel_at_least(cases[i].version, 6, 5) != cases[i].enough) {
            fail_msg("%s", cases[i].version);
        }
    }
}

int main(void)
{
    ct_scratch_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_by_label_and_kernel),
        cmocka_unit_test(reduces_a_list),
        cmocka_unit_test(counts_references),
        cmocka_unit_test(refuses_what_is_no_node_list),
        cmocka_unit_test(merges_parts),
        cmocka_unit_test(tells_nodes_apart),
        cmocka_unit_test(merges_many),
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(reads_kernel_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
