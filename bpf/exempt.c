// SPDX-License-Identifier: Apache-2.0
#include "exempt.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs.h"
#include "shared.h"
#include "vectors.h"

#define BIT(vector) (1ULL << (vector))
#define ELF_MAGIC "\177ELF"

// "VECTORS:FILE@CGROUP", apart.
struct exempt {
    uint64_t vectors;
    char file[PATH_MAX];
    char cgroup[PATH_MAX]; // "" for any
};

// ---- what is written ----

static const struct {
    enum ct_vector vector;
    const char *why;
} never[] = {
    {CT_V_TRACEME, "a protected process does it itself"},
    {CT_V_KILL, "it guards the agent"},
    {CT_V_CGROUP, "it guards the agent"},
    {CT_V_UNPIN, "it guards the agent"},
    {CT_V_OBJECTS, "it guards the agent"},
    {CT_V_FTRACE, "it guards the agent"},
    {CT_V_BLOCK_DEVICE, "only --strict refuses it, which knows no exemptions"},
};

static int take_vector(const char *name, size_t len, uint64_t *vectors, struct ct_err *err)
{
    const struct ct_vector_info *info = ct_vector_named(name, len);
    if (info == NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "there is no vector \"%.*s\" to be exempt from: `cloudtaser-agent probe` "
                          "lists their names",
                          (int)(len < 64 ? len : 64), name);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(never); i++) {
        if (never[i].vector == info->vector) {
            return ct_err_set(err, CT_EINVAL, "nobody is exempt from %s: %s", info->name,
                              never[i].why);
        }
    }
    *vectors |= BIT(info->vector);
    return 0;
}

static int take_vectors(const char *names, size_t len, uint64_t *ret, struct ct_err *err)
{
    const char *end = names + len;
    int rc = 0;
    *ret = 0;
    for (const char *next; rc == 0 && names <= end; names = next + 1) {
        next = memchr(names, '+', (size_t)(end - names));
        next = next != NULL ? next : end;
        rc = take_vector(names, (size_t)(next - names), ret, err);
    }
    return rc;
}

static bool is_interpreter(const char *file)
{
    static const char *const patterns[] = {
        "sh",    "*ash",   "[ckz]sh", "tcsh",   "busybox", "toybox", "python*",
        "perl*", "ruby*",  "node*",   "deno",   "bun",     "lua*",   "php*",
        "java",  "*awk",   "tclsh*",  "gdb",    "ld-*",    "ld.so*", "expect",
        "env",   "script", "guile*",  "dotnet", "qemu-*",  "wine*",  "bpftrace",
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

static int split(const char *value, struct exempt *ret, struct ct_err *err)
{
    const char *colon = strchr(value, ':');
    const char *file = colon != NULL ? colon + 1 : "";
    const char *at = strchr(file, '@');
    size_t len = at != NULL ? (size_t)(at - file) : strlen(file);
    const char *cgroup = at != NULL ? at + 1 : "";
    if (file[0] != '/' || (at != NULL && cgroup[0] != '/') || len >= sizeof(ret->file) ||
        strlen(cgroup) >= sizeof(ret->cgroup) || strstr(cgroup, "..") != NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "\"%.200s\" is no exemption: VECTOR[+VECTOR]...:FILE or "
                          "VECTOR[+VECTOR]...:FILE@CGROUP, both absolute paths",
                          value);
    }
    memcpy(ret->file, file, len);
    ret->file[len] = '\0';
    memcpy(ret->cgroup, cgroup, strlen(cgroup) + 1);
    return take_vectors(value, (size_t)(colon - value), &ret->vectors, err);
}

int ct_exempt_check(const char *value, struct ct_err *err)
{
    struct exempt exempt;
    int rc = split(value, &exempt, err);
    if (rc == 0 && is_interpreter(exempt.file)) {
        return ct_err_set(err, CT_EINVAL,
                          "%.200s runs what anybody gives it: an interpreter is never exempt",
                          exempt.file);
    }
    return rc;
}

// ---- whom it means ----

// The file system of an open file: seen from here, or from the node, by /proc/1/root.
static bool find_mount(int fd, struct ct_fs_mount *ret)
{
    return ct_fs_mount_of(fd, getpid(), ret) || ct_fs_mount_of(fd, 1, ret);
}

// Links are followed: what is called edr may lead to a shell.
static bool is_program(int fd, const struct stat *status, const char *real)
{
    char magic[sizeof(ELF_MAGIC) - 1];
    return !is_interpreter(real) && S_ISREG(status->st_mode) &&
           pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
           memcmp(magic, ELF_MAGIC, sizeof(magic)) == 0;
}

// As the node's first process names it, which sees more than the agent's container does, links followed in there. Out of
// sight that one is another container's, and the agent in none.
static int open_on_node(const char *file)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                 .resolve = RESOLVE_IN_ROOT};
    CT_AUTO_FD node = open("/proc/1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CT_AUTO_FD own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return (int)syscall(SYS_openat2, node >= 0 ? node : own, file, &how, sizeof(how));
}

// The file that its processes run.
static int identify(const struct exempt *exempt, struct ct_exempt_key *ret, struct ct_err *err)
{
    char link[64];
    char real[PATH_MAX] = "";
    struct ct_fs_mount mount;
    struct stat status;
    CT_AUTO_FD fd = open_on_node(exempt->file);
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (fd < 0 || fstat(fd, &status) != 0 || readlink(link, real, sizeof(real) - 1) < 0) {
        return ct_err_errno(err, "cannot find %s on the node, which is to be exempt", exempt->file);
    }
    if (!is_program(fd, &status, real)) {
        return ct_err_set(err, CT_EINVAL,
                          "%.200s is to be exempt, and is a script, an interpreter, or no program "
                          "at all",
                          real);
    }
    if (!find_mount(fd, &mount) || !ct_fs_is_kernels_own(mount.type)) {
        return ct_err_set(err, CT_EINVAL,
                          "%.200s is to be exempt, and is on no file system of the kernel's own, "
                          "which could show another file than it runs",
                          real);
    }
    // The file system's own number: stat(2) tells another one for btrfs and overlayfs.
    *ret = (struct ct_exempt_key){.inode = status.st_ino, .device = mount.device};
    return 0;
}

static int cgroup_of(const struct exempt *exempt, const char *root, __u64 *ret, struct ct_err *err)
{
    char path[2 * PATH_MAX];
    struct stat status;
    *ret = 0;
    if (exempt->cgroup[0] == '\0') {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s%s", root, exempt->cgroup);
    if (stat(path, &status) != 0) {
        return ct_err_errno(err, "cannot find the cgroup %s, in which %s is to be exempt",
                            exempt->cgroup, exempt->file);
    }
    *ret = status.st_ino;
    return 0;
}

static int put(int map, const struct ct_exempt_key *key, const struct ct_exempt *value,
               struct ct_err *err)
{
    return bpf_map_update_elem(map, key, value, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot write down an exemption");
}

struct found {
    struct ct_exempt_key key;
    struct ct_exempt value;
};

// Adds one to the `n` that are found already, with which it may share the file.
static int find(const char *text, const char *cgroup_root, struct found *all, size_t *n,
                struct ct_err *err)
{
    struct exempt exempt;
    struct found *found = &all[*n];
    int rc = split(text, &exempt, err);
    rc = rc == 0 ? identify(&exempt, &found->key, err) : rc;
    rc = rc == 0 ? cgroup_of(&exempt, cgroup_root, &found->value.cgroup, err) : rc;
    if (rc < 0) {
        return rc;
    }
    found->value.vectors = exempt.vectors;
    for (size_t i = 0; i < *n; i++) {
        if (memcmp(&all[i].key, &found->key, sizeof(found->key)) != 0) {
            continue;
        }
        if (all[i].value.cgroup != found->value.cgroup) {
            return ct_err_set(err, CT_EINVAL,
                              "%.200s is exempt twice, and not in the same cgroup: a file is "
                              "exempt in one, or in any",
                              exempt.file);
        }
        all[i].value.vectors |= exempt.vectors;
        return 0;
    }
    (*n)++;
    return 0;
}

static void clear(int map)
{
    struct ct_exempt_key key;
    while (bpf_map_get_next_key(map, NULL, &key) == 0 && bpf_map_delete_elem(map, &key) == 0) {
    }
}

static int write_all(int map, const struct found *all, size_t n, uint64_t *ret_vectors,
                     struct ct_err *err)
{
    // No file's, and open to nobody (a kernel thread has no file): that there are others (state.bpf.h).
    const struct ct_exempt_key any = {0};
    const struct ct_exempt nothing = {0};
    clear(map);
    *ret_vectors = 0;
    int rc = n > 0 ? put(map, &any, &nothing, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        *ret_vectors |= all[i].value.vectors;
        rc = put(map, &all[i].key, &all[i].value, err);
    }
    return rc;
}

int ct_exempt_write(int map, const struct ct_option_list *exempts, const char *cgroup_root,
                    uint64_t *ret_vectors, struct ct_err *err)
{
    struct found *all = calloc(exempts->n + 1, sizeof(*all));
    size_t n = 0;
    int rc = all != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for the exemptions");
    for (size_t i = 0; rc == 0 && i < exempts->n; i++) {
        rc = find(exempts->item[i], cgroup_root, all, &n, err);
    }
    rc = rc == 0 ? write_all(map, all, n, ret_vectors, err) : rc;
    free(all);
    return rc;
}
