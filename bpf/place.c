// SPDX-License-Identifier: Apache-2.0
#include "place.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "fs.h"

#define KNOWN_MAX 256 // containers of a node, and what attacks them
#define DEPTH_MAX 12
#define FOLDERS_MAX 16384
#define WALK_PAUSE_MS 1000

// ---- paths ----

void ct_place_parse(const char *path, struct ct_place *ret)
{
    struct ct_container container;
    *ret = (struct ct_place){0};
    (void)snprintf(ret->path, sizeof(ret->path), "%s", path);
    if (ct_container_parse(path, &container)) {
        (void)snprintf(ret->pod, sizeof(ret->pod), "%s", container.pod_uid);
        (void)snprintf(ret->container, sizeof(ret->container), "%s", container.id);
    }
}

bool ct_place_of(pid_t pid, struct ct_place *ret)
{
    char name[64];
    char line[CT_PLACE_PATH_MAX + 64];
    *ret = (struct ct_place){0};
    (void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
    CT_AUTO_FILE file = fopen(name, "re");
    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            ct_place_parse(line + 3, ret);
            return true;
        }
    }
    return false;
}

// ---- numbers ----

struct known {
    uint64_t cgroup; // 0: free
    struct ct_place place;
};

struct ct_places {
    int root; // of the hierarchy
    int64_t walked_ms;
    size_t next; // to be forgotten for another
    struct known known[KNOWN_MAX];
};

struct ct_places *ct_places_new(void)
{
    struct ct_places *places = calloc(1, sizeof(*places));
    if (places != NULL) {
        places->root = ct_fs_open("cgroup2");
        places->walked_ms = -WALK_PAUSE_MS;
    }
    return places;
}

void ct_places_free(struct ct_places *places)
{
    if (places != NULL && places->root >= 0) {
        (void)close(places->root);
    }
    free(places);
}

struct walk {
    uint64_t wanted;
    size_t folders;
    char path[CT_PLACE_PATH_MAX];
};

// Looks into the folder `fd`, which it closes. True: walk->path is the wanted one's.
static bool look_into(struct walk *walk, int fd, size_t len, int depth)
{
    DIR *folder = fdopendir(fd);
    bool found = false;
    if (folder == NULL) {
        (void)close(fd);
        return false;
    }
    for (struct dirent *e; !found && (e = readdir(folder)) != NULL;) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.' || ++walk->folders > FOLDERS_MAX) {
            continue;
        }
        int n = snprintf(walk->path + len, sizeof(walk->path) - len, "/%s", e->d_name);
        if (n < 0 || (size_t)n >= sizeof(walk->path) - len) {
            continue;
        }
        found = e->d_ino == walk->wanted;
        int below = found || depth == DEPTH_MAX
                        ? -1
                        : openat(dirfd(folder), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        found = found || (below >= 0 && look_into(walk, below, len + (size_t)n, depth + 1));
    }
    (void)closedir(folder);
    return found;
}

static bool walk_for(struct ct_places *places, uint64_t cgroup, struct ct_place *ret)
{
    struct walk walk = {.wanted = cgroup};
    int root =
        places->root >= 0 ? openat(places->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root < 0 || !look_into(&walk, root, 0, 0)) {
        return false;
    }
    ct_place_parse(walk.path, ret);
    return true;
}

bool ct_places_find(struct ct_places *places, uint64_t cgroup, int64_t now_ms, struct ct_place *ret)
{
    *ret = (struct ct_place){0};
    if (cgroup == 0) {
        return false;
    }
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        if (places->known[i].cgroup == cgroup) {
            *ret = places->known[i].place;
            return true;
        }
    }
    if (now_ms - places->walked_ms < WALK_PAUSE_MS) {
        return false;
    }
    places->walked_ms = now_ms;
    if (!walk_for(places, cgroup, ret)) {
        return false;
    }
    places->known[places->next] = (struct known){.cgroup = cgroup, .place = *ret};
    places->next = (places->next + 1) % KNOWN_MAX;
    return true;
}
