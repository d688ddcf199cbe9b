// SPDX-License-Identifier: Apache-2.0
#include "scrape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

#define PATIENCE_MS 5000 // for a connection, from its first byte's chance to the last
#define PAUSE_MS 200     // when a connection cannot be taken: no descriptor is left

// ---- requests

static bool starts(const char *data, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(data, with, n) == 0;
}

// "METHOD TARGET HTTP/1.x", RFC 9112 section 3; no field of the head matters.
static int judge_line(const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    size_t method = space != NULL ? (size_t)(space - line) : 0;
    const char *target = line + method + 1;
    const char *end = method > 0 ? memchr(target, ' ', len - method - 1) : NULL;
    if (end == NULL || len - (size_t)(end + 1 - line) != 8 || !starts(end + 1, 8, "HTTP/1.")) {
        return 400;
    }
    size_t target_len = (size_t)(end - target);
    const char *query = memchr(target, '?', target_len);
    size_t path_len = query != NULL ? (size_t)(query - target) : target_len;
    if (path_len != strlen("/metrics") || !starts(target, path_len, "/metrics")) {
        return 404;
    }
    return method == 3 && starts(line, method, "GET") ? 200 : 405;
}

int ct_scrape_read(const char *data, size_t len)
{
    const char *line_end = len > 0 ? memchr(data, '\n', len) : NULL;
    bool whole = len >= 4 && memmem(data, len, "\r\n\r\n", 4) != NULL;
    bool whole_lf = len >= 2 && memmem(data, len, "\n\n", 2) != NULL;
    if (!whole && !whole_lf) {
        return len > CT_SCRAPE_HEAD_MAX ? 431 : CT_SCRAPE_MORE;
    }
    size_t line = (size_t)(line_end - data);
    line -= line > 0 && data[line - 1] == '\r' ? 1 : 0;
    return judge_line(data, line);
}

// ---- answers

size_t ct_scrape_answer(int status, const char *body, char *out, size_t size)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {431, "Request Header Fields Too Large"},
    };
    const char *reason = "";
    for (size_t i = 0; i < CT_ARRAY_LEN(reasons); i++) {
        reason = reasons[i].status == status ? reasons[i].reason : reason;
    }
    bool good = status == 200;
    size_t body_len = good ? strlen(body) : strlen(reason) + 1;
    int n = snprintf(out, size,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n%sConnection: close\r\n\r\n%s%s",
                     status, reason, body_len, status == 405 ? "Allow: GET\r\n" : "",
                     good ? body : reason, good ? "" : "\n");
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

// ---- connections

static void end(struct ct_scrape_connection *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = -1;
}

void ct_scrape_init(struct ct_scrape *scrape, int listener, char *memory, size_t size,
                    size_t (*fill)(void *cls, int status, char *out, size_t size), void *cls)
{
    *scrape = (struct ct_scrape){
        .listener = listener, .fill = fill, .cls = cls, .size = size / CT_SCRAPE_CONNECTIONS};
    for (size_t i = 0; i < CT_SCRAPE_CONNECTIONS; i++) {
        scrape->connection[i] =
            (struct ct_scrape_connection){.fd = -1, .data = memory + i * scrape->size};
    }
}

void ct_scrape_done(struct ct_scrape *scrape)
{
    for (size_t i = 0; i < CT_SCRAPE_CONNECTIONS; i++) {
        end(&scrape->connection[i]);
    }
}

// The oldest one makes room: those who hold all of them do not keep others out.
static struct ct_scrape_connection *make_room(struct ct_scrape *scrape)
{
    struct ct_scrape_connection *oldest = &scrape->connection[0];
    for (size_t i = 0; i < CT_SCRAPE_CONNECTIONS; i++) {
        struct ct_scrape_connection *c = &scrape->connection[i];
        if (c->fd < 0) {
            return c;
        }
        oldest = c->end_ms < oldest->end_ms ? c : oldest;
    }
    end(oldest);
    return oldest;
}

static void take_connection(struct ct_scrape *scrape)
{
    int fd = accept4(scrape->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        bool none = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        scrape->blind_until_ms = none ? ct_clock_ms() + PAUSE_MS : 0;
        return;
    }
    struct ct_scrape_connection *c = make_room(scrape);
    *c = (struct ct_scrape_connection){
        .fd = fd, .end_ms = ct_clock_ms() + PATIENCE_MS, .data = c->data};
}

static void go_on(struct ct_scrape *scrape, struct ct_scrape_connection *c)
{
    if (!c->answering) {
        ssize_t n = recv(c->fd, c->data + c->len, CT_SCRAPE_HEAD_MAX + 1 - c->len, 0);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                end(c);
            }
            return;
        }
        c->len += (size_t)n;
        int status = ct_scrape_read(c->data, c->len);
        if (status == CT_SCRAPE_MORE) {
            return;
        }
        c->len = scrape->fill(scrape->cls, status, c->data, scrape->size);
        c->answering = true;
    }
    ssize_t n = send(c->fd, c->data + c->sent, c->len - c->sent, MSG_NOSIGNAL);
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent == c->len || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        end(c);
    }
}

// Index 0 is the listener, i + 1 connection number i.
void ct_scrape_wait(struct ct_scrape *scrape, struct pollfd fds[CT_SCRAPE_FDS], int *timeout_ms)
{
    int64_t now = ct_clock_ms();
    int64_t next = *timeout_ms < 0 ? -1 : now + *timeout_ms;
    bool blind = scrape->blind_until_ms > now;
    fds[0] = (struct pollfd){.fd = blind ? -1 : scrape->listener, .events = POLLIN};
    next = blind && (next < 0 || scrape->blind_until_ms < next) ? scrape->blind_until_ms : next;
    for (size_t i = 0; i < CT_SCRAPE_CONNECTIONS; i++) {
        struct ct_scrape_connection *c = &scrape->connection[i];
        if (c->fd >= 0 && c->end_ms <= now) {
            end(c);
        }
        fds[i + 1] = (struct pollfd){.fd = c->fd, .events = c->answering ? POLLOUT : POLLIN};
        next = c->fd >= 0 && (next < 0 || c->end_ms < next) ? c->end_ms : next;
    }
    *timeout_ms = next < 0 ? -1 : next > now ? (int)(next - now) : 0;
}

void ct_scrape_turn(struct ct_scrape *scrape, const struct pollfd fds[CT_SCRAPE_FDS])
{
    for (size_t i = 0; i < CT_SCRAPE_CONNECTIONS; i++) {
        if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0) {
            go_on(scrape, &scrape->connection[i]);
        }
    }
    if (fds[0].fd >= 0 && fds[0].revents != 0) {
        take_connection(scrape);
    }
}
