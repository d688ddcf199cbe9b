// SPDX-License-Identifier: Apache-2.0
#include "fs.h"

#include <linux/mount.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

int ct_fs_open(const char *type)
{
    CT_AUTO_FD fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) {
        return -1;
    }
    return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
}

static int mount_number(int fd)
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

bool ct_fs_mount_of(int fd, pid_t pid, struct ct_fs_mount *ret)
{
    char path[64];
    CT_AUTO_STR line = NULL;
    size_t cap = 0;
    int wanted = mount_number(fd);
    (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
    CT_AUTO_FILE mounts = fopen(path, "re");
    while (mounts != NULL && getline(&line, &cap, mounts) > 0) {
        int id;
        unsigned high;
        unsigned low;
        const char *type = strstr(line, " - ");
        if (sscanf(line, "%d %*d %u:%u ", &id, &high, &low) == 3 && id == wanted && type != NULL) {
            type += strlen(" - ");
            (void)snprintf(ret->type, sizeof(ret->type), "%.*s", (int)strcspn(type, " "), type);
            ret->device = high << 20 | low;
            return true;
        }
    }
    return false;
}

bool ct_fs_is_kernels_own(const char *type)
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
