// SPDX-License-Identifier: Apache-2.0
// Freeze or end the agent's cgroup, which is /around/agent, or the one around it. How, is in the program's name.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring.h"
#include "row.h"

#define AROUND "/sys/fs/cgroup/around"
#define OWN AROUND "/agent"

#define DEEP 20 // more than are looked at
#define FILEID_KERNFS                                                                              \
    0xfe // include/linux/exportfs.h: what follows is the file's number, of 64 bits
#define PAUSE_US 200000

static enum row_result freeze(const char *folder)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/cgroup.freeze", folder);
    enum row_result result = row_write(path, "1");
    if (result == ROW_LEAKED) {
        (void)row_write(path, "0");
    }
    return result;
}

static enum row_result end(const char *folder)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/cgroup.kill", folder);
    enum row_result result = row_write(path, "1");
    return result != ROW_LEAKED || row_becomes(row_agent().pid, "XZ?") ? result : ROW_REFUSED;
}

// By its number alone, and after the kernel has forgotten how it came to it: its entry then has no name.
static enum row_result freeze_by_handle(void)
{
    _Alignas(struct file_handle) char room[sizeof(struct file_handle) + sizeof(uint64_t)];
    struct file_handle *by = (struct file_handle *)(void *)room;
    uint64_t number = 0;
    DIR *folder = opendir(OWN);
    for (const struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        number = strcmp(e->d_name, "cgroup.freeze") == 0 ? e->d_ino : number;
    }
    *by = (struct file_handle){.handle_bytes = sizeof(number), .handle_type = FILEID_KERNFS};
    memcpy(by->f_handle, &number, sizeof(number));
    for (int i = 0; i < 3; i++) {
        (void)row_write("/proc/sys/vm/drop_caches", "2");
    }
    int fd = folder != NULL ? open_by_handle_at(dirfd(folder), by, O_WRONLY) : -1;
    if (fd < 0 || write(fd, "1", 1) != 1) {
        return row_from_errno("open_by_handle_at");
    }
    usleep(PAUSE_US);
    return write(fd, "0", 1) == 1 ? ROW_LEAKED : row_from_errno("write");
}

static enum row_result move_agent(const char *folder)
{
    char path[128];
    char number[16];
    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    snprintf(number, sizeof(number), "%d", (int)row_agent().pid);
    return row_write(path, number);
}

// Moves it so far down that the one around it is out of sight.
static enum row_result freeze_from_above(void)
{
    char path[128] = OWN;
    size_t own = strlen(path);
    for (size_t len = own; len < own + 2 * DEEP; len += 2) {
        memcpy(path + len, "/d", sizeof("/d"));
        (void)mkdir(path, 0755);
    }
    enum row_result result = move_agent(path);
    if (result != ROW_LEAKED) {
        puts("it cannot be moved");
        return ROW_ABSENT;
    }
    result = freeze(AROUND);
    (void)move_agent(OWN);
    for (size_t len = strlen(path); len > own; len -= 2) {
        path[len] = '\0';
        (void)rmdir(path);
    }
    return result;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *name = row_name();
    const char *folder = strstr(name, "_around") != NULL ? AROUND : OWN;
    (void)victim;
    if (strstr(name, "_handle") != NULL) {
        return freeze_by_handle();
    }
    if (strstr(name, "_deep") != NULL) {
        return freeze_from_above();
    }
    return strstr(name, "_kill") != NULL ? end(folder) : freeze(folder);
}
