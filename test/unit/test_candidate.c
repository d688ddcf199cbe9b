// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "candidate.h"
#include "json.h"

static const struct ct_label labels[] = {{"empty", ""}, {"n", "7"}, {"zone", "a"}};
static const struct ct_taint taints[] = {{"dedicated", "db", CT_TAINT_NO_SCHEDULE},
                                         {"hot", "", CT_TAINT_NO_EXECUTE}};
static const struct ct_node plain = {
    .name = "node-1", .kernel = "", .labels = labels, .n_labels = CT_ARRAY_LEN(labels)};

struct pod_case {
    const char *spec;
    bool matches;
};

static void run(const struct pod_case *cases, size_t n, const struct ct_node *node)
{
    for (size_t i = 0; i < n; i++) {
        CT_AUTO_JSON spec = json_loads(cases[i].spec, 0, NULL);
        assert_non_null(spec);
        if (ct_candidate_matches(spec, node) != cases[i].matches) {
            fail_msg("case %zu: %s: expected %d", i, cases[i].spec, cases[i].matches);
        }
    }
}

#define REQUIRED(terms)                                                                            \
    "{\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"         \
    "{\"nodeSelectorTerms\":[" terms "]}}}}"
#define EXPRESSION(key, op, values)                                                                \
    "{\"key\":\"" key "\",\"operator\":\"" op "\",\"values\":[" values "]}"
#define TERM(key, op, values) "{\"matchExpressions\":[" EXPRESSION(key, op, values) "]}"
#define FIELD(key, op, values) "{\"matchFields\":[" EXPRESSION(key, op, values) "]}"

static void affinity_as_the_scheduler_reads_it(void **state)
{
    (void)state;
    static const struct pod_case cases[] = {
        {"{}", true},
        {"{\"affinity\":{}}", true},
        {"{\"affinity\":{\"nodeAffinity\":{}}}", true},
        {REQUIRED(""), false},
        {REQUIRED("{}"), false},
        {REQUIRED("{\"matchExpressions\":[],\"matchFields\":[]}"), false},
        {REQUIRED(TERM("zone", "In", "\"a\",\"b\"")), true},
        {REQUIRED(TERM("zone", "In", "\"b\"")), false},
        {REQUIRED(TERM("zone", "In", "")), false},
        {REQUIRED(TERM("none", "In", "\"\"")), false},
        {REQUIRED(TERM("empty", "In", "\"\"")), true},
        {REQUIRED(TERM("zone", "NotIn", "\"b\"")), true},
        {REQUIRED(TERM("zone", "NotIn", "\"a\"")), false},
        {REQUIRED(TERM("zone", "NotIn", "")), false},
        {REQUIRED(TERM("none", "NotIn", "\"a\"")), true},
        {REQUIRED(TERM("zone", "Exists", "")), true},
        {REQUIRED(TERM("zone", "Exists", "\"a\"")), false},
        {REQUIRED(TERM("none", "Exists", "")), false},
        {REQUIRED(TERM("none", "DoesNotExist", "")), true},
        {REQUIRED(TERM("zone", "DoesNotExist", "")), false},
        {REQUIRED(TERM("n", "Gt", "\"6\"")), true},
        {REQUIRED(TERM("n", "Gt", "\"7\"")), false},
        {REQUIRED(TERM("n", "Gt", "\"-9\"")), true},
        {REQUIRED(TERM("n", "Gt", "\"6.5\"")), false},
        {REQUIRED(TERM("n", "Gt", "\"6\",\"5\"")), false},
        {REQUIRED(TERM("n", "Gt", "\"\"")), false},
        {REQUIRED(TERM("n", "Gt", "\"-99999999999999999999\"")), false},
        {REQUIRED(TERM("zone", "Gt", "\"6\"")), false},
        {REQUIRED(TERM("none", "Lt", "\"6\"")), false},
        {REQUIRED(TERM("n", "Lt", "\"8\"")), true},
        {REQUIRED(TERM("n", "Lt", "\"7\"")), false},
        {REQUIRED(TERM("zone", "in", "\"a\"")), false},
        {REQUIRED(TERM("zone", "", "\"a\"")), false},
        // Terms are ORed, requirements of one term ANDed.
        {REQUIRED(TERM("zone", "In", "\"b\"") ",{}," TERM("n", "Exists", "")), true},
        {REQUIRED("{\"matchExpressions\":[" EXPRESSION("zone", "Exists", "") "," EXPRESSION(
             "none", "Exists", "") "]}"),
         false},
        {REQUIRED(FIELD("metadata.name", "In", "\"node-1\"")), true},
        {REQUIRED(FIELD("metadata.name", "In", "\"node-2\"")), false},
        {REQUIRED(FIELD("metadata.name", "NotIn", "\"node-2\"")), true},
        {REQUIRED(FIELD("metadata.name", "In", "\"node-1\",\"node-2\"")), false},
        {REQUIRED(FIELD("metadata.name", "Exists", "")), false},
        {REQUIRED(FIELD("metadata.uid", "In", "\"node-1\"")), false},
        {REQUIRED("{\"matchExpressions\":[" EXPRESSION(
             "zone", "Exists", "") "],\"matchFields\":[" EXPRESSION("metadata.name", "In",
                                                                    "\"node-2\"") "]}"),
         false},
        {"{\"nodeSelector\":{\"zone\":\"a\",\"n\":\"7\"}}", true},
        {"{\"nodeSelector\":{\"zone\":\"a\",\"n\":\"8\"}}", false},
        {"{\"nodeSelector\":{\"none\":\"\"}}", false},
        {"{\"nodeName\":\"node-1\",\"nodeSelector\":{\"none\":\"\"}}", true},
        {"{\"nodeName\":\"node-2\"}", false},
        {"{\"nodeName\":\"\"}", true},
    };
    run(cases, CT_ARRAY_LEN(cases), &plain);
}

#define TOLERATE(text) "{\"tolerations\":[{\"key\":\"hot\",\"operator\":\"Exists\"}," text "]}"

static void taints_as_the_scheduler_reads_them(void **state)
{
    (void)state;
    struct ct_node node = plain;
    node.taints = taints;
    node.n_taints = CT_ARRAY_LEN(taints);
    static const struct pod_case cases[] = {
        {"{}", false},
        {"{\"tolerations\":[{\"operator\":\"Exists\"}]}", true},
        {"{\"tolerations\":[{\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}]}", false},
        {TOLERATE("{\"key\":\"dedicated\",\"value\":\"db\"}"), true},
        {TOLERATE("{\"key\":\"dedicated\",\"operator\":\"Equal\",\"value\":\"db\","
                  "\"effect\":\"NoSchedule\"}"),
         true},
        {TOLERATE("{\"key\":\"dedicated\",\"value\":\"web\"}"), false},
        {TOLERATE("{\"key\":\"dedicated\"}"), false},
        {TOLERATE("{\"value\":\"db\"}"), true},
        {TOLERATE("{\"key\":\"dedicated\",\"value\":\"db\",\"effect\":\"NoExecute\"}"), false},
        {TOLERATE("{\"key\":\"dedicated\",\"operator\":\"Exists\",\"value\":\"x\"}"), true},
        {TOLERATE("{\"key\":\"dedicated\",\"operator\":\"Foo\",\"value\":\"db\"}"), false},
    };
    run(cases, CT_ARRAY_LEN(cases), &node);
    // With a name no scheduler is asked.
    static const struct pod_case named[] = {{"{\"nodeName\":\"node-1\"}", true}};
    run(named, CT_ARRAY_LEN(named), &node);
}

static void unschedulable_counts_as_its_taint(void **state)
{
    (void)state;
    struct ct_node node = plain;
    node.unschedulable = true;
    static const struct pod_case cases[] = {
        {"{}", false},
        {"{\"tolerations\":[{\"key\":\"node.kubernetes.io/unschedulable\","
         "\"operator\":\"Exists\"}]}",
         true},
        {"{\"tolerations\":[{\"key\":\"other\",\"operator\":\"Exists\"}]}", false},
    };
    run(cases, CT_ARRAY_LEN(cases), &node);
}

static void names_the_obstacle(void **state)
{
    (void)state;
    struct ct_node node = plain;
    node.taints = taints;
    node.n_taints = 1;
    static const struct {
        const char *spec, *obstacle;
    } cases[] = {
        {"{}", "a taint is not tolerated"},
        {"{\"tolerations\":[{\"operator\":\"Exists\"}]}", NULL},
        {"{\"nodeName\":\"node-1\"}", NULL},
        {"{\"nodeName\":\"node-2\"}", "the pod's nodeName is another"},
        {"{\"nodeSelector\":{\"zone\":\"b\"}}", "the pod's nodeSelector does not match"},
        {REQUIRED(TERM("zone", "In", "\"b\"")), "the pod's required node affinity does not match"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_JSON spec = json_loads(cases[i].spec, 0, NULL);
        const char *obstacle = ct_candidate_obstacle(spec, &node);
        assert_int_equal(obstacle == NULL, cases[i].obstacle == NULL);
        assert_string_equal(obstacle != NULL ? obstacle : "",
                            cases[i].obstacle != NULL ? cases[i].obstacle : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affinity_as_the_scheduler_reads_it),
        cmocka_unit_test(taints_as_the_scheduler_reads_them),
        cmocka_unit_test(unschedulable_counts_as_its_taint),
        cmocka_unit_test(names_the_obstacle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
