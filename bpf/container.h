// SPDX-License-Identifier: Apache-2.0
//
// Which container a process belongs to, as its cgroup tells. Kubelet and the container runtimes name the cgroups of
// pods in two ways, after the cgroup driver: kubepods.slice/…/kubepods-burstable-podUID.slice/cri-containerd-ID.scope
// (systemd) and kubepods/burstable/podUID/ID (cgroupfs).
#ifndef CT_CONTAINER_H
#define CT_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"
#include "err.h"

// A pod's container, by the path of its cgroup.
struct ct_container {
    char pod_uid[64]; // with hyphens, as the API has it
    char id[80];      // as the runtime has it
};

// False when the path is not that of a pod's container: a cgroup within it, or above it, is not either.
bool ct_container_parse(const char *path, struct ct_container *ret);

#define CT_CGROUP_PATH_SIZE 1024

// A process's cgroup.
struct ct_cgroup_place {
    char path[CT_CGROUP_PATH_SIZE];         // "/kubepods.slice/…", within its hierarchy
    char folder[CT_CGROUP_PATH_SIZE + 128]; // where that hierarchy is mounted
    uint64_t id;                            // its number in the kernel
};

// Of version 2 where processes are in one, else of the hierarchies of version 1. `root`: where cgroups are
// mounted (/sys/fs/cgroup). Errors: CT_ENOTFOUND when the process has ended, CT_EDENIED when its cgroup cannot be seen
// from here, CT_ESYSTEM.
CT_CHECKED int ct_cgroup_find(pid_t pid, const char *root, struct ct_cgroup_place *ret,
                              struct ct_err *err);

// As above, from the text of /proc/PID/cgroup: the path and the hierarchy's folder, no number.
CT_CHECKED int ct_cgroup_parse(const char *text, const char *root, bool unified,
                               struct ct_cgroup_place *ret, struct ct_err *err);

// Is any process in that cgroup older than this one, or a thread of another? Errors: CT_EDENIED with who, CT_ESYSTEM.
CT_CHECKED int ct_cgroup_is_first(const struct ct_cgroup_place *place, pid_t pid,
                                  struct ct_err *err);

// What /proc/PID/status and stat tell.
struct ct_process {
    unsigned threads;
    pid_t tracer;
    uid_t uid;
    uint64_t started; // in ticks since the machine's start
};

CT_CHECKED int ct_process_look(pid_t pid, struct ct_process *ret, struct ct_err *err);

#endif
