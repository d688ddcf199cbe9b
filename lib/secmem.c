// SPDX-License-Identifier: Apache-2.0
#include "secmem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

// Younger than some C libraries' headers; the same number on every architecture.
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#define REASON_SIZE sizeof(((struct ct_secmem_area *)0)->lock_reason)

// What this process has locked through this module: it counts against RLIMIT_MEMLOCK together.
static atomic_size_t locked_bytes;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void reason_errno(char *reason, int errno_value)
{
    (void)snprintf(reason, REASON_SIZE, "%s", ct_err_name(errno_value));
}

// A refusal to lock is told by its cause when the limit is the cause.
static void reason_lock(char *reason, int errno_value, size_t size, rlim_t limit)
{
    size_t need = size + atomic_load(&locked_bytes);
    bool limited = errno_value == EAGAIN || errno_value == ENOMEM || errno_value == EPERM;
    if (limited && limit != RLIM_INFINITY && limit < need) {
        (void)snprintf(reason, REASON_SIZE, "RLIMIT_MEMLOCK %llu KiB < %zu KiB",
                       (unsigned long long)limit / 1024, need / 1024);
    } else {
        reason_errno(reason, errno_value);
    }
}

// memfd_secret(2): Linux 5.14; off unless asked for at boot until 6.5.
static void reason_no_memfd(char *reason, int errno_value)
{
    struct utsname name;
    unsigned major = 0;
    unsigned minor = 0;
    if (errno_value != ENOSYS || uname(&name) != 0 ||
        sscanf(name.release, "%u.%u", &major, &minor) != 2) {
        reason_errno(reason, errno_value);
    } else if (major < 5 || (major == 5 && minor < 14)) {
        (void)snprintf(reason, REASON_SIZE, "kernel %u.%u < 5.14", major, minor);
    } else if (major < 6 || (major == 6 && minor < 5)) {
        (void)snprintf(reason, REASON_SIZE, "secretmem.enable=1 needed at boot (kernel %u.%u)",
                       major, minor);
    } else {
        reason_errno(reason, errno_value);
    }
}

// Raises the soft limit to the hard one. The old limit goes to *ret_old for restore_memlock().
static rlim_t raise_memlock(struct rlimit *ret_old)
{
    if (getrlimit(RLIMIT_MEMLOCK, ret_old) != 0) {
        *ret_old = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    }
    struct rlimit all = {ret_old->rlim_max, ret_old->rlim_max};
    if (ret_old->rlim_cur != ret_old->rlim_max && setrlimit(RLIMIT_MEMLOCK, &all) != 0) {
        return ret_old->rlim_cur;
    }
    return ret_old->rlim_max;
}

static void restore_memlock(const struct rlimit *old)
{
    if (old->rlim_cur != old->rlim_max) {
        (void)setrlimit(RLIMIT_MEMLOCK, old);
    }
}

// Pages that the kernel locked at mmap(2), and counted then, are not to be made cold: EINVAL. Kernels
// with the fix of CVE-2026-93243 (6.1.192, 6.12.117, …) do neither.
static bool counts_on_touch(void *page)
{
    return madvise(page, page_size(), MADV_COLD) == 0;
}

// Makes the kernel write to a page. Where it may not have one that is an error, while this process's
// own first touch would end it by SIGBUS.
static bool touch(volatile uint64_t *page)
{
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, page, sizeof(*page)) != 0) {
        return false;
    }
    *page = 0;
    return true;
}

bool ct_secmem_commit(const struct ct_secmem_area *area, size_t from, size_t to)
{
    size_t page = page_size();
    bool good = true;
    for (size_t at = from; good && area->on_touch && at < to; at += page) {
        good = touch((void *)((char *)area->base + at));
    }
    return good;
}

// What will surely be needed is had now, while there is another way; all of it where another process
// is to use it.
static bool commit_first(struct ct_secmem_area *area, void *at, bool all, rlim_t limit)
{
    struct ct_secmem_area here = *area;
    here.base = at;
    size_t need = area->size + atomic_load(&locked_bytes);
    if (limit != RLIM_INFINITY && limit < need) {
        reason_lock(area->secret_reason, ENOMEM, area->size, limit);
        return false;
    }
    size_t first = all || area->size < CT_SECMEM_COMMITTED ? area->size : CT_SECMEM_COMMITTED;
    if (!ct_secmem_commit(&here, 0, first)) {
        (void)snprintf(area->secret_reason, REASON_SIZE,
                       "RLIMIT_MEMLOCK %llu KiB used up by all processes of user %u together",
                       (unsigned long long)limit / 1024, (unsigned)getuid());
        return false;
    }
    return true;
}

// Returns MAP_FAILED, with the reason in the area, when secret pages are not to be had.
static void *map_secret(struct ct_secmem_area *area, bool all, rlim_t limit)
{
    area->fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (area->fd < 0) {
        area->fd = -1;
        reason_no_memfd(area->secret_reason, errno);
        return MAP_FAILED;
    }
    void *p = MAP_FAILED;
    if (ftruncate(area->fd, (off_t)area->size) != 0) {
        reason_errno(area->secret_reason, errno);
    } else {
        p = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, area->fd, 0);
        if (p == MAP_FAILED) {
            reason_lock(area->secret_reason, errno, area->size, limit);
        }
    }
    area->on_touch = p != MAP_FAILED && counts_on_touch(p);
    if (area->on_touch && !commit_first(area, p, all, limit)) {
        (void)munmap(p, area->size);
        p = MAP_FAILED;
        area->on_touch = false;
    }
    if (p == MAP_FAILED) {
        (void)close(area->fd);
        area->fd = -1;
    }
    return p;
}

// Anonymous pages at base. They are locked as they are touched: locking all of them at once would
// cost their memory whether used or not.
static int make_fallback(struct ct_secmem_area *area, rlim_t limit, struct ct_err *err)
{
    if (mprotect(area->base, area->size, PROT_READ | PROT_WRITE) != 0) {
        return ct_err_errno(err, "cannot make %zu KiB of memory writable", area->size / 1024);
    }
    if (syscall(SYS_mlock2, area->base, area->size, MLOCK_ONFAULT) != 0) {
        reason_lock(area->lock_reason, errno, area->size, limit);
    } else {
        atomic_fetch_add(&locked_bytes, area->size);
    }
    if (madvise(area->base, area->size, MADV_DONTDUMP) != 0) {
        reason_errno(area->dontdump_reason, errno);
    }
    return 0;
}

// Reserves the room with its guards first and moves the pages into it: no other thread's mapping
// can come between.
static int place(struct ct_secmem_area *area, void *secret, rlim_t limit, struct ct_err *err)
{
    size_t guard = page_size();
    char *room = mmap(NULL, area->size + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) {
        return ct_err_errno(err, "cannot reserve %zu KiB of memory", area->size / 1024);
    }
    area->base = room + guard;
    int status = 0;
    if (secret == MAP_FAILED) {
        area->kind = CT_SECMEM_FALLBACK;
        status = make_fallback(area, limit, err);
    } else if (mremap(secret, area->size, area->size, MREMAP_MAYMOVE | MREMAP_FIXED, area->base) ==
               MAP_FAILED) {
        status = ct_err_errno(err, "cannot move %zu KiB of secret memory", area->size / 1024);
    } else {
        area->kind = CT_SECMEM_SECRET;
        atomic_fetch_add(&locked_bytes, area->size);
    }
    if (status != 0) {
        (void)munmap(room, area->size + 2 * guard);
        area->base = NULL;
    }
    return status;
}

int ct_secmem_map(size_t size, bool keep_fd, struct ct_secmem_area *ret, struct ct_err *err)
{
    size_t page = page_size();
    *ret = (struct ct_secmem_area){.fd = -1};
    if (size == 0 || size > SIZE_MAX / 2) {
        return ct_err_set(err, CT_EINVAL, "%zu bytes of secret memory were asked for", size);
    }
    ret->size = (size + page - 1) / page * page;
    struct rlimit old;
    rlim_t limit = raise_memlock(&old);
    void *secret = map_secret(ret, keep_fd, limit);
    int status = place(ret, secret, limit, err);
    restore_memlock(&old);
    if (status != 0 && secret != MAP_FAILED) {
        (void)munmap(secret, ret->size);
    }
    if (ret->fd >= 0 && (status != 0 || !keep_fd)) {
        (void)close(ret->fd);
        ret->fd = -1;
    }
    return status;
}

void ct_secmem_release(struct ct_secmem_area *area)
{
    if (area->base == NULL) {
        return;
    }
    size_t guard = page_size();
    if (area->kind == CT_SECMEM_SECRET || area->lock_reason[0] == '\0') {
        atomic_fetch_sub(&locked_bytes, area->size);
    }
    (void)munmap((char *)area->base - guard, area->size + 2 * guard);
    area->base = NULL;
    if (area->fd >= 0) {
        (void)close(area->fd);
        area->fd = -1;
    }
}

void ct_secmem_unmap(struct ct_secmem_area *area)
{
    if (area->base != NULL) {
        explicit_bzero(area->base, area->size);
        ct_secmem_release(area);
    }
}

int ct_secmem_dont_fork(struct ct_secmem_area *area, struct ct_err *err)
{
    if (madvise(area->base, area->size, MADV_DONTFORK) != 0) {
        return ct_err_errno(err, "cannot keep secret memory from forked children (MADV_DONTFORK)");
    }
    return 0;
}
