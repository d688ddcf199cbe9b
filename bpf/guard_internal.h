// SPDX-License-Identifier: Apache-2.0
//
// A guard as its own files see it.
#ifndef CT_GUARD_INTERNAL_H
#define CT_GUARD_INTERNAL_H

#include <stdint.h>

#include "guard.h"
#include "loader.h"
#include "pin.h"

#define CT_GUARD_LIFE 8 // programs of the base

// A victim that a killed tracer may have left stopped.
struct ct_stopped {
    pid_t victim;
    int rounds; // of polling, in which it is still sent on
};

struct ct_guard {
    struct ct_guard_options options;
    struct bpf_object *base; // the maps, and who is protected
    struct ct_attached life[CT_GUARD_LIFE];
    size_t n_life;
    struct ct_loader loader;
    struct ct_pins pins; // fd -1: not pinned
    int den;             // the folder of the pins, or one that nobody else sees; -1: none
    struct ct_guard_pinned pinned;
    struct ct_guard_config config;
    struct ct_result results[CT_V_COUNT];
    uint64_t exempt;            // bit N: vector N is open to somebody, whatever was shown of it
    struct ring_buffer *events; // from the first poll on
    ct_guard_tell tell;         // of the poll under way, with its cls
    void *cls;
    unsigned polled; // events of the poll under way
    struct ct_stopped stopped;
};

#endif
