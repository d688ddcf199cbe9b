// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "expect.h"

static char folder[] = "/tmp/ct-program-XXXXXX";

static void make(const char *path, mode_t mode)
{
    CT_AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL || chdir(folder) != 0 || mkdir("plain", 0755) != 0 ||
        mkdir("good", 0755) != 0 || mkdir("nested", 0755) != 0 || mkdir("nested/tool", 0755) != 0) {
        return -1;
    }
    make("plain/tool", 0644);
    make("good/tool", 0755);
    make("here", 0755);
    return symlink("good/tool", "link");
}

static int teardown(void **state)
{
    (void)state;
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return chdir("/") == 0 ? system(command) : -1;
}

// As execvp(3) and the shell do: the first that can be executed, in the order of PATH; an empty
// folder is the current one; a name with a slash is looked for nowhere.
static void test_find(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *path;
        const char *found; // NULL: the code
        int code;
    } cases[] = {
        {"tool", "good", "good/tool", 0},
        {"tool", "plain:good", "good/tool", 0},
        {"tool", "nested:/nowhere:good:plain", "good/tool", 0},
        {"tool", "here:good", "good/tool", 0}, // a file for a folder
        {"tool", "good/", "good//tool", 0},
        {"tool", "plain", NULL, CT_ENOEXEC},
        {"tool", "nested", NULL, CT_ENOEXEC},
        {"tool", "plain:/nowhere", NULL, CT_ENOEXEC},
        {"tool", "/nowhere", NULL, CT_ENOTFOUND},
        {"tool", "", NULL, CT_ENOTFOUND},
        {"here", "", "here", 0},
        {"here", ":", "here", 0},
        {"here", "/nowhere:", "here", 0},
        {"here", ":/nowhere", "here", 0},
        {"here", "good::plain", "here", 0},
        {"here", "good", NULL, CT_ENOTFOUND},
        {"good/tool", "/nowhere", "good/tool", 0},
        {"./here", "", "./here", 0},
        {"./link", NULL, "./link", 0},
        {"./tool", "good", NULL, CT_ENOTFOUND},
        {"good/", "", NULL, CT_ENOEXEC},
        {"here/tool", "good", NULL, CT_ENOTFOUND},
        {"", "good", NULL, CT_ENOTFOUND},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        char found[64] = "";
        int status = ct_program_find(cases[i].name, cases[i].path, found, sizeof(found), &err);
        assert_int_equal(status, -cases[i].code);
        if (cases[i].found != NULL) {
            assert_string_equal(found, cases[i].found);
        } else {
            assert_non_null(strstr(err.msg, cases[i].name));
        }
    }
}

static void test_default_path(void **state)
{
    (void)state;
    struct ct_err err = {0};
    char found[64] = "";
    expect_ok(ct_program_find("sh", NULL, found, sizeof(found), &err), &err);
    assert_string_equal(found, "/bin/sh");
}

static void test_what_was_lost(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat("good/tool", &st), 0);
    const struct {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        bool no_new_privs;
        const char *lost;
    } cases[] = {
        {0755, st.st_uid + 1, st.st_gid + 1, false, NULL},
        {04755, st.st_uid, st.st_gid, false, NULL},
        {04755, st.st_uid + 1, st.st_gid, false, "is set-uid, which a program loses"},
        {04755, st.st_uid + 1, st.st_gid, true, NULL},
        {02755, st.st_uid, st.st_gid, false, NULL},
        {02755, st.st_uid, st.st_gid + 1, false, "is set-gid, which a program loses"},
        {02745, st.st_uid, st.st_gid + 1, false, NULL}, // not executable for the group: locking
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        assert_int_equal(chmod("good/tool", cases[i].mode), 0);
        int status = ct_program_check_started("good/tool", "x", cases[i].uid, cases[i].gid,
                                              cases[i].no_new_privs, &err);
        if (cases[i].lost == NULL) {
            expect_ok(status, &err);
        } else {
            expect_error(status, &err, CT_EDENIED, cases[i].lost);
        }
    }
    assert_int_equal(chmod("good/tool", 0755), 0);
}

static void test_too_long(void **state)
{
    (void)state;
    struct ct_err err = {0};
    char found[8];
    expect_error(ct_program_find("./a-long-name", NULL, found, sizeof(found), &err), &err,
                 CT_ENOEXEC, "(ENAMETOOLONG)");
    // A folder that makes the name too long is passed over.
    expect_ok(ct_program_find("here", "a-long-folder:", found, sizeof(found), &err), &err);
    assert_string_equal(found, "here");
}

static void test_exec_errors(void **state)
{
    (void)state;
    static const struct {
        int value;
        int code;
        const char *part;
    } cases[] = {
        {ENOENT, CT_ENOTFOUND, "(ENOENT)"},  {ENOTDIR, CT_ENOTFOUND, "(ENOTDIR)"},
        {EACCES, CT_ENOEXEC, "noexec"},      {ENOEXEC, CT_ENOEXEC, "neither a program"},
        {E2BIG, CT_ENOEXEC, "are too long"}, {ELOOP, CT_ENOEXEC, "(ELOOP)"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        expect_error(ct_program_exec_error("/app", cases[i].value, &err), &err, cases[i].code,
                     cases[i].part);
        assert_ptr_equal(strstr(err.msg, "/app cannot be started: "), err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),        cmocka_unit_test(test_default_path),
        cmocka_unit_test(test_too_long),    cmocka_unit_test(test_what_was_lost),
        cmocka_unit_test(test_exec_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
