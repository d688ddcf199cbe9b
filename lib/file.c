// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK 4096

static int check_regular(const char *path, int fd, size_t max, size_t *ret_size, struct ct_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return ct_err_errno(err, "cannot examine %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return ct_err_set(err, CT_EINVAL, "%s is not a regular file", path);
    }
    // Files of /proc and /sys say 0 and hold something all the same.
    *ret_size = st.st_size > 0 && (unsigned long long)st.st_size <= max ? (size_t)st.st_size : 0;
    return 0;
}

static int too_big(const char *path, const struct ct_buf *out, struct ct_err *err)
{
    return ct_err_set(err, CT_ETOOBIG, "%s is larger than %zu bytes", path, out->max);
}

// Reads once, at most `want` bytes. 1: more may come, 0: the end.
static int read_some(const char *path, int fd, size_t want, struct ct_buf *out, struct ct_err *err)
{
    char probe;
    size_t left = out->max - out->len;
    char *to = left == 0 ? &probe : ct_buf_reserve(out, want < left ? want : left);
    if (to == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading %s", path);
    }
    ssize_t n = read(fd, to, left == 0 ? 1 : want < left ? want : left);
    if (n < 0) {
        return errno == EINTR ? 1 : ct_err_errno(err, "cannot read %s", path);
    }
    if (n > 0 && left == 0) {
        return too_big(path, out, err);
    }
    if (left > 0) {
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    return n > 0;
}

int ct_file_read(const char *path, struct ct_buf *out, struct ct_err *err)
{
    ct_buf_reset(out);
    // O_NONBLOCK: a FIFO put where a file belongs must not hang the program.
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return ct_err_set(err, CT_ENOTFOUND, "%s does not exist", path);
        }
        return ct_err_errno(err, "cannot open %s", path);
    }
    size_t size = 0;
    int rc = check_regular(path, fd, out->max, &size, err);
    if (rc < 0) {
        return rc;
    }
    do {
        // One byte more than the file says, so that its end shows without growing the buffer.
        rc = read_some(path, fd, size > out->len ? size - out->len + 1 : CHUNK, out, err);
    } while (rc > 0);
    if (rc < 0) {
        if (out->data != NULL) {
            explicit_bzero(out->data, out->cap);
        }
        ct_buf_reset(out);
    }
    return rc;
}
