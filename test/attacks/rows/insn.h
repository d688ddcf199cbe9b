// SPDX-License-Identifier: Apache-2.0
//
// Programs of BPF, written down by hand: an attacker needs no library.
#ifndef CT_ROW_INSN_H
#define CT_ROW_INSN_H

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSN(op, dst, src, offset, immediate)                                                      \
    ((struct bpf_insn){.code = (op),                                                               \
                       .dst_reg = (dst),                                                           \
                       .src_reg = (src),                                                           \
                       .off = (offset),                                                            \
                       .imm = (int)(immediate)})
#define CALL(function) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define SET(dst, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define COPY(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ADD(dst, value) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value)
#define LOAD(dst, src, offset) INSN(BPF_LDX | BPF_MEM | BPF_DW, dst, src, offset, 0)
#define SKIP_IF(op, reg, value, n) INSN(BPF_JMP | (op) | BPF_K, reg, 0, n, value)
#define END INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

// The bytes at the frame's `offset` become the map's entry; the frame's word at -36 is lost. Nine instructions.
#define SAVE(map, offset)                                                                          \
    INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -36, 0), COPY(BPF_REG_2, BPF_REG_10),            \
        ADD(BPF_REG_2, -36),                                                                       \
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),                     \
        INSN(0, 0, 0, 0, 0), COPY(BPF_REG_3, BPF_REG_10), ADD(BPF_REG_3, offset),                  \
        SET(BPF_REG_4, BPF_ANY), CALL(BPF_FUNC_map_update_elem)

static inline long row_bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

// A map of one entry of so many bytes; its descriptor, or -1 with errno.
static inline long row_bpf_map(unsigned value_size)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = value_size, .max_entries = 1};
    return row_bpf(BPF_MAP_CREATE, &attr);
}

#endif
