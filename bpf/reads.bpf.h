// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Whether a program reads memory that it was not given. Those of networks and cgroups are everybody's, but whoever has
// CAP_PERFMON may call in all of them what reads the process in whose context they run, secret pages included: so
// each is looked at once the kernel has verified and translated it, before anyone gets a descriptor of it.
#ifndef CT_READS_BPF_H
#define CT_READS_BPF_H

#include "verdict.bpf.h"

#define BLOCK 16U          // instructions that are read at once
#define SPAN (64U * BLOCK) // and in one call
#define SPANS 64U          // a program that is longer than all of these is taken for one that reads

// An instruction's first byte, and the sources of a call (include/uapi/linux/bpf.h, include/linux/filter.h).
#define INSN_CLASS 0x07U
#define INSN_LDX 0x01U
#define INSN_MODE 0xe0U
#define INSN_PROBE_MEM 0x20U
#define INSN_PROBE_MEMSX 0x40U
#define INSN_CALL 0x85U
#define CALL_HELPER 0U
#define CALL_KERNEL 2U

// What this kernel makes of calls of the helpers that read: the agent has learned it (learn.h).
const volatile __s32 reading_calls[CT_READING_CALLS] SEC(".rodata.reading") = {0};

static __always_inline bool is_reading_call(__s32 function)
{
#pragma clang loop unroll(disable)
    for (int i = 0; i < CT_READING_CALLS; i++) {
        if (reading_calls[i] == function) {
            return true;
        }
    }
    return false;
}

// Loads that may fault go by pointers that the program has made itself of numbers. What the kernel's own functions do
// beside its helpers (kfuncs) grows from release to release: none of them is let pass.
static __always_inline bool reads(__u64 instruction)
{
    __u32 code = instruction & 0xff;
    __u32 source = instruction >> 12 & 0xf;
    __u32 mode = code & INSN_MODE;
    if ((code & INSN_CLASS) == INSN_LDX) {
        return mode == INSN_PROBE_MEM || mode == INSN_PROBE_MEMSX;
    }
    return code == INSN_CALL &&
           (source == CALL_KERNEL ||
            (source == CALL_HELPER && is_reading_call((__s32)(instruction >> 32))));
}

// Functions of their own, which the verifier looks at once each, however often they are called.
__attribute__((noinline)) int ct_block_reads(__u64 address, __u64 n)
{
    __u64 block[BLOCK] = {0};
    if (n > BLOCK) {
        n = BLOCK;
    }
    // The verifier wants to see the very number that was compared.
    asm volatile("" : "+r"(n));
    if (bpf_probe_read_kernel(block, n * sizeof(block[0]), (void *)address) != 0) {
        return 1;
    }
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < BLOCK; i++) {
        if (reads(block[i])) {
            return 1;
        }
    }
    return 0;
}

__attribute__((noinline)) int ct_span_reads(__u64 address, __u64 n)
{
#pragma clang loop unroll(disable)
    for (__u32 at = 0; at < SPAN; at += BLOCK) {
        if (at >= n) {
            break;
        }
        if (ct_block_reads(address + at * sizeof(__u64), n - at) != 0) {
            return 1;
        }
    }
    return 0;
}

static __always_inline bool reads_memory(struct bpf_prog *program)
{
    __u64 address = (__u64)program + bpf_core_field_offset(struct bpf_prog, insnsi);
    __u32 n = BPF_CORE_READ(program, len);
#pragma clang loop unroll(disable)
    for (__u32 at = 0; at < SPANS * SPAN; at += SPAN) {
        if (at >= n) {
            return false;
        }
        if (ct_span_reads(address + at * sizeof(__u64), n - at) != 0) {
            return true;
        }
    }
    return n > SPANS * SPAN;
}

// A program that a descriptor is asked for, at its load or later. Types that can do nothing but read were looked at by
// their type.
static __always_inline struct verdict on_loaded(struct bpf_prog *program)
{
    // By this way a number, and no pointer that only the kernel may give away.
    program = BPF_CORE_READ(program, aux, prog);
    if (is_agent() || is_reading_type(BPF_CORE_READ(program, type))) {
        return let_pass();
    }
    return reads_memory(program) ? kernel_wide(CT_V_BPF_LOAD) : let_pass();
}

static __always_inline struct verdict on_program(struct bpf_prog *program)
{
    struct verdict verdict = on_own_program(program);
    return verdict.vector != 0 ? verdict : on_loaded(program);
}

#endif
