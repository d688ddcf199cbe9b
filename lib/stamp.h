// SPDX-License-Identifier: Apache-2.0
//
// Tells whether a file has changed without reading it: device, inode, size and times of what the path
// leads to. Symbolic links are followed, so that the swap of a link, which is how Kubernetes renews
// mounted volumes, shows as another inode.
#ifndef CT_STAMP_H
#define CT_STAMP_H

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

struct ct_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    struct timespec ctime; // a file replaced with its old mtime (rsync, cp -p) still differs here
};

// All zero when the file is missing: appearing and vanishing are changes too. Take the stamp before
// reading: what is written after that differs from it.
static inline struct ct_stamp ct_stamp_of(const char *path)
{
    struct stat st;
    struct ct_stamp stamp = {0};
    if (stat(path, &st) == 0) {
        stamp.dev = st.st_dev;
        stamp.ino = st.st_ino;
        stamp.size = st.st_size;
        stamp.mtime = st.st_mtim;
        stamp.ctime = st.st_ctim;
    }
    return stamp;
}

static inline bool ct_stamp_equal(const struct ct_stamp *a, const struct ct_stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

#endif
