// SPDX-License-Identifier: Apache-2.0
//
// The client against raw bytes of a server on loopback. TLS is tested with the built wrapper, in
// test/wrapper.
#include "expect.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http.h"

#define MAX_ANSWER 1000

// A server that gives each connection one canned answer a request.
struct server {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *answer;
    bool close_after;
    size_t connections;
    char request[8192]; // the last one
};

static bool serve_one(struct server *s, int fd)
{
    size_t len = 0;
    char *end = NULL;
    while (end == NULL) {
        ssize_t n = read(fd, s->request + len, sizeof(s->request) - 1 - len);
        if (n <= 0) {
            return false;
        }
        len += (size_t)n;
        s->request[len] = '\0';
        end = strstr(s->request, "\r\n\r\n");
    }
    const char *length = strstr(s->request, "Content-Length: ");
    size_t whole =
        (size_t)(end + 4 - s->request) + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
    while (len < whole) {
        ssize_t n = read(fd, s->request + len, sizeof(s->request) - 1 - len);
        if (n <= 0) {
            return false;
        }
        len += (size_t)n;
        s->request[len] = '\0';
    }
    size_t answer_len = strlen(s->answer);
    return write(fd, s->answer, answer_len) == (ssize_t)answer_len && !s->close_after;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL;
        }
        s->connections++;
        while (serve_one(s, fd)) {
        }
        (void)close(fd);
    }
}

static void start(struct server *s, const char *answer, bool close_after)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    *s = (struct server){.answer = answer, .close_after = close_after};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    (void)close(s->listener);
    (void)pthread_join(s->thread, NULL);
}

static struct ct_http *client(bool (*ask)(void *), unsigned timeout_ms)
{
    const struct ct_http_options options = {.connect_timeout_ms = 1000,
                                            .timeout_ms = timeout_ms,
                                            .max_answer = MAX_ANSWER,
                                            .stop = ask};
    struct ct_http *http = NULL;
    struct ct_err err = {0};
    expect_ok(ct_http_new(&options, &http, &err), &err);
    return http;
}

static char url[256];

static const char *url_of(const struct server *s, const char *rest)
{
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", s->port, rest);
    return url;
}

#define OK "HTTP/1.1 200 OK\r\n"
#define HUNDRED                                                                                    \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

static void takes_answers_apart(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        bool close;
        int code;
        long status;
        const char *text; // the body, or words of the sentence
        const char *location;
    } cases[] = {
        {OK "Content-Length: 2\r\n\r\nhi", false, 0, 200, "hi", ""},
        {OK "Content-Length: 0\r\n\r\n", false, 0, 200, "", ""},
        {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false, 0, 200, "hi", ""},
        {OK "\r\nhi", true, 0, 200, "hi", ""},
        {OK "Content-Length: 1000\r\n\r\n" THOUSAND, false, 0, 200, THOUSAND, ""},
        {"HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\nhi", false, 0, 503, "hi", ""},
        {"HTTP/1.1 307 go\r\nLocation: https://u:p@other.example:8200/v1/x?token=y\r\n"
         "Content-Length: 0\r\n\r\n",
         false, 0, 307, "", "https://other.example:8200"},
        {"HTTP/1.1 302 go\r\nLocation: /relative?token=y\r\nContent-Length: 0\r\n\r\n", false, 0,
         302, "", "http://127.0.0.1:"},
        {OK "Content-Length: 1001\r\n\r\n" THOUSAND "x", false, CT_ETOOBIG, 0,
         "the answer is larger than 1000 bytes", ""},
        {OK "Content-Length: 99999999999\r\n\r\n", false, CT_ETOOBIG, 0, "larger than 1000", ""},
        {OK "\r\n" THOUSAND "x", true, CT_ETOOBIG, 0, "larger than 1000", ""},
        {OK "Content-Length: 10\r\n\r\nhi", true, CT_EUNAVAIL, 0, "cut short", ""},
        {OK "Transfer-Encoding: chunked\r\n\r\n8\r\nhi", true, CT_EUNAVAIL, 0, "cut short", ""},
        {"", true, CT_EUNAVAIL, 0, "Server returned nothing", ""},
        {OK "Content-Length: 10\r\n\r\nhi", false, CT_EUNAVAIL, 0, "timed out", ""},
        {"garbage\r\n\r\n", true, CT_EPROTO, 0, "/v1/x: the answer is not HTTP; does it speak TLS?",
         ""},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct server s;
        struct ct_http_answer answer;
        struct ct_err err = {0};
        start(&s, cases[i].answer, cases[i].close);
        CT_AUTO(ct_http) *http = client(NULL, 500);
        int rc = ct_http_request(http, url_of(&s, "/v1/x?hidden=1"), NULL, NULL, 0, &answer, &err);
        if (cases[i].code == 0) {
            expect_ok(rc, &err);
            assert_int_equal(answer.status, cases[i].status);
            assert_string_equal(answer.body.data != NULL ? answer.body.data : "", cases[i].text);
            assert_int_equal(strncmp(answer.location, cases[i].location, strlen(cases[i].location)),
                             0);
            assert_null(strstr(answer.location, "token"));
        } else {
            expect_error(rc, &err, cases[i].code, cases[i].text);
            assert_non_null(strstr(err.msg, "http://127.0.0.1:"));
            assert_null(strstr(err.msg, "hidden"));
        }
        ct_http_answer_done(&answer);
        ct_http_free(ct_steal(&http));
        stop(&s);
    }
}

static void sends_what_it_is_told(void **state)
{
    (void)state;
    static const char *const headers[] = {"X-One: 1", "X-Two: two words", NULL};
    struct server s;
    struct ct_http_answer answer;
    struct ct_err err = {0};
    // Set for this process: a client that honours them would go there instead.
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    start(&s, OK "Content-Length: 2\r\n\r\nhi", false);
    CT_AUTO(ct_http) *http = client(NULL, 2000);
    expect_ok(ct_http_request(http, url_of(&s, "/a/../b"), headers, "{\"a\":1}", 7, &answer, &err),
              &err);
    ct_http_answer_done(&answer);
    assert_int_equal(strncmp(s.request, "POST /a/../b HTTP/1.1\r\n", 23), 0);
    assert_non_null(strstr(s.request, "\r\nX-One: 1\r\n"));
    assert_non_null(strstr(s.request, "\r\nX-Two: two words\r\n"));
    assert_non_null(strstr(s.request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(s.request, "\r\n\r\n{\"a\":1}"));
    assert_null(strstr(s.request, "Expect"));
    expect_ok(ct_http_request(http, url_of(&s, "/c"), NULL, NULL, 0, &answer, &err), &err);
    ct_http_answer_done(&answer);
    assert_int_equal(strncmp(s.request, "GET /c HTTP/1.1\r\n", 17), 0);
    assert_null(strstr(s.request, "X-One"));
    assert_null(strstr(s.request, "Content-Type"));
    assert_int_equal(s.connections, 1);
    ct_http_free(ct_steal(&http));
    stop(&s);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("ALL_PROXY"), 0);
}

static void bounds_each_request(void **state)
{
    (void)state;
    struct server s;
    struct ct_http_answer answer;
    struct ct_err err = {0};
    start(&s, OK "Content-Length: 2\r\n\r\n", false);
    CT_AUTO(ct_http) *http = client(NULL, 60000);
    ct_http_set_timeout(http, 100);
    expect_error(ct_http_request(http, url_of(&s, "/"), NULL, NULL, 0, &answer, &err), &err,
                 CT_EUNAVAIL, "timed out");
    ct_http_free(ct_steal(&http));
    stop(&s);
}

static bool always(void *cls)
{
    (void)cls;
    return true;
}

static void gives_up_when_asked(void **state)
{
    (void)state;
    struct server s;
    struct ct_http_answer answer;
    struct ct_err err = {0};
    start(&s, OK "Content-Length: 2\r\n\r\n", false);
    CT_AUTO(ct_http) *http = client(always, 60000);
    expect_error(ct_http_request(http, url_of(&s, "/"), NULL, NULL, 0, &answer, &err), &err,
                 CT_EUNAVAIL, "aborted");
    ct_http_free(ct_steal(&http));
    stop(&s);
}

static void refuses_other_schemes(void **state)
{
    (void)state;
    static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"};
    for (size_t i = 0; i < CT_ARRAY_LEN(urls); i++) {
        struct ct_http_answer answer;
        struct ct_err err = {0};
        CT_AUTO(ct_http) *http = client(NULL, 1000);
        expect_error(ct_http_request(http, urls[i], NULL, NULL, 0, &answer, &err), &err, CT_EINVAL,
                     urls[i]);
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    struct server s;
    struct ct_http_answer answer;
    struct ct_err err = {0};
    start(&s, "", true);
    stop(&s);
    CT_AUTO(ct_http) *http = client(NULL, 1000);
    expect_error(ct_http_request(http, url_of(&s, "/"), NULL, NULL, 0, &answer, &err), &err,
                 CT_EUNAVAIL, "onnect");
}

static void names_a_missing_ca_file(void **state)
{
    (void)state;
    struct ct_http *http = NULL;
    struct ct_err err = {0};
    struct ct_http_options options = {.ca_file = "/nowhere/ca.pem", .max_answer = 1};
    expect_error(ct_http_new(&options, &http, &err), &err, CT_ENOTFOUND,
                 "cannot open the CA file /nowhere/ca.pem: No such file");
    char long_path[400];
    memset(long_path, 'a', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    options.ca_file = long_path;
    expect_error(ct_http_new(&options, &http, &err), &err, CT_ETOOBIG, "CA file's path");
    ct_http_free(NULL);
}

static void reads_authorities_once_and_bounded(void **state)
{
    (void)state;
    char path[] = "/tmp/ct-test-http-XXXXXX";
    struct ct_err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    CT_AUTO(ct_http_trust) *trust = NULL;
    expect_ok(ct_http_trust_new(path, &trust, &err), &err);
    assert_int_equal(ftruncate(fd, ((off_t)1 << 20) + 1), 0);
    (void)close(fd);
    struct ct_http_trust *none = NULL;
    expect_error(ct_http_trust_new(path, &none, &err), &err, CT_ETOOBIG, "larger than 1048576");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_error(ct_http_trust_new(path, &none, &err), &err, CT_EINVAL, "not a regular file");
    assert_int_equal(unlink(path), 0);
    // What was read once needs no file.
    const struct ct_http_options options = {.ca_file = path, .trust = trust, .max_answer = 1};
    CT_AUTO(ct_http) *http = NULL;
    expect_ok(ct_http_new(&options, &http, &err), &err);
}

static void goes_where_it_is_told(void **state)
{
    (void)state;
    struct server s;
    struct ct_http_answer answer;
    struct ct_err err = {0};
    start(&s, OK "Content-Length: 2\r\n\r\nok", false);
    char resolved[64];
    char address[64];
    (void)snprintf(resolved, sizeof(resolved), "name.invalid:%u:127.0.0.1", s.port);
    (void)snprintf(address, sizeof(address), "http://name.invalid:%u/", s.port);
    const struct ct_http_options options = {
        .connect_timeout_ms = 1000, .timeout_ms = 2000, .max_answer = 10, .resolved = resolved};
    struct ct_http *http = NULL;
    expect_ok(ct_http_new(&options, &http, &err), &err);
    expect_ok(ct_http_request(http, address, NULL, NULL, 0, &answer, &err), &err);
    assert_int_equal(answer.status, 200);
    ct_http_answer_done(&answer);
    ct_http_free(http);
    stop(&s);
}

static int initialise(void **state)
{
    (void)state;
    struct ct_err err = {0};
    expect_ok(ct_http_init(NULL, &err), &err);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_answers_apart),
        cmocka_unit_test(sends_what_it_is_told),
        cmocka_unit_test(bounds_each_request),
        cmocka_unit_test(gives_up_when_asked),
        cmocka_unit_test(refuses_other_schemes),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(names_a_missing_ca_file),
        cmocka_unit_test(reads_authorities_once_and_bounded),
        cmocka_unit_test(goes_where_it_is_told),
    };
    return cmocka_run_group_tests(tests, initialise, NULL);
}
