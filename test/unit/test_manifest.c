// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "manifest.h"

#define POD "template: {metadata: {labels: {found: \"yes\"}}, spec: {}}"

// What was visited, in words.
static int note(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err)
{
    struct ct_buf *out = cls;
    (void)err;
    ct_buf_addf(out, "%zu:%zu %s (%s) in %s; ", pod->document, pod->line, pod->object, pod->name,
                pod->namespace);
    assert_non_null(json_object_get(pod->template, "spec"));
    return 0;
}

static int visit(const char *text, struct ct_buf *out, struct ct_err *err)
{
    CT_AUTO_YAML yaml = {.n = 0};
    expect_ok(ct_yaml_read(text, strlen(text), "m", &yaml, err), err);
    return ct_manifest_each(&yaml, "m", NULL, note, out, err);
}

static void finds_pods(void **state)
{
    (void)state;
    const struct {
        const char *text, *found;
    } cases[] = {
        {"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns}, spec: {}}",
         "1:1 Pod ns/a (a) in ns; "},
        {"{apiVersion: v1, kind: Pod, metadata: {generateName: a-}, spec: {}}",
         "1:1 Pod a-* () in default; "},
        {"{apiVersion: v1, kind: Pod, spec: {}}", "1:1 Pod (without a name) () in default; "},
        {"{apiVersion: v1, kind: PodTemplate, metadata: {name: a}, " POD "}",
         "1:1 PodTemplate a (a) in default; "},
        {"{apiVersion: v1, kind: ReplicationController, metadata: {name: a}, spec: {" POD "}}",
         "1:1 ReplicationController a (a) in default; "},
        {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {" POD "}}",
         "1:1 Deployment a (a) in default; "},
        {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {" POD "}}",
         "1:1 StatefulSet a (a) in default; "},
        {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}, spec: {" POD "}}",
         "1:1 DaemonSet a (a) in default; "},
        {"{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {" POD "}}",
         "1:1 ReplicaSet a (a) in default; "},
        {"{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {" POD "}}",
         "1:1 Job a (a) in default; "},
        {"{apiVersion: batch/v1, kind: CronJob, metadata: {name: a}, spec: {jobTemplate: {spec: "
         "{" POD "}}}}",
         "1:1 CronJob a (a) in default; "},
        // Lists, within each other too; typed ones, whose items do not say what they are.
        {"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, spec: {}}, {apiVersion: "
         "v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {}}]}]}",
         "1:1 Pod (without a name) () in default; 1:1 Pod b (b) in default; "},
        {"{apiVersion: v1, kind: PodList, items: [{metadata: {name: b}, spec: {}}]}",
         "1:1 Pod b (b) in default; "},
        {"{apiVersion: v1, kind: List, items: []}", ""},
        // Strangers: other kinds, and the same names in other groups.
        {"{apiVersion: v1, kind: ConfigMap}", ""},
        {"{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, spec: {tasks: []}}", ""},
        {"{apiVersion: example.com/v1, kind: Pod}", ""},
        {"{apiVersion: example.com/v1, kind: AllowList, items: [1]}", ""},
        {"a: 1\n---\n", NULL},
        {"---\n---\n{apiVersion: v1, kind: Pod, metadata: {name: z}, spec: {}}",
         "2:2 Pod z (z) in default; "},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_BUF out = {.max = 4096};
        struct ct_err err = {0};
        int rc = visit(cases[i].text, &out, &err);
        if (cases[i].found == NULL) {
            expect_error(rc, &err, CT_EINVAL, "no Kubernetes object");
            continue;
        }
        expect_ok(rc, &err);
        assert_string_equal(out.data != NULL ? out.data : "", cases[i].found);
    }
}

static void refuses(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"just a text", "m, document 1 (line 1): this is no Kubernetes object"},
        {"[1]", "this is no Kubernetes object"},
        {"{kind: Pod, spec: {}}", "this is no Kubernetes object"},
        {"{apiVersion: 1, kind: Pod, spec: {}}", "this is no Kubernetes object"},
        {"{apiVersion: v1, kind: List, items: [1]}", "this is no Kubernetes object"},
        {"{apiVersion: v1, kind: PodList, items: [1]}", "this is no Kubernetes object"},
        {"{apiVersion: v1, kind: Pod, metadata: {name: a}}",
         "m, document 1 (line 1), Pod a: its spec is missing or no object"},
        {"---\n\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}",
         "m, document 1 (line 1), Deployment a: its spec is missing or no object"},
        {"{apiVersion: apps/v1, kind: Deployment, spec: {template: []}}",
         "its template is missing or no object"},
        {"{apiVersion: apps/v1, kind: Deployment, spec: {template: {}}}",
         "its template's spec is missing or no object"},
        {"{apiVersion: batch/v1, kind: CronJob, spec: {template: {}}}",
         "its jobTemplate is missing or no object"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_BUF out = {.max = 4096};
        struct ct_err err = {0};
        int rc = visit(cases[i].text, &out, &err);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
        assert_int_equal(out.len, 0);
    }
}

static void gives_a_namespace_to_those_that_name_none(void **state)
{
    (void)state;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_BUF out = {.max = 1000};
    struct ct_err err = {0};
    static const char text[] =
        "{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}, spec: {}}, "
        "{metadata: {name: b, namespace: own}, spec: {}}, {metadata: {namespace: \"\"}, spec: "
        "{}}]}";
    expect_ok(ct_yaml_read(text, strlen(text), "m", &yaml, &err), &err);
    expect_ok(ct_manifest_each(&yaml, "m", "shop", note, &out, &err), &err);
    assert_string_equal(out.data, "1:1 Pod shop/a (a) in shop; 1:1 Pod own/b (b) in own; "
                                  "1:1 Pod shop/(without a name) () in shop; ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_pods),
        cmocka_unit_test(gives_a_namespace_to_those_that_name_none),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
