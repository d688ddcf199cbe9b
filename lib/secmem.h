// SPDX-License-Identifier: Apache-2.0
//
// Secret memory: memfd_secret(2) pages, which the kernel has taken out of its direct map and refuses
// to get_user_pages(), or - where the kernel has none - locked anonymous pages excluded from dumps.
// An area says what it really got; the score is computed from that.
#ifndef CT_SECMEM_H
#define CT_SECMEM_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum ct_secmem_kind {
    CT_SECMEM_SECRET,   // memfd_secret(2)
    CT_SECMEM_FALLBACK, // anonymous, mlock2(2) and MADV_DONTDUMP tried
};

struct ct_secmem_area {
    void *base;
    size_t size; // bytes, whole pages
    enum ct_secmem_kind kind;
    bool on_touch;          // see ct_secmem_commit()
    int fd;                 // CT_SECMEM_SECRET with keep_fd: the memfd, else -1
    char secret_reason[96]; // why memfd_secret was not had: "kernel 5.10 < 5.14", "EPERM", …
    char lock_reason[96];   // why the pages could not be locked: "RLIMIT_MEMLOCK 64 KiB < 2048 KiB"
    char dontdump_reason[96]; // why MADV_DONTDUMP failed
};

// Maps `size` bytes (rounded up to pages) between two inaccessible guard pages. Raises the soft
// RLIMIT_MEMLOCK to the hard one for the calls and restores it. A memfd's descriptor is closed once
// mapped - a stolen one can be mapped - unless keep_fd says that it is needed to hand the pages to
// another process; the caller then closes it. Fails only when not even anonymous pages can be had.
// No allocation, async-signal-safe system calls only, so that malloc itself can stand on it.
CT_CHECKED int ct_secmem_map(size_t size, bool keep_fd, struct ct_secmem_area *ret,
                             struct ct_err *err);
// With on_touch, a secret page counts against RLIMIT_MEMLOCK when it is touched first, together with
// the secret pages of all processes of its user, and a touch beyond the limit ends the process by
// SIGBUS. So pages beyond the first CT_SECMEM_COMMITTED bytes (with keep_fd, all were had at once) are
// to be committed, once, before they are touched: `from` is the offset of a page, `to` of any byte.
// False when the limit is reached. Without on_touch there is nothing to do.
#define CT_SECMEM_COMMITTED ((size_t)768 << 10)
CT_CHECKED bool ct_secmem_commit(const struct ct_secmem_area *area, size_t from, size_t to);
// Wipes and unmaps; closes fd. An area that was never mapped (base NULL) is left alone.
void ct_secmem_unmap(struct ct_secmem_area *area);
// As ct_secmem_unmap, without the wipe: for pages that another process goes on using.
void ct_secmem_release(struct ct_secmem_area *area);
// MADV_DONTFORK: a forked child of this process does not have the pages at all.
CT_CHECKED int ct_secmem_dont_fork(struct ct_secmem_area *area, struct ct_err *err);

// The process's one arena, an allocator over one area, for everything that touches a secret.
// Created by the first call of any of these; never returns memory outside of it. Freed blocks are
// wiped. Alignment 16. Thread-safe; not usable in a forked child (DONTFORK).
void *ct_arena_alloc(size_t size);
void *ct_arena_aligned(size_t alignment, size_t size);
void *ct_arena_calloc(size_t n, size_t size);
void *ct_arena_realloc(void *p, size_t size);
void ct_arena_free(void *p);
char *ct_arena_strdup(const char *s);
size_t ct_arena_usable(const void *p);

struct ct_arena_stats {
    size_t size, live, peak, allocations;
};
void ct_arena_stats(struct ct_arena_stats *ret);
// The area under the arena, for the proofs; NULL when it could not be mapped (see *ct_arena_error).
const struct ct_secmem_area *ct_arena_area(void);
const struct ct_err *ct_arena_error(void);

#endif
