// SPDX-License-Identifier: Apache-2.0
#include "reader.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shared.h"

#define BIT(vector) (1ULL << (vector))
#define ELF_MAGIC "\177ELF"

// "FILE@CGROUP", apart.
struct reader {
    char file[PATH_MAX];
    char cgroup[PATH_MAX]; // "" for any
};

uint64_t ct_reader_vectors(void)
{
    return BIT(CT_V_MEM_READ) | BIT(CT_V_VM_READV) | BIT(CT_V_ENVIRON) | BIT(CT_V_MAPS) |
           BIT(CT_V_LINKS) | BIT(CT_V_FD_REOPEN);
}

static bool is_interpreter(const char *file)
{
    static const char *const patterns[] = {
        "sh",    "*ash",   "[ckz]sh", "tcsh", "busybox", "toybox", "python*", "perl*",  "ruby*",
        "node*", "deno",   "bun",     "lua*", "php*",    "java",   "*awk",    "tclsh*", "gdb",
        "ld-*",  "ld.so*", "expect",  "env",  "script",  "guile*", "dotnet",  "qemu-*", "wine*",
    };
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    for (size_t i = 0; i < CT_ARRAY_LEN(patterns); i++) {
        if (fnmatch(patterns[i], name, 0) == 0) {
            return true;
        }
    }
    return false;
}

static int split(const char *value, struct reader *ret, struct ct_err *err)
{
    const char *at = strchr(value, '@');
    size_t len = at != NULL ? (size_t)(at - value) : strlen(value);
    const char *cgroup = at != NULL ? at + 1 : "";
    if (value[0] != '/' || (at != NULL && cgroup[0] != '/') || len >= sizeof(ret->file) ||
        strlen(cgroup) >= sizeof(ret->cgroup) || strstr(cgroup, "..") != NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "\"%.200s\" is no reader: FILE or FILE@CGROUP, both absolute paths",
                          value);
    }
    memcpy(ret->file, value, len);
    ret->file[len] = '\0';
    memcpy(ret->cgroup, cgroup, strlen(cgroup) + 1);
    return 0;
}

int ct_reader_check(const char *value, struct ct_err *err)
{
    struct reader reader;
    int rc = split(value, &reader, err);
    if (rc == 0 && is_interpreter(reader.file)) {
        return ct_err_set(err, CT_EINVAL,
                          "%.200s runs what anybody gives it: an interpreter is never a reader",
                          reader.file);
    }
    return rc;
}

// The file that its processes run, links followed: what is called edr may lead to a shell.
static int identify(const struct reader *reader, struct ct_exempt_key *ret, struct ct_err *err)
{
    char real[PATH_MAX];
    char magic[sizeof(ELF_MAGIC) - 1];
    struct stat status;
    if (realpath(reader->file, real) == NULL) {
        return ct_err_errno(err, "cannot find the reader %s", reader->file);
    }
    CT_AUTO_FD fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return ct_err_errno(err, "cannot look at the reader %s", real);
    }
    if (is_interpreter(real) || !S_ISREG(status.st_mode) ||
        pread(fd, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic) ||
        memcmp(magic, ELF_MAGIC, sizeof(magic)) != 0) {
        return ct_err_set(err, CT_EINVAL,
                          "the reader %.200s is a script, an interpreter, or no program at all",
                          real);
    }
    *ret = (struct ct_exempt_key){.inode = status.st_ino,
                                  .device = major(status.st_dev) << 20 | minor(status.st_dev)};
    return 0;
}

static int cgroup_of(const struct reader *reader, const char *root, uint64_t *ret,
                     struct ct_err *err)
{
    char path[2 * PATH_MAX];
    struct stat status;
    *ret = 0;
    if (reader->cgroup[0] == '\0') {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s%s", root, reader->cgroup);
    if (stat(path, &status) != 0) {
        return ct_err_errno(err, "cannot find the cgroup %s of the reader %s", reader->cgroup,
                            reader->file);
    }
    *ret = status.st_ino;
    return 0;
}

static int allow(int map, const struct ct_exempt_key *key, uint64_t cgroup, struct ct_err *err)
{
    const struct ct_exempt value = {.vectors = ct_reader_vectors(), .cgroup = cgroup};
    return bpf_map_update_elem(map, key, &value, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot write down a reader");
}

int ct_reader_allow(int map, const struct ct_option_list *readers, const char *cgroup_root,
                    struct ct_err *err)
{
    const struct ct_exempt_key any = {0}; // no file's: that there is one (state.bpf.h)
    int rc = readers->n > 0 ? allow(map, &any, 0, err) : 0;
    for (size_t i = 0; rc == 0 && i < readers->n; i++) {
        struct reader reader;
        struct ct_exempt_key key;
        uint64_t cgroup;
        rc = split(readers->item[i], &reader, err);
        rc = rc == 0 ? identify(&reader, &key, err) : rc;
        rc = rc == 0 ? cgroup_of(&reader, cgroup_root, &cgroup, err) : rc;
        rc = rc == 0 ? allow(map, &key, cgroup, err) : rc;
    }
    return rc;
}
