// SPDX-License-Identifier: Apache-2.0
//
// What a person can change where not every way of reading is refused before it is done.
#ifndef CT_ADVICE_H
#define CT_ADVICE_H

#include <stdbool.h>
#include <stdio.h>

// What it depends on.
struct ct_advice_facts {
    unsigned tiers;    // that may be used: bit N, tier N
    bool exempts;      // the operator exempts somebody
    bool has_lsm;      // the kernel is built with BPF LSM
    bool has_override; // and with kprobe override
    // Its security modules, "lockdown,capability"; "" where they are not to be seen.
    char modules[256];
};

// What the kernel itself shows: modules by securityfs, BPF LSM by the kernel's BTF, override by a program that is loaded and never
// attached. Needs the right to load programs.
void ct_advice_look(struct ct_advice_facts *ret);

// A sentence a line; nothing where nothing is known that helps.
void ct_advice_write(const struct ct_advice_facts *facts, FILE *out);

#endif
