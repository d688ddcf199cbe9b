// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "copy.h"

// FIPS 180-2, appendix B.1 and B.3: "abc", and a million times "a".
#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MILLION_SHA256 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
#define MILLION 1000000

struct fixture {
    char folder[64];
    char source[96];
    char target[96];
    struct ct_copy_spec spec;
};

// What the wrapped calls do: each test sets what it wants, setup() clears all.
static bool no_tmpfile;
static bool flip_written_bit;
static int fail_write_errno;

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_openat(dir, path, flags, mode);
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (fail_write_errno != 0) {
        errno = fail_write_errno;
        return -1;
    }
    if (flip_written_bit && len > 0) {
        unsigned char first = *(const unsigned char *)data ^ 1;
        flip_written_bit = false;
        return __real_write(fd, &first, 1);
    }
    // Short writes are the rule here, so that each copy shows that they are continued.
    return __real_write(fd, data, len > 5000 ? 5000 : len);
}

static void put(const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "wbe");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    snprintf(f->folder, sizeof(f->folder), "/tmp/ct-copy-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->source, sizeof(f->source), "%s/source", f->folder);
    snprintf(f->target, sizeof(f->target), "%s/target", f->folder);
    put(f->source, "abc", 3);
    f->spec = (struct ct_copy_spec){.source = f->source, .target = f->target, .length = 3};
    assert_int_equal(ct_copy_parse_sha256(ABC_SHA256, f->spec.sha256, NULL), 0);
    no_tmpfile = false;
    flip_written_bit = false;
    fail_write_errno = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)unlink(f->source);
    (void)unlink(f->target);
    int r = rmdir(f->folder); // fails when something else was left in it
    free(f);
    return r;
}

static int count_entries(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2;
}

static void assert_refused(struct fixture *f, int code, const char *part)
{
    struct ct_err err = {0};
    assert_int_equal(ct_copy_verified(&f->spec, &err), -code);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, err.msg);
    }
    assert_int_equal(access(f->target, F_OK), -1);
}

static void assert_copied(struct fixture *f)
{
    struct ct_err err = {0};
    struct stat st;
    if (ct_copy_verified(&f->spec, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(stat(f->target, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | CT_COPY_PERMISSIONS);
    assert_int_equal(st.st_size, f->spec.length);
    assert_int_equal(count_entries(f->folder), 2);
}

static void copies_with_permissions(void **state)
{
    assert_copied(*state);
}

static void copies_many_blocks(void **state)
{
    struct fixture *f = *state;
    char *data = malloc(MILLION);
    assert_non_null(data);
    memset(data, 'a', MILLION);
    put(f->source, data, MILLION);
    free(data);
    f->spec.length = MILLION;
    assert_int_equal(ct_copy_parse_sha256(MILLION_SHA256, f->spec.sha256, NULL), 0);
    assert_copied(f);
}

static void copies_without_unnamed_files(void **state)
{
    no_tmpfile = true;
    assert_copied(*state);
}

static void replaces_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    put(f->target, "something older", 15);
    assert_int_equal(stat(f->target, &before), 0);
    assert_copied(f);
    assert_int_equal(stat(f->target, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
}

static void takes_away_what_a_killed_run_left(void **state)
{
    struct fixture *f = *state;
    char left[128];
    snprintf(left, sizeof(left), "%s/.cloudtaser-injector.partial", f->folder);
    put(left, "ab", 2);
    assert_copied(f);
}

static void refuses_another_source(void **state)
{
    struct fixture *f = *state;
    put(f->source, "abd", 3);
    assert_refused(f, CT_EINVAL,
                   "is not the wrapper that this injector was built with: expected 3 "
                   "bytes with SHA-256 " ABC_SHA256 ", found 3 with a52d159f262b2c6d");
    assert_int_equal(count_entries(f->folder), 1);
}

static void refuses_a_source_cut_short_or_longer(void **state)
{
    struct fixture *f = *state;
    put(f->source, "ab", 2);
    assert_refused(f, CT_EINVAL, "found 2 with ");
    put(f->source, "abcd", 4);
    assert_refused(f, CT_EINVAL, "found 4 with ");
    put(f->source, "", 0);
    assert_refused(f, CT_EINVAL, "found 0 with ");
}

static void refuses_a_source_that_is_no_file(void **state)
{
    struct fixture *f = *state;
    f->spec.source = "/nowhere/wrapper";
    assert_refused(f, CT_ENOTFOUND, "/nowhere/wrapper does not exist");
    f->spec.source = "/dev";
    assert_refused(f, CT_EINVAL, "/dev is not a regular file");
    f->spec.source = "/dev/zero";
    assert_refused(f, CT_EINVAL, "/dev/zero is not a regular file");
}

static void refuses_a_copy_that_reads_back_differently(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        no_tmpfile = i == 1;
        flip_written_bit = true;
        assert_refused(f, CT_EINVAL, "/target is not the wrapper");
        assert_int_equal(count_entries(f->folder), 1);
    }
}

static void says_that_the_volume_is_full(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        no_tmpfile = i == 1;
        fail_write_errno = i == 0 ? ENOSPC : EDQUOT;
        assert_refused(f, CT_ETOOBIG,
                       i == 0 ? "is full (ENOSPC): target needs 3 bytes, "
                              : "is full (EDQUOT): target needs 3 bytes, ");
        assert_int_equal(count_entries(f->folder), 1);
    }
}

static void says_that_writing_failed(void **state)
{
    fail_write_errno = EIO;
    assert_refused(*state, CT_ESYSTEM, "(EIO)");
}

static void refuses_targets_that_are_no_files(void **state)
{
    static const struct {
        const char *target, *part;
        int code;
    } cases[] = {
        {"", "cannot be a copy's path", CT_EINVAL},
        {"/tmp/", "cannot be a copy's path", CT_EINVAL},
        {"/nowhere/at/all", "cannot open the folder /nowhere/at", CT_ESYSTEM},
        {"/proc/version/x", "cannot open the folder /proc/version", CT_ESYSTEM},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        f->spec.target = cases[i].target;
        assert_refused(f, cases[i].code, cases[i].part);
    }
}

static void does_not_replace_a_folder(void **state)
{
    struct fixture *f = *state;
    struct ct_err err = {0};
    assert_int_equal(mkdir(f->target, 0700), 0);
    assert_int_equal(ct_copy_verified(&f->spec, &err), -CT_ESYSTEM);
    assert_non_null(strstr(err.msg, "EISDIR"));
    assert_int_equal(count_entries(f->folder), 2);
    assert_int_equal(rmdir(f->target), 0);
}

static void parses_digests(void **state)
{
    static const char *const wrong[] = {
        "",
        "ba78",
        "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ABC_SHA256 "0",
    };
    unsigned char sha256[CT_COPY_SHA256_SIZE];
    (void)state;
    assert_int_equal(ct_copy_parse_sha256(ABC_SHA256, sha256, NULL), 0);
    assert_int_equal(sha256[0], 0xba);
    assert_int_equal(sha256[31], 0xad);
    for (size_t i = 0; i < CT_ARRAY_LEN(wrong); i++) {
        struct ct_err err = {0};
        assert_int_equal(ct_copy_parse_sha256(wrong[i], sha256, &err), -CT_EINVAL);
        assert_non_null(strstr(err.msg, "64 lower-case hex digits"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(copies_with_permissions),
        TEST(copies_many_blocks),
        TEST(copies_without_unnamed_files),
        TEST(replaces_what_was_there),
        TEST(takes_away_what_a_killed_run_left),
        TEST(refuses_another_source),
        TEST(refuses_a_source_cut_short_or_longer),
        TEST(refuses_a_source_that_is_no_file),
        TEST(refuses_a_copy_that_reads_back_differently),
        TEST(says_that_the_volume_is_full),
        TEST(says_that_writing_failed),
        TEST(refuses_targets_that_are_no_files),
        TEST(does_not_replace_a_folder),
        cmocka_unit_test(parses_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
