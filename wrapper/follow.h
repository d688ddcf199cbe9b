// SPDX-License-Identifier: Apache-2.0
//
// What a program that is stopped at its exec is: the app, or a launcher to be followed to the app, or a
// launcher that cannot be followed and is given the secrets itself, at the points' price.
#ifndef CT_FOLLOW_H
#define CT_FOLLOW_H

#include "chain.h"
#include "delivery.h"
#include "launcher.h"
#include "secrets.h"

struct ct_follow_subject {
    pid_t pid;
    const char *exe; // what really runs
    const struct ct_stack *stack;
    const struct ct_secrets *secrets;
    enum ct_launcher_mode mode;
};

struct ct_follow_verdict {
    const char *launcher; // static; NULL: it is the app
    bool follow;
    enum ct_chain_rule rule; // to follow it by
    const char *why;         // static: why a shell is not followed, "" otherwise
};

// Looks at its command line and, of a shell, at its script. Not thread-safe.
void ct_follow_judge(const struct ct_follow_subject *s, struct ct_follow_verdict *ret);

#endif
