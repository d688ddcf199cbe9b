// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "chaos.h"
#include "file.h"

static char folder[] = "/tmp/test_file.XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void put(size_t size)
{
    CT_AUTO_FILE file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(fputc('a' + (int)(i % 26), file), 'a' + (int)(i % 26));
    }
}

static void reads_whole_files(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 4095, 4096, 4097, 20000};
    for (size_t i = 0; i < CT_ARRAY_LEN(sizes); i++) {
        CT_AUTO_BUF out = {.max = 20000};
        struct ct_err err = {0};
        ct_buf_add_str(&out, "what was there before");
        put(sizes[i]);
        expect_ok(ct_file_read(path, &out, &err), &err);
        assert_int_equal(out.len, sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(out.data[k], 'a' + (int)(k % 26));
        }
    }
}

// Its size is said to be 0.
static void reads_proc(void **state)
{
    (void)state;
    CT_AUTO_BUF out = {.max = 1 << 16};
    struct ct_err err = {0};
    expect_ok(ct_file_read("/proc/self/status", &out, &err), &err);
    assert_memory_equal(out.data, "Name:", 5);
}

static void keeps_its_bound(void **state)
{
    (void)state;
    CT_AUTO_BUF out = {.max = 999};
    struct ct_err err = {0};
    put(999);
    expect_ok(ct_file_read(path, &out, &err), &err);
    put(1000);
    int rc = ct_file_read(path, &out, &err);
    expect_error(rc, &err, CT_ETOOBIG, "is larger than 999 bytes");
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(out.len, 0);
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    CT_AUTO_BUF out = {.max = 1000};
    struct ct_err err = {0};
    expect_error(ct_file_read("/no/such", &out, &err), &err, CT_ENOTFOUND,
                 "/no/such does not exist");
    expect_error(ct_file_read("/dev/null/x", &out, &err), &err, CT_ENOTFOUND, "does not exist");
    expect_error(ct_file_read(folder, &out, &err), &err, CT_EINVAL, "is not a regular file");
    expect_error(ct_file_read("/dev/zero", &out, &err), &err, CT_EINVAL, "is not a regular file");
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_error(ct_file_read(path, &out, &err), &err, CT_EINVAL, "is not a regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(path, path), 0);
    expect_error(ct_file_read(path, &out, &err), &err, CT_ESYSTEM, "(ELOOP)");
    assert_int_equal(unlink(path), 0);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    CT_AUTO_BUF out = {.max = 1 << 20};
    struct ct_err err = {0};
    put(100);
    chaos_start(1);
    int rc = ct_file_read(path, &out, &err);
    assert_true(chaos_stop());
    expect_error(rc, &err, CT_ENOMEM, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whole_files),       cmocka_unit_test(reads_proc),
        cmocka_unit_test(keeps_its_bound),         cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
