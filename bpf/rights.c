// SPDX-License-Identifier: Apache-2.0
#include "rights.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Numbers of the first namespaces (include/linux/proc_ns.h); they are the same on every kernel.
#define FIRST_PID_NAMESPACE 0xeffffffcUL
#define FIRST_CGROUP_NAMESPACE 0xeffffffbUL

static const struct {
    int number;
    const char *name; // NULL: nothing fails without it
} kept[] = {
    {CAP_BPF, "CAP_BPF"},               // maps and their descriptors
    {CAP_PERFMON, "CAP_PERFMON"},       // programs that look at the kernel
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},   // numbers of programs, namespaces; before 5.8 all of these
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}, // /proc/PID/exe of others
    {CAP_DAC_READ_SEARCH, NULL},        // environment and token of a wrapper of another user
    {CAP_KILL, NULL},                   // to send on a victim that a killed tracer has left stopped
};

static int get(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capget, &header, data);
}

static int set(const struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capset, &header, data);
}

static int keep(const struct __user_cap_data_struct data[2], struct ct_err *err)
{
    if (set(data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return ct_err_errno(err, "cannot give up capabilities");
    }
    return 0;
}

static bool is_kept(int number)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(kept); i++) {
        if (kept[i].number == number) {
            return true;
        }
    }
    return false;
}

int ct_rights_check_capabilities(struct ct_err *err)
{
    struct __user_cap_data_struct data[2] = {0};
    if (get(data) != 0) {
        return ct_err_errno(err, "cannot read this process's capabilities");
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(kept); i++) {
        int n = kept[i].number;
        if (kept[i].name != NULL && (data[n / 32].effective >> (n % 32) & 1) == 0) {
            return ct_err_set(
                err, CT_EDENIED,
                "the agent lacks %s: run it as root, in a container as a privileged one",
                kept[i].name);
        }
    }
    return 0;
}

int ct_rights_check(struct ct_err *err)
{
    struct stat st;
    int rc = ct_rights_check_capabilities(err);
    if (rc < 0) {
        return rc;
    }
    if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != FIRST_PID_NAMESPACE) {
        return ct_err_set(
            err, CT_EDENIED,
            "the agent sees the processes of a container alone: give its pod `hostPID: true`");
    }
    return 0;
}

static bool sees_all_cgroups(void)
{
    struct stat st;
    return stat("/proc/self/ns/cgroup", &st) == 0 && st.st_ino == FIRST_CGROUP_NAMESPACE;
}

int ct_rights_see_cgroups(struct ct_err *err)
{
    if (sees_all_cgroups()) {
        return 0;
    }
    CT_AUTO_FD first = open("/proc/1/ns/cgroup", O_RDONLY | O_CLOEXEC);
    if (first < 0 || setns(first, CLONE_NEWCGROUP) != 0) {
        return ct_err_errno(err, "the agent sees the cgroups of a container alone, and cannot "
                                 "enter the node's (/proc/1/ns/cgroup)");
    }
    return sees_all_cgroups()
               ? 0
               : ct_err_set(err, CT_EDENIED,
                            "the agent sees the cgroups of a container alone: give its pod "
                            "`hostPID: true`, so that /proc/1 is the node's");
}

int ct_rights_drop(struct ct_err *err)
{
    struct __user_cap_data_struct data[2] = {0};
    if (get(data) != 0) {
        return ct_err_errno(err, "cannot read this process's capabilities");
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int n = 0; prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0; n++) {
        if (!is_kept(n) && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) != 0 && errno != EPERM) {
            return ct_err_errno(err, "cannot give up capability %d", n);
        }
    }
    uint32_t wanted[2] = {0};
    for (size_t i = 0; i < CT_ARRAY_LEN(kept); i++) {
        wanted[kept[i].number / 32] |= 1U << (kept[i].number % 32);
    }
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= wanted[i];
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return keep(data, err);
}

int ct_rights_drop_all(struct ct_err *err)
{
    const struct __user_cap_data_struct none[2] = {0};
    return keep(none, err);
}
