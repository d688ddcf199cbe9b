// SPDX-License-Identifier: Apache-2.0
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CHUNK 65536

const char *ct_input_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

CT_CHECKED static int read_all(int fd, const char *name, struct ct_buf *out, struct ct_err *err)
{
    char chunk[CHUNK];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ct_err_errno(err, "cannot read %s", name);
        }
        if (n == 0) {
            return 0;
        }
        if ((size_t)n > out->max - out->len) {
            return ct_err_set(err, CT_ETOOBIG, "%s is larger than %zu MiB", name, out->max >> 20);
        }
        ct_buf_add(out, chunk, (size_t)n);
        if (out->failed) {
            return ct_err_set(err, CT_ENOMEM, "out of memory while reading %s", name);
        }
    }
}

int ct_input_read(const char *path, struct ct_buf *out, struct ct_err *err)
{
    if (strcmp(path, "-") == 0) {
        if (isatty(STDIN_FILENO)) {
            (void)fputs("reading a manifest from the terminal; Ctrl-D ends it\n", stderr);
        }
        return read_all(STDIN_FILENO, ct_input_name(path), out, err);
    }
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return ct_err_set(err, CT_ENOTFOUND, "%s does not exist", path);
    }
    return fd < 0 ? ct_err_errno(err, "cannot open %s", path) : read_all(fd, path, out, err);
}
