// SPDX-License-Identifier: Apache-2.0

// The low-level SHA256_* calls, deprecated since OpenSSL 3.0 in favour of EVP: EVP would bring the
// provider machinery with it, some megabytes, into a program that is to stay under 100 KB.
#define OPENSSL_API_COMPAT 0x10101000L
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define HEX_SIZE (2 * CT_COPY_SHA256_SIZE + 1)
// A source longer than expected is hashed on, so that what was found can be told, up to here.
#define HASHED_MAX (64ULL << 20)

// The name that a copy has for the moment between its completion and its rename; fixed, so that a
// run that was killed just there leaves at most one, which the next run takes away.
#define TEMPORARY_NAME ".cloudtaser-injector.partial"

_Static_assert(CT_COPY_SHA256_SIZE == SHA256_DIGEST_LENGTH, "SHA-256 has 32 bytes");

// A copy in the making.
struct target {
    char folder[PATH_MAX];
    char name[NAME_MAX + 1];
    int folder_fd;
    int fd;
    bool named; // it has TEMPORARY_NAME in the folder
};

static void target_done(struct target *t)
{
    if (t->named) {
        (void)unlinkat(t->folder_fd, TEMPORARY_NAME, 0);
    }
    ct_close_fd(&t->fd);
    ct_close_fd(&t->folder_fd);
}

static void format_hex(const unsigned char sha256[CT_COPY_SHA256_SIZE], char ret[HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < CT_COPY_SHA256_SIZE; i++) {
        ret[2 * i] = digits[sha256[i] >> 4];
        ret[2 * i + 1] = digits[sha256[i] & 15];
    }
    ret[HEX_SIZE - 1] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

int ct_copy_parse_sha256(const char *hex, unsigned char sha256[CT_COPY_SHA256_SIZE],
                         struct ct_err *err)
{
    for (size_t i = 0; i < CT_COPY_SHA256_SIZE; i++) {
        // A missing digit is the terminator, which is no digit: nothing behind it is read.
        int high = hex_digit(hex[2 * i]);
        int low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (low < 0) {
            return ct_err_set(err, CT_EINVAL, "a SHA-256 is written as 64 lower-case hex digits");
        }
        sha256[i] = (unsigned char)(high << 4 | low);
    }
    if (hex[HEX_SIZE - 1] != '\0') {
        return ct_err_set(err, CT_EINVAL, "a SHA-256 is written as 64 lower-case hex digits");
    }
    return 0;
}

static int volume_full(const struct target *t, unsigned long long length, struct ct_err *err)
{
    int cause = errno;
    struct statvfs v;
    if (fstatvfs(t->folder_fd, &v) != 0) {
        memset(&v, 0, sizeof(v));
    }
    return ct_err_set(err, CT_ETOOBIG,
                      "the volume at %s is full (%s): %s needs %llu bytes, %llu of %llu are free; "
                      "raise the volume's size limit",
                      t->folder, cause == EDQUOT ? "EDQUOT" : "ENOSPC", t->name, length,
                      (unsigned long long)v.f_bavail * v.f_frsize,
                      (unsigned long long)v.f_blocks * v.f_frsize);
}

// errno after a call that made or wrote the copy, as a sentence.
static int write_error(const struct target *t, unsigned long long length, struct ct_err *err)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return volume_full(t, length, err);
    case EACCES:
    case EPERM:
        return ct_err_set(err, CT_EDENIED,
                          "%s is not writable for user %u (%s): mount it writable, and check the "
                          "pod's runAsUser and fsGroup",
                          t->folder, (unsigned)geteuid(), errno == EPERM ? "EPERM" : "EACCES");
    case EROFS:
        return ct_err_set(err, CT_EDENIED, "%s is not writable: it is mounted read-only (EROFS)",
                          t->folder);
    default:
        return ct_err_errno(err, "cannot write %s/%s", t->folder, t->name);
    }
}

static int open_source(const struct ct_copy_spec *spec, int *ret_fd, struct ct_err *err)
{
    CT_AUTO_FD fd = open(spec->source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return ct_err_set(err, CT_ENOTFOUND,
                          "%s does not exist: this image does not hold the wrapper that it should",
                          spec->source);
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return ct_err_errno(err, "cannot open %s", spec->source);
    }
    if (!S_ISREG(st.st_mode)) {
        return ct_err_set(err, CT_EINVAL, "%s is not a regular file", spec->source);
    }
    *ret_fd = ct_steal_fd(&fd);
    return 0;
}

static int split_target(const char *path, struct target *t, struct ct_err *err)
{
    char copy[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(copy) || path[len - 1] == '/') {
        return ct_err_set(err, CT_EINVAL, "\"%.64s\" cannot be a copy's path: name a file", path);
    }
    memcpy(copy, path, len + 1);
    const char *name = basename(copy);
    if (strlen(name) >= sizeof(t->name)) {
        return ct_err_set(err, CT_EINVAL, "the file name \"%.64s…\" is too long", name);
    }
    memcpy(t->name, name, strlen(name) + 1);
    memcpy(copy, path, len + 1);
    const char *folder = dirname(copy);
    memcpy(t->folder, folder, strlen(folder) + 1);
    return 0;
}

// A file without a name where the file system has them: it vanishes by itself if this process is
// killed. Else one with the temporary name.
static int open_target(struct target *t, unsigned long long length, struct ct_err *err)
{
    t->folder_fd = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->folder_fd < 0) {
        return ct_err_errno(err, "cannot open the folder %s", t->folder);
    }
    if (unlinkat(t->folder_fd, TEMPORARY_NAME, 0) != 0 && errno != ENOENT) {
        return write_error(t, length, err);
    }
    t->fd = openat(t->folder_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (t->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        t->fd = openat(t->folder_fd, TEMPORARY_NAME, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        t->named = t->fd >= 0;
    }
    return t->fd < 0 ? write_error(t, length, err) : 0;
}

static int check_digest(const char *path, const struct ct_copy_spec *spec, SHA256_CTX *sha,
                        unsigned long long length, struct ct_err *err)
{
    unsigned char found[CT_COPY_SHA256_SIZE];
    char expected_hex[HEX_SIZE], found_hex[HEX_SIZE];
    SHA256_Final(found, sha);
    if (length == spec->length && memcmp(found, spec->sha256, sizeof(found)) == 0) {
        return 0;
    }
    format_hex(spec->sha256, expected_hex);
    format_hex(found, found_hex);
    return ct_err_set(err, CT_EINVAL,
                      "%s is not the wrapper that this injector was built with: expected %llu "
                      "bytes with SHA-256 %s, found %llu with %s",
                      path, spec->length, expected_hex, length, found_hex);
}

static int write_all(int fd, const unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

// Reads all of `from`, hashes it, and writes it to `t` unless that is NULL, but no more than the
// expected length: a source that has more is wrong already.
static int pump(int from, const char *path, struct target *t, const struct ct_copy_spec *spec,
                struct ct_err *err)
{
    unsigned char block[16384];
    unsigned long long total = 0;
    SHA256_CTX sha;
    SHA256_Init(&sha);
    while (total <= HASHED_MAX) {
        ssize_t n = read(from, block, sizeof(block));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ct_err_errno(err, "cannot read %s", path);
        }
        if (n == 0) {
            break;
        }
        SHA256_Update(&sha, block, (size_t)n);
        total += (unsigned long long)n;
        if (t != NULL && total <= spec->length && write_all(t->fd, block, (size_t)n) != 0) {
            return write_error(t, spec->length, err);
        }
    }
    return check_digest(path, spec, &sha, total, err);
}

// Opens the written file once more, for reading, and gives the writing descriptor up: as long as
// one exists nobody can execute the file.
static int reopen_for_reading(struct target *t, struct ct_err *err)
{
    char proc[32];
    int fd;
    if (t->named) {
        fd = openat(t->folder_fd, TEMPORARY_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    } else {
        (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", t->fd);
        fd = open(proc, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return ct_err_errno(err, "cannot read the copy in %s back%s", t->folder,
                            t->named ? "" : " (this needs /proc)");
    }
    ct_close_fd(&t->fd);
    t->fd = fd;
    return 0;
}

static int give_name(struct target *t, unsigned long long length, struct ct_err *err)
{
    char proc[32];
    (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", t->fd);
    // AT_EMPTY_PATH would need a capability; the link in /proc does not (open(2), O_TMPFILE).
    if (!t->named && linkat(AT_FDCWD, proc, t->folder_fd, TEMPORARY_NAME, AT_SYMLINK_FOLLOW) != 0) {
        return write_error(t, length, err);
    }
    t->named = true;
    if (renameat(t->folder_fd, TEMPORARY_NAME, t->folder_fd, t->name) != 0) {
        return write_error(t, length, err);
    }
    t->named = false;
    return 0;
}

int ct_copy_verified(const struct ct_copy_spec *spec, struct ct_err *err)
{
    __attribute__((cleanup(target_done))) struct target t = {.folder_fd = -1, .fd = -1};
    CT_AUTO_FD source = -1;
    int r = split_target(spec->target, &t, err);
    if (r == 0) {
        r = open_source(spec, &source, err);
    }
    if (r == 0) {
        r = open_target(&t, spec->length, err);
    }
    if (r == 0) {
        r = pump(source, spec->source, &t, spec, err);
    }
    if (r == 0 && fchmod(t.fd, CT_COPY_PERMISSIONS) != 0) {
        r = write_error(&t, spec->length, err);
    }
    if (r == 0) {
        r = reopen_for_reading(&t, err);
    }
    if (r == 0) {
        r = pump(t.fd, spec->target, NULL, spec, err);
    }
    return r != 0 ? r : give_name(&t, spec->length, err);
}
