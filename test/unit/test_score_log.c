// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "log.h"
#include "score_log.h"
#include "termination.h"

#define BIT(check) (UINT32_C(1) << (check))

// 55 points: the eBPF checks fail, as on a node without an agent.
static void fill(struct ct_facts *facts)
{
    *facts = (struct ct_facts){0};
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        for (int h = 0; h < CT_HOLDER_COUNT; h++) {
            if (i >= CT_CHECK_EBPF_CONNECTED) {
                ct_fact_failed(facts, (enum ct_check)i, (enum ct_holder)h, "no agent \"here\"");
            } else {
                ct_fact_proven(facts, (enum ct_check)i, (enum ct_holder)h);
            }
        }
    }
}

static void judges(void **state)
{
    (void)state;
    static const struct {
        int min;
        uint32_t require;
        bool memory_failed;
        const char *message; // NULL: passes
    } cases[] = {
        {0, 0, false, NULL},
        {55, 0, false, NULL},
        {55, BIT(CT_CHECK_MEMFD_SECRET) | BIT(CT_CHECK_MLOCK), false, NULL},
        {56, 0, false,
         "55 is below the minimum of 56, the app is not started: ebpf_connected: no agent"},
        {0, BIT(CT_CHECK_KPROBES_ACTIVE), false,
         "a required check failed, the app is not started: kprobes_active: no agent"},
        {0, 0, true, NULL},
        {40, 0, true, NULL},
        {41, 0, true,
         "40 is below the minimum of 41, the app is not started: memfd_secret: kernel"},
        {0, BIT(CT_CHECK_MEMFD_SECRET), true, "memfd_secret: kernel 5.10 < 5.14"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_facts facts;
        struct ct_score score;
        struct ct_err err = {0};
        fill(&facts);
        if (cases[i].memory_failed) {
            ct_fact_failed(&facts, CT_CHECK_MEMFD_SECRET, CT_HOLDER_WRAPPER, "kernel 5.10 < 5.14");
        }
        ct_score_compute(&facts, &score);
        int late = ct_score_reached(&score, cases[i].min, cases[i].require, &err);
        if (cases[i].message == NULL) {
            expect_ok(late, &err);
            expect_ok(ct_score_reachable(&facts, cases[i].min, cases[i].require, &err), &err);
            continue;
        }
        expect_error(late, &err, CT_EDENIED, cases[i].message);
        int early = ct_score_reachable(&facts, cases[i].min, cases[i].require, &err);
        assert_int_equal(early, -CT_EDENIED);
    }
}

// What nobody tried yet may still be proven, at first.
static void hopes_for_what_is_untried(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    struct ct_err err = {0};
    expect_ok(ct_score_reachable(&facts, 75, BIT(CT_CHECK_KPROBES_ACTIVE), &err), &err);
    ct_fact_failed(&facts, CT_CHECK_MLOCK, CT_HOLDER_APP, "RLIMIT_MEMLOCK");
    expect_error(ct_score_reachable(&facts, 70, 0, &err), &err, CT_EDENIED,
                 "protection score of at most 65 is below the minimum of 70");
}

// What ct_score_log() writes to stderr.
static void capture(enum ct_log_format format, char *out, size_t size)
{
    struct ct_facts facts;
    struct ct_score score;
    int pipes[2];
    int saved = dup(STDERR_FILENO);
    fill(&facts);
    ct_score_compute(&facts, &score);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
    ct_log_init("cloudtaser-wrapper", format);
    ct_score_log(&score);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    (void)close(pipes[1]);
    ssize_t n = 0;
    size_t len = 0;
    while ((n = read(pipes[0], out + len, size - 1 - len)) > 0) {
        len += (size_t)n;
    }
    out[len] = '\0';
    (void)close(pipes[0]);
}

static void logs_text(void **state)
{
    (void)state;
    char out[4096];
    capture(CT_LOG_TEXT, out, sizeof(out));
    assert_string_equal(out, "[cloudtaser-wrapper] Protection score: 55/75\n"
                             "[cloudtaser-wrapper] memfd_secret: OK (+15)\n"
                             "[cloudtaser-wrapper] mlock: OK (+10)\n"
                             "[cloudtaser-wrapper] madv_dontdump: OK (+10)\n"
                             "[cloudtaser-wrapper] pr_set_dumpable: OK (+10)\n"
                             "[cloudtaser-wrapper] token_protected: OK (+10)\n"
                             "[cloudtaser-wrapper] ebpf_connected: FAIL (+0) no agent \"here\"\n"
                             "[cloudtaser-wrapper] kprobes_active: FAIL (+0) no agent \"here\"\n");
}

static void logs_one_json_object(void **state)
{
    (void)state;
    char out[4096];
    struct ct_err err = {0};
    CT_AUTO_JSON doc = NULL;
    capture(CT_LOG_JSON, out, sizeof(out));
    char *end = strchr(out, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    expect_ok(ct_json_parse(out, strlen(out), "the line", &doc, &err), &err);
    assert_string_equal(ct_json_str(doc, "msg"), "Protection score: 55/75");
    assert_int_equal(json_integer_value(json_object_get(doc, "score")), 55);
    assert_int_equal(json_integer_value(json_object_get(doc, "max")), 75);
    json_t *check = ct_json_at(doc, "checks", "mlock", NULL);
    assert_true(json_is_true(json_object_get(check, "ok")));
    check = ct_json_at(doc, "checks", "kprobes_active", NULL);
    assert_true(json_is_false(json_object_get(check, "ok")));
    assert_string_equal(ct_json_str(check, "reason"), "no agent \"here\"");
}

// ---- the termination message

static char folder[] = "/tmp/ct-test-termination-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static size_t read_back(const char *path, char *out, size_t size)
{
    CT_AUTO_FILE f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n] = '\0';
    return n;
}

static void writes_where_a_file_is(void **state)
{
    (void)state;
    char text[2 * CT_TERMINATION_MAX];
    char sentence[2 * CT_TERMINATION_MAX];
    assert_int_equal(close(creat(in_folder("log"), 0600)), 0);
    ct_termination_write(in_folder("log"), "a reason\n\x1b[31m");
    assert_int_equal(read_back(in_folder("log"), text, sizeof(text)), 15);
    assert_string_equal(text, "a reason??[31m\n");
    memset(sentence, 'x', sizeof(sentence));
    sentence[sizeof(sentence) - 1] = '\0';
    ct_termination_write(in_folder("log"), sentence);
    assert_int_equal(read_back(in_folder("log"), text, sizeof(text)), CT_TERMINATION_MAX);
}

static void writes_nowhere_else(void **state)
{
    (void)state;
    char text[64];
    struct stat st;
    ct_termination_write(in_folder("none"), "a reason");
    assert_int_equal(stat(in_folder("none"), &st), -1);
    char link[128];
    (void)snprintf(link, sizeof(link), "%s", in_folder("link"));
    assert_int_equal(close(creat(in_folder("target"), 0600)), 0);
    assert_int_equal(symlink(in_folder("target"), link), 0);
    ct_termination_write(link, "a reason");
    assert_int_equal(read_back(in_folder("target"), text, sizeof(text)), 0);
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    ct_termination_write(in_folder("fifo"), "a reason"); // does not wait for a reader
    static const char *const names[] = {"log", "link", "target", "fifo"};
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        (void)unlink(in_folder(names[i]));
    }
    (void)rmdir(folder);
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(hopes_for_what_is_untried),
        cmocka_unit_test(logs_text),
        cmocka_unit_test(logs_one_json_object),
        cmocka_unit_test(writes_where_a_file_is),
        cmocka_unit_test(writes_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
