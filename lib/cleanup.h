// SPDX-License-Identifier: Apache-2.0
//
// Ownership in C: a variable declared CT_AUTO(type) is destroyed when its scope ends, and
// ct_steal() hands the value over to somebody else instead. Every destructor takes NULL.
#ifndef CT_CLEANUP_H
#define CT_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CT_CHECKED __attribute__((warn_unused_result))
#define CT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

// Defines the cleanup function behind CT_AUTO(name) for `struct name *`, destroyed by `destroy`.
#define CT_DEFINE_AUTO(name, destroy)                                                              \
    static inline void ct_auto_##name(struct name **p)                                             \
    {                                                                                              \
        destroy(*p);                                                                               \
    }                                                                                              \
    struct name

// `CT_AUTO(ct_json) *doc = NULL;` - freed at the end of the scope by the type's destructor.
#define CT_AUTO(name) __attribute__((cleanup(ct_auto_##name))) struct name

static inline void ct_free_charp(char **p)
{
    free(*p);
}

static inline void ct_close_fd(int *fd)
{
    if (*fd >= 0) {
        // Never retried after EINTR: on Linux the descriptor is gone either way (close(2)).
        (void)close(*fd);
    }
}

static inline void ct_close_file(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

#define CT_AUTO_STR __attribute__((cleanup(ct_free_charp))) char *
#define CT_AUTO_FD __attribute__((cleanup(ct_close_fd))) int
#define CT_AUTO_FILE __attribute__((cleanup(ct_close_file))) FILE *

// Takes the pointer out of an owner: `*ret = ct_steal(&local);`.
#define ct_steal(p)                                                                                \
    ({                                                                                             \
        __typeof__(*(p)) ct_stolen_ = *(p);                                                        \
        *(p) = NULL;                                                                               \
        ct_stolen_;                                                                                \
    })

static inline int ct_steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#define CT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
