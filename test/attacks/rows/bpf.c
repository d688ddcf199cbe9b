// SPDX-License-Identifier: Apache-2.0
// Read its memory by a BPF program that runs in its own system calls.
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "insn.h"
#include "row.h"

#define STORE(offset, value) INSN(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, offset, value)

// At each system call of the victim: 32 bytes from its address into the map.
static long load(const struct row_victim *victim, long map)
{
    struct bpf_insn program[] = {
        CALL(BPF_FUNC_get_current_pid_tgid),
        INSN(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_0, 0, 0, 32),
        INSN(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 20, victim->pid),
        STORE(-8, 0),
        STORE(-16, 0),
        STORE(-24, 0),
        STORE(-32, 0),
        COPY(BPF_REG_1, BPF_REG_10),
        ADD(BPF_REG_1, -32),
        SET(BPF_REG_2, 32),
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_3, 0, 0, (unsigned)victim->address),
        INSN(0, 0, 0, 0, victim->address >> 32),
        CALL(BPF_FUNC_probe_read_user),
        SAVE(map, -32),
        INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0),
        SET(BPF_REG_0, 0),
        END,
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                           .insns = (unsigned long)program,
                           .insn_cnt = sizeof(program) / sizeof(program[0]),
                           .license = (unsigned long)"GPL"};
    return row_bpf(BPF_PROG_LOAD, &attr);
}

enum row_result row_attack(const struct row_victim *victim)
{
    char text[32] = "";
    int key = 0;
    // Before 5.11 maps and programs count as locked memory.
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &all);
    long map = row_bpf_map(32);
    long program = map >= 0 ? load(victim, map) : -1;
    if (program < 0) {
        return row_from_errno("bpf");
    }
    union bpf_attr attach = {
        .raw_tracepoint = {.name = (unsigned long)"sys_enter", .prog_fd = (unsigned)program}};
    union bpf_attr lookup = {
        .map_fd = (unsigned)map, .key = (unsigned long)&key, .value = (unsigned long)text};
    if (row_bpf(BPF_RAW_TRACEPOINT_OPEN, &attach) < 0) {
        return row_from_errno("BPF_RAW_TRACEPOINT_OPEN");
    }
    for (int i = 0; i < 100 && !row_is_text(text, sizeof(text)); i++) {
        usleep(20000);
        (void)row_bpf(BPF_MAP_LOOKUP_ELEM, &lookup);
    }
    return row_is_text(text, sizeof(text)) ? ROW_LEAKED : ROW_REFUSED;
}
