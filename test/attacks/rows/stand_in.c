// SPDX-License-Identifier: Apache-2.0
// Stands for the agent where there is none, so that the attacks on it are seen to succeed: pins maps and the link of a
// program that does nothing into a folder of that form (usage: row_stand_in FOLDER), loads a program of the name by which the
// agent says that it is one, and sleeps.
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

static int pin_fd(long fd, const char *path)
{
    union bpf_attr attr = {.pathname = (unsigned long)path, .bpf_fd = (unsigned)fd};
    return fd >= 0 && syscall(SYS_bpf, BPF_OBJ_PIN, &attr, sizeof(attr)) == 0 ? 0 : -1;
}

static int pin(const char *folder, const char *name)
{
    char path[256];
    union bpf_attr map = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    memcpy(map.map_name, name, strlen(name));
    long fd = syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));
    snprintf(path, sizeof(path), "%s/maps/%s", folder, name);
    return pin_fd(fd, path);
}

static int pin_link(const char *folder)
{
    char path[256];
    int root = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int program = row_load_sysctl();
    union bpf_attr link = {.link_create = {.prog_fd = (unsigned)program,
                                           .target_fd = (unsigned)root,
                                           .attach_type = BPF_CGROUP_SYSCTL}};
    long fd =
        root >= 0 && program >= 0 ? syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) : -1;
    snprintf(path, sizeof(path), "%s/gen-1", folder);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/gen-1/link", folder);
    return pin_fd(fd, path);
}

// Says yes to whoever runs it.
static long load(const char *name)
{
    const struct bpf_insn yes[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                   {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr program = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                              .insn_cnt = sizeof(yes) / sizeof(yes[0]),
                              .insns = (unsigned long)yes,
                              .license = (unsigned long)"GPL"};
    memcpy(program.prog_name, name, strlen(name));
    return syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof(program));
}

int main(int argc, char **argv)
{
    char path[256];
    if (argc != 2) {
        return 64;
    }
    snprintf(path, sizeof(path), "%s/maps", argv[1]);
    (void)mkdir(argv[1], 0700);
    (void)mkdir(path, 0700);
    if (pin(argv[1], "ct_pids") != 0 || pin(argv[1], "ct_marks") != 0 ||
        pin(argv[1], "ct_exempts") != 0 || pin(argv[1], "ct_config") != 0 ||
        pin_link(argv[1]) != 0 || load("ct_claim") < 0) {
        perror("row_stand_in");
        return 1;
    }
    for (;;) {
        pause();
    }
}
