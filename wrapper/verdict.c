// SPDX-License-Identifier: Apache-2.0
#include "verdict.h"

#include <string.h>
#include <unistd.h>

#include "attack.h"

void ct_verdict_pages(struct ct_facts *facts, enum ct_holder holder, unsigned control,
                      unsigned secret)
{
    const enum ct_check check = CT_CHECK_MEMFD_SECRET;
    if (secret != 0) {
        ct_fact_failed(facts, check, holder, "a secret page was read by %s",
                       ct_attack_name(secret));
    } else if (control == 0) {
        ct_fact_failed(facts, check, holder,
                       "unproven: no attack succeeds on an ordinary page either");
    } else {
        ct_fact_proven(facts, check, holder);
    }
}

void ct_flags_find(struct ct_smaps *maps, uintptr_t secret, uintptr_t control, struct ct_flags *ret)
{
    *ret = (struct ct_flags){0};
    struct ct_mapping m;
    while (!(ret->found_secret && ret->found_control) && ct_smaps_next(maps, &m)) {
        if (secret >= m.start && secret < m.end) {
            ret->secret = m;
            ret->found_secret = true;
        }
        if (control >= m.start && control < m.end) {
            ret->control = m;
            ret->found_control = true;
        }
    }
}

static void verdict_flag(struct ct_facts *facts, enum ct_check check, enum ct_holder holder,
                         const char *flag, bool secret, bool control, const char *reason)
{
    if (!secret) {
        ct_fact_failed(facts, check, holder, "%s%s", reason[0] != '\0' ? reason : "VmFlags lack ",
                       reason[0] != '\0' ? "" : flag);
    } else if (control) {
        ct_fact_failed(facts, check, holder, "unproven: an ordinary page has VmFlags %s too", flag);
    } else {
        ct_fact_proven(facts, check, holder);
    }
}

void ct_verdict_flags(struct ct_facts *facts, enum ct_holder holder, const struct ct_flags *flags,
                      const char *lock_reason, const char *dontdump_reason)
{
    if (!flags->found_secret || !flags->found_control) {
        ct_fact_failed(facts, CT_CHECK_MLOCK, holder, "unproven: smaps lacks the pages");
        ct_fact_failed(facts, CT_CHECK_MADV_DONTDUMP, holder, "unproven: smaps lacks the pages");
        return;
    }
    // The pages of a memfd_secret(2) are never evicted. That was shown by "lo" too until kernels with
    // the fix of CVE-2026-93243 ceased to count them as locked ones.
    verdict_flag(facts, CT_CHECK_MLOCK, holder, "lo", flags->secret.locked || flags->secret.secret,
                 flags->control.locked || flags->control.secret, lock_reason);
    verdict_flag(facts, CT_CHECK_MADV_DONTDUMP, holder, "dd", flags->secret.dont_dump,
                 flags->control.dont_dump, dontdump_reason);
}

void ct_verdict_no_proc(struct ct_facts *facts, enum ct_holder holder, const char *file)
{
    static const enum ct_check checks[] = {CT_CHECK_MLOCK, CT_CHECK_MADV_DONTDUMP};
    for (size_t i = 0; i < CT_ARRAY_LEN(checks); i++) {
        ct_fact_failed(facts, checks[i], holder, "needs /proc: %s cannot be read", file);
    }
}

void ct_verdict_dumpable(struct ct_facts *facts, enum ct_holder holder, pid_t pid,
                         uintptr_t address, int set_errno, bool cleared)
{
    const enum ct_check check = CT_CHECK_PR_SET_DUMPABLE;
    if (!cleared) {
        ct_fact_failed(facts, check, holder, "prctl(PR_SET_DUMPABLE, 0): %s",
                       set_errno != 0 ? ct_err_name(set_errno) : "without effect");
        return;
    }
    struct ct_attack_outcome outcome;
    struct ct_err err = {0};
    if (ct_attack_process(pid, address, &outcome, &err) != 0) {
        ct_fact_failed(facts, check, holder, "unproven: %s", err.msg);
    } else if (outcome.target != 0) {
        ct_fact_failed(facts, check, holder, "an attacker without privileges succeeded by %s",
                       ct_attack_name(outcome.target));
    } else if ((outcome.control & CT_ATTACK_ENVIRON) != 0) {
        ct_fact_proven(facts, check, holder);
    } else if (access("/proc/self/environ", F_OK) != 0) {
        ct_fact_failed(facts, check, holder, "needs /proc: /proc/PID/environ cannot be read");
    } else {
        ct_fact_failed(facts, check, holder,
                       "unproven: the attack fails on a dumpable process too");
    }
}
