// SPDX-License-Identifier: Apache-2.0
//
// The wrapper's metrics without a socket: requests, answers, and who the pod is.
#include "expect.h"

#include <stdlib.h>

#include "metrics.h"
#include "scrape.h"

static void reads_requests(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200},
        {"GET /metrics HTTP/1.0\r\n\r\n", 200},
        {"GET /metrics?a=b HTTP/1.1\n\n", 200},
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n", CT_SCRAPE_MORE},
        {"", CT_SCRAPE_MORE},
        {"GET /metric HTTP/1.1\r\n\r\n", 404},
        {"GET /metrics/ HTTP/1.1\r\n\r\n", 404},
        {"GET / HTTP/1.1\r\n\r\n", 404},
        {"POST /metrics HTTP/1.1\r\n\r\n", 405},
        {"get /metrics HTTP/1.1\r\n\r\n", 405},
        {"GET /metrics HTTP/2.00\r\n\r\n", 400},
        {"GET /metrics\r\n\r\n", 400},
        {"GET  HTTP/1.1\r\n\r\n", 404},
        {" /metrics HTTP/1.1\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"\n\n", 400},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        assert_int_equal(ct_scrape_read(cases[i].request, strlen(cases[i].request)),
                         cases[i].status);
    }
    char long_head[CT_SCRAPE_HEAD_MAX + 1];
    memset(long_head, 'a', sizeof(long_head));
    assert_int_equal(ct_scrape_read(long_head, sizeof(long_head) - 1), CT_SCRAPE_MORE);
    assert_int_equal(ct_scrape_read(long_head, sizeof(long_head)), 431);
}

static void writes_values(void **state)
{
    (void)state;
    struct ct_metrics_values values = {.points = 55, .max = 75, .token = {3, 1, 2}};
    struct ct_pod_identity id = {.pod = "web-1", .space = "shop"};
    char out[CT_METRICS_ANSWER_MAX];
    values.passed[CT_CHECK_MLOCK] = true;
    size_t len = ct_metrics_write(200, &values, &id, out, sizeof(out));
    assert_int_equal(strlen(out), len);
    static const char *const lines[] = {
        "HTTP/1.1 200 OK\r\n",
        "\ncloudtaser_protection_score{pod=\"web-1\",namespace=\"shop\"} 55\n",
        "\ncloudtaser_protection_max{pod=\"web-1\",namespace=\"shop\"} 75\n",
        "\ncloudtaser_wrapper_token_renewals_total{pod=\"web-1\",namespace=\"shop\"} 3\n",
        "{pod=\"web-1\",namespace=\"shop\",check=\"mlock\"} 1\n",
        "{pod=\"web-1\",namespace=\"shop\",check=\"memfd_secret\"} 0\n",
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(lines); i++) {
        assert_non_null(strstr(out, lines[i]));
    }
    assert_null(strstr(out, "expiry"));
    const char *body = strstr(out, "\r\n\r\n") + 4;
    unsigned long told = strtoul(strstr(out, "Content-Length: ") + 16, NULL, 10);
    assert_int_equal(told, strlen(body));
    // Nothing is told of a score that is not known yet.
    values.max = 0;
    (void)ct_metrics_write(200, &values, &id, out, sizeof(out));
    assert_null(strstr(out, "cloudtaser_protection"));
    assert_null(strstr(out, "check_passed"));
    assert_non_null(strstr(out, "\ncloudtaser_wrapper_token_renewals_total{"));
    // The longest names there are, and the largest numbers, fit.
    memset(&id, 'a', sizeof(id));
    id.pod[sizeof(id.pod) - 1] = '\0';
    id.space[sizeof(id.space) - 1] = '\0';
    memset(&values, 0x7f, sizeof(values));
    memset(values.passed, 1, sizeof(values.passed));
    len = ct_metrics_write(200, &values, &id, out, sizeof(out));
    assert_true(len < sizeof(out) - 1);
    assert_non_null(strstr(out, "check=\"kprobes_active\"} 1\n"));
    assert_non_null(strstr(out, "expiry_timestamp_seconds{"));
    len = ct_metrics_write(404, NULL, NULL, out, sizeof(out));
    assert_non_null(strstr(out, "HTTP/1.1 404 Not Found\r\n"));
    assert_string_equal(out + len - strlen("\r\n\r\nNot Found\n"), "\r\n\r\nNot Found\n");
}

static void knows_the_pod(void **state)
{
    (void)state;
    // {"kubernetes.io":{"namespace":"shop","pod":{"name":"web-x7k2p"}}} and broken ones.
    static const char good[] = "e30.eyJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJwb2QiOnsib"
                               "mFtZSI6IndlYi14N2sycCJ9fX0.c2ln";
    // The same with "we\"b" as the name.
    static const char quote[] = "e30.eyJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJwb2QiOnsib"
                                "mFtZSI6IndlXCJiIn19fQ.c2ln";
    static const char *const bad[] = {"",      ".", "..", "a.b", "e30.e30.c2ln", "e30.!!!!.c2ln",
                                      "e30..x"};
    struct ct_pod_identity id;
    struct ct_err err = {0};
    expect_ok(ct_pod_identity_parse(good, strlen(good), &id, &err), &err);
    assert_string_equal(id.pod, "web-x7k2p");
    assert_string_equal(id.space, "shop");
    expect_error(ct_pod_identity_parse(quote, strlen(quote), &id, &err), &err, CT_EPROTO,
                 "names no pod");
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        err = (struct ct_err){0};
        expect_error(ct_pod_identity_parse(bad[i], strlen(bad[i]), &id, &err), &err, CT_EPROTO,
                     "JWT");
        assert_string_equal(id.pod, "");
    }
    ct_pod_identity_find("/nowhere", &id);
    assert_string_equal(id.space, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(writes_values),
        cmocka_unit_test(knows_the_pod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
