// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static char captured[65536];

// What one call writes to standard error.
static const char *capture(enum ct_log_level level, const char *msg)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(saved >= 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    errno = EXDEV;
    ct_log(level, "%s", msg);
    int after = errno;
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    (void)close(ends[1]);
    ssize_t n = read(ends[0], captured, sizeof(captured) - 1);
    (void)close(ends[0]);
    assert_true(n > 0);
    assert_int_equal(after, EXDEV);
    captured[n] = '\0';
    return captured;
}

static void writes_text(void **state)
{
    (void)state;
    ct_log_init("prog", CT_LOG_TEXT);
    assert_int_equal(ct_log_format(), CT_LOG_TEXT);
    const struct {
        enum ct_log_level level;
        const char *msg, *line;
    } cases[] = {
        {CT_LOG_INFO, "Protection score: 55/75", "[prog] Protection score: 55/75\n"},
        {CT_LOG_ERROR, "x", "[prog] error: x\n"},
        {CT_LOG_WARN, "x", "[prog] warning: x\n"},
        {CT_LOG_DEBUG, "x", "[prog] x\n"},
        {CT_LOG_INFO, "a\n[prog] forged\r\t\x1b[31m\x7f", "[prog] a?[prog] forged???[31m?\n"},
        {CT_LOG_INFO,
         "\xc2\x9b"
         "C1",
         "[prog] ?C1\n"},
        {CT_LOG_INFO, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92",
         "[prog] gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92\n"},
        {CT_LOG_INFO, "\xff\xc0\x80\xe0\x80\x80\xed\xa0\x80\xf5", "[prog] ??????????\n"},
        {CT_LOG_INFO, "cut \xe2\x82", "[prog] cut ??\n"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        assert_string_equal(capture(cases[i].level, cases[i].msg), cases[i].line);
    }
}

static void writes_json(void **state)
{
    (void)state;
    ct_log_init("prog", CT_LOG_JSON);
    const char *line = capture(CT_LOG_WARN, "say \"no\" \\ \n");
    json_t *doc = json_loads(line, 0, NULL);
    assert_non_null(doc);
    assert_string_equal(json_string_value(json_object_get(doc, "program")), "prog");
    assert_string_equal(json_string_value(json_object_get(doc, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(doc, "msg")), "say \"no\" \\ ?");
    // Its own calendar must agree with the C library's.
    struct tm tm = {0};
    const char *stamp = json_string_value(json_object_get(doc, "time"));
    const char *rest = strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(rest);
    assert_int_equal(rest[0], '.');
    assert_int_equal(rest[4], 'Z');
    // time(2) is of the clock's last tick, the log of its finest: at a second's edge that is one less.
    time_t difference = time(NULL) - timegm(&tm);
    assert_true(difference >= -1 && difference < 60);
    json_decref(doc);
}

static void bounds_its_lines(void **state)
{
    (void)state;
    static char msg[10000];
    memset(msg, '"', sizeof(msg) - 1);
    for (int format = CT_LOG_TEXT; format <= CT_LOG_JSON; format++) {
        ct_log_init("prog", (enum ct_log_format)format);
        const char *line = capture(CT_LOG_INFO, msg);
        size_t len = strlen(line);
        assert_true(len < 5000);
        assert_int_equal(line[len - 1], '\n');
        assert_ptr_equal(strchr(line, '\n'), line + len - 1);
        assert_non_null(strstr(line, "..."));
        if (format == CT_LOG_JSON) {
            json_t *doc = json_loads(line, 0, NULL);
            assert_non_null(doc);
            json_decref(doc);
        }
    }
}

// A line with facts, caught as capture() does.
static const char *capture_record(const struct ct_log_field *fields, size_t n)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    ct_log_record(CT_LOG_INFO, fields, n, "said \"so\"");
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    (void)close(ends[1]);
    ssize_t read_n = read(ends[0], captured, sizeof(captured) - 1);
    (void)close(ends[0]);
    assert_true(read_n > 0);
    captured[read_n] = '\0';
    return captured;
}

static void writes_facts(void **state)
{
    (void)state;
    char evil[4096];
    memset(evil, '"', sizeof(evil) - 1);
    evil[sizeof(evil) - 1] = '\0';
    struct ct_log_field fields[CT_LOG_FIELDS + 3] = {
        {.name = "plain", .text = "a"},
        {.name = "escaped", .text = "a\"b\\c\n{\x1b[31m\xff"},
        {.name = "number", .number = -12345678901},
        {.name = "yes", .flag = true, .number = 1},
        {.name = "no", .flag = true},
        {.name = "empty", .text = ""},
    };
    for (size_t i = 6; i < CT_ARRAY_LEN(fields); i++) {
        fields[i] = (struct ct_log_field){.name = i == 6 ? "long" : "more", .text = evil};
    }
    ct_log_init("prog", CT_LOG_JSON);
    const char *line = capture_record(fields, CT_ARRAY_LEN(fields));
    json_t *all = json_loads(line, 0, NULL);
    assert_non_null(all);
    assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
    assert_string_equal(json_string_value(json_object_get(all, "msg")), "said \"so\"");
    assert_string_equal(json_string_value(json_object_get(all, "plain")), "a");
    assert_string_equal(json_string_value(json_object_get(all, "escaped")), "a\"b\\c?{?[31m?");
    assert_true(json_integer_value(json_object_get(all, "number")) == -12345678901);
    assert_true(json_is_true(json_object_get(all, "yes")));
    assert_true(json_is_false(json_object_get(all, "no")));
    assert_string_equal(json_string_value(json_object_get(all, "empty")), "");
    assert_int_equal(json_string_length(json_object_get(all, "long")), CT_LOG_FIELD_MAX);
    json_decref(all);
    ct_log_init("prog", CT_LOG_TEXT);
    assert_string_equal(capture_record(fields, CT_ARRAY_LEN(fields)), "[prog] said \"so\"\n");
}

// In a process of its own: it is for good. Returns how many lines were dropped.
static int dropped_by(int stderr_fd, int lines)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(10); // what waits for a reader here ends so
        (void)dup2(stderr_fd, STDERR_FILENO);
        ct_log_init("prog", CT_LOG_TEXT);
        ct_log_never_block();
        for (int i = 0; i < lines; i++) {
            ct_log(CT_LOG_INFO, "%0200d", i);
        }
        _exit((int)(ct_log_dropped() & 127));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void never_waits_for_a_reader(void **state)
{
    (void)state;
    int pipes[2];
    int sockets[2];
    char path[] = "/tmp/ct-test-log-XXXXXX";
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(fcntl(pipes[1], F_SETPIPE_SZ, 4096), 4096);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    int file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(dropped_by(pipes[1], 5), 0);
    assert_in_range(dropped_by(pipes[1], 100), 80, 100);
    // The description that others write by waits as it did.
    assert_int_equal(fcntl(pipes[1], F_GETFL) & O_NONBLOCK, 0);
    assert_int_not_equal(dropped_by(sockets[1], 10000), 0);
    assert_int_equal(fcntl(sockets[1], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(dropped_by(file, 100), 0);
    assert_int_equal(unlink(path), 0);
    const int all[] = {pipes[0], pipes[1], sockets[0], sockets[1], file};
    for (size_t i = 0; i < CT_ARRAY_LEN(all); i++) {
        (void)close(all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_facts),
        cmocka_unit_test(writes_json),
        cmocka_unit_test(bounds_its_lines),
        cmocka_unit_test(never_waits_for_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
