// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include "expect.h"

static void render(struct ct_metrics *m, struct ct_buf *out)
{
    ct_buf_reset(out);
    const struct ct_metrics_view view = {.certificate_expiry = 1234567890};
    ct_metrics_render(m, &view, out);
    assert_false(out->failed);
}

static void expect_line(const struct ct_buf *out, const char *line)
{
    const char *found = strstr(out->data, line);
    if (found == NULL || (found != out->data && found[-1] != '\n') || found[strlen(line)] != '\n') {
        fail_msg("no line \"%s\" in:\n%s", line, out->data);
    }
}

static void test_nothing_counted(void **state)
{
    struct ct_metrics m = {0};
    CT_AUTO_BUF out = {.max = 1 << 16};
    (void)state;
    render(&m, &out);
    expect_line(&out, "cloudtaser_webhook_requests_total{decision=\"patched\",reason=\"none\"} 0");
    expect_line(&out, "cloudtaser_webhook_requests_total{decision=\"skipped\",reason=\"none\"} 0");
    expect_line(&out,
                "cloudtaser_webhook_requests_total{decision=\"error\",reason=\"internal\"} 0");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_count 0");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_sum 0.000000000");
    expect_line(&out, "cloudtaser_webhook_requests_in_flight 0");
    expect_line(&out, "cloudtaser_webhook_certificate_expiry_timestamp_seconds 1234567890");
    expect_line(&out, "cloudtaser_webhook_nodes{points=\"0\"} 0");
    assert_null(strstr(out.data, "decision=\"denied\""));
}

static void test_decisions_and_errors(void **state)
{
    struct ct_metrics m = {0};
    const struct ct_decision patched = {.outcome = CT_OUTCOME_PATCHED};
    const struct ct_decision denied = {.outcome = CT_OUTCOME_DENIED, .reason = CT_REASON_SCORE};
    CT_AUTO_BUF out = {.max = 1 << 16};
    (void)state;
    ct_metrics_decided(&m, &patched, 100000);
    ct_metrics_decided(&m, &patched, 100001);
    ct_metrics_decided(&m, &denied, 2000000000);
    ct_metrics_failed(&m, CT_REQUEST_TOO_LARGE, 1);
    ct_metrics_refused(&m, CT_REQUEST_NOT_SERVED);
    ct_metrics_reloaded(&m, CT_RELOAD_NODES, true);
    ct_metrics_reloaded(&m, CT_RELOAD_CERTIFICATE, false);
    render(&m, &out);
    expect_line(&out, "cloudtaser_webhook_requests_total{decision=\"patched\",reason=\"none\"} 2");
    expect_line(&out, "cloudtaser_webhook_requests_total{decision=\"denied\",reason=\"score\"} 1");
    expect_line(&out,
                "cloudtaser_webhook_requests_total{decision=\"error\",reason=\"too_large\"} 1");
    expect_line(&out,
                "cloudtaser_webhook_requests_total{decision=\"error\",reason=\"not_served\"} 1");
    expect_line(&out, "cloudtaser_webhook_reloads_total{file=\"nodes\",result=\"taken\"} 1");
    expect_line(&out,
                "cloudtaser_webhook_reloads_total{file=\"certificate\",result=\"refused\"} 1");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_sum 2.000200002");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_count 4");
}

// Buckets are cumulative, their bounds inclusive, and +Inf equals the count.
static void test_buckets(void **state)
{
    struct ct_metrics m = {0};
    const struct ct_decision skipped = {.outcome = CT_OUTCOME_SKIPPED};
    const uint64_t times[] = {0, 25000, 25001, 1000000000, 1000000001};
    CT_AUTO_BUF out = {.max = 1 << 16};
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(times); i++) {
        ct_metrics_decided(&m, &skipped, times[i]);
    }
    render(&m, &out);
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_bucket{le=\"0.000025\"} 2");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_bucket{le=\"0.00005\"} 3");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_bucket{le=\"0.25\"} 3");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_bucket{le=\"1\"} 4");
    expect_line(&out, "cloudtaser_webhook_request_duration_seconds_bucket{le=\"+Inf\"} 5");
}

// Each sample belongs to a family that HELP and TYPE announce; none is announced twice.
static void test_format(void **state)
{
    struct ct_metrics m = {0};
    CT_AUTO_BUF out = {.max = 1 << 16};
    char family[128] = "";
    size_t families = 0;
    (void)state;
    render(&m, &out);
    for (char *line = strtok(out.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char name[128];
        if (sscanf(line, "# HELP %127s", name) == 1) {
            assert_string_not_equal(name, family);
            (void)snprintf(family, sizeof(family), "%s", name);
            families++;
        } else if (sscanf(line, "# TYPE %127s", name) == 1) {
            assert_string_equal(name, family);
        } else {
            assert_memory_equal(line, family, strlen(family));
            assert_non_null(strrchr(line, ' '));
        }
    }
    assert_int_equal(families, 8);
}

static void test_bounded(void **state)
{
    struct ct_metrics m = {0};
    CT_AUTO_BUF out = {.max = 100};
    (void)state;
    ct_metrics_render(&m, &(struct ct_metrics_view){0}, &out);
    assert_true(out.failed);
    assert_true(out.len <= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_counted), cmocka_unit_test(test_decisions_and_errors),
        cmocka_unit_test(test_buckets),         cmocka_unit_test(test_format),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
