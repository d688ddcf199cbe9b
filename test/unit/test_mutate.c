// SPDX-License-Identifier: Apache-2.0
//
// What the golden cases (test/golden) do not show: memory, size, threads, the decision's own fields.
#include "expect.h"

#include <pthread.h>

#include "chaos.h"
#include "json.h"
#include "mutate.h"

#define POD(annotations, env)                                                                      \
    "{\"metadata\":{\"generateName\":\"web-\",\"annotations\":{\"cloudtaser.io/inject\":\"true\"," \
    "\"cloudtaser.io/vault-role\":\"web\"" annotations "}},\"spec\":{"                             \
    "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"          \
    "{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"DoesNotExist\"}" \
    "]}]}}},\"containers\":[{\"name\":\"app\",\"command\":[\"/app\",\"$(HOME)\"],\"env\":[" env    \
    "]}]}}"
#define REVIEW(object)                                                                             \
    "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{"           \
    "\"uid\":\"u-1\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},"               \
    "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},"                      \
    "\"namespace\":\"shop\",\"operation\":\"CREATE\",\"dryRun\":true,\"object\":" object "}}"
#define REFERENCE "{\"name\":\"PASSWORD\",\"value\":\"vault:secret/data/db#password\"}"

static const char good[] = REVIEW(POD(",\"cloudtaser.io/min-protection-score\":\"70\","
                                      "\"cloudtaser.io/env.TOKEN\":\"secret/data/api#key\"",
                                      REFERENCE));
static const char denied[] = REVIEW(POD(",\"cloudtaser.io/nonsense\":\"1\"", REFERENCE));
static const char node_list[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"metadata\":{\"name\":\"n\",\"labels\":{"
    "\"" CT_NODE_LABEL_PREFIX "protection-points\":\"35\"}}}]}";

static struct ct_webhook_settings settings;
static struct ct_nodes *nodes;

static int set_up(void **state)
{
    (void)state;
    static char program[] = "t", cert[] = "--tls-cert=c", key[] = "--tls-key=k";
    static char file[] = "--nodes-file=n", address[] = "--vault-address=https://vault:8200";
    char *argv[] = {program, cert, key, file, address, NULL};
    struct ct_err err = {0};
    expect_ok(ct_option_parse(&ct_webhook_options, 5, argv, &settings, &err), &err);
    expect_ok(ct_nodes_parse(node_list, strlen(node_list), &nodes, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ct_nodes_free(nodes);
    ct_option_free(&ct_webhook_options, &settings);
    return 0;
}

static void tells_what_was_decided(void **state)
{
    (void)state;
    CT_AUTO_BUF out = {.max = 1 << 20};
    struct ct_decision d;
    struct ct_err err = {0};
    expect_ok(ct_mutate(&settings, nodes, good, strlen(good), &out, &d, &err), &err);
    assert_int_equal(d.outcome, CT_OUTCOME_PATCHED);
    assert_int_equal(d.reason, CT_REASON_NONE);
    assert_string_equal(d.uid, "u-1");
    assert_string_equal(d.namespace, "shop");
    assert_string_equal(d.name, "web-");
    assert_true(d.generated);
    assert_string_equal(d.operation, "CREATE");
    assert_string_equal(d.user, "");
    assert_int_equal(d.candidates, 1);
    assert_int_equal(d.min_score, 70);
    assert_true(d.dry_run);
    assert_string_equal(d.sentence, "");
    expect_ok(ct_mutate(&settings, nodes, denied, strlen(denied), &out, &d, &err), &err);
    assert_int_equal(d.outcome, CT_OUTCOME_DENIED);
    assert_int_equal(d.reason, CT_REASON_ANNOTATION);
    assert_non_null(strstr(d.sentence, "cloudtaser.io/nonsense"));
}

#define REVIEW_OPEN                                                                                \
    "{\"apiVersion\":\"admission.k8s.io/"                                                          \
    "v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\","                                \
    "\"operation\":\"CREATE\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},"      \
    "\"resource\":{\"resource\":\"pods\"},\"object\":{\"metadata\":{\"annotations\":"              \
    "{\"cloudtaser.io/inject\":\"true\"}},\"spec\":{"

static void refuses_as_too_much(const struct ct_buf *body, const char *sentence)
{
    CT_AUTO_BUF out = {.max = 1 << 20};
    struct ct_decision d;
    struct ct_err err = {0};
    assert_false(body->failed);
    expect_ok(ct_mutate(&settings, nodes, body->data, body->len, &out, &d, &err), &err);
    assert_int_equal(d.outcome, CT_OUTCOME_DENIED);
    assert_int_equal(d.reason, CT_REASON_MALFORMED);
    assert_non_null(strstr(d.sentence, sentence));
}

static void add_times(struct ct_buf *body, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        ct_buf_add_str(body, i > 0 ? "," : "");
        ct_buf_add_str(body, text);
    }
}

// 2100 tolerations are held against no node at all, 10000 variables against no annotation.
static void bounds_what_a_decision_costs(void **state)
{
    (void)state;
    CT_AUTO_BUF tolerations = {.max = 1 << 20};
    ct_buf_add_str(&tolerations, REVIEW_OPEN "\"tolerations\":[");
    add_times(&tolerations, 2100, "{}");
    ct_buf_add_str(&tolerations, "],\"containers\":[{\"name\":\"app\"}]}}}}");
    refuses_as_too_much(&tolerations, "2100 requirements of nodes; 2048 are allowed");

    CT_AUTO_BUF container = {.max = 1 << 20};
    CT_AUTO_BUF variables = {.max = 1 << 20};
    ct_buf_add_str(&container, "{\"name\":\"app\",\"env\":[");
    add_times(&container, 2000, "{\"name\":\"A\"}");
    ct_buf_add_str(&container, "]}");
    assert_false(container.failed);
    ct_buf_add_str(&variables, REVIEW_OPEN "\"containers\":[");
    add_times(&variables, 5, container.data);
    ct_buf_add_str(&variables, "]}}}}");
    refuses_as_too_much(&variables, "10000 variables in env of all containers; 8192 are allowed");
}

static void names_every_outcome_and_reason(void **state)
{
    (void)state;
    for (int i = 0; i < CT_OUTCOME_COUNT; i++) {
        assert_string_not_equal(ct_outcome_name((enum ct_outcome)i), "unknown");
    }
    for (int i = 0; i < CT_REASON_COUNT; i++) {
        assert_string_not_equal(ct_reason_name((enum ct_reason)i), "unknown");
    }
    for (int i = 0; i < CT_DISPOSITION_COUNT; i++) {
        assert_string_not_equal(ct_disposition_name((enum ct_disposition)i), "unknown");
    }
    assert_string_equal(ct_disposition_name(CT_DISPOSITION_COUNT), "unknown");
    assert_string_equal(ct_outcome_name(CT_OUTCOME_COUNT), "unknown");
    assert_string_equal(ct_reason_name(CT_REASON_COUNT), "unknown");
}

static void names_what_became_of_it(void **state)
{
    (void)state;
    static const struct {
        struct ct_decision decision;
        const char *word;
    } cases[] = {
        {{.outcome = CT_OUTCOME_SKIPPED}, "skipped"},
        {{.outcome = CT_OUTCOME_PATCHED}, "patched"},
        {{.outcome = CT_OUTCOME_UNCHANGED}, "admitted"},
        {{.outcome = CT_OUTCOME_DENIED, .reason = CT_REASON_SCORE}, "denied"},
        {{.outcome = CT_OUTCOME_UNPROTECTED, .reason = CT_REASON_SCORE}, "audit"},
        {{.outcome = CT_OUTCOME_UNCHANGED, .reason = CT_REASON_TAMPERED}, "audit"},
        {{.outcome = CT_OUTCOME_PATCHED, .reason = CT_REASON_SCORE, .below_minimum = true},
         "warned"},
        {{.outcome = CT_OUTCOME_UNCHANGED, .reason = CT_REASON_SCORE, .below_minimum = true},
         "warned"},
        {{.outcome = CT_OUTCOME_DENIED, .reason = CT_REASON_TAMPERED, .below_minimum = true},
         "denied"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        assert_string_equal(ct_decision_word(&cases[i].decision), cases[i].word);
    }
}

// Every allocation fails once: never a crash or a leak, and no answer but a complete one.
static void survives_every_failed_allocation(void **state)
{
    (void)state;
    const char *const bodies[] = {good, denied};
    for (size_t b = 0; b < CT_ARRAY_LEN(bodies); b++) {
        bool struck = true;
        for (size_t nth = 1; struck; nth++) {
            CT_AUTO_BUF out = {.max = 1 << 20};
            struct ct_decision d;
            struct ct_err err = {0};
            chaos_start(nth);
            int r = ct_mutate(&settings, nodes, bodies[b], strlen(bodies[b]), &out, &d, &err);
            struck = chaos_stop();
            CT_AUTO_JSON answer = r == 0 ? json_loadb(out.data, out.len, 0, NULL) : NULL;
            assert_true(r == 0 ? answer != NULL : r == -CT_ENOMEM && err.msg[0] != '\0');
            assert_true(struck || r == 0);
        }
    }
}

#ifndef __SANITIZE_ADDRESS__ // every object is malloc's there, and not counted
static void cuts_off_what_takes_too_much_memory(void **state)
{
    (void)state;
    size_t len = (size_t)7 << 20;
    char *body = malloc(len);
    assert_non_null(body);
    memcpy(body, "[[]", 3);
    for (size_t i = 3; i < len; i++) {
        body[i] = ",[]"[i % 3];
    }
    CT_AUTO_BUF out = {.max = 1 << 20};
    struct ct_decision d;
    struct ct_err err = {0};
    int r = ct_mutate(&settings, nodes, body, len, &out, &d, &err);
    expect_error(r, &err, CT_ETOOBIG, "96 MiB");
    // With a uid in front it is answered: no error that an API server might ignore.
    static const char head[] = "{\"request\":{\"uid\":\"u-1\",\"object\":[[]";
    memcpy(body, head, strlen(head));
    for (size_t i = strlen(head); i < len; i++) {
        body[i] = ",[]"[(i - strlen(head)) % 3];
    }
    err = (struct ct_err){0};
    expect_ok(ct_mutate(&settings, nodes, body, len, &out, &d, &err), &err);
    assert_int_equal(d.outcome, CT_OUTCOME_DENIED);
    assert_string_equal(d.uid, "u-1");
    assert_non_null(strstr(d.sentence, "96 MiB"));
    free(body);
    // The next request is not disturbed.
    expect_ok(ct_mutate(&settings, nodes, good, strlen(good), &out, &d, &err), &err);
}

#endif

static void *work(void *arg)
{
    int *failures = arg;
    CT_AUTO_BUF out = {.max = 1 << 20};
    for (int i = 0; i < 200; i++) {
        struct ct_decision d;
        int r = ct_mutate(&settings, nodes, good, strlen(good), &out, &d, NULL);
        *failures += r != 0 || d.outcome != CT_OUTCOME_PATCHED;
        // jansson between requests is malloc's business again.
        json_t *other = json_loads("{\"a\":[1,2,3]}", 0, NULL);
        *failures += other == NULL;
        json_decref(other);
    }
    return NULL;
}

static void works_in_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    int failures[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, work, &failures[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
}

static void refuses_bodies_that_cannot_be_answered(void **state)
{
    (void)state;
    static const struct {
        const char *body, *part;
    } cases[] = {
        {"", "the body"},
        {"{", "the body"},
        {"null", "the body"},
        {"[]", "no admission.k8s.io/v1 AdmissionReview"},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"Pod\"}", "\"Pod\""},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}", "no request"},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{}}",
         "no uid"},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\","
         "\"request\":{\"uid\":7}}",
         "no uid"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_BUF out = {.max = 1 << 20};
        struct ct_decision d;
        struct ct_err err = {0};
        const char *body = cases[i].body;
        int r = ct_mutate(&settings, NULL, body, strlen(body), &out, &d, &err);
        expect_error(r, &err, CT_EINVAL, cases[i].part);
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    ct_mutate_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_was_decided),
        cmocka_unit_test(bounds_what_a_decision_costs),
        cmocka_unit_test(names_every_outcome_and_reason),
        cmocka_unit_test(names_what_became_of_it),
        cmocka_unit_test(survives_every_failed_allocation),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(cuts_off_what_takes_too_much_memory),
#endif
        cmocka_unit_test(works_in_threads),
        cmocka_unit_test(refuses_bodies_that_cannot_be_answered),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
