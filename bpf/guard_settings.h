// SPDX-License-Identifier: Apache-2.0
//
// The options by which an operator says how the agent refuses; shared by the commands that load programs.
#ifndef CT_GUARD_SETTINGS_H
#define CT_GUARD_SETTINGS_H

#include "exempt.h"
#include "guard.h"
#include "option.h"

struct ct_guard_settings {
    struct ct_option_list tiers;
    bool strict;
    struct ct_option_list exempts;
};

int ct_guard_check_tier(const char *value, struct ct_err *err);

// Options of a table whose settings are a `type` that has these in its member `at`.
#define CT_GUARD_OPTIONS(type, at)                                                                 \
    {.name = "tiers",                                                                              \
     .kind = CT_OPTION_LIST,                                                                       \
     .offset = offsetof(type, at.tiers),                                                           \
     .argument = "TIER",                                                                           \
     .help = "Try no other tier than this: lsm, fmod_ret, kprobe, reactive or cgroup; may be "     \
             "given repeatedly.",                                                                  \
     .check = ct_guard_check_tier},                                                                \
        {.name = "exempt",                                                                         \
         .kind = CT_OPTION_LIST,                                                                   \
         .offset = offsetof(type, at.exempts),                                                     \
         .argument = "VECTOR[+VECTOR]...:FILE[@CGROUP]",                                           \
         .help = "Let this program do what is refused to others, in that cgroup alone if one is "  \
                 "named: vectors by their names in the table of `probe`. Costs the points of "     \
                 "enforcement, here and in each wrapper; may be given repeatedly.",                \
         .check = ct_exempt_check},                                                                \
    {                                                                                              \
        .name = "strict", .kind = CT_OPTION_BOOL, .offset = offsetof(type, at.strict),             \
        .fallback = "false",                                                                       \
        .help = "Refuse what concerns the whole kernel to everybody, other BPF programs included." \
    }

// What the settings say, which have to outlive it; all else is left empty.
struct ct_guard_options ct_guard_settle(const struct ct_guard_settings *settings);

#endif
