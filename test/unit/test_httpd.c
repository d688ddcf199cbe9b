// SPDX-License-Identifier: Apache-2.0
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "httpd_client.h"
#include "httpd_conn.h"

static void test_answers(void **state)
{
    static const struct {
        const char *request;
        unsigned status;
        const char *part;
    } cases[] = {
        {"GET /get HTTP/1.1\r\nHost: x\r\n\r\n", 200,
         "method=GET path=/get query= type= token= body=0:"},
        {"GET /get?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n", 200, "query=a=b&c "},
        {"GET /get? HTTP/1.1\r\nHost: x\r\n\r\n", 200, "query= "},
        {"GET /get HTTP/1.1\r\nHost: x\r\nX-Vault-Token: t1\r\n\r\n", 200, "token=t1 "},
        {"GET /get HTTP/1.1\r\nHost: x\r\nAuthorization: bearer t2\r\n\r\n", 200, "token=t2 "},
        {"GET /get HTTP/1.1\r\nHost: x\r\nAuthorization: Basic t2\r\n\r\n", 200, "token= "},
        {"GET /below/a/b HTTP/1.1\r\nHost: x\r\n\r\n", 200, "path=/below/a/b "},
        {"LIST /below/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "method=LIST path=/below/ "},
        {"GET /below HTTP/1.1\r\nHost: x\r\n\r\n", 404,
         "{\"error\":\"there is nothing at /below\"}"},
        {"GET /getx HTTP/1.1\r\nHost: x\r\n\r\n", 404, "there is nothing at /getx"},
        {"GET /x%ff%C3%A9%c3 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "nothing at /x?\xc3\xa9?\"}"},
        {"POST /get HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", 405,
         "Allow: GET, HEAD\r\n"},
        {"GET /json HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET is not allowed at /json: use POST"},
        {"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", 415,
         "application/json only"},
        {"POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json;charset=utf-8\r\n"
         "Content-Length: 2\r\n\r\nab",
         200, "body=2:ab"},
        {"POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json-seq\r\n"
         "Content-Length: 2\r\n\r\nab",
         415, "application/json only"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
         "chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
         200, "body=5:abcde"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413,
         "larger than 131072 bytes"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
         "131073\r\n\r\n",
         413, "larger than 131072 bytes"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", 413, ""},
        {"POST /json HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 415,
         ""},
        {"GET /teapot HTTP/1.1\r\nHost: x\r\n\r\n", 418, "{\"error\":\"no \\\"coffee\\\" here\"}"},
        {"GET /failed HTTP/1.1\r\nHost: x\r\n\r\n", 500, "out of memory"},
        // What two programs might read differently.
        {"GET /get%00x HTTP/1.1\r\nHost: x\r\n\r\n", 404, "nothing at /get with a NUL behind it"},
        {"GET /below/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "with a NUL behind it"},
        {"GET /ge%74?%00 HTTP/1.1\r\nHost: x\r\n\r\n", 200, "path=/get query=%00 "},
        {"GET /get HTTP/1.1\r\n\r\n", 400, ""}, // no Host
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400,
         "and once only"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\nabc", 400,
         "and once only"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         400, "and once only"},
        {"GET /get HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
         "5\r\n\r\n0\r\n\r\n",
         400, "and once only"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
         "identity\r\n\r\n0\r\n\r\n",
         400, "and once only"},
        {"POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, "
         "chunked\r\n\r\n0\r\n\r\n",
         501, "chunked"},
    };
    struct fixture *f = *state;
    CT_AUTO_BUF answer = {.max = 1 << 20};
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
        assert_true(say(fd, cases[i].request, strlen(cases[i].request)));
        hear(fd, &answer);
        if (status_of(&answer) != cases[i].status || strstr(answer.data, cases[i].part) == NULL) {
            fail_msg("%s\nwas answered:\n%s", cases[i].request, answer.data);
        }
    }
}

static void test_head_has_no_body(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_BUF answer = {.max = 1 << 20};
    CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
    const char *both = "HEAD /get HTTP/1.1\r\nHost: x\r\n\r\nGET /teapot HTTP/1.1\r\nHost: x\r\n"
                       "Connection: close\r\n\r\n";
    assert_true(say(fd, both, strlen(both)));
    char part[4096];
    for (ssize_t n = 1; n > 0;) {
        n = recv(fd, part, sizeof(part), 0);
        ct_buf_add(&answer, part, n > 0 ? (size_t)n : 0);
    }
    assert_int_equal(status_of(&answer), 200);
    assert_non_null(strstr(answer.data, "\r\n\r\nHTTP/1.1 418 ")); // the next follows at once
}

// Whatever stands behind a request without a certain end must not be taken for the next request.
static void test_uncertain_ends_close(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_BUF all = {.max = 1 << 20};
    CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
    const char *text = "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                       "GET /teapot HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_true(say(fd, text, strlen(text)));
    char part[4096];
    for (ssize_t n = 1; n > 0;) {
        n = recv(fd, part, sizeof(part), 0);
        ct_buf_add(&all, part, n > 0 ? (size_t)n : 0);
    }
    assert_int_equal(status_of(&all), 400);
    assert_null(strstr(all.data, "418"));
}

// A connection serves request after request, and a refusal with a small body does not end it.
static void test_kept(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_BUF answer = {.max = 1 << 20};
    CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
    for (int i = 0; i < 50; i++) {
        char request[256];
        int n = snprintf(request, sizeof(request),
                         "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%0*d",
                         i % 3 == 0 ? "nothing" : "any", i + 1, i + 1, i);
        assert_true(say(fd, request, (size_t)n));
        hear(fd, &answer);
        assert_int_equal(status_of(&answer), i % 3 == 0 ? 404 : 200);
        (void)snprintf(request, sizeof(request), "body=%d:", i + 1);
        assert_true(i % 3 == 0 || strstr(answer.data, request) != NULL);
    }
}

static void *stop_main(void *arg)
{
    ct_httpd_stop(arg);
    return NULL;
}

static void test_stop_finishes_what_runs(void **state)
{
    struct fixture *f = *state;
    unsigned port = ct_httpd_port(f->server);
    pthread_t thread;
    const struct timespec moment = {.tv_nsec = 150 * 1000 * 1000};
    CT_AUTO_BUF answer = {.max = 1 << 20};
    CT_AUTO_FD idle = dial(port);
    CT_AUTO_FD fd = dial(port);
    const char *request = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_true(say(fd, request, strlen(request)));
    (void)nanosleep(&moment, NULL);
    assert_int_equal(pthread_create(&thread, NULL, stop_main, ct_steal(&f->server)), 0);
    (void)nanosleep(&moment, NULL);
    hear(fd, &answer);
    assert_int_equal(status_of(&answer), 200);
    assert_non_null(strstr(answer.data, "Connection: close\r\n"));
    assert_int_equal(recv(fd, &(char){0}, 1, 0), 0);
    assert_int_equal(recv(idle, &(char){0}, 1, 0), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CT_AUTO_FD late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
    assert_int_equal(errno, ECONNREFUSED);
}

static void test_listen(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "",          "8443",        "::1:8443",        "127.0.0.1:",      "[::1]",
        "[::1]8443", "127.0.0.1:x", "127.0.0.1:99999", "example.com:8443"};
    static const char *const good[] = {"127.0.0.1:0", "[::1]:0", ":0"};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct ct_err err = {0};
        struct ct_httpd *server = NULL;
        f->options.listen = bad[i];
        expect_error(ct_httpd_start(&f->options, &server, &err), &err, CT_EINVAL, bad[i]);
        assert_null(server);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(good); i++) {
        struct ct_err err = {0};
        struct ct_httpd *server = NULL;
        f->options.listen = good[i];
        int r = ct_httpd_start(&f->options, &server, &err);
        if (strchr(good[i], '[') != NULL && r < 0 &&
            (err.errno_value == EADDRNOTAVAIL || err.errno_value == EAFNOSUPPORT)) {
            continue; // a machine without IPv6
        }
        expect_ok(r, &err);
        assert_true(ct_httpd_port(server) > 0);
        ct_httpd_stop(server);
    }
    char taken[32];
    struct ct_err err = {0};
    struct ct_httpd *server = NULL;
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", ct_httpd_port(f->server));
    f->options.listen = taken;
    expect_error(ct_httpd_start(&f->options, &server, &err), &err, CT_ESYSTEM, "EADDRINUSE");
}

// ---- certificates ----

static void write_file(const char *path, const void *data, size_t len)
{
    char fresh[256];
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    (void)close(fd);
    assert_int_equal(rename(fresh, path), 0);
}

// A self-signed certificate that ends at `expiry`; a path may be NULL.
static void make_pair(const char *cert_path, const char *key_path, time_t expiry)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    gnutls_datum_t pem;
    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_set_version(cert, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(cert, "\1", 1), 0);
    assert_int_equal(gnutls_x509_crt_set_dn(cert, "CN=localhost", NULL), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(cert, 0), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(cert, expiry), 0);
    assert_int_equal(gnutls_x509_crt_set_key(cert, key), 0);
    assert_int_equal(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
    if (cert_path != NULL) {
        assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), 0);
        write_file(cert_path, pem.data, pem.size);
        gnutls_free(pem.data);
    }
    if (key_path != NULL) {
        assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
        write_file(key_path, pem.data, pem.size);
        gnutls_free(pem.data);
    }
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

static void test_certificate_reload(void **state)
{
    struct fixture *f = *state;
    char folder[] = "/tmp/ct-httpd-XXXXXX";
    char cert[64];
    char key[64];
    struct ct_err err = {0};
    struct ct_httpd *server = NULL;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(cert, sizeof(cert), "%s/tls.crt", folder);
    (void)snprintf(key, sizeof(key), "%s/tls.key", folder);
    f->options.tls_cert = cert;
    expect_error(ct_httpd_start(&f->options, &server, &err), &err, CT_EINVAL, "its private key");
    f->options.tls_key = key;
    expect_error(ct_httpd_start(&f->options, &server, &err), &err, CT_ENOTFOUND, cert);
    make_pair(cert, key, 2000000000);
    expect_ok(ct_httpd_start(&f->options, &server, &err), &err);
    assert_int_equal(ct_httpd_certificate_expiry(server), 2000000000);
    assert_int_equal(ct_httpd_reload_certificate(server, &err), 0);

    make_pair(cert, key, 2000000001);
    assert_int_equal(ct_httpd_reload_certificate(server, &err), 1);
    assert_int_equal(ct_httpd_certificate_expiry(server), 2000000001);

    make_pair(NULL, key, 2000000002); // another key than the certificate's
    expect_error(ct_httpd_reload_certificate(server, &err), &err, CT_EINVAL, "does not belong");
    assert_int_equal(ct_httpd_reload_certificate(server, &err), 0); // told once
    assert_int_equal(ct_httpd_certificate_expiry(server), 2000000001);
    write_file(cert, "garbage", 7);
    expect_error(ct_httpd_reload_certificate(server, &err), &err, CT_EINVAL, cert);
    (void)unlink(cert);
    expect_error(ct_httpd_reload_certificate(server, &err), &err, CT_ENOTFOUND, cert);
    make_pair(cert, key, 2000000003);
    assert_int_equal(ct_httpd_reload_certificate(server, &err), 1);
    assert_int_equal(ct_httpd_certificate_expiry(server), 2000000003);
    ct_httpd_stop(server);
    (void)unlink(cert);
    (void)unlink(key);
    (void)rmdir(folder);
}

static void test_without_tls(void **state)
{
    struct fixture *f = *state;
    struct ct_err err = {0};
    assert_int_equal(ct_httpd_reload_certificate(f->server, &err), 0);
    assert_int_equal(ct_httpd_certificate_expiry(f->server), 0);
}

// ---- parts ----

static void test_error_is_cut_at_a_character(void **state)
{
    struct ct_httpd_reply reply = {.body = {.max = 4096}};
    char text[1100];
    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text + 1022, "\xc3\xa9", 3); // its first byte is the last one that has room
    ct_httpd_error(&reply, 400, "%s", text);
    assert_int_equal(reply.status, 400);
    assert_int_equal(reply.body.len, strlen("{\"error\":\"\"}\n") + 1022);
    ct_buf_done(&reply.body);
}

static void test_slots_are_reused(void **state)
{
    (void)state;
    struct ct_httpd_slot *slot = ct_httpd_slot_take();
    slot->in.max = slot->out.max = 1 << 20;
    ct_buf_add_str(&slot->in, "in");
    ct_httpd_slot_give(slot);
    struct ct_httpd_slot *again = ct_httpd_slot_take();
    assert_ptr_equal(slot, again);
    assert_int_equal(again->in.len, 0);
    assert_true(again->in.cap > 0);
    // Large ones are not kept.
    CT_AUTO_STR large = calloc(1, 200000);
    ct_buf_add(&again->in, large, 200000);
    assert_false(again->in.failed);
    ct_httpd_slot_give(again);
    again = ct_httpd_slot_take();
    assert_int_equal(again->in.cap, 0);
    ct_httpd_slot_give(again);
    ct_httpd_slot_give(NULL);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_answers),
        WITH_SERVER(test_head_has_no_body),
        WITH_SERVER(test_uncertain_ends_close),
        WITH_SERVER(test_kept),
        WITH_SERVER(test_stop_finishes_what_runs),
        WITH_SERVER(test_listen),
        WITH_SERVER(test_certificate_reload),
        WITH_SERVER(test_without_tls),
        cmocka_unit_test(test_error_is_cut_at_a_character),
        cmocka_unit_test(test_slots_are_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
