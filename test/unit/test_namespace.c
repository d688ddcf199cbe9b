// SPDX-License-Identifier: Apache-2.0
#include "namespace.h"

#include "expect.h"
#include "scratch.h"

#define NAMESPACE(name, labels)                                                                    \
    "{\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\",\"labels\":{" labels "}}}"
#define LABEL(value) "\"" CT_NAMESPACE_LABEL "\":\"" value "\""
#define LIST(items) "{\"apiVersion\":\"v1\",\"kind\":\"NamespaceList\",\"items\":[" items "]}"

static const char all[] = LIST(
    NAMESPACE("plain", "\"kubernetes.io/metadata.name\":\"plain\",\"a\":\"b\"") "," //
    NAMESPACE("low", LABEL("10") ",\"a\":\"b\"") ","                                //
    NAMESPACE("high", LABEL("70")) ","                                              //
    NAMESPACE("most", LABEL("75")) ","                                              //
    NAMESPACE("beyond", LABEL("76")) ","                                            //
    NAMESPACE("empty", LABEL("")) ","                                               //
    NAMESPACE("word", LABEL("high")) ","                                            //
    NAMESPACE("signed",
              LABEL("+7")) "," //
                           "{\"metadata\":{\"name\":\"number\",\"labels\":{\"" CT_NAMESPACE_LABEL
                           "\":30}}},"
                           "{\"metadata\":{\"name\":\"bare\"}}");

static struct ct_nodes *parse(const char *text)
{
    struct ct_nodes *namespaces = NULL;
    struct ct_err err = {0};
    expect_ok(ct_kind_parse(&ct_kind_namespace, text, strlen(text), &namespaces, &err), &err);
    return namespaces;
}

static void keeps_one_label(void **state)
{
    (void)state;
    CT_AUTO(ct_nodes) *namespaces = parse(all);
    assert_int_equal(ct_nodes_count(namespaces), 10);
    assert_int_equal(ct_nodes_find(namespaces, "plain")->n_labels, 0);
    const struct ct_node *low = ct_nodes_find(namespaces, "low");
    assert_int_equal(low->n_labels, 1);
    assert_string_equal(ct_node_label(low, CT_NAMESPACE_LABEL), "10");
    struct ct_namespace_stats stats;
    ct_namespace_stats(namespaces, &stats);
    assert_int_equal(stats.unlabelled, 2);
    assert_int_equal(stats.labelled, 3);
    assert_int_equal(stats.bad, 5);
    ct_namespace_stats(NULL, &stats);
    assert_int_equal(stats.unlabelled + stats.labelled + stats.bad, 0);
}

static void refuses_what_is_no_list_of_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        {"{\"apiVersion\":\"v1\",\"kind\":\"NodeList\",\"items\":[]}",
         "the namespace list is no v1 List or NamespaceList with items"},
        {LIST("{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}"),
         "item 0 of the namespace list is no Namespace with a name (kind \"Node\")"},
        {LIST(NAMESPACE("a", "") "," NAMESPACE("a", "")),
         "namespace a is in the namespace list twice"},
        {"{", "the namespace list"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_nodes *namespaces = NULL;
        struct ct_err err = {0};
        assert_int_equal(ct_kind_parse(&ct_kind_namespace, cases[i].text, strlen(cases[i].text),
                                       &namespaces, &err),
                         -CT_EINVAL);
        assert_null(namespaces);
        assert_non_null(strstr(err.msg, cases[i].sentence));
    }
}

static void raises_and_never_lowers(void **state)
{
    (void)state;
    CT_AUTO(ct_nodes) *namespaces = parse(all);
    static const struct {
        const char *name;
        int before;
        int points; // -1: denied
        bool of_namespace;
        unsigned retry_s;
        const char *sentence;
    } cases[] = {
        {"plain", 5, 5, false, 0, NULL},
        {"bare", 0, 0, false, 0, NULL},
        {"low", 0, 10, true, 0, NULL},
        {"low", 10, 10, false, 0, NULL},
        {"low", 60, 60, false, 0, NULL},
        {"high", 60, 70, true, 0, NULL},
        {"most", 0, 75, true, 0, NULL},
        {"beyond", 75, -1, false, 0, "namespace \"beyond\" has label"},
        {"empty", 75, -1, false, 0, CT_NAMESPACE_LABEL ": \"\", where a whole number from 0 to 75"},
        {"word", 0, -1, false, 0, CT_NAMESPACE_LABEL ": \"high\""},
        {"signed", 0, -1, false, 0, CT_NAMESPACE_LABEL ": \"+7\""},
        {"number", 75, -1, false, 0, "whoever manages the namespace must mend it"},
        {"unknown", 75, -1, false, 1, "namespace \"unknown\" is not among the 10 that are known"},
        {"", 75, -1, false, 1, "namespace \"\" is not among"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_case c = {.namespaces = namespaces,
                            .review = {.namespace = cases[i].name},
                            .minimum = {.points = cases[i].before}};
        struct ct_err err = {0};
        int r = ct_namespace_raise(&c, &err);
        assert_int_equal(r, cases[i].points < 0 ? -CT_EDENIED : 0);
        assert_int_equal(c.retry_s, cases[i].retry_s);
        assert_int_equal(c.minimum.of_namespace, cases[i].of_namespace);
        assert_true(!cases[i].of_namespace ||
                    c.minimum.asked[CT_SOURCE_NAMESPACE] == c.minimum.points);
        assert_int_equal(c.minimum.points, cases[i].points < 0 ? cases[i].before : cases[i].points);
        if (r != 0) {
            assert_int_equal(c.reason, CT_REASON_NAMESPACE);
            assert_non_null(strstr(err.msg, cases[i].sentence));
        }
    }
    struct ct_case without = {.review = {.namespace = "beyond"}, .minimum = {.points = 3}};
    assert_int_equal(ct_namespace_raise(&without, NULL), 0);
    assert_int_equal(without.minimum.points, 3);
}

int main(void)
{
    ct_scratch_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_one_label),
        cmocka_unit_test(refuses_what_is_no_list_of_namespaces),
        cmocka_unit_test(raises_and_never_lowers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
