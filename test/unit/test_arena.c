// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "expect.h"
#include "secmem.h"

static bool inside(const void *p, size_t size)
{
    const struct ct_secmem_area *area = ct_arena_area();
    const char *base = area->base;
    const char *at = p;
    return at >= base && at + size <= base + area->size;
}

static bool all_bytes(const unsigned char *p, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i] != value) {
            return false;
        }
    }
    return true;
}

static size_t live(void)
{
    struct ct_arena_stats stats;
    ct_arena_stats(&stats);
    return stats.live;
}

static void test_allocations_are_aligned_and_inside(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 8, 24, 25, 100, 1000, 1024, 4096, 70000, 500000};
    void *p[CT_ARRAY_LEN(sizes)];
    size_t before = live();
    for (size_t i = 0; i < CT_ARRAY_LEN(sizes); i++) {
        p[i] = ct_arena_alloc(sizes[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        assert_true(inside(p[i], sizes[i]));
        assert_true(ct_arena_usable(p[i]) >= sizes[i]);
        memset(p[i], 0xa5, sizes[i]);
    }
    assert_true(live() > before);
    for (size_t i = 0; i < CT_ARRAY_LEN(sizes); i++) {
        assert_true(all_bytes(p[i], sizes[i], 0xa5));
        ct_arena_free(p[i]);
    }
    assert_int_equal(live(), before);
}

static void test_freed_memory_is_wiped(void **state)
{
    (void)state;
    unsigned char *keep_below = ct_arena_alloc(40);
    unsigned char *p = ct_arena_alloc(5000);
    unsigned char *keep_above = ct_arena_alloc(40);
    memset(p, 0xc3, 5000);
    // The control: the bytes are there until the block is freed.
    assert_true(all_bytes(p, 5000, 0xc3));
    ct_arena_free(p);
    size_t left = 0;
    for (size_t i = 0; i < 5000; i++) {
        left += p[i] == 0xc3; // still mapped: the arena never shrinks
    }
    assert_int_equal(left, 0);
    ct_arena_free(keep_below);
    ct_arena_free(keep_above);
}

// Pages of the area that take up memory.
static size_t touched_pages(void)
{
    const struct ct_secmem_area *area = ct_arena_area();
    unsigned char present[512];
    size_t n = 0;
    assert_int_equal(area->size / 4096, sizeof(present));
    assert_int_equal(mincore(area->base, area->size, present), 0);
    for (size_t i = 0; i < sizeof(present); i++) {
        n += present[i] & 1u;
    }
    return n;
}

static void test_wiping_touches_nothing_new(void **state)
{
    (void)state;
    if (ct_arena_area()->kind != CT_SECMEM_SECRET) {
        skip_for("memfd_secret(2)");
    }
    unsigned char *p = ct_arena_alloc(900000);
    p[0] = 1;
    p[500000] = 1;
    size_t before = touched_pages();
    ct_arena_free(p);
    assert_int_equal(p[500000], 0);
    assert_in_range(touched_pages(), before, before + 2);
    // All of it, once it was used.
    p = ct_arena_alloc(1500000);
    memset(p, 0xee, 1500000);
    assert_true(touched_pages() > before + 150);
    ct_arena_free(p);
    size_t left = 0;
    for (size_t i = 0; i < 1500000; i++) {
        left += p[i] == 0xee;
    }
    assert_int_equal(left, 0);
}

static void test_calloc_is_zero_after_use(void **state)
{
    (void)state;
    for (size_t size = 8; size < 20000; size = size * 3 + 5) {
        unsigned char *p = ct_arena_alloc(size);
        memset(p, 0xff, size);
        ct_arena_free(p);
        p = ct_arena_calloc(1, size);
        assert_true(all_bytes(p, size, 0));
        ct_arena_free(p);
    }
    errno = 0;
    assert_null(ct_arena_calloc(SIZE_MAX / 2, 3));
    assert_int_equal(errno, ENOMEM);
}

static void test_exhaustion_is_an_ordinary_error(void **state)
{
    (void)state;
    size_t before = live();
    void *p[64];
    size_t n = 0;
    while (n < CT_ARRAY_LEN(p) && (p[n] = ct_arena_alloc(100000)) != NULL) {
        n++;
    }
    assert_in_range(n, 15, 20);
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(ct_arena_realloc(p[0], 3000000));
    assert_int_equal(errno, ENOMEM);
    assert_null(ct_arena_alloc(SIZE_MAX));
    assert_null(ct_arena_alloc((size_t)2 << 20));
    assert_null(ct_arena_alloc(((size_t)2 << 20) - 16));
    assert_null(ct_arena_aligned((size_t)1 << 19, ((size_t)2 << 20) - 64));
    for (size_t i = 0; i < n; i++) {
        ct_arena_free(p[i]);
    }
    assert_int_equal(live(), before);
    // All of it is one free block again.
    void *whole = ct_arena_alloc(1900000);
    assert_non_null(whole);
    ct_arena_free(whole);
}

static void test_realloc_keeps_content(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 100, 90, 3000, 64, 100000, 50, 1};
    unsigned char *p = NULL;
    size_t old = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(sizes); i++) {
        p = ct_arena_realloc(p, sizes[i]);
        assert_non_null(p);
        assert_true(all_bytes(p, old < sizes[i] ? old : sizes[i], (unsigned char)i));
        memset(p, (int)i + 1, sizes[i]);
        old = sizes[i];
        void *block = ct_arena_alloc(33); // now and then something is in the way
        if (i % 2 == 0) {
            ct_arena_free(block);
        } else {
            void *again = ct_arena_realloc(block, 10);
            assert_ptr_equal(again, block);
            ct_arena_free(again);
        }
    }
    ct_arena_free(p);
}

static void test_aligned(void **state)
{
    (void)state;
    size_t before = live();
    for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        void *odd = ct_arena_alloc(alignment / 2 + 1);
        unsigned char *p = ct_arena_aligned(alignment, 100);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignment, 0);
        memset(p, 1, 100);
        ct_arena_free(odd);
        ct_arena_free(p);
    }
    assert_int_equal(live(), before);
    errno = 0;
    assert_null(ct_arena_aligned(24, 8));
    assert_int_equal(errno, EINVAL);
}

static void test_strdup(void **state)
{
    (void)state;
    char *copy = ct_arena_strdup("a value");
    assert_string_equal(copy, "a value");
    assert_true(inside(copy, 8));
    ct_arena_free(copy);
    ct_arena_free(NULL);
    assert_int_equal(ct_arena_usable(NULL), 0);
}

// Deterministic noise; each block carries its own pattern, checked when it is resized or freed.
static void *churn(void *seed)
{
    enum { SLOTS = 60 };
    struct {
        unsigned char *p;
        size_t size;
    } slot[SLOTS] = {0};
    uint32_t x = *(uint32_t *)seed;
    for (int round = 0; round < 30000; round++) {
        x = x * 1664525u + 1013904223u;
        size_t s = (x >> 8) % SLOTS;
        size_t size = (x >> 16) % ((x & 0x40u) != 0 ? 8000 : 200);
        unsigned char mark = (unsigned char)(s + 1);
        if (slot[s].p != NULL && !all_bytes(slot[s].p, slot[s].size, mark)) {
            return slot[s].p; // overwritten
        }
        if (slot[s].p != NULL && (x & 0x80u) != 0) {
            ct_arena_free(slot[s].p);
            slot[s].p = NULL;
            continue;
        }
        unsigned char *p = ct_arena_realloc(slot[s].p, size);
        if (p != NULL) {
            memset(p, mark, size);
            slot[s].p = p;
            slot[s].size = size;
        }
    }
    for (size_t s = 0; s < SLOTS; s++) {
        ct_arena_free(slot[s].p);
    }
    return NULL;
}

static void test_threads_churn(void **state)
{
    (void)state;
    size_t before = live();
    pthread_t thread[3];
    uint32_t seed[3] = {1, 77, 4242};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, churn, &seed[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        void *problem = NULL;
        assert_int_equal(pthread_join(thread[i], &problem), 0);
        assert_null(problem);
    }
    assert_int_equal(live(), before);
    void *whole = ct_arena_alloc(1900000);
    assert_non_null(whole);
    ct_arena_free(whole);
}

// What `act` does to a block in a child that shares the arena must end the child by a trap.
static int end_of(void (*act)(char *block), char *block)
{
    const struct ct_secmem_area *area = ct_arena_area();
    assert_int_equal(madvise(area->base, area->size, MADV_DOFORK), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGILL, SIG_DFL);
        (void)signal(SIGTRAP, SIG_DFL);
        act(block);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(madvise(area->base, area->size, MADV_DONTFORK), 0);
    return status;
}

static void free_once(char *block)
{
    ct_arena_free(block);
}

static void free_twice(char *block)
{
    ct_arena_free(block);
    ct_arena_free(block);
}

static void free_inside(char *block)
{
    ct_arena_free(block + 16);
}

static void free_elsewhere(char *block)
{
    (void)block;
    static char ordinary[64] __attribute__((aligned(16)));
    ct_arena_free(ordinary + 16);
}

static void test_misuse_ends_the_process(void **state)
{
    (void)state;
    static void (*const wrong[])(char *) = {free_twice, free_inside, free_elsewhere};
    for (size_t i = 0; i < CT_ARRAY_LEN(wrong); i++) {
        char *block = ct_arena_calloc(1, 64);
        int status = end_of(wrong[i], block);
        assert_true(WIFSIGNALED(status));
    }
    char *block = ct_arena_calloc(1, 64);
    assert_int_equal(end_of(free_once, block), 0);
}

static void test_a_forked_child_has_no_arena(void **state)
{
    (void)state;
    volatile char *p = ct_arena_alloc(16);
    p[0] = 'x';
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        _exit(p[0] == 'x' ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_aligned_and_inside),
        cmocka_unit_test(test_freed_memory_is_wiped),
        cmocka_unit_test(test_wiping_touches_nothing_new),
        cmocka_unit_test(test_calloc_is_zero_after_use),
        cmocka_unit_test(test_exhaustion_is_an_ordinary_error),
        cmocka_unit_test(test_realloc_keeps_content),
        cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_strdup),
        cmocka_unit_test(test_threads_churn),
        cmocka_unit_test(test_a_forked_child_has_no_arena),
        cmocka_unit_test(test_misuse_ends_the_process), // last: leaves blocks that children freed
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
