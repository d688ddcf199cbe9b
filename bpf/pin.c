// SPDX-License-Identifier: Apache-2.0
#include "pin.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"

#define BPF_FS_MAGIC 0xcafe4a11
#define VALUE_MAX 4096
#define GENERATION_MAX 1000000000U
#define BAIT "self-test"
#define BAIT_TO_OPEN "self-test-open"
#define LOCK_TRIES 20
#define LOCK_PAUSE_US 100000

static const char how_to_remove[] =
    "`cloudtaser-agent uninstall` removes it (enforcement ends until the agent runs again); "
    "--pin-dir names another folder";

// ---- the folder ----

// "gen-7"; 0 for any other name.
static __u32 generation_of(const char *name)
{
    char *end;
    if (strncmp(name, "gen-", 4) != 0 || name[4] < '1' || name[4] > '9') {
        return 0;
    }
    unsigned long n = strtoul(name + 4, &end, 10);
    return *end == '\0' && n <= GENERATION_MAX ? (__u32)n : 0;
}

static DIR *open_folder(const struct ct_pins *pins, const char *name)
{
    int fd = openat(pins->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && folder == NULL) {
        (void)close(fd);
    }
    return folder;
}

static int make_folder(const char *dir, struct ct_err *err)
{
    struct statfs fs;
    char parent[sizeof(((struct ct_pins *)0)->dir)];
    (void)snprintf(parent, sizeof(parent), "%s", dir);
    char *slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent) {
        return ct_err_set(err, CT_EINVAL,
                          "\"%s\" is no folder for pins: an absolute path in a BPF file system is "
                          "needed, as /sys/fs/bpf/cloudtaser",
                          dir);
    }
    *slash = '\0';
    if (statfs(parent, &fs) != 0) {
        return ct_err_errno(err, "cannot look at %s, where the pins belong", parent);
    }
    if ((unsigned long)fs.f_type != BPF_FS_MAGIC) {
        return ct_err_set(
            err, CT_EINVAL,
            "%s is no BPF file system, so nothing can be pinned there and enforcement "
            "would end with this process: run `mount -t bpf bpf %s`, in a container mount "
            "the host's",
            parent, parent);
    }
    return mkdir(dir, 0700) == 0 || errno == EEXIST ? 0 : ct_err_errno(err, "cannot make %s", dir);
}

static int lock_folder(struct ct_pins *pins, struct ct_err *err)
{
    struct stat st;
    pins->fd = open(pins->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (pins->fd < 0 || fstat(pins->fd, &st) != 0) {
        return ct_err_errno(err, "cannot open the pins at %s", pins->dir);
    }
    if (st.st_uid != 0 || (st.st_mode & 077) != 0) {
        return ct_err_set(
            err, CT_EPROTO,
            "%s belongs to user %u with mode %03o and not to root alone (0700): no agent "
            "has made it. Look whose it is and remove it, or name another by --pin-dir",
            pins->dir, st.st_uid, st.st_mode & 0777U);
    }
    // One that was killed a moment ago may have left children, which end with it.
    int rc = flock(pins->fd, LOCK_EX | LOCK_NB);
    for (int i = 0; rc != 0 && errno == EWOULDBLOCK && i < LOCK_TRIES; i++) {
        (void)usleep(LOCK_PAUSE_US);
        rc = flock(pins->fd, LOCK_EX | LOCK_NB);
    }
    if (rc != 0) {
        return errno == EWOULDBLOCK
                   ? ct_err_set(
                         err, CT_EDENIED,
                         "another agent holds the pins at %s: there is one on a node, and it "
                         "has to end before the next one begins",
                         pins->dir)
                   : ct_err_errno(err, "cannot lock %s", pins->dir);
    }
    return 0;
}

static void find_generations(struct ct_pins *pins)
{
    DIR *folder = open_folder(pins, ".");
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        __u32 n = generation_of(e->d_name);
        pins->last = n > pins->last ? n : pins->last;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
}

bool ct_pins_may_enforce(const char *dir)
{
    bool found = false;
    DIR *folder = opendir(dir);
    if (folder == NULL) {
        return errno != ENOENT && errno != ENOTDIR;
    }
    for (const struct dirent *e; !found && (e = readdir(folder)) != NULL;) {
        found = generation_of(e->d_name) != 0;
    }
    (void)closedir(folder);
    return found;
}

// ---- what is pinned ----

static int open_map(const struct ct_pins *pins, const char *name, struct bpf_map_info *info)
{
    char path[256];
    __u32 size = sizeof(*info);
    (void)snprintf(path, sizeof(path), "%s/maps/%s", pins->dir, name);
    int fd = bpf_obj_get(path);
    *info = (struct bpf_map_info){0};
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, info, &size) != 0) {
        (void)close(fd);
        errno = EMEDIUMTYPE;
        return -1;
    }
    return fd;
}

// The first value of an array, as far as it is known here; false when it is no array of at least that.
static bool read_first(const struct ct_pins *pins, const char *name, void *ret, size_t size)
{
    struct bpf_map_info info;
    char value[VALUE_MAX];
    __u32 key = 0;
    CT_AUTO_FD fd = open_map(pins, name, &info);
    if (fd < 0 || info.type != BPF_MAP_TYPE_ARRAY || info.key_size != sizeof(key) ||
        info.value_size < size || info.value_size > sizeof(value) ||
        bpf_map_lookup_elem(fd, &key, value) != 0) {
        return false;
    }
    memcpy(ret, value, size);
    return true;
}

static bool exists(const struct ct_pins *pins, const char *name)
{
    struct stat st;
    return fstatat(pins->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int look(struct ct_pins *pins, struct ct_err *err)
{
    __u32 layout;
    char name[32];
    find_generations(pins);
    if (!exists(pins, "maps/ct_config")) {
        return pins->last == 0
                   ? 0
                   : ct_err_set(err, CT_EPROTO,
                                "the pins at %s are not complete: there are programs and no "
                                "ct_config. Somebody has removed it; %s",
                                pins->dir, how_to_remove);
    }
    if (!read_first(pins, "ct_config", &layout, sizeof(layout))) {
        if (errno == EPERM || errno == EACCES) {
            return ct_err_errno(err, "cannot open the pins at %s: an agent that lives keeps them",
                                pins->dir);
        }
        return ct_err_set(err, CT_EPROTO, "%s/maps/ct_config is not an agent's; %s", pins->dir,
                          how_to_remove);
    }
    if (layout != CT_GUARD_LAYOUT) {
        return ct_err_set(
            err, CT_EPROTO,
            "the pins at %s are of layout %u, and this agent knows layout %u alone: run "
            "the agent that made them, or drain the node; %s",
            pins->dir, layout, (unsigned)CT_GUARD_LAYOUT, how_to_remove);
    }
    if (!read_first(pins, "ct_config", &pins->config, sizeof(pins->config)) ||
        !read_first(pins, "ct_ring", &pins->ring, sizeof(pins->ring))) {
        return ct_err_set(err, CT_EPROTO, "%s/maps/ct_ring is not an agent's; %s", pins->dir,
                          how_to_remove);
    }
    (void)snprintf(name, sizeof(name), "gen-%u", pins->ring.generation);
    pins->found = true;
    pins->enforcing = pins->ring.generation != 0 && exists(pins, name);
    return 0;
}

int ct_pins_open(const char *dir, bool whatever, struct ct_pins *ret, struct ct_err *err)
{
    struct ct_pins pins = {.fd = -1};
    if (strlen(dir) >= sizeof(pins.dir)) {
        return ct_err_set(err, CT_EINVAL, "the name of the folder for pins is longer than %zu",
                          sizeof(pins.dir) - 1);
    }
    memcpy(pins.dir, dir, strlen(dir) + 1);
    int rc = make_folder(dir, err);
    rc = rc == 0 ? lock_folder(&pins, err) : rc;
    rc = rc == 0 ? look(&pins, err) : rc;
    rc = rc == -CT_EPROTO && whatever && pins.fd >= 0 ? 0 : rc;
    // A start that failed may have been this process's own.
    if (rc == 0 && pins.config.agent != 0 && (pid_t)pins.config.agent != getpid() &&
        kill((pid_t)pins.config.agent, 0) == 0) {
        rc = ct_err_set(
            err, CT_EDENIED,
            "process %u is this node's agent and lives: there is one on a node, and it has "
            "to end before the next one begins",
            pins.config.agent);
    }
    if (rc != 0) {
        ct_pins_close(&pins);
        return rc;
    }
    *ret = pins;
    return 0;
}

void ct_pins_close(struct ct_pins *pins)
{
    if (pins->fd >= 0) {
        // Also for children that hang, and hold it as well.
        (void)flock(pins->fd, LOCK_UN);
        (void)close(pins->fd);
    }
    pins->fd = -1;
}

int ct_pins_claim(struct ct_pins *pins, struct ct_err *err)
{
    struct bpf_map_info info;
    __u32 key = 0;
    CT_AUTO_FD fd = open_map(pins, "ct_config", &info);
    pins->config.agent = (__u32)getpid();
    return fd >= 0 && bpf_map_update_elem(fd, &key, &pins->config, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot take over the pins at %s", pins->dir);
}

// ---- maps ----

static bool is_ours(const struct bpf_map *map)
{
    return strncmp(bpf_map__name(map), "ct_", 3) == 0;
}

static int reuse(const struct ct_pins *pins, struct bpf_map *map, struct ct_err *err)
{
    struct bpf_map_info info;
    const char *name = bpf_map__name(map);
    CT_AUTO_FD fd = open_map(pins, name, &info);
    if (fd < 0 && errno == ENOENT) {
        return 0; // maps may come with a version; they are made and pinned then
    }
    if (fd < 0 || info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
        info.value_size != bpf_map__value_size(map) ||
        info.max_entries != bpf_map__max_entries(map)) {
        return ct_err_set(
            err, CT_EPROTO,
            "%s/maps/%s is not what this agent's programs work on (type %u, %u bytes by "
            "%u, %u entries): it is corrupt, or foreign; %s",
            pins->dir, name, info.type, info.value_size, info.key_size, info.max_entries,
            how_to_remove);
    }
    return bpf_map__reuse_fd(map, fd) == 0 ? 0 : ct_err_errno(err, "cannot use the map %s", name);
}

int ct_pins_reuse(const struct ct_pins *pins, struct bpf_object *object, struct ct_err *err)
{
    struct bpf_map *map;
    int rc = 0;
    bpf_object__for_each_map(map, object)
    {
        if (rc == 0 && is_ours(map)) {
            rc = reuse(pins, map, err);
        }
    }
    return rc;
}

static int keep_map(const struct ct_pins *pins, const struct bpf_map *map, struct ct_err *err)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/maps/%s", pins->dir, bpf_map__name(map));
    int rc = bpf_obj_pin(bpf_map__fd(map), path);
    if (rc != 0 && errno == EEXIST && pins->found) {
        return 0; // this very one
    }
    // A start that was cut short before all were there has left another one.
    if (rc != 0 && errno == EEXIST && unlink(path) == 0) {
        rc = bpf_obj_pin(bpf_map__fd(map), path);
    }
    return rc == 0 ? 0 : ct_err_errno(err, "cannot pin %s", path);
}

int ct_pins_keep_maps(const struct ct_pins *pins, struct bpf_object *object, struct ct_err *err)
{
    struct bpf_map *map;
    int rc = mkdirat(pins->fd, "maps", 0700) == 0 || errno == EEXIST
                 ? 0
                 : ct_err_errno(err, "cannot make %s/maps", pins->dir);
    bpf_object__for_each_map(map, object)
    {
        if (rc == 0 && is_ours(map) && strcmp(bpf_map__name(map), "ct_config") != 0) {
            rc = keep_map(pins, map, err);
        }
    }
    // The last one: where it is, all are.
    return rc == 0 ? keep_map(pins, bpf_object__find_map_by_name(object, "ct_config"), err) : rc;
}

void ct_pins_put_bait(int folder, int map)
{
    static const char *const names[] = {BAIT, BAIT_TO_OPEN};
    char path[64];
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", folder, names[i]);
        (void)bpf_obj_pin(map, path);
    }
}

// ---- generations ----

int ct_pins_make_generation(const struct ct_pins *pins, __u32 generation, struct ct_err *err)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "gen-%u", generation);
    return mkdirat(pins->fd, name, 0700) == 0
               ? 0
               : ct_err_errno(err, "cannot make %s/%s", pins->dir, name);
}

bool ct_pins_keep_link(const struct ct_pins *pins, __u32 generation, const char *name,
                       struct bpf_link *link)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/gen-%u/%s", pins->dir, generation, name);
    return bpf_link__pin(link, path) == 0;
}

// Removes the files of a folder and then itself; returns how many files went.
static unsigned remove_folder(const struct ct_pins *pins, const char *name)
{
    DIR *folder = open_folder(pins, name);
    unsigned gone = 0;
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        if (e->d_name[0] != '.') {
            gone += unlinkat(dirfd(folder), e->d_name, 0) == 0 ? 1 : 0;
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)unlinkat(pins->fd, name, AT_REMOVEDIR);
    return gone;
}

unsigned ct_pins_drop_generations(const struct ct_pins *pins, __u32 but)
{
    unsigned gone = 0;
    DIR *folder = open_folder(pins, ".");
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        __u32 n = generation_of(e->d_name);
        gone += n != 0 && n != but ? remove_folder(pins, e->d_name) : 0;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return gone;
}

void ct_pins_drop_maps(const struct ct_pins *pins, struct ct_removed *ret)
{
    ret->maps = remove_folder(pins, "maps");
    (void)unlinkat(pins->fd, BAIT, 0);
    (void)unlinkat(pins->fd, BAIT_TO_OPEN, 0);
    ret->folder = rmdir(pins->dir) == 0;
}
