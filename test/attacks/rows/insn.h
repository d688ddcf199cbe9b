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

static inline long row_bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

#endif
