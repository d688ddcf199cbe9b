// SPDX-License-Identifier: Apache-2.0
//
// What the node's agent does for this process, from the registration to the app's end: asked for at the start, proven by
// the canary then, at the app's exec stop, and every few seconds while the app runs.
#ifndef CT_ENFORCEMENT_H
#define CT_ENFORCEMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guard_client.h"
#include "score.h"
#include "supervise.h"

struct ct_enforcement {
    struct ct_guard_standing standing;
    // While the app runs.
    pid_t canary; // under way; 0: none
    int64_t
        due_ms; // the next one, or the end of the patience with the one under way; CLOCK_MONOTONIC
    unsigned failures; // in a row, of canaries that came to no end
};

// Records the wrapper's ebpf_connected and kprobes_active, by a canary where this process is protected. Where it is
// not, the app's too.
void ct_enforcement_prove(const struct ct_enforcement *e, struct ct_facts *facts);

// The app runs: the guard is told that its wrapper has no more dealings with it, nor with the launcher that it was
// reached by (`child`; the same as `app` without one).
void ct_enforcement_released(const struct ct_enforcement *e, pid_t app, pid_t child);

// What ct_supervise() is to do between the signals, so that the score follows within 10 s when enforcement is lost or
// comes back: `facts` tells whether there is anything to follow. *ret works on `e`, which is borrowed
// until the process ends.
void ct_enforcement_follow(struct ct_enforcement *e, const struct ct_facts *facts,
                           struct ct_supervise_chore *ret);

#endif
