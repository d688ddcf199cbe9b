// SPDX-License-Identifier: Apache-2.0
#include "vet.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs.h"

#define PATIENCE_MS 3000 // for reading a program; the wrapper waits five seconds for the answer

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

static int open_program(pid_t pid, int *ret, struct ct_err *err)
{
    char path[64];
    struct ct_fs_mount mount;
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    CT_AUTO_FD place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0) {
        return errno == ENOENT || errno == ESRCH
                   ? ct_err_set(err, CT_ENOTFOUND, "it has ended, or its program is gone")
                   : ct_err_errno(err, "cannot look at %s", path);
    }
    if (!ct_fs_mount_of(place, pid, &mount)) {
        return ct_err_set(err, CT_EDENIED, "its program is on no file system that it still has");
    }
    if (!ct_fs_is_kernels_own(mount.type)) {
        return ct_err_set(err, CT_EDENIED,
                          "its program is on a file system of the type %s, which could show the "
                          "agent another file than it runs",
                          mount.type);
    }
    *ret = ct_steal_fd(&place);
    return 0;
}

struct reading {
    const struct ct_trust *trust;
    int place;
};

struct finding {
    int rc;
    struct ct_err err;
    struct ct_signature signature; // its key's name is the trust's own
};

static void read_program(const void *cls, void *ret)
{
    const struct reading *reading = cls;
    struct finding *finding = ret;
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", reading->place);
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    finding->rc = fd < 0
                      ? ct_err_errno(&finding->err, "cannot read its program")
                      : ct_signature_check(fd, reading->trust, &finding->signature, &finding->err);
}

// Aside: a file system below the one that is seen (overlayfs on FUSE) may never answer.
static int check_signature(const struct ct_trust *trust, struct ct_aside *aside, int place,
                           struct ct_signature *ret, struct ct_err *err)
{
    const struct reading reading = {.trust = trust, .place = place};
    struct finding finding;
    _Static_assert(sizeof(finding) <= PIPE_BUF, "one write");
    if (!ct_aside_run(aside, place, PATIENCE_MS, read_program, &reading, &finding,
                      sizeof(finding))) {
        return ct_err_set(err, CT_EUNAVAIL,
                          "its program could not be read within %d s: the file system that it is "
                          "on does not answer",
                          PATIENCE_MS / 1000);
    }
    finding.err.msg[sizeof(finding.err.msg) - 1] = '\0';
    *ret = finding.signature;
    return finding.rc < 0 ? ct_err_set(err, (enum ct_code)finding.err.code, "%s", finding.err.msg)
                          : 0;
}

static int check_program(const struct ct_vet_options *options, struct ct_aside *aside, pid_t pid,
                         struct ct_signature *ret, struct ct_err *err)
{
    CT_AUTO_FD place = -1;
    int rc = open_program(pid, &place, err);
    rc = rc == 0 ? check_signature(&options->trust, aside, place, ret, err) : rc;
    if (rc == 0 && ret->version < options->min_version) {
        struct ct_version_text is;
        struct ct_version_text least;
        return ct_err_set(err, CT_EDENIED, "its version %s is older than %s, the least allowed",
                          ct_version_show(&is, ret->version),
                          ct_version_show(&least, options->min_version));
    }
    return rc;
}

int ct_vet_program(const struct ct_vet_options *options, struct ct_aside *aside, pid_t pid,
                   bool first, struct ct_vetted *ret, struct ct_err *err)
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
    return rc == 0 ? check_program(options, aside, pid, &ret->signature, err) : rc;
}
