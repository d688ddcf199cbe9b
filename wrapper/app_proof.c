// SPDX-License-Identifier: Apache-2.0
#include "app_proof.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"
#include "canary.h"
#include "smaps.h"
#include "verdict.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#define PR_SET_PTRACER_ANY (-1UL)
#endif

#define PAGE 4096u // the smallest there is

void ct_app_proof_none(struct ct_facts *facts, const char *fmt, ...)
{
    static const enum ct_check memory[] = {CT_CHECK_MEMFD_SECRET, CT_CHECK_MLOCK,
                                           CT_CHECK_MADV_DONTDUMP, CT_CHECK_PR_SET_DUMPABLE};
    char reason[sizeof(facts->fact[0][0].reason)];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    for (size_t i = 0; i < CT_ARRAY_LEN(memory); i++) {
        ct_fact_failed(facts, memory[i], CT_HOLDER_APP, "%s", n < 0 ? "" : reason);
    }
}

// Every page that holds a secret: what was read of any of them.
static unsigned attack_secrets(const struct ct_inject *in, const struct ct_delivery *d, int mem_fd)
{
    unsigned done = 0;
    for (size_t at = 0; at < d->area.size; at += PAGE) {
        done |= ct_attack_page(in->pid, mem_fd, d->app_base + at, true);
    }
    return done;
}

static void prove_secret(struct ct_facts *facts, const struct ct_inject *in,
                         const struct ct_delivery *d, int mem_fd)
{
    const enum ct_check check = CT_CHECK_MEMFD_SECRET;
    if (d->area.kind != CT_SECMEM_SECRET) {
        ct_fact_failed(facts, check, CT_HOLDER_APP, "%s", d->area.secret_reason);
        return;
    }
    int held = ct_attack_descriptors(in->pid);
    const char *problem = held > 0   ? "the app holds a descriptor of its secret memory"
                          : held < 0 ? "needs /proc: /proc/APP/fd cannot be read"
                          : !d->fd_seen
                              ? "unproven: the app's descriptor was not seen while it was open"
                              : NULL;
    if (problem != NULL) {
        ct_fact_failed(facts, check, CT_HOLDER_APP, "%s", problem);
        return;
    }
    ct_verdict_pages(facts, CT_HOLDER_APP, ct_attack_page(in->pid, mem_fd, in->stack, true),
                     attack_secrets(in, d, mem_fd));
}

// Finds the mappings that hold two addresses.
static int find_mappings(pid_t pid, uintptr_t secret, uintptr_t control, struct ct_flags *ret)
{
    struct ct_smaps maps;
    int status = ct_smaps_open(&maps, pid);
    if (status == 0) {
        ct_flags_find(&maps, secret, control, ret);
        ct_smaps_close(&maps);
    }
    return status;
}

void ct_app_proof_memory(struct ct_facts *facts, const struct ct_inject *in,
                         const struct ct_delivery *d, int mem_fd)
{
    prove_secret(facts, in, d, mem_fd);
    struct ct_flags flags = {0};
    if (find_mappings(in->pid, d->app_base, in->stack, &flags) != 0) {
        ct_verdict_no_proc(facts, CT_HOLDER_APP, "/proc/APP/smaps");
        return;
    }
    ct_verdict_flags(facts, CT_HOLDER_APP, &flags,
                     d->lock_errno == 0 ? "" : ct_err_name(d->lock_errno),
                     d->dontdump_errno == 0 ? "" : ct_err_name(d->dontdump_errno));
}

void ct_app_proof_no_guard(struct ct_facts *facts, const char *reason)
{
    ct_fact_failed(facts, CT_CHECK_EBPF_CONNECTED, CT_HOLDER_APP, "%s", reason);
    ct_fact_failed(facts, CT_CHECK_KPROBES_ACTIVE, CT_HOLDER_APP, "%s", reason);
}

int ct_app_proof_guard(struct ct_facts *facts, struct ct_inject *in, struct ct_err *err)
{
    // Yama would refuse everybody but its tracer and its ancestors. Where there is no Yama the call fails.
    const long allow[6] = {PR_SET_PTRACER, (long)PR_SET_PTRACER_ANY};
    const long forbid[6] = {PR_SET_PTRACER, 0};
    struct ct_canary_victim app = {.pid = in->pid, .address = in->stack};
    long result = 0;
    if (!ct_standing_of(in->pid, &app.standing)) {
        ct_app_proof_no_guard(facts, "needs /proc: /proc/APP/status cannot be read");
        return 0;
    }
    int status = ct_inject_call(in, SYS_prctl, allow, &result, err);
    if (status == 0) {
        const struct ct_canary_outcome outcome = ct_canary_run(&app);
        ct_canary_record(facts, CT_HOLDER_APP, &outcome);
        status = ct_inject_call(in, SYS_prctl, forbid, &result, err);
    }
    return status;
}

int ct_app_proof_dumpable(struct ct_facts *facts, struct ct_inject *in, struct ct_err *err)
{
    const long set[6] = {PR_SET_DUMPABLE, 0};
    const long get[6] = {PR_GET_DUMPABLE};
    long result = 0;
    long dumpable = -1;
    int status = ct_inject_call(in, SYS_prctl, set, &result, err);
    if (status == 0) {
        status = ct_inject_call(in, SYS_prctl, get, &dumpable, err);
    }
    if (status != 0) {
        return status;
    }
    ct_verdict_dumpable(facts, CT_HOLDER_APP, in->pid, in->stack, (int)-result, dumpable == 0);
    return 0;
}
