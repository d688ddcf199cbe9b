// SPDX-License-Identifier: Apache-2.0
//
// What bounds the HTTP server: bodies, time, connections.
#include <errno.h>

#include "httpd_client.h"

static void test_chunked_is_bounded(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_BUF answer = {.max = 1 << 20};
    static const char head[] =
        "POST /any HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    static char chunk[7 + 65536 + 3];
    (void)snprintf(chunk, sizeof(chunk), "10000\r\n%065536d\r\n", 0);
    for (unsigned chunks = 1; chunks <= 16; chunks *= 2) {
        CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
        bool said = say(fd, head, sizeof(head) - 1);
        for (unsigned i = 0; i < chunks; i++) {
            said = said && say(fd, chunk, sizeof(chunk) - 1);
        }
        said = said && say(fd, "0\r\n\r\n", 5);
        hear(fd, &answer);
        unsigned bytes = chunks * 65536;
        // To the bound: taken. To four times the bound: told. Beyond: cut off.
        assert_int_equal(status_of(&answer), bytes <= MAX_BODY       ? 200
                                             : bytes <= 4 * MAX_BODY ? 413
                                                                     : 0);
    }
}

// Sent in full, a body up to four times too large is answered, and the connection stays in use.
static void test_too_large_is_told_to_who_sends_it_all(void **state)
{
    struct fixture *f = *state;
    CT_AUTO_BUF answer = {.max = 1 << 20};
    CT_AUTO_STR body = calloc(1, 4 * MAX_BODY);
    CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
    assert_non_null(body);
    for (unsigned times = 2; times <= 4; times++) {
        char head[128];
        int n = snprintf(head, sizeof(head),
                         "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: %u\r\n\r\n",
                         times * MAX_BODY);
        assert_true(say(fd, head, (size_t)n));
        assert_true(say(fd, body, times * MAX_BODY));
        hear(fd, &answer);
        assert_int_equal(status_of(&answer), 413);
    }
    assert_true(is_answered(fd));
}

// All bodies together are bounded: 16 of the largest size.
static void test_large_bodies_together_are_bounded(void **state)
{
    enum { CLIENTS = 24, PART = 120 * 1024 };
    struct fixture *f = *state;
    int fds[CLIENTS];
    unsigned statuses[600] = {0};
    CT_AUTO_BUF answer = {.max = 1 << 20};
    CT_AUTO_STR part = calloc(1, PART);
    assert_non_null(part);
    static const char head[] = "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 122881\r\n\r\n";
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial(ct_httpd_port(f->server));
        assert_true(say(fds[i], head, sizeof(head) - 1));
        assert_true(say(fds[i], part, PART));
    }
    const struct timespec moment = {.tv_nsec = 200 * 1000 * 1000};
    (void)nanosleep(&moment, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(say(fds[i], "x", 1));
        hear(fds[i], &answer);
        statuses[status_of(&answer)]++;
        (void)close(fds[i]);
    }
    assert_int_equal(statuses[200] + statuses[503], CLIENTS);
    assert_true(statuses[503] >= 1);
    assert_true(statuses[200] >= 16);
    // All of it was given back.
    CT_AUTO_FD fd = dial(ct_httpd_port(f->server));
    assert_true(say(fd, head, sizeof(head) - 1) && say(fd, part, PART) && say(fd, "x", 1));
    hear(fd, &answer);
    assert_int_equal(status_of(&answer), 200);
}

// How long a connection lives that sends `first` and then a byte each tenth of a second.
static double lifetime(unsigned port, const char *first, const char *drip)
{
    struct timespec start;
    struct timespec now;
    const struct timespec tenth = {.tv_nsec = 100 * 1000 * 1000};
    CT_AUTO_FD fd = dial(port);
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    assert_true(say(fd, first, strlen(first)));
    double seconds = 0;
    char byte;
    while (seconds < 15) {
        (void)nanosleep(&tenth, NULL);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
        bool open = *drip == '\0' || say(fd, drip, 1);
        ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (!open || n == 0 || (n < 0 && errno != EAGAIN)) {
            return seconds;
        }
    }
    return seconds;
}

static void test_slow_senders_are_cut_off(void **state)
{
    struct fixture *f = *state;
    unsigned port = ct_httpd_port(f->server);
    static const char head[] = "POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n";
    const struct {
        const char *first, *drip;
        double most;
    } cases[] = {
        {"", "", 3},                                       // says nothing
        {head, "", 3},                                     // stops in its body
        {"GET /get HTTP/1.1\r\nHost: x\r\nX: ", "y", 5.5}, // drips its head
        {head, "y", 5.5},                                  // drips its body
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        double seconds = lifetime(port, cases[i].first, cases[i].drip);
        if (seconds < 0.5 || seconds > cases[i].most) {
            fail_msg("case %zu lived for %.1f s", i, seconds);
        }
    }
}

static void pause_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

// Between requests a connection may rest much longer than one that has asked for nothing, but not for
// ever, and a line that drips does not count as a request.
static void test_kept_connections_may_rest(void **state)
{
    struct fixture *f = *state;
    unsigned port = ct_httpd_port(f->server);
    CT_AUTO_FD fd = dial(port);
    assert_true(is_answered(fd));
    pause_ms(3500); // more than head_s and timeout_s together, and a round of the guard
    assert_true(is_answered(fd));
    CT_AUTO_FD idle = dial(port);
    assert_true(is_answered(idle));
    for (int i = 0; i < 70 && say(idle, "G", 1); i++) {
        pause_ms(100);
    }
    assert_true(recv(idle, &(char){0}, 1, MSG_DONTWAIT) <= 0);
    assert_int_not_equal(errno, EAGAIN);
}

static void restart(struct fixture *f, unsigned connections, unsigned per_address)
{
    struct ct_err err = {0};
    ct_httpd_stop(ct_steal(&f->server));
    f->options.max_connections = connections;
    f->options.max_per_address = per_address;
    f->options.idle_s = 60;
    expect_ok(ct_httpd_start(&f->options, &f->server, &err), &err);
}

// How many of eight connections from 127.0.0.1 are served, and whether one from elsewhere still is.
static unsigned served_of_eight(unsigned port, bool *elsewhere)
{
    int fds[8];
    unsigned served = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(fds); i++) {
        fds[i] = dial(port);
        served += is_answered(fds[i]);
    }
    CT_AUTO_FD other = dial_from(INADDR_LOOPBACK + 1, port);
    *elsewhere = is_answered(other);
    for (size_t i = 0; i < CT_ARRAY_LEN(fds); i++) {
        (void)close(fds[i]);
    }
    return served;
}

static void test_one_address_cannot_take_all_connections(void **state)
{
    static const struct {
        unsigned connections, per_address, served;
        bool elsewhere;
    } cases[] = {
        {12, 12, 8, true}, // without the bound, all are served
        {12, 0, 6, true},  // by default half
        {12, 3, 3, true},
    };
    struct fixture *f = *state;
    f->options.threads = 1;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        bool elsewhere = false;
        restart(f, cases[i].connections, cases[i].per_address);
        unsigned served = served_of_eight(ct_httpd_port(f->server), &elsewhere);
        assert_int_equal(served, cases[i].served);
        assert_int_equal(elsewhere, cases[i].elsewhere);
    }
}

// Three quarters full, connections that rest make room.
static void test_resting_connections_make_room(void **state)
{
    struct fixture *f = *state;
    f->options.threads = 1;
    for (unsigned n = 5; n <= 6; n++) {
        int fds[6];
        unsigned left = 0;
        restart(f, 8, 8);
        for (unsigned i = 0; i < n; i++) {
            fds[i] = dial(ct_httpd_port(f->server));
            assert_true(is_answered(fds[i]));
        }
        pause_ms(3500);
        for (unsigned i = 0; i < n; i++) {
            left += is_answered(fds[i]);
            (void)close(fds[i]);
        }
        // Those that were opened a moment later may stay once there is room.
        assert_true(n == 5 ? left == 5 : left < n);
    }
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_chunked_is_bounded),
        WITH_SERVER(test_too_large_is_told_to_who_sends_it_all),
        WITH_SERVER(test_large_bodies_together_are_bounded),
        WITH_SERVER(test_slow_senders_are_cut_off),
        WITH_SERVER(test_kept_connections_may_rest),
        WITH_SERVER(test_one_address_cannot_take_all_connections),
        WITH_SERVER(test_resting_connections_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
