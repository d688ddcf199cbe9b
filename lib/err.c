// SPDX-License-Identifier: Apache-2.0
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define NAME(value)                                                                                \
    {                                                                                              \
        value, #value                                                                              \
    }

// strerrorname_np() is glibc's alone; these are the ones that this project's calls return.
static const struct {
    int value;
    const char *name;
} errno_names[] = {
    NAME(EPERM),         NAME(ENOENT),   NAME(ESRCH),       NAME(EINTR),        NAME(EIO),
    NAME(ENXIO),         NAME(E2BIG),    NAME(ENOEXEC),     NAME(EBADF),        NAME(ECHILD),
    NAME(EAGAIN),        NAME(ENOMEM),   NAME(EACCES),      NAME(EFAULT),       NAME(EBUSY),
    NAME(EEXIST),        NAME(EXDEV),    NAME(ENODEV),      NAME(ENOTDIR),      NAME(EISDIR),
    NAME(EINVAL),        NAME(ENFILE),   NAME(EMFILE),      NAME(ENOTTY),       NAME(ETXTBSY),
    NAME(EFBIG),         NAME(ENOSPC),   NAME(ESPIPE),      NAME(EROFS),        NAME(EMLINK),
    NAME(EPIPE),         NAME(ERANGE),   NAME(EDEADLK),     NAME(ENAMETOOLONG), NAME(ENOSYS),
    NAME(ENOTEMPTY),     NAME(ELOOP),    NAME(ENODATA),     NAME(EOVERFLOW),    NAME(ELIBBAD),
    NAME(ENOTSOCK),      NAME(EPROTO),   NAME(EOPNOTSUPP),  NAME(EAFNOSUPPORT), NAME(EADDRINUSE),
    NAME(EADDRNOTAVAIL), NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ECONNABORTED), NAME(ECONNRESET),
    NAME(ENOBUFS),       NAME(ENOTCONN), NAME(ETIMEDOUT),   NAME(ECONNREFUSED), NAME(EHOSTUNREACH),
    NAME(EDQUOT),
};

static const char *errno_name(int value)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(errno_names); i++) {
        if (errno_names[i].value == value) {
            return errno_names[i].name;
        }
    }
    return NULL;
}

const char *ct_err_name(int errno_value)
{
    const char *name = errno_name(errno_value);
    return name != NULL ? name : "an unnamed error";
}

// Marks a message that was cut, without splitting a UTF-8 sequence.
static void mark_cut(char *msg, size_t size)
{
    static const char mark[] = "…";
    size_t at = size - sizeof(mark);
    while (at > 0 && ((unsigned char)msg[at] & 0xc0) == 0x80) {
        at--;
    }
    memcpy(msg + at, mark, sizeof(mark));
}

// Appends to the message, which holds `len` bytes; returns its new length.
static size_t vappend(struct ct_err *err, size_t len, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

static size_t vappend(struct ct_err *err, size_t len, const char *fmt, va_list args)
{
    size_t room = sizeof(err->msg) - len;
    int n = vsnprintf(err->msg + len, room, fmt, args);
    if (n < 0) {
        err->msg[len] = '\0';
        return len;
    }
    if ((size_t)n < room) {
        return len + (size_t)n;
    }
    mark_cut(err->msg, sizeof(err->msg));
    return strlen(err->msg);
}

static size_t append(struct ct_err *err, size_t len, const char *fmt, ...) CT_PRINTF(3, 4);

static size_t append(struct ct_err *err, size_t len, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    len = vappend(err, len, fmt, args);
    va_end(args);
    return len;
}

int ct_err_set(struct ct_err *err, enum ct_code code, const char *fmt, ...)
{
    if (err != NULL) {
        // The arguments may point into the message itself: format aside.
        struct ct_err made = {.code = (int)code};
        va_list args;
        va_start(args, fmt);
        vappend(&made, 0, fmt, args);
        va_end(args);
        *err = made;
    }
    return -(int)code;
}

int ct_err_errno(struct ct_err *err, const char *fmt, ...)
{
    int value = errno;
    int code = value == ENOMEM ? CT_ENOMEM : CT_ESYSTEM;
    if (err != NULL) {
        struct ct_err made = {.code = code, .errno_value = value};
        const char *name = errno_name(value);
        va_list args;
        va_start(args, fmt);
        size_t len = vappend(&made, 0, fmt, args);
        va_end(args);
        if (name != NULL) {
            append(&made, len, ": %s (%s)", strerror(value), name);
        } else {
            append(&made, len, ": %s (errno %d)", strerror(value), value);
        }
        *err = made;
    }
    errno = value;
    return -code;
}

int ct_err_wrap(struct ct_err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return -CT_ESYSTEM;
    }
    if (err->code == CT_OK) {
        err->code = CT_ESYSTEM;
    }
    struct ct_err made = {.code = err->code, .errno_value = err->errno_value};
    va_list args;
    va_start(args, fmt);
    size_t len = vappend(&made, 0, fmt, args);
    va_end(args);
    append(&made, len, ": %s", err->msg);
    *err = made;
    return -err->code;
}

int ct_err_add(struct ct_err *err, const char *separator, enum ct_code code, const char *fmt, ...)
{
    if (err == NULL) {
        return -(int)code;
    }
    struct ct_err made = *err;
    size_t len = strlen(made.msg);
    if (made.code == CT_OK) {
        made.code = (int)code;
        len = 0;
    } else {
        len = append(&made, len, "%s", separator);
    }
    va_list args;
    va_start(args, fmt);
    vappend(&made, len, fmt, args);
    va_end(args);
    *err = made;
    return -err->code;
}
