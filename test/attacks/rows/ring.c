// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"

static const struct {
    int next;
    int open;
} commands[] = {
    [ROW_MAP] = {BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID},
    [ROW_PROGRAM] = {BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID},
    [ROW_LINK] = {BPF_LINK_GET_NEXT_ID, BPF_LINK_GET_FD_BY_ID},
};

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

const char *row_name(void)
{
    const char *name = program_invocation_short_name;
    return strncmp(name, "row_", 4) == 0 ? name + 4 : name;
}

const char *row_pin(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", row_agent().pins, name);
    return path;
}

char row_state(pid_t pid)
{
    char path[64];
    char line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    char *end = file != NULL && fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    if (file != NULL) {
        fclose(file);
    }
    return end != NULL ? end[2] : '?';
}

bool row_becomes(pid_t pid, const char *states)
{
    for (int i = 0; i < 100 && strchr(states, row_state(pid)) == NULL; i++) {
        usleep(20000);
    }
    return strchr(states, row_state(pid)) != NULL;
}

int row_open_pin(const char *path)
{
    union bpf_attr attr = {.pathname = (unsigned long)path};
    return (int)row_bpf(BPF_OBJ_GET, &attr);
}

int row_load_sysctl(void)
{
    const struct bpf_insn program[] = {SET(BPF_REG_0, 1), END};
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_SYSCTL,
                           .expected_attach_type = BPF_CGROUP_SYSCTL,
                           .insns = (unsigned long)program,
                           .insn_cnt = sizeof(program) / sizeof(program[0]),
                           .license = (unsigned long)"GPL",
                           .prog_name = "ct_fork"};
    return (int)row_bpf(BPF_PROG_LOAD, &attr);
}

static bool is_called(enum row_object kind, int fd, const char *name)
{
    struct bpf_map_info map = {0};
    struct bpf_prog_info program = {0};
    union bpf_attr ask = {.info = {.bpf_fd = (unsigned)fd}};
    ask.info.info_len = kind == ROW_MAP ? sizeof(map) : sizeof(program);
    ask.info.info = kind == ROW_MAP ? (unsigned long)&map : (unsigned long)&program;
    return name == NULL || (row_bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) == 0 &&
                            strcmp(kind == ROW_MAP ? map.name : program.name, name) == 0);
}

int row_find(enum row_object kind, const char *name)
{
    union bpf_attr attr = {0};
    int trouble = ENOENT;
    while (row_bpf(commands[kind].next, &attr) == 0) {
        unsigned id = attr.next_id;
        memset(&attr, 0, sizeof(attr));
        attr.map_id = id; // where the others' is too
        int fd = (int)row_bpf(commands[kind].open, &attr);
        trouble = fd < 0 && trouble == ENOENT ? errno : trouble;
        if (fd >= 0 && is_called(kind, fd, name)) {
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        }
        memset(&attr, 0, sizeof(attr));
        attr.start_id = id;
    }
    errno = trouble;
    return -1;
}
