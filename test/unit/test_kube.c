// SPDX-License-Identifier: Apache-2.0
//
// The client against the raw bytes of a server on loopback, answer by answer.
#include "expect.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kube.h"

#define MAX_ANSWERS 8

// Gives one answer a connection; the last one again and again.
struct server {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *answers[MAX_ANSWERS];
    size_t served;
    char requests[MAX_ANSWERS][4096];
};

static void read_request(int fd, char *request, size_t size)
{
    size_t len = 0;
    size_t whole = size;
    while (len < whole && len + 1 < size) {
        ssize_t n = read(fd, request + len, size - 1 - len);
        if (n <= 0) {
            return;
        }
        len += (size_t)n;
        request[len] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        const char *length = strstr(request, "Content-Length: ");
        if (end != NULL) {
            whole =
                (size_t)(end + 4 - request) + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
        }
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL;
        }
        size_t i = s->served < MAX_ANSWERS ? s->served : MAX_ANSWERS - 1;
        read_request(fd, s->requests[i], sizeof(s->requests[i]));
        s->served++;
        while (i > 0 && s->answers[i] == NULL) {
            i--;
        }
        const char *answer = s->answers[i];
        (void)!write(fd, answer, strlen(answer));
        if (strstr(answer, "X-Test: hang") != NULL) {
            char byte;
            (void)!read(fd, &byte, 1); // until the client leaves
        }
        (void)close(fd);
    }
}

static void start(struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
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

static bool always(void *cls)
{
    (void)cls;
    return true;
}

static struct ct_kube *client(const struct server *s, const char *token_file, unsigned budget_ms,
                              bool (*ask)(void *))
{
    const struct ct_kube_options options = {
        .timeout_ms = 1500, .retry_budget_ms = budget_ms, .stop = ask};
    struct ct_kube_config config = {0};
    struct ct_kube *kube = NULL;
    struct ct_err err = {0};
    assert_true(asprintf(&config.server, "http://127.0.0.1:%u", s->port) > 0);
    if (token_file != NULL) {
        config.token_file = strdup(token_file);
    } else {
        config.token = strdup("the-token");
    }
    expect_ok(ct_kube_new(&config, &options, &kube, &err), &err);
    assert_null(config.server);
    return kube;
}

#define CLOSE "Connection: close\r\n\r\n"
#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" CLOSE "{}"

static const struct ct_kube_request get_nodes = {.method = "GET", .path = "/api/v1/nodes?limit=5"};

static void test_what_answers_mean(void **state)
{
    static const struct {
        const char *answer;
        int code;
        long status;
        const char *part;
    } cases[] = {
        {OK_ANSWER, 0, 200, ""},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\n" CLOSE
         "{\"kind\":\"Status\",\"message\":\"nodes are\\nnot\"}",
         CT_EDENIED, 403, "/api/v1/nodes: HTTP 403: nodes are?not"},
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" CLOSE, CT_EDENIED, 401, "HTTP 401"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n" CLOSE "junk", CT_ENOTFOUND, 404,
         "HTTP 404"},
        {"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n" CLOSE, CT_EUNAVAIL, 409, "HTTP 409"},
        {"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n" CLOSE, CT_EUNAVAIL, 410, "HTTP 410"},
        {"HTTP/1.1 422 X\r\nContent-Length: 0\r\n" CLOSE, CT_EINVAL, 422, "HTTP 422"},
        {"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n" CLOSE,
         CT_EPROTO, 302, "HTTP 302"},
        {"HTTP/1.1 503 X\r\nContent-Length: 0\r\n" CLOSE, CT_EUNAVAIL, 503, "HTTP 503"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n" CLOSE "{\"cut", CT_EUNAVAIL, 200, "GET http"},
        {"", CT_EUNAVAIL, 0, "GET http"},
        {"no HTTP at all\r\n", CT_EPROTO, 0, "GET http"},
        {"HTTP/1.1 200 OK\r\nX-Test: hang\r\nContent-Length: 9\r\n\r\n", CT_EUNAVAIL, 200,
         "imed out"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n" CLOSE
         "01234567890123456789012345678901234567890",
         CT_ETOOBIG, 200, "larger than 40 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct server s = {.answers = {cases[i].answer}};
        start(&s);
        CT_AUTO(ct_kube) *kube = client(&s, NULL, 0, NULL);
        bool small = cases[i].code == CT_ETOOBIG;
        struct ct_kube_answer answer = {.body = {.max = small ? 40 : 1000}};
        struct ct_err err = {0};
        int rc = ct_kube_send(kube, &get_nodes, &answer, &err);
        if (cases[i].code == 0) {
            expect_ok(rc, &err);
            assert_string_equal(answer.body.data, "{}");
        } else {
            expect_error(rc, &err, cases[i].code, cases[i].part);
        }
        assert_int_equal(answer.status, cases[i].status);
        assert_null(strstr(err.msg, "the-token"));
        assert_null(strstr(err.msg, "limit"));
        assert_int_equal(s.served, 1);
        assert_non_null(strstr(s.requests[0], "Authorization: Bearer the-token\r\n"));
        assert_non_null(strstr(s.requests[0], "GET /api/v1/nodes?limit=5 HTTP/1.1"));
        ct_buf_done(&answer.body);
        stop(&s);
    }
}

static void test_retries(void **state)
{
    (void)state;
    struct server s = {
        .answers = {"HTTP/1.1 503 X\r\nContent-Length: 0\r\n" CLOSE, "",
                    "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n" CLOSE "{",
                    "HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n" CLOSE, OK_ANSWER}};
    start(&s);
    CT_AUTO(ct_kube) *kube = client(&s, NULL, 20000, NULL);
    struct ct_kube_answer answer = {.body = {.max = 1000}};
    struct ct_err err = {0};
    const struct ct_kube_request put = {
        .method = "PUT", .path = "/x", .type = "application/y", .body = "{\"a\":1}", .body_len = 7};
    expect_ok(ct_kube_send(kube, &put, &answer, &err), &err);
    assert_int_equal(s.served, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_non_null(strstr(s.requests[i], "PUT /x HTTP/1.1\r\n"));
        assert_non_null(strstr(s.requests[i], "Content-Type: application/y\r\n"));
        assert_non_null(strstr(s.requests[i], "\r\n\r\n{\"a\":1}"));
    }
    ct_buf_done(&answer.body);
    stop(&s);
}

static void test_the_budget_ends_retries(void **state)
{
    (void)state;
    struct server s = {
        .answers = {"HTTP/1.1 429 X\r\nRetry-After: 30\r\nContent-Length: 0\r\n" CLOSE}};
    start(&s);
    CT_AUTO(ct_kube) *kube = client(&s, NULL, 10000, NULL);
    struct ct_kube_answer answer = {0};
    struct ct_err err = {0};
    expect_error(ct_kube_send(kube, &get_nodes, &answer, &err), &err, CT_EUNAVAIL, "HTTP 429");
    assert_int_equal(s.served, 1); // 30 s would be beyond it
    assert_int_equal(answer.retry_after, 30);
    ct_buf_done(&answer.body);
    stop(&s);
}

static void test_stop(void **state)
{
    (void)state;
    struct server s = {.answers = {"HTTP/1.1 200 OK\r\nX-Test: hang\r\nContent-Length: 9\r\n\r\n"}};
    start(&s);
    CT_AUTO(ct_kube) *kube = client(&s, NULL, 10000, always);
    struct ct_kube_answer answer = {0};
    struct ct_err err = {0};
    expect_error(ct_kube_send(kube, &get_nodes, &answer, &err), &err, CT_EUNAVAIL, "given up");
    ct_buf_done(&answer.body);
    stop(&s);
}

static void write_token(const char *file, const char *token)
{
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(token, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_token_file(void **state)
{
    (void)state;
    char file[] = "/tmp/ct-kube-token-XXXXXX";
    assert_true(close(mkstemp(file)) == 0);
    write_token(file, "first\n");
    static const char refused[] = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n" CLOSE;
    struct server s = {.answers = {OK_ANSWER, OK_ANSWER, refused, OK_ANSWER, refused, refused}};
    start(&s);
    CT_AUTO(ct_kube) *kube = client(&s, file, 0, NULL);
    struct ct_kube_answer answer = {0};
    struct ct_err err = {0};
    expect_ok(ct_kube_send(kube, &get_nodes, &answer, &err), &err);
    assert_non_null(strstr(s.requests[0], "Bearer first\r\n"));
    write_token(file, "second one"); // another size: seen whatever the clock's step
    expect_ok(ct_kube_send(kube, &get_nodes, &answer, &err), &err);
    assert_non_null(strstr(s.requests[1], "Bearer second one\r\n"));
    expect_ok(ct_kube_send(kube, &get_nodes, &answer, &err), &err); // 401, then read again
    assert_int_equal(s.served, 4);
    expect_error(ct_kube_send(kube, &get_nodes, &answer, &err), &err, CT_EDENIED, "HTTP 401");
    assert_int_equal(s.served, 6);
    assert_int_equal(unlink(file), 0);
    expect_error(ct_kube_send(kube, &get_nodes, &answer, &err), &err, CT_ENOTFOUND,
                 "the API server's token: ");
    ct_buf_done(&answer.body);
    stop(&s);
}

// ---- watches ----

struct seen {
    char lines[4][40];
    size_t n;
    size_t idle;
    int answer;
};

static int on_line(void *cls, const char *line, size_t len, struct ct_err *err)
{
    struct seen *seen = cls;
    (void)err;
    assert_int_equal(strlen(line), len);
    assert_true(seen->n < 4);
    (void)snprintf(seen->lines[seen->n++], 40, "%s", line);
    return seen->answer < 0 ? ct_err_set(err, CT_EPROTO, "as told") : seen->answer;
}

static int on_idle(void *cls, struct ct_err *err)
{
    (void)err;
    ((struct seen *)cls)->idle++;
    return 0;
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" CLOSE

static void test_watches(void **state)
{
    static const struct {
        const char *answer;
        int line_answer;
        int code;
        const char *part;
        size_t lines;
    } cases[] = {
        {CHUNKED "4\r\n{\"a\"\r\n8\r\n:1}\n{}\n{\r\n2\r\n}\n\r\n0\r\n\r\n", 0, 0, "", 3},
        {CHUNKED "3\r\n{}\n\r\n", 0, CT_EUNAVAIL, "GET http", 1}, // no last chunk: broken off
        {CHUNKED "zz\r\n", 0, CT_EUNAVAIL, "GET http", 0},
        {CHUNKED "6\r\n{}\n{}\n\r\n0\r\n\r\n", 1, 0, "", 1},
        {CHUNKED "6\r\n{}\n{}\n\r\n0\r\n\r\n", -1, CT_EPROTO, "as told", 1},
        {CHUNKED "2c\r\n01234567890123456789012345678901234567890123\r\n0\r\n\r\n", 0, CT_ETOOBIG,
         "a line is larger than 32 bytes", 0},
        {"HTTP/1.1 410 Gone\r\nContent-Length: 18\r\n" CLOSE "{\"message\":\"too old\"}", 0,
         CT_EUNAVAIL, "HTTP 410", 0},
        {"HTTP/1.1 200 OK\r\nX-Test: hang\r\nContent-Length: 9\r\n\r\n{}\n", 0, CT_EUNAVAIL,
         "nothing was heard", 1},
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct server s = {.answers = {cases[i].answer}};
        struct seen seen = {.answer = cases[i].line_answer};
        start(&s);
        CT_AUTO(ct_kube) *kube = client(&s, NULL, 0, NULL);
        const struct ct_kube_stream stream = {.path = "/w?watch=1",
                                              .max_line = 32,
                                              .timeout_ms = 5000,
                                              .silence_ms = 700,
                                              .line = on_line,
                                              .idle = on_idle,
                                              .cls = &seen};
        struct ct_kube_answer answer = {0};
        struct ct_err err = {0};
        int rc = ct_kube_watch(kube, &stream, &answer, &err);
        if (cases[i].code == 0) {
            expect_ok(rc, &err);
        } else {
            expect_error(rc, &err, cases[i].code, cases[i].part);
        }
        assert_int_equal(seen.n, cases[i].lines);
        if (i == 0) {
            assert_string_equal(seen.lines[0], "{\"a\":1}");
            assert_string_equal(seen.lines[2], "{}");
        }
        assert_true(seen.idle > 0);
        ct_buf_done(&answer.body);
        stop(&s);
    }
}

static void test_backoff(void **state)
{
    (void)state;
    for (unsigned attempt = 1; attempt < 40; attempt++) {
        unsigned whole = attempt < 8 ? 200U << (attempt - 1) : 15000;
        whole = whole < 15000 ? whole : 15000;
        unsigned wait = ct_kube_backoff(attempt, 0);
        assert_in_range(wait, whole / 2, whole);
        assert_in_range(ct_kube_backoff(attempt, 7), 7000, 7000 + 15000 / 4);
    }
    assert_in_range(ct_kube_backoff(1, 86400), 60000, 61000);
}

int main(void)
{
    struct ct_err err = {0};
    if (ct_kube_init(&err) < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_answers_mean),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_the_budget_ends_retries),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_token_file),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
