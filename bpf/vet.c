// SPDX-License-Identifier: Apache-2.0
#include "vet.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

int ct_vet_place(const struct ct_vet_options *options, pid_t pid, struct ct_vetted *ret,
                 struct ct_err *err)
{
    *ret = (struct ct_vetted){0};
    int rc = ct_cgroup_find(pid, options->cgroup_root, &ret->place, err);
    if (rc < 0) {
        return rc;
    }
    if (ct_container_parse(ret->place.path, &ret->container)) {
        return 0;
    }
    ret->container = (struct ct_container){0};
    for (size_t i = 0; i < options->n_allow_cgroups; i++) {
        if (fnmatch(options->allow_cgroups[i], ret->place.path, FNM_PATHNAME) == 0) {
            return 0;
        }
    }
    return ct_err_set(err, CT_EDENIED, "its cgroup %.200s is not that of a pod's container",
                      ret->place.path);
}

// ---- the program ----

// File systems whose content the kernel has from a disk or from memory. What a process of the node's serves (FUSE, a
// network) could be one thing for the agent and another for the processor.
static bool is_known_type(const char *type)
{
    static const char *const known[] = {"ext2",  "ext3",     "ext4",   "xfs",   "btrfs",
                                        "f2fs",  "zfs",      "tmpfs",  "ramfs", "rootfs",
                                        "erofs", "squashfs", "overlay"};
    for (size_t i = 0; i < CT_ARRAY_LEN(known); i++) {
        if (strcmp(type, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int mount_of(int fd)
{
    char path[64];
    char line[256];
    int mount = -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    CT_AUTO_FILE info = fopen(path, "re");
    while (info != NULL && mount < 0 && fgets(line, sizeof(line), info) != NULL) {
        (void)sscanf(line, "mnt_id: %d", &mount);
    }
    return mount;
}

// The type of the file system that a mount of the process's own namespace is of (proc(5)). Without asking that file
// system anything: one that does not answer would hold the agent up.
static bool type_of_mount(pid_t pid, int mount, char *ret, size_t size)
{
    char path[64];
    CT_AUTO_STR line = NULL;
    size_t cap = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
    CT_AUTO_FILE mounts = fopen(path, "re");
    while (mounts != NULL && getline(&line, &cap, mounts) > 0) {
        int id;
        const char *type = strstr(line, " - ");
        if (sscanf(line, "%d ", &id) == 1 && id == mount && type != NULL) {
            type += strlen(" - ");
            (void)snprintf(ret, size, "%.*s", (int)strcspn(type, " "), type);
            return true;
        }
    }
    return false;
}

static int open_program(pid_t pid, int *ret, struct ct_err *err)
{
    char path[64];
    char type[32];
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    CT_AUTO_FD place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0) {
        return errno == ENOENT || errno == ESRCH
                   ? ct_err_set(err, CT_ENOTFOUND, "it has ended, or its program is gone")
                   : ct_err_errno(err, "cannot look at %s", path);
    }
    if (!type_of_mount(pid, mount_of(place), type, sizeof(type))) {
        return ct_err_set(err, CT_EDENIED, "its program is on no file system that it still has");
    }
    if (!is_known_type(type)) {
        return ct_err_set(err, CT_EDENIED,
                          "its program is on a file system of the type %s, which could show the "
                          "agent another file than it runs",
                          type);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    *ret = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return *ret >= 0 ? 0 : ct_err_errno(err, "cannot read its program");
}

static int check_program(const struct ct_vet_options *options, pid_t pid, struct ct_signature *ret,
                         struct ct_err *err)
{
    CT_AUTO_FD fd = -1;
    int rc = open_program(pid, &fd, err);
    rc = rc == 0 ? ct_signature_check(fd, &options->trust, ret, err) : rc;
    if (rc == 0 && ret->version < options->min_version) {
        struct ct_version_text is;
        struct ct_version_text least;
        return ct_err_set(err, CT_EDENIED, "its version %s is older than %s, the least allowed",
                          ct_version_show(&is, ret->version),
                          ct_version_show(&least, options->min_version));
    }
    return rc;
}

int ct_vet_program(const struct ct_vet_options *options, pid_t pid, bool first,
                   struct ct_vetted *ret, struct ct_err *err)
{
    int rc = ct_process_look(pid, &ret->process, err);
    if (rc < 0) {
        return rc;
    }
    if (ret->process.tracer != 0) {
        return ct_err_set(err, CT_EDENIED, "process %d traces it", (int)ret->process.tracer);
    }
    if (ret->process.threads != 1) {
        return ct_err_set(err, CT_EDENIED, "it has %u threads", ret->process.threads);
    }
    rc = first ? ct_cgroup_is_first(&ret->place, pid, err) : 0;
    return rc == 0 ? check_program(options, pid, &ret->signature, err) : rc;
}
