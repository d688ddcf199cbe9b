// SPDX-License-Identifier: Apache-2.0
#include "container.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "text.h"

#define CGROUP2_SUPER_MAGIC 0x63677270
#define ID_LENGTH 64  // of a container, hexadecimal
#define UID_LENGTH 36 // of a pod; a static pod's is 32 without hyphens
#define STATIC_UID_LENGTH 32

// ---- names ----

static bool is_hex(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f')) {
            return false;
        }
    }
    return len > 0;
}

// The last component of path[0..len); what is before it, without the slash, is left in *len.
static const char *pop(const char *path, size_t *len, size_t *ret_len)
{
    size_t end = *len;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    *ret_len = end - begin;
    *len = begin > 0 ? begin - 1 : 0;
    return path + begin;
}

static bool has_suffix(const char *s, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);
    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

// "ID", "cri-containerd-ID.scope", "crio-ID.scope", "docker-ID.scope", "crio-ID".
static bool is_container(const char *name, size_t len, struct ct_container *ret)
{
    static const char *const prefixes[] = {"", "cri-containerd-", "crio-", "docker-"};
    if (has_suffix(name, len, ".scope")) {
        len -= strlen(".scope");
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (len == n + ID_LENGTH && memcmp(name, prefixes[i], n) == 0 &&
            is_hex(name + n, ID_LENGTH)) {
            (void)snprintf(ret->id, sizeof(ret->id), "%.*s", ID_LENGTH, name + n);
            return true;
        }
    }
    return false;
}

static bool is_uid(const char *s, size_t len, struct ct_container *ret)
{
    if (len == STATIC_UID_LENGTH && is_hex(s, len)) {
        (void)snprintf(ret->pod_uid, sizeof(ret->pod_uid), "%.*s", (int)len, s);
        return true;
    }
    if (len != UID_LENGTH) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? s[i] != '-' && s[i] != '_' : !is_hex(s + i, 1)) {
            return false;
        }
        ret->pod_uid[i] = '-';
        if (!hyphen) {
            ret->pod_uid[i] = s[i];
        }
    }
    ret->pod_uid[len] = '\0';
    return true;
}

// "podUID", "kubepods-podUID.slice", "kubepods-besteffort-podUID.slice".
static bool is_pod(const char *name, size_t len, struct ct_container *ret)
{
    if (has_suffix(name, len, ".slice")) {
        len -= strlen(".slice");
    }
    for (size_t at = 0; at + 3 < len; at++) {
        if (memcmp(name + at, "pod", 3) == 0 && (at == 0 || name[at - 1] == '-') &&
            is_uid(name + at + 3, len - at - 3, ret)) {
            return true;
        }
    }
    return false;
}

static bool is_kubepods(const char *name, size_t len)
{
    if (has_suffix(name, len, ".slice")) {
        len -= strlen(".slice");
    }
    return has_suffix(name, len, "kubepods") &&
           (len == strlen("kubepods") || name[len - strlen("kubepods") - 1] == '-');
}

bool ct_container_parse(const char *path, struct ct_container *ret)
{
    size_t rest = strlen(path);
    size_t len;
    *ret = (struct ct_container){0};
    const char *name = pop(path, &rest, &len);
    // crun puts what it runs one lower.
    if (len == strlen("container") && memcmp(name, "container", len) == 0) {
        name = pop(path, &rest, &len);
    }
    if (!is_container(name, len, ret)) {
        return false;
    }
    name = pop(path, &rest, &len);
    if (!is_pod(name, len, ret)) {
        return false;
    }
    while (rest > 0) {
        name = pop(path, &rest, &len);
        if (is_kubepods(name, len)) {
            return true;
        }
    }
    return false;
}

// ---- where it is ----

// The hierarchies that a container may be looked up in, best first: of version 2, then those that every runtime
// puts it into.
static int rank(const char *controllers, size_t len)
{
    static const char *const known[] = {"", "name=systemd", "pids", "memory"};
    for (size_t i = 0; i < CT_ARRAY_LEN(known); i++) {
        if (len == strlen(known[i]) && memcmp(controllers, known[i], len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void folder_of(const char *root, bool unified, const char *controllers, size_t len,
                      struct ct_cgroup_place *ret)
{
    const char *name = "unified";
    if (len > 0) {
        name = controllers;
        if (len > 5 && memcmp(controllers, "name=", 5) == 0) {
            name += 5;
            len -= 5;
        }
    } else {
        len = strlen(name);
    }
    (void)snprintf(ret->folder, sizeof(ret->folder), "%s%s%.*s%s", root, unified ? "" : "/",
                   unified ? 0 : (int)len, name, ret->path);
}

// Has it a component ".."?
static bool leads_up(const char *path)
{
    for (const char *at = strstr(path, "/.."); at != NULL; at = strstr(at + 1, "/..")) {
        if (at[3] == '/' || at[3] == '\0') {
            return true;
        }
    }
    return false;
}

int ct_cgroup_parse(const char *text, const char *root, bool unified, struct ct_cgroup_place *ret,
                    struct ct_err *err)
{
    int best = -1;
    *ret = (struct ct_cgroup_place){0};
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *controllers = memchr(line, ':', len);
        const char *path = controllers != NULL ? memchr(controllers + 1, ':',
                                                        len - (size_t)(controllers + 1 - line))
                                               : NULL;
        if (path != NULL) {
            size_t n = (size_t)(path - controllers - 1);
            size_t path_len = len - (size_t)(path + 1 - line);
            int at = rank(controllers + 1, n);
            // All are somewhere in each hierarchy: in its root, where nobody has put them.
            if (at >= 0 && (!unified || at == 0) && (best < 0 || at < best) && path_len > 1 &&
                path[1] == '/') {
                if (path_len >= sizeof(ret->path)) {
                    return ct_err_set(err, CT_EDENIED, "the path of its cgroup is too long");
                }
                memcpy(ret->path, path + 1, path_len);
                ret->path[path_len] = '\0';
                folder_of(root, unified, controllers + 1, n, ret);
                best = at;
            }
        }
        line += len + (line[len] == '\n' ? 1 : 0);
    }
    if (best < 0) {
        return ct_err_set(err, CT_EDENIED, "it is in no cgroup of its own");
    }
    if (leads_up(ret->path)) {
        return ct_err_set(err, CT_EDENIED,
                          "its cgroup is %.200s, outside of the agent's own view: the agent has to "
                          "run in the node's cgroup namespace",
                          ret->path);
    }
    return 0;
}

// A small file of /proc or of a cgroup, which has no size. What is beyond is cut.
static int read_text(const char *path, char *ret, size_t size, struct ct_err *err)
{
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 1;
    if (fd < 0) {
        return errno == ENOENT || errno == ESRCH ? ct_err_set(err, CT_ENOTFOUND, "it has ended")
                                                 : ct_err_errno(err, "cannot open %s", path);
    }
    while (n > 0 && len < size - 1) {
        n = read(fd, ret + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    ret[len] = '\0';
    if (n < 0) {
        return errno == ESRCH ? ct_err_set(err, CT_ENOTFOUND, "it has ended")
                              : ct_err_errno(err, "cannot read %s", path);
    }
    return 0;
}

int ct_cgroup_find(pid_t pid, const char *root, struct ct_cgroup_place *ret, struct ct_err *err)
{
    char path[64];
    char text[4 * CT_CGROUP_PATH_SIZE];
    struct statfs fs;
    struct stat status;
    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    int rc = read_text(path, text, sizeof(text), err);
    if (rc < 0) {
        return rc;
    }
    bool unified = statfs(root, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
    rc = ct_cgroup_parse(text, root, unified, ret, err);
    if (rc < 0) {
        return rc;
    }
    if (stat(ret->folder, &status) != 0) {
        return ct_err_errno(err, "cannot look at its cgroup %s", ret->folder);
    }
    ret->id = status.st_ino;
    return 0;
}

// ---- processes ----

static bool field(const char *text, const char *name, unsigned long long *ret)
{
    const char *at = strstr(text, name);
    return at != NULL && sscanf(at + strlen(name), "%llu", ret) == 1;
}

static int start_of(pid_t pid, uint64_t *ret, struct ct_err *err)
{
    char path[64];
    char text[1024];
    unsigned long long started = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int rc = read_text(path, text, sizeof(text), err);
    // Behind the name, which may hold anything: state is field 3, the start is field 22 (proc(5)).
    const char *at = rc == 0 ? strrchr(text, ')') : NULL;
    for (int i = 2; at != NULL && i < 22; i++) {
        at = strchr(at + 1, ' ');
    }
    if (rc == 0 && (at == NULL || sscanf(at, " %llu", &started) != 1)) {
        rc = ct_err_set(err, CT_EPROTO, "%s makes no sense", path);
    }
    *ret = started;
    return rc;
}

int ct_process_look(pid_t pid, struct ct_process *ret, struct ct_err *err)
{
    char path[64];
    char text[4096];
    unsigned long long threads;
    unsigned long long tracer;
    unsigned long long uid;
    *ret = (struct ct_process){0};
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    int rc = read_text(path, text, sizeof(text), err);
    if (rc < 0) {
        return rc;
    }
    if (!field(text, "\nTracerPid:", &tracer) || !field(text, "\nUid:", &uid) ||
        !field(text, "\nThreads:", &threads)) {
        return ct_err_set(err, CT_ENOTFOUND, "it has ended");
    }
    ret->threads = (unsigned)threads;
    ret->tracer = (pid_t)tracer;
    ret->uid = (uid_t)uid;
    return start_of(pid, &ret->started, err);
}

int ct_cgroup_is_first(const struct ct_cgroup_place *place, pid_t pid, struct ct_err *err)
{
    char path[sizeof(place->folder) + 16];
    uint64_t own;
    int other;
    (void)snprintf(path, sizeof(path), "%s/cgroup.procs", place->folder);
    int rc = start_of(pid, &own, err);
    if (rc < 0) {
        return rc;
    }
    CT_AUTO_FILE procs = fopen(path, "re");
    if (procs == NULL) {
        return ct_err_errno(err, "cannot read %s", path);
    }
    bool found = false;
    while (fscanf(procs, "%d", &other) == 1) {
        uint64_t started;
        found = found || other == pid;
        if (other == 0) {
            return ct_err_set(err, CT_EDENIED,
                              "its cgroup has processes that the agent cannot see: the agent has "
                              "to run in the node's pid namespace");
        }
        if (other != pid && start_of(other, &started, NULL) == 0 && started < own) {
            return ct_err_set(err, CT_EDENIED,
                              "it is not the first process of its container: process %d is older",
                              other);
        }
    }
    return found ? 0 : ct_err_set(err, CT_EDENIED, "it is not in the cgroup %s", place->folder);
}
