// SPDX-License-Identifier: Apache-2.0
// Looks for secrets left in a process's memory: all that root can read of it by /proc/PID/mem.
// Before it trusts its own eyes it must find a copy of each needle planted in a child of its own.
//
// usage: residue PID NEEDLEFILE…   exit 0: none is left, 1: some are, 2: it cannot tell
// One line for each needle, by its number (never its content), and one for what cannot be read.
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

#define PLANT_SIZE 16384
#define PLANT_AT 4090 // across the end of a page

struct victim {
    int mem;
    struct attack_map map;
};

static ssize_t read_victim(void *cls, uint64_t address, void *buffer, size_t len)
{
    return pread(((struct victim *)cls)->mem, buffer, len, (off_t)address);
}

static bool victim_open(pid_t pid, struct victim *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    ret->mem = open(path, O_RDONLY | O_CLOEXEC);
    return ret->mem >= 0 && attack_map_load(pid, &ret->map);
}

static void victim_close(struct victim *v)
{
    attack_map_done(&v->map);
    close(v->mem);
}

// Is the needle found in that very page of the child?
static bool found_in_child(pid_t child, const struct attack_needle *needle, uint64_t page)
{
    struct victim v;
    struct attack_scan scan;
    struct attack_map planted = {0};
    bool found = false;
    if (!victim_open(child, &v)) {
        return false;
    }
    for (size_t i = 0; i < v.map.n && !found; i++) {
        if (v.map.item[i].start <= page && page < v.map.item[i].end) {
            planted = (struct attack_map){&v.map.item[i], 1};
            attack_scan(&planted, needle, read_victim, &v, &scan);
            found = scan.hits > 0;
        }
    }
    victim_close(&v);
    return found;
}

// Plants the needle in a mapping of a child's own and looks for it there.
static bool control(const struct attack_needle *needle)
{
    unsigned char *page =
        mmap(NULL, PLANT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    if (page == MAP_FAILED || pipe2(ready, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        memcpy(page + PLANT_AT, needle->data, needle->len);
        _exit(write(ready[1], "r", 1) == 1 && pause() != 0);
    }
    close(ready[1]);
    char c;
    bool found = child > 0 && read(ready[0], &c, 1) == 1 &&
                 found_in_child(child, needle, (uint64_t)(uintptr_t)page);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    close(ready[0]);
    explicit_bzero(page, PLANT_SIZE);
    munmap(page, PLANT_SIZE);
    return found;
}

// Tells each mapping that holds the needle.
static size_t search(struct victim *v, const struct attack_needle *needle, int number,
                     struct attack_scan *total)
{
    size_t hits = 0;
    for (size_t i = 0; i < v->map.n; i++) {
        struct attack_map one = {&v->map.item[i], 1};
        struct attack_scan scan;
        attack_scan(&one, needle, read_victim, v, &scan);
        if (scan.hits > 0) {
            printf("residue: needle %d: %zu in %s, first at %#" PRIx64 "\n", number, scan.hits,
                   scan.hit_name, scan.hit_address);
        }
        hits += scan.hits;
        total->bytes += scan.bytes;
        total->refused_bytes += scan.refused_bytes;
    }
    return hits;
}

int main(int argc, char **argv)
{
    struct victim victim;
    struct attack_scan total = {0};
    static struct attack_needle needle;
    size_t hits = 0;
    int needles = argc - 2;
    if (needles < 1 || atoi(argv[1]) <= 0) {
        fprintf(stderr, "usage: %s PID NEEDLEFILE…\n", argv[0]);
        return ATTACK_NOT_APPLICABLE;
    }
    if (!victim_open((pid_t)atoi(argv[1]), &victim)) {
        return attack_tell_refused("residue", "the process cannot be read"), ATTACK_NOT_APPLICABLE;
    }
    for (int i = 0; i < needles; i++) {
        if (!attack_needle_load(argv[2 + i], &needle)) {
            return ATTACK_NOT_APPLICABLE;
        }
        if (!control(&needle)) {
            printf("residue: cannot tell: needle %d was planted and not found\n", i + 1);
            return ATTACK_NOT_APPLICABLE;
        }
        hits += search(&victim, &needle, i + 1, &total);
    }
    victim_close(&victim);
    if (total.bytes == 0) {
        printf("residue: cannot tell: nothing of the process can be read\n");
        return ATTACK_NOT_APPLICABLE;
    }
    printf(
        "residue: %zu copies of %d needle%s in %llu KiB; %llu KiB cannot be read by anyone; each "
        "needle was found where it was planted\n",
        hits, needles, needles == 1 ? "" : "s", total.bytes / 1024 / (unsigned)needles,
        total.refused_bytes / 1024 / (unsigned)needles);
    return hits > 0 ? ATTACK_LEAKED : ATTACK_REFUSED;
}
