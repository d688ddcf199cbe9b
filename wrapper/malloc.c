// SPDX-License-Identifier: Apache-2.0
//
// The C library's allocator, replaced for the whole static program: whatever any library allocates
// lies in the arena, libc's own buffers included. A library's hooks alone leave copies elsewhere.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "secmem.h"

void *malloc(size_t size)
{
    return ct_arena_alloc(size);
}

void free(void *p)
{
    ct_arena_free(p);
}

void *calloc(size_t n, size_t size)
{
    return ct_arena_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return ct_arena_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return ct_arena_aligned(alignment, size);
}

void *memalign(size_t alignment, size_t size)
{
    return ct_arena_aligned(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    int saved = errno; // posix_memalign(3) leaves it alone
    void *p = ct_arena_aligned(alignment, size);
    int status = p == NULL ? errno : 0;
    errno = saved;
    if (status == 0) {
        *ret = p;
    }
    return status;
}

size_t malloc_usable_size(void *p)
{
    return ct_arena_usable(p);
}
