// SPDX-License-Identifier: Apache-2.0
//
// A server that shakes hands with itself, with certificates of every age.
#include "httpd_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>

#include "expect.h"
#include "make.h"

#define DAY 86400
#define NAME "cloudtaser-webhook.apps.svc"

static const char *const names[] = {NAME, "10.1.2.3"};
static const struct ct_certs_plan plan = {.names = names, .n_names = 2, .life_s = 20 * DAY};

// Of days from now: 0 is good, -30 has ended, 10 is to come.
static void make(int days, struct ct_certs_set *set)
{
    struct ct_err err = {0};
    expect_ok(ct_certs_make(&plan, time(NULL) + (time_t)days * DAY, set, &err), &err);
}

static struct ct_httpd *start(const char *listen, const struct ct_certs_set *set)
{
    const struct ct_httpd_options options = {.listen = listen,
                                             .tls_cert_text = set != NULL ? set->cert : NULL,
                                             .tls_key_text = set != NULL ? set->key : NULL,
                                             .threads = 1};
    struct ct_httpd *server = NULL;
    struct ct_err err = {0};
    expect_ok(ct_httpd_start(&options, &server, &err), &err);
    return server;
}

static void expect_denied(struct ct_httpd *server, const char *authorities, const char *name,
                          const char *part)
{
    struct ct_err err = {0};
    assert_int_equal(ct_httpd_probe(server, authorities, name, &err), -CT_EDENIED);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("%s", err.msg);
    }
}

static void finds_itself_wherever_it_listens(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET set = {0};
    make(0, &set);
    static const char *const places[] = {"127.0.0.1:0", ":0", "0.0.0.0:0"};
    for (size_t i = 0; i < CT_ARRAY_LEN(places); i++) {
        struct ct_err err = {0};
        struct ct_httpd *server = start(places[i], &set);
        expect_ok(ct_httpd_probe(server, set.ca, NAME, &err), &err);
        expect_ok(ct_httpd_probe(server, set.ca, "10.1.2.3", &err), &err);
        expect_ok(ct_httpd_probe(server, set.ca, NULL, &err), &err);
        expect_ok(ct_httpd_probe(server, NULL, NULL, &err), &err);
        ct_httpd_stop(server);
    }
    struct ct_httpd *plain = start("127.0.0.1:0", NULL);
    assert_int_equal(ct_httpd_probe(plain, set.ca, NAME, NULL), 0);
    ct_httpd_stop(plain);
}

static void refuses_what_callers_would_refuse(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET good = {0};
    CT_AUTO_CERTS_SET ended = {0};
    CT_AUTO_CERTS_SET future = {0};
    make(0, &good);
    make(-30, &ended);
    make(10, &future);
    struct ct_httpd *server = start("127.0.0.1:0", &good);
    expect_denied(server, ended.ca, NAME,
                  "does not verify by the authorities that callers are told");
    expect_denied(server, good.ca, "elsewhere.apps.svc", "does not verify");
    expect_denied(server, "no certificate", NAME, "cannot be verified");
    struct ct_err err = {0};
    expect_ok(ct_httpd_set_certificate(server, ended.cert, ended.key, &err), &err);
    expect_denied(server, ended.ca, NAME, "does not verify");
    expect_denied(server, NULL, NULL, "the certificate that is served has ended");
    expect_ok(ct_httpd_set_certificate(server, future.cert, future.key, &err), &err);
    expect_denied(server, future.ca, NAME, "does not verify");
    expect_denied(server, NULL, NULL, "is not valid yet");
    expect_ok(ct_httpd_set_certificate(server, good.cert, good.key, &err), &err);
    expect_ok(ct_httpd_probe(server, good.ca, NAME, &err), &err);
    ct_httpd_stop(server);
}

// As when somebody else has the address.
static void notices_another_certificate_and_nobody_at_all(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET set = {0};
    CT_AUTO_CERTS_SET other = {0};
    make(0, &set);
    make(0, &other);
    struct ct_httpd *server = start("127.0.0.1:0", &set);
    CT_AUTO(ct_httpd_tls) *tls = NULL;
    struct ct_err err = {0};
    expect_ok(ct_httpd_tls_of_text(other.cert, other.key, &tls, &err), &err);
    struct sockaddr_storage address = {0};
    const struct sockaddr_in place = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)ct_httpd_port(server)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&address, &place, sizeof(place));
    int r = ct_httpd_probe_at(&address, sizeof(place), tls, NULL, NULL, &err);
    assert_int_equal(r, -CT_EDENIED);
    assert_non_null(strstr(err.msg, "something else answers in this server's place"));
    expect_ok(ct_httpd_tls_replace(tls, set.cert, set.key, &err), &err);
    expect_ok(ct_httpd_probe_at(&address, sizeof(place), tls, NULL, NULL, &err), &err);
    ct_httpd_stop(server);
    r = ct_httpd_probe_at(&address, sizeof(place), tls, NULL, NULL, &err);
    assert_int_equal(r, -CT_ESYSTEM);
    assert_non_null(strstr(err.msg, "the server cannot be reached by itself: Connection refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_itself_wherever_it_listens),
        cmocka_unit_test(refuses_what_callers_would_refuse),
        cmocka_unit_test(notices_another_certificate_and_nobody_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
