// SPDX-License-Identifier: Apache-2.0
//
// The options by which an operator says whom the agent protects; shared by the commands that register.
#ifndef CT_REGISTRAR_SETTINGS_H
#define CT_REGISTRAR_SETTINGS_H

#include "option.h"
#include "registrar.h"

struct ct_registrar_settings {
    struct ct_option_list allow_cgroups;
    struct ct_option_list trust_keys;
    char *min_version;
    char *cgroup_root;
    int max_tasks;
};

int ct_registrar_check_version(const char *value, struct ct_err *err);

// Options of a table whose settings are a `type` that has these in its member `at`.
#define CT_REGISTRAR_OPTIONS(type, at)                                                             \
    {.name = "allow-cgroup",                                                                       \
     .kind = CT_OPTION_LIST,                                                                       \
     .offset = offsetof(type, at.allow_cgroups),                                                   \
     .argument = "PATTERN",                                                                        \
     .help = "Let wrappers register from cgroups whose path matches, beside those of pods; may "   \
             "be given repeatedly."},                                                              \
        {.name = "trust-key",                                                                      \
         .kind = CT_OPTION_LIST,                                                                   \
         .offset = offsetof(type, at.trust_keys),                                                  \
         .argument = "FILE",                                                                       \
         .help = "Trust wrappers that are signed by this public key (PEM) too; may be given "      \
                 "repeatedly."},                                                                   \
        {.name = "min-wrapper-version",                                                            \
         .kind = CT_OPTION_STRING,                                                                 \
         .offset = offsetof(type, at.min_version),                                                 \
         .fallback = "0.0.0",                                                                      \
         .argument = "VERSION",                                                                    \
         .help = "Refuse wrappers that are older.",                                                \
         .check = ct_registrar_check_version},                                                     \
        {.name = "cgroup-root",                                                                    \
         .kind = CT_OPTION_STRING,                                                                 \
         .offset = offsetof(type, at.cgroup_root),                                                 \
         .fallback = "/sys/fs/cgroup",                                                             \
         .argument = "FOLDER",                                                                     \
         .help = "Where the node's cgroups are mounted."},                                         \
    {                                                                                              \
        .name = "max-tasks-per-cgroup", .kind = CT_OPTION_INT,                                     \
        .offset = offsetof(type, at.max_tasks), .fallback = "4096", .argument = "N",               \
        .help = "Protect no more processes of one container.", .min = 1, .max = 32768              \
    }
#define CT_REGISTRAR_N_OPTIONS 5

// What the settings say; they have to outlive *ret. Errors: those of ct_trust_add().
CT_CHECKED int ct_registrar_settle(const struct ct_registrar_settings *settings,
                                   struct ct_registrar_options *ret, struct ct_err *err);

#endif
