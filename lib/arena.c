// SPDX-License-Identifier: Apache-2.0
//
// A boundary-tag allocator over one area of secret memory. A first touch of a secret page costs
// more than ten times that of an ordinary one, so freed room is used again before fresh pages are.
//
// Everything that is free is zero but for a block's tag and its two links: what is freed is wiped,
// and calloc has nothing to do.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "secmem.h"

#define ARENA_SIZE ((size_t)2 << 20)
#define ALIGNMENT 16u
#define TAG sizeof(struct tag)
#define BLOCK_MIN 32u // a tag, two links, rounded up to the alignment
#define SMALL_MAX 1024u
#define SMALL_BINS (SMALL_MAX / ALIGNMENT)
#define BINS (SMALL_BINS + 4 * 11) // four for each power of two up to 2 MiB
#define SCAN_MAX 16                // blocks of one large bin that are looked at
#define PAGE_MIN 4096u             // the smallest there is
#define WIPE_WHOLE (4 * PAGE_MIN) // up to here a wipe costs less than the question what was touched

// In front of each block's memory. Sizes count the tag; the lowest bit of `size` says "in use".
// Blocks are named by their offset in the area; offset 0 is no block.
struct tag {
    uint32_t prev_size; // of the block below, 0 for the lowest
    uint32_t size;
};

// At the start of a free block's memory.
struct links {
    uint32_t next, prev;
};

static struct {
    pthread_mutex_t lock;
    bool tried;
    bool ready;
    char *base;
    uint32_t lowest; // the first block
    uint32_t top;    // everything from here on was never used or is free again
    uint32_t top_prev;
    uint32_t committed; // pages below may be touched
    uint32_t page;
    uint32_t bin[BINS];
    uint64_t used_bins[(BINS + 63) / 64];
    struct ct_secmem_area area;
    struct ct_err err;
    struct ct_arena_stats stats;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct tag *tag_at(uint32_t block)
{
    return (struct tag *)(void *)(arena.base + block);
}

static struct links *links_at(uint32_t block)
{
    return (struct links *)(void *)(arena.base + block + TAG);
}

static uint32_t size_of(uint32_t block)
{
    return tag_at(block)->size & ~1u;
}

static bool in_use(uint32_t block)
{
    return (tag_at(block)->size & 1u) != 0;
}

static void start(void)
{
    arena.tried = true;
    arena.stats.size = ARENA_SIZE;
    if (ct_secmem_map(ARENA_SIZE, false, &arena.area, &arena.err) != 0) {
        return;
    }
    if (ct_secmem_dont_fork(&arena.area, &arena.err) != 0) {
        ct_secmem_release(&arena.area);
        return;
    }
    arena.base = arena.area.base;
    arena.page = (uint32_t)sysconf(_SC_PAGESIZE);
    arena.committed = arena.area.on_touch ? CT_SECMEM_COMMITTED : ARENA_SIZE;
    // Tags lie 8 bytes before a multiple of 16, so that memory is aligned.
    arena.lowest = ALIGNMENT - TAG;
    arena.top = arena.lowest;
    arena.ready = true;
}

static bool lock_ready(void)
{
    (void)pthread_mutex_lock(&arena.lock);
    if (!arena.tried) {
        start();
    }
    return arena.ready;
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&arena.lock);
}

// Small blocks have a bin for each size; large ones share four for each power of two.
static unsigned bin_of(uint32_t size)
{
    if (size < SMALL_MAX) {
        return size / ALIGNMENT;
    }
    unsigned log = 31u - (unsigned)__builtin_clz(size);
    return SMALL_BINS + (log - 10) * 4 + ((size >> (log - 2)) & 3u);
}

static void bin_add(uint32_t block)
{
    unsigned b = bin_of(size_of(block));
    *links_at(block) = (struct links){.next = arena.bin[b], .prev = 0};
    if (arena.bin[b] != 0) {
        links_at(arena.bin[b])->prev = block;
    }
    arena.bin[b] = block;
    arena.used_bins[b / 64] |= (uint64_t)1 << (b % 64);
}

static void bin_remove(uint32_t block)
{
    unsigned b = bin_of(size_of(block));
    struct links l = *links_at(block);
    if (l.next != 0) {
        links_at(l.next)->prev = l.prev;
    }
    if (l.prev != 0) {
        links_at(l.prev)->next = l.next;
    } else {
        arena.bin[b] = l.next;
        if (l.next == 0) {
            arena.used_bins[b / 64] &= ~((uint64_t)1 << (b % 64));
        }
    }
    *links_at(block) = (struct links){0};
}

// The first used bin from `b` on, or BINS.
static unsigned bin_next(unsigned b)
{
    for (unsigned word = b / 64; word < CT_ARRAY_LEN(arena.used_bins); word++) {
        uint64_t bits = arena.used_bins[word];
        if (word == b / 64) {
            bits &= ~(uint64_t)0 << (b % 64);
        }
        if (bits != 0) {
            return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
    return BINS;
}

static uint32_t find_free(uint32_t size)
{
    unsigned b = bin_of(size);
    uint32_t block = arena.bin[b];
    for (int i = 0; block != 0 && i < SCAN_MAX; i++) {
        if (size_of(block) >= size) {
            return block;
        }
        block = links_at(block)->next;
    }
    b = bin_next(b + 1);
    return b < BINS ? arena.bin[b] : 0;
}

// Tells the block (or the top) above `block` how large `block` is.
static void tell_above(uint32_t block)
{
    uint32_t size = size_of(block);
    if (block + size == arena.top) {
        arena.top_prev = size;
    } else {
        tag_at(block + size)->prev_size = size;
    }
}

// Makes a wiped block outside of all bins free, together with its free neighbours.
static void give_back(uint32_t block)
{
    uint32_t size = size_of(block);
    uint32_t above = block + size;
    if (above != arena.top && !in_use(above)) {
        bin_remove(above);
        size += size_of(above);
        *tag_at(above) = (struct tag){0};
    }
    uint32_t below_size = tag_at(block)->prev_size;
    if (below_size != 0 && !in_use(block - below_size)) {
        *tag_at(block) = (struct tag){0};
        block -= below_size;
        bin_remove(block);
        size += below_size;
    }
    if (block + size == arena.top) {
        arena.top = block;
        arena.top_prev = tag_at(block)->prev_size;
        *tag_at(block) = (struct tag){0};
        return;
    }
    tag_at(block)->size = size;
    tell_above(block);
    bin_add(block);
}

// Cuts what a used block has beyond `size` off and frees it; that part must be wiped already.
static void trim(uint32_t block, uint32_t size)
{
    uint32_t rest = size_of(block) - size;
    if (rest < BLOCK_MIN) {
        return;
    }
    tag_at(block)->size = size | 1u;
    *tag_at(block + size) = (struct tag){.prev_size = size, .size = rest};
    tell_above(block + size);
    give_back(block + size);
}

// May the top move up by this much?
static bool can_grow(uint32_t size)
{
    if (size > ARENA_SIZE - arena.top) {
        return false;
    }
    uint32_t top = (arena.top + size + arena.page - 1) / arena.page * arena.page;
    if (top > arena.committed) {
        if (!ct_secmem_commit(&arena.area, arena.committed, top)) {
            return false;
        }
        arena.committed = top;
    }
    return true;
}

// Grows the used part of the area. 0 when it is exhausted.
static uint32_t take_top(uint32_t size)
{
    if (!can_grow(size)) {
        return 0;
    }
    uint32_t block = arena.top;
    *tag_at(block) = (struct tag){.prev_size = arena.top_prev, .size = size};
    arena.top += size;
    arena.top_prev = size;
    return block;
}

static void count(size_t more, size_t less)
{
    arena.stats.live = arena.stats.live + more - less;
    if (arena.stats.live > arena.stats.peak) {
        arena.stats.peak = arena.stats.live;
    }
}

// What a request for `size` bytes takes, its tag included; 0 when it can never be had.
static uint32_t block_size(size_t size)
{
    if (size > ARENA_SIZE) {
        return 0;
    }
    uint32_t need = (uint32_t)((size + TAG + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
    return need < BLOCK_MIN ? BLOCK_MIN : need;
}

// A used block of `size`, its memory zero; 0 when the arena is exhausted.
static uint32_t take(uint32_t size)
{
    if (size >= ARENA_SIZE) {
        return 0;
    }
    uint32_t block = find_free(size);
    if (block != 0) {
        bin_remove(block);
    } else {
        block = take_top(size);
        if (block == 0) {
            return 0;
        }
    }
    tag_at(block)->size |= 1u;
    trim(block, size);
    count(size_of(block), 0);
    arena.stats.allocations++;
    return block;
}

static void *memory_of(uint32_t block)
{
    if (block == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return arena.base + block + TAG;
}

// The used block whose memory starts at p. Anything else is a corrupted heap or a double free:
// going on with secrets in it is worse than the end.
static uint32_t block_of(const void *p)
{
    uintptr_t at = (uintptr_t)p - (uintptr_t)arena.base - TAG;
    if (at < arena.lowest || at >= arena.top || at % ALIGNMENT != arena.lowest) {
        __builtin_trap();
    }
    uint32_t block = (uint32_t)at;
    uint32_t size = size_of(block);
    if (!in_use(block) || size < BLOCK_MIN || size > arena.top - block) {
        __builtin_trap();
    }
    uint32_t told = block + size == arena.top ? arena.top_prev : tag_at(block + size)->prev_size;
    if (told != size) {
        __builtin_trap();
    }
    return block;
}

// Wipes a part of the area. What of it was never touched is zero, and to touch it would cost memory
// and time: a page of a memfd that mincore(2) does not see was never there. (An anonymous page may
// be in swap instead: those are all wiped.)
static void wipe(uint32_t from, uint32_t to)
{
    unsigned char present[ARENA_SIZE / PAGE_MIN];
    const uint32_t page = arena.page;
    uint32_t first = (from + page - 1) / page * page;
    uint32_t end = to / page * page;
    if (to - from < WIPE_WHOLE || first >= end || arena.area.kind != CT_SECMEM_SECRET ||
        mincore(arena.base + first, end - first, present) != 0) {
        explicit_bzero(arena.base + from, to - from);
        return;
    }
    explicit_bzero(arena.base + from, first - from);
    for (uint32_t at = first; at < end; at += page) {
        if ((present[(at - first) / page] & 1u) != 0) {
            explicit_bzero(arena.base + at, page);
        }
    }
    explicit_bzero(arena.base + end, to - end);
}

static void release(uint32_t block)
{
    uint32_t size = size_of(block);
    count(0, size);
    wipe(block + TAG, block + size);
    tag_at(block)->size = size;
    give_back(block);
}

void *ct_arena_alloc(size_t size)
{
    uint32_t need = block_size(size);
    void *p = memory_of(lock_ready() && need != 0 ? take(need) : 0);
    unlock();
    return p;
}

// Takes enough to find an aligned place in, and gives the part below it back.
static uint32_t take_aligned(size_t alignment, uint32_t need)
{
    uint32_t block = take(need + (uint32_t)alignment + BLOCK_MIN);
    if (block == 0) {
        return 0;
    }
    uintptr_t memory = (uintptr_t)arena.base + block + TAG;
    uint32_t skip = (uint32_t)(-memory & (alignment - 1));
    if (skip != 0 && skip < BLOCK_MIN) {
        skip += (uint32_t)alignment;
    }
    uint32_t whole = size_of(block);
    if (skip != 0) {
        uint32_t upper = block + skip;
        *tag_at(upper) = (struct tag){.prev_size = skip, .size = (whole - skip) | 1u};
        tell_above(upper);
        tag_at(block)->size = skip;
        give_back(block);
        block = upper;
    }
    trim(block, need);
    count(0, whole - size_of(block));
    return block;
}

void *ct_arena_aligned(size_t alignment, size_t size)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= ALIGNMENT) {
        return ct_arena_alloc(size);
    }
    uint32_t need = block_size(size);
    bool possible = lock_ready() && need != 0 && alignment <= ARENA_SIZE / 4;
    void *p = memory_of(possible ? take_aligned(alignment, need) : 0);
    unlock();
    return p;
}

void *ct_arena_calloc(size_t n, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(n, size, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    return ct_arena_alloc(whole); // free memory is zero
}

// Resizes a used block in its place when that can be done.
static bool resize(uint32_t block, uint32_t need)
{
    uint32_t size = size_of(block);
    if (need <= size) {
        wipe(block + need, block + size);
        trim(block, need);
        count(0, size - size_of(block));
        return true;
    }
    uint32_t above = block + size;
    uint32_t more = need - size;
    if (above == arena.top) {
        if (!can_grow(more)) {
            return false;
        }
        arena.top += more;
        arena.top_prev = need;
        tag_at(block)->size = need | 1u;
        count(more, 0);
        return true;
    }
    if (in_use(above) || size_of(above) < more) {
        return false;
    }
    bin_remove(above);
    tag_at(block)->size += size_of(above);
    *tag_at(above) = (struct tag){0};
    tell_above(block);
    trim(block, need);
    count(size_of(block) - size, 0);
    return true;
}

static void *move(uint32_t block, uint32_t need)
{
    uint32_t moved = take(need);
    if (moved != 0) {
        memcpy(arena.base + moved + TAG, arena.base + block + TAG, size_of(block) - TAG);
        release(block);
    }
    return memory_of(moved);
}

void *ct_arena_realloc(void *p, size_t size)
{
    if (p == NULL) {
        return ct_arena_alloc(size);
    }
    uint32_t need = block_size(size);
    (void)pthread_mutex_lock(&arena.lock);
    uint32_t block = block_of(p);
    if (need == 0) {
        p = memory_of(0);
    } else if (!resize(block, need)) {
        p = move(block, need);
    }
    unlock();
    return p;
}

void ct_arena_free(void *p)
{
    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&arena.lock);
    release(block_of(p));
    unlock();
}

char *ct_arena_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = ct_arena_alloc(size);
    if (copy != NULL) {
        memcpy(copy, s, size);
    }
    return copy;
}

size_t ct_arena_usable(const void *p)
{
    if (p == NULL) {
        return 0;
    }
    (void)pthread_mutex_lock(&arena.lock);
    size_t usable = size_of(block_of(p)) - TAG;
    unlock();
    return usable;
}

void ct_arena_stats(struct ct_arena_stats *ret)
{
    (void)lock_ready();
    *ret = arena.stats;
    unlock();
}

const struct ct_secmem_area *ct_arena_area(void)
{
    bool ready = lock_ready();
    unlock();
    return ready ? &arena.area : NULL;
}

const struct ct_err *ct_arena_error(void)
{
    (void)ct_arena_area();
    return &arena.err;
}
