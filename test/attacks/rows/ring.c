// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct row_agent row_agent(void)
{
    const char *pid = getenv("AGENT");
    const char *pins = getenv("PINS");
    if (pid == NULL || pins == NULL) {
        fprintf(stderr, "AGENT and PINS are needed\n");
        exit(64);
    }
    return (struct row_agent){.pid = (pid_t)strtol(pid, NULL, 10), .pins = pins};
}

const char *row_pin(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", row_agent().pins, name);
    return path;
}

int row_open_pin(const char *path)
{
    union bpf_attr attr = {.pathname = (unsigned long)path};
    return (int)syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
}

int row_open_map(unsigned id)
{
    union bpf_attr attr = {.map_id = id};
    return (int)syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, &attr, sizeof(attr));
}

unsigned row_find_map(const char *name)
{
    union bpf_attr attr = {0};
    while (syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &attr, sizeof(attr)) == 0) {
        unsigned id = attr.next_id;
        struct bpf_map_info info = {0};
        int fd = row_open_map(id);
        union bpf_attr ask = {.info = {.bpf_fd = (unsigned)fd,
                                       .info_len = sizeof(info),
                                       .info = (unsigned long)&info}};
        bool found = fd >= 0 && syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof(ask)) == 0 &&
                     strcmp(info.name, name) == 0;
        if (fd >= 0) {
            close(fd);
        }
        if (found) {
            return id;
        }
        memset(&attr, 0, sizeof(attr));
        attr.start_id = id;
    }
    return 0;
}
