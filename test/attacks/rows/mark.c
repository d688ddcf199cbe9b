// SPDX-License-Identifier: Apache-2.0
// Protects a process by hand, while no agent lives to keep others from its maps (usage: row_mark PINS PID): what
// root can do between two agents. With a third argument it fills the map of protected processes up instead.
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

#define VALUE_MAX 256
#define ROOT_OFFSET 12      // of struct ct_mark, bpf/shared.h: cgroup, flags, root
#define FAKE_BASE 10000000U // beyond any process's number

static long put(int map, unsigned tgid)
{
    char value[VALUE_MAX] = {0};
    memcpy(value + ROOT_OFFSET, &tgid, sizeof(tgid));
    union bpf_attr attr = {.map_fd = (unsigned)map,
                           .key = (unsigned long)&tgid,
                           .value = (unsigned long)value,
                           .flags = BPF_ANY};
    return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

int main(int argc, char **argv)
{
    char path[256];
    if (argc < 3) {
        return 64;
    }
    snprintf(path, sizeof(path), "%s/maps/ct_marks", argv[1]);
    int map = row_open_pin(path);
    if (map < 0 || put(map, (unsigned)strtoul(argv[2], NULL, 10)) != 0) {
        perror("row_mark");
        return 1;
    }
    unsigned n = 0;
    while (argc > 3 && put(map, FAKE_BASE + n) == 0) {
        n++;
    }
    printf("marked, and %u more\n", n);
    return 0;
}
