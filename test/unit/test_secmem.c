// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "secmem.h"

static bool have_memfd_secret(void)
{
    struct ct_secmem_area area;
    int status = ct_secmem_map(1, false, &area, NULL);
    bool have = status == 0 && area.kind == CT_SECMEM_SECRET;
    ct_secmem_unmap(&area);
    return have;
}

// Could another process with every right read this address?
static bool readable_from_outside(const void *at)
{
    char byte;
    struct iovec local = {&byte, 1};
    struct iovec remote = {(void *)(uintptr_t)at, 1};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

// How a child ends that writes to `at`.
static int write_in_child(volatile char *at)
{
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        *at = 'x';
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_secret_pages_are_hidden(void **state)
{
    (void)state;
    static char ordinary = 'o';
    struct ct_secmem_area area;
    struct ct_err err = {0};
    assert_int_equal(ct_secmem_map(5000, false, &area, &err), 0);
    assert_int_equal(area.kind, CT_SECMEM_SECRET);
    assert_int_equal(area.size, 8192);
    assert_int_equal(area.fd, -1);
    assert_string_equal(area.secret_reason, "");
    char *p = area.base;
    p[0] = 's';
    p[8191] = 's';
    assert_true(readable_from_outside(&ordinary));
    assert_false(readable_from_outside(p));
    ct_secmem_unmap(&area);
    assert_null(area.base);
    ct_secmem_unmap(&area);
}

// ---- what else takes pages away from a process, or has them served ----

static bool is_paged_out(void *page)
{
    return madvise(page, 4096, MADV_PAGEOUT) == 0;
}

// By KSM: the advice is taken, and counts where the mapping's flags say so.
static bool is_merged(void *page)
{
    char line[256];
    bool here = false;
    bool merged = false;
    assert_int_equal(madvise(page, 4096, MADV_MERGEABLE), 0);
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long start;
        unsigned long end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            here = start <= (uintptr_t)page && (uintptr_t)page < end;
        } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
            merged = strstr(line, " mg") != NULL;
        }
    }
    (void)fclose(maps);
    return merged;
}

// By userfaultfd(2): whoever holds that descriptor puts there what is read.
static bool is_served(void *page)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register area = {.range = {.start = (uintptr_t)page, .len = 4096},
                                   .mode = UFFDIO_REGISTER_MODE_MISSING};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
    bool served = ioctl(fd, UFFDIO_REGISTER, &area) == 0;
    (void)close(fd);
    return served;
}

static void test_neither_swapped_nor_merged_nor_served(void **state)
{
    (void)state;
    static bool (*const taken[])(void *page) = {is_paged_out, is_merged, is_served};
    struct ct_secmem_area area;
    assert_int_equal(ct_secmem_map(4096, false, &area, NULL), 0);
    char *ordinary = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(ordinary, MAP_FAILED);
    memset(area.base, 's', 4096);
    memset(ordinary, 'o', 4096);
    for (size_t i = 0; i < CT_ARRAY_LEN(taken); i++) {
        assert_true(taken[i](ordinary));
        assert_false(taken[i](area.base));
    }
    assert_int_equal(munmap(ordinary, 4096), 0);
    ct_secmem_unmap(&area);
}

static void test_guards_on_both_sides(void **state)
{
    (void)state;
    struct ct_secmem_area area;
    assert_int_equal(ct_secmem_map(4096, false, &area, NULL), 0);
    char *p = area.base;
    assert_true(WIFEXITED(write_in_child(p)));
    assert_true(WIFEXITED(write_in_child(p + 4095)));
    assert_true(WIFSIGNALED(write_in_child(p - 1)));
    assert_true(WIFSIGNALED(write_in_child(p + 4096)));
    assert_int_equal(ct_secmem_dont_fork(&area, NULL), 0);
    assert_true(WIFSIGNALED(write_in_child(p)));
    ct_secmem_unmap(&area);
}

static void test_the_descriptor_maps_the_same_pages(void **state)
{
    (void)state;
    struct ct_secmem_area area;
    assert_int_equal(ct_secmem_map(4096, true, &area, NULL), 0);
    assert_true(area.fd >= 0);
    assert_int_equal(fcntl(area.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    (void)memcpy(area.base, "shared", 7);
    char *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, area.fd, 0);
    assert_ptr_not_equal(again, MAP_FAILED);
    assert_string_equal(again, "shared");
    ct_secmem_release(&area); // the content stays for whoever else has it
    assert_string_equal(again, "shared");
    assert_int_equal(munmap(again, 4096), 0);
}

static void test_unmap_wipes(void **state)
{
    (void)state;
    struct ct_secmem_area area;
    assert_int_equal(ct_secmem_map(4096, true, &area, NULL), 0);
    (void)memcpy(area.base, "shared", 7);
    char *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, area.fd, 0);
    assert_string_equal(again, "shared");
    ct_secmem_unmap(&area);
    assert_string_equal(again, "");
    assert_int_equal(munmap(again, 4096), 0);
}

// What kernels do that count pages as they are touched: the refusal is an answer and no signal. The
// guard behind the area stands for a page that may not be had.
static void test_commit_asks_before_it_touches(void **state)
{
    (void)state;
    struct ct_secmem_area area;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(ct_secmem_map(2 * page, false, &area, NULL), 0);
    char *p = area.base;
    (void)memcpy(p + page, "kept", 5);
    area.on_touch = false;
    assert_true(ct_secmem_commit(&area, 0, 3 * page));
    assert_string_equal(p + page, "kept");
    area.on_touch = true;
    unsigned char present[2] = {0};
    assert_true(ct_secmem_commit(&area, 0, 1));
    assert_int_equal(mincore(p, 2 * page, present), 0);
    assert_int_equal(present[0] & 1, 1);
    for (size_t i = 0; i < page; i++) {
        assert_int_equal(p[i], 0);
    }
    assert_false(ct_secmem_commit(&area, 2 * page, 2 * page + 1));
    assert_true(WIFSIGNALED(write_in_child(p + 2 * page)));
    ct_secmem_unmap(&area);
}

static void test_bad_sizes(void **state)
{
    (void)state;
    struct ct_secmem_area area;
    struct ct_err err = {0};
    assert_int_equal(ct_secmem_map(0, false, &area, &err), -CT_EINVAL);
    assert_string_equal(err.msg, "0 bytes of secret memory were asked for");
    assert_int_equal(ct_secmem_map(SIZE_MAX / 2, false, &area, &err), -CT_ENOMEM);
    assert_null(area.base);
}

// CAP_IPC_LOCK is above the limit: a child without it reports what it got.
struct limited {
    enum ct_secmem_kind kind;
    char secret_reason[96], lock_reason[96];
    rlim_t limit_after;
    bool writable;
};

static void map_limited(rlim_t soft, rlim_t hard, size_t size, struct limited *ret)
{
    struct limited *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {soft, hard};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
            (geteuid() == 0 && syscall(SYS_setuid, 65534) != 0)) {
            _exit(1);
        }
        struct ct_secmem_area area;
        struct rlimit after;
        if (ct_secmem_map(size, false, &area, NULL) != 0 ||
            getrlimit(RLIMIT_MEMLOCK, &after) != 0) {
            _exit(2);
        }
        memset(area.base, 7, area.size);
        shared->writable = true;
        shared->kind = area.kind;
        shared->limit_after = after.rlim_cur;
        memcpy(shared->secret_reason, area.secret_reason, sizeof(area.secret_reason));
        memcpy(shared->lock_reason, area.lock_reason, sizeof(area.lock_reason));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    *ret = *shared;
    assert_int_equal(munmap(shared, sizeof(*shared)), 0);
}

static void test_the_limit_is_told(void **state)
{
    (void)state;
    struct limited got;
    map_limited(65536, 65536, 2u << 20, &got);
    assert_int_equal(got.kind, CT_SECMEM_FALLBACK);
    assert_string_equal(got.secret_reason, "RLIMIT_MEMLOCK 64 KiB < 2048 KiB");
    assert_string_equal(got.lock_reason, "RLIMIT_MEMLOCK 64 KiB < 2048 KiB");
    assert_true(got.writable);
    map_limited(0, 0, 4096, &got);
    assert_string_equal(got.lock_reason, "RLIMIT_MEMLOCK 0 KiB < 4 KiB");
}

static void test_the_soft_limit_is_raised_and_restored(void **state)
{
    (void)state;
    struct limited got;
    map_limited(4096, 1u << 20, 65536, &got);
    assert_int_equal(got.kind, CT_SECMEM_SECRET);
    assert_int_equal(got.limit_after, 4096);
    // What fits is had without that.
    map_limited(65536, 65536, 65536, &got);
    assert_int_equal(got.kind, CT_SECMEM_SECRET);
}

int main(void)
{
    if (!have_memfd_secret()) {
        print_message("skipped: memfd_secret is not to be had here\n");
        return getenv("CT_MUST_RUN") != NULL ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_pages_are_hidden),
        cmocka_unit_test(test_neither_swapped_nor_merged_nor_served),
        cmocka_unit_test(test_guards_on_both_sides),
        cmocka_unit_test(test_the_descriptor_maps_the_same_pages),
        cmocka_unit_test(test_unmap_wipes),
        cmocka_unit_test(test_commit_asks_before_it_touches),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_the_limit_is_told),
        cmocka_unit_test(test_the_soft_limit_is_raised_and_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
