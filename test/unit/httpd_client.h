// SPDX-License-Identifier: Apache-2.0
//
// A server for tests, and what speaks to it byte by byte.
#ifndef CT_TEST_HTTPD_CLIENT_H
#define CT_TEST_HTTPD_CLIENT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "expect.h"
#include "httpd.h"

#define MAX_BODY (128u * 1024)

struct fixture {
    struct ct_httpd *server;
    struct ct_httpd_options options;
};

// Tells the client what the handler was given.
static inline void handle_echo(void *cls, const struct ct_httpd_request *request,
                               struct ct_httpd_reply *reply)
{
    (void)cls;
    assert_int_equal(request->body[request->body_len], '\0');
    reply->content_type = "text/plain";
    ct_buf_addf(&reply->body, "method=%s path=%s query=%s type=%s token=%s body=%zu:%.20s",
                request->method, request->path, request->query, request->content_type,
                request->token, request->body_len, request->body);
}

static inline void handle_slow(void *cls, const struct ct_httpd_request *request,
                               struct ct_httpd_reply *reply)
{
    const struct timespec moment = {.tv_nsec = 500 * 1000 * 1000};
    (void)cls;
    (void)request;
    (void)nanosleep(&moment, NULL);
    ct_buf_add_str(&reply->body, "slow");
}

static inline void handle_teapot(void *cls, const struct ct_httpd_request *request,
                                 struct ct_httpd_reply *reply)
{
    (void)cls;
    (void)request;
    ct_httpd_error(reply, 418, "no \"%s\" here", "coffee");
}

static inline void handle_failed(void *cls, const struct ct_httpd_request *request,
                                 struct ct_httpd_reply *reply)
{
    (void)cls;
    (void)request;
    reply->body.failed = true;
}

static const struct ct_httpd_route routes[] = {
    {"GET", "/get", false, handle_echo},      {"POST", "/json", true, handle_echo},
    {"POST", "/any", false, handle_echo},     {"*", "/below/*", false, handle_echo},
    {"GET", "/slow", false, handle_slow},     {"GET", "/teapot", false, handle_teapot},
    {"GET", "/failed", false, handle_failed},
};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct ct_err err = {0};
    f->options = (struct ct_httpd_options){
        .listen = "127.0.0.1:0",
        .threads = 2,
        .head_s = 1,
        .timeout_s = 1,
        .idle_s = 5,
        .max_body = MAX_BODY,
        .routes = routes,
        .n_routes = CT_ARRAY_LEN(routes),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    expect_ok(ct_httpd_start(&f->options, &f->server, &err), &err);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    ct_httpd_stop(f->server);
    free(f);
    return 0;
}

// `from` may be 0: any address.
static inline int dial_from(uint32_t from, unsigned port)
{
    const struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(bind(fd, (const struct sockaddr *)&source, sizeof(source)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static inline int dial(unsigned port)
{
    return dial_from(0, port);
}

static inline bool say(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0) {
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    return true;
}

// One whole answer, or what came until the end of the connection.
static inline void hear(int fd, struct ct_buf *out)
{
    char part[4096];
    ct_buf_reset(out);
    for (;;) {
        ssize_t n = recv(fd, part, sizeof(part), 0);
        if (n <= 0) {
            ct_buf_add(out, "", 0);
            return;
        }
        ct_buf_add(out, part, (size_t)n);
        const char *end = strstr(out->data, "\r\n\r\n");
        const char *length = strstr(out->data, "Content-Length: ");
        if (end != NULL && length != NULL &&
            out->len >= (size_t)(end - out->data) + 4 + strtoul(length + 16, NULL, 10)) {
            return;
        }
    }
}

static inline unsigned status_of(const struct ct_buf *answer)
{
    return answer->len > 12 ? (unsigned)strtoul(answer->data + 9, NULL, 10) : 0;
}

static const char get[] = "GET /get HTTP/1.1\r\nHost: x\r\n\r\n";

static inline bool is_answered(int fd)
{
    CT_AUTO_BUF answer = {.max = 1 << 20};
    if (!say(fd, get, sizeof(get) - 1)) {
        return false;
    }
    hear(fd, &answer);
    return status_of(&answer) == 200;
}

#endif
