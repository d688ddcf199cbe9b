// SPDX-License-Identifier: Apache-2.0
//
// The wrapper's side of lib/guard_call.h: it asks the guard in the kernel for protection. What is answered here
// earns no points: whoever may filter system calls can answer in the guard's place. The canary (canary.h) does.
#ifndef CT_GUARD_CLIENT_H
#define CT_GUARD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

// What has come of it.
enum ct_guard_state {
    CT_GUARD_ABSENT,    // nobody answers on this node
    CT_GUARD_PROTECTED, // vetted twice
    CT_GUARD_EXECUTE,   // marked: this program has to execute itself now
    CT_GUARD_WITHOUT,   // somebody answers, and this process is not protected: `reason` says why
    CT_GUARD_STOPPED,   // `stop` said so
};

struct ct_guard_standing {
    enum ct_guard_state state;
    const char *reason; // static; "" when protected
};

// One operation (CT_GUARD_*): the errno that the guard answers, EINVAL where there is none. Uses the stack and
// raw system calls only, so forked children may ask too. A signal that somebody else sent meanwhile stays
// in the queue.
int ct_guard_ask(unsigned operation, unsigned long argument);

// Asks to be protected, and for the answer each 2 ms, for 5 s at most. Call before this process has a second
// thread: the guard refuses one that has. `executed`: this program has executed itself already. `stop` is asked
// between the looks. Without a guard it is one question. All signals are blocked meanwhile, and stay so with
// CT_GUARD_STOPPED.
void ct_guard_enter(bool executed, bool (*stop)(void *cls), void *cls,
                    struct ct_guard_standing *ret);

#endif
