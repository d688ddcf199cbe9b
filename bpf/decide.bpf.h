// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What verdicts are made of. A verdict names the vector, and the victim where there is one; vector 0 lets it pass.
#ifndef CT_DECIDE_BPF_H
#define CT_DECIDE_BPF_H

#include "state.bpf.h"

struct verdict {
    __u32 vector;
    __u32 victim;
};

static __always_inline struct verdict let_pass(void)
{
    return (struct verdict){0, 0};
}

static __always_inline bool is_agent(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->agent != 0 && c->agent == current_tgid();
}

// A kernel-wide vector: refused to everyone but the agent and what the operator exempts.
static __always_inline struct verdict kernel_wide(enum ct_vector vector)
{
    if (is_agent() || is_exempt(vector)) {
        return let_pass();
    }
    return (struct verdict){vector, 0};
}

static __always_inline bool is_name(const char *name, const char *other, int size)
{
    for (int i = 0; i < size; i++) {
        if (name[i] != other[i]) {
            return false;
        }
    }
    return true;
}

#define IS(name, text) is_name(name, text, sizeof(text))

#endif
